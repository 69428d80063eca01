// The pictures of all cameras over one connection: a browser opens six to a server at most, so one
// stream per camera would leave a page of six cameras unable to do anything else. Parts of a
// multipart answer come in, `onPicture(camera, bitmap)` goes out. Reading waits for each picture to
// be decoded, so a slow machine makes the server skip pictures rather than fall behind.

import { patience } from "./idle-timeout.js";

const RETRY_MS = 1000;
// A camera without pictures sends a notice each second: who sends nothing at all has gone.
const SILENT_MS = 6000;
const MAX_HEAD_BYTES = 2000;

export class Wall {
  // `onLost(why)` is told when no pictures come, and why where the server said so.
  constructor(onPicture, onLost) {
    this.onPicture = onPicture;
    this.onLost = onLost;
    this.wanted = "";
    this.abort = null;
    document.addEventListener("visibilitychange", () => this.restart());
    addEventListener("pagehide", () => this.abort?.abort());
    addEventListener("pageshow", (event) => event.persisted && this.restart());
  }

  show(cameras, large) {
    const query = new URLSearchParams(cameras.map((name) => ["camera", name]));
    query.set("large", large ?? "");
    const wanted = cameras.length ? `/api/wall.mjpg?${query}` : "";
    if (wanted !== this.wanted) {
      this.wanted = wanted;
      this.restart();
    }
  }

  restart() {
    this.abort?.abort();
    this.abort = null;
    // Nobody looks at a hidden page: without a viewer the whole pipeline stops making pictures.
    if (!this.wanted || document.hidden) return;
    this.abort = new AbortController();
    this.run(this.wanted, this.abort.signal);
  }

  async run(url, signal) {
    while (!signal.aborted) {
      const waiting = patience(SILENT_MS, signal);
      let why = "";
      try {
        const answer = await fetch(url, { signal: waiting.signal, cache: "no-store" });
        if (answer.ok) await this.read(answer.body.getReader(), signal, waiting.alive);
        else why = (await answer.json().catch(() => null))?.detail ?? "";
      } catch (error) {
        console.debug("the pictures ended", error);
      }
      waiting.end();
      if (signal.aborted) return;
      this.onLost(why);
      await new Promise((done) => setTimeout(done, RETRY_MS));
    }
  }

  async read(reader, signal, alive) {
    const text = new TextDecoder("latin1");
    let bytes = new Uint8Array(0);
    while (!signal.aborted) {
      const { done, value } = await reader.read();
      if (done) return;
      alive();
      const joined = new Uint8Array(bytes.length + value.length);
      joined.set(bytes);
      joined.set(value, bytes.length);
      bytes = joined;
      for (;;) {
        const end = endOfHead(bytes);
        if (end < 0) break;
        const head = text.decode(bytes.subarray(0, end));
        const length = Number(/content-length: *(\d+)/i.exec(head)?.[1]);
        const camera = /x-camera: *(\S+)/i.exec(head)?.[1];
        if (!(length > 0)) throw new Error("not a picture stream");
        if (bytes.length < end + length) break;
        const jpeg = new Blob([bytes.subarray(end, end + length)], { type: "image/jpeg" });
        bytes = bytes.subarray(end + length);
        try {
          const bitmap = await createImageBitmap(jpeg);
          if (!signal.aborted) this.onPicture(camera, bitmap);
          bitmap.close();
        } catch (error) {
          console.debug("a picture could not be decoded", error);
        }
      }
    }
  }
}

function endOfHead(bytes) {
  for (let i = 3; i < bytes.length; i++) {
    if (bytes[i] === 10 && bytes[i - 1] === 13 && bytes[i - 2] === 10 && bytes[i - 3] === 13) {
      return i + 1;
    }
    if (i > MAX_HEAD_BYTES) throw new Error("not a picture stream");
  }
  return -1;
}
