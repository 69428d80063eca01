// Client of the multiplexed MJPEG stream: the frames of all cameras over one connection. Browsers
// open at most six connections per server, so one stream per camera would block a page with six
// cameras. Each multipart part becomes one `onFrame(camera, bitmap)`. Reading waits until a frame
// is decoded, so a slow client makes the server skip frames instead of falling behind.

import { idleTimeout } from "./idle-timeout.js";

const RETRY_MS = 1000;
// A camera without frames sends a placeholder every second, so silence means a lost connection.
const SILENCE_TIMEOUT_MS = 6000;
const MAX_HEADER_BYTES = 2000;

export class MultiStream {
  // `onDisconnect(reason)` is called when the stream ends; `reason` is the server's message or "".
  constructor(onFrame, onDisconnect) {
    this.onFrame = onFrame;
    this.onDisconnect = onDisconnect;
    this.url = "";
    this.abort = null;
    document.addEventListener("visibilitychange", () => this.restart());
    addEventListener("pagehide", () => this.abort?.abort());
    addEventListener("pageshow", (event) => event.persisted && this.restart());
  }

  // The primary camera is sent at full rate and resolution.
  setCameras(cameras, primary) {
    const query = new URLSearchParams(cameras.map((name) => ["camera", name]));
    query.set("primary", primary ?? "");
    const url = cameras.length ? `/api/streams.mjpg?${query}` : "";
    if (url !== this.url) {
      this.url = url;
      this.restart();
    }
  }

  restart() {
    this.abort?.abort();
    this.abort = null;
    // A hidden page needs no frames: without a viewer the services stop encoding.
    if (!this.url || document.hidden) return;
    this.abort = new AbortController();
    this.run(this.url, this.abort.signal);
  }

  async run(url, signal) {
    while (!signal.aborted) {
      const timeout = idleTimeout(SILENCE_TIMEOUT_MS, signal);
      let reason = "";
      try {
        const response = await fetch(url, { signal: timeout.signal, cache: "no-store" });
        if (response.ok) await this.read(response.body.getReader(), signal, timeout.reset);
        else reason = (await response.json().catch(() => null))?.detail ?? "";
      } catch (error) {
        console.debug("stream ended", error);
      }
      timeout.cancel();
      if (signal.aborted) return;
      this.onDisconnect(reason);
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  async read(reader, signal, onData) {
    const decoder = new TextDecoder("latin1");
    let buffer = new Uint8Array(0);
    while (!signal.aborted) {
      const { done, value } = await reader.read();
      if (done) return;
      onData();
      const joined = new Uint8Array(buffer.length + value.length);
      joined.set(buffer);
      joined.set(value, buffer.length);
      buffer = joined;
      for (;;) {
        const end = findHeaderEnd(buffer);
        if (end < 0) break;
        const header = decoder.decode(buffer.subarray(0, end));
        const length = Number(/content-length: *(\d+)/i.exec(header)?.[1]);
        const camera = /x-camera: *(\S+)/i.exec(header)?.[1];
        if (!(length > 0)) throw new Error("not an MJPEG stream");
        if (buffer.length < end + length) break;
        const jpeg = new Blob([buffer.subarray(end, end + length)], { type: "image/jpeg" });
        buffer = buffer.subarray(end + length);
        try {
          const bitmap = await createImageBitmap(jpeg);
          if (!signal.aborted) this.onFrame(camera, bitmap);
          bitmap.close();
        } catch (error) {
          console.debug("cannot decode a frame", error);
        }
      }
    }
  }
}

function findHeaderEnd(bytes) {
  for (let i = 3; i < bytes.length; i++) {
    if (bytes[i] === 10 && bytes[i - 1] === 13 && bytes[i - 2] === 10 && bytes[i - 3] === 13) {
      return i + 1;
    }
    if (i > MAX_HEADER_BYTES) throw new Error("not an MJPEG stream");
  }
  return -1;
}
