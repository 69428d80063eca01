// JSON client of the HTTP API. Every failure becomes one Error with the server's message.

import { idleTimeout } from "./idle-timeout.js";

const RESPONSE_TIMEOUT_MS = 30000; // statistics over a year take seconds on a small machine

export async function callApi(method, path, body, abortSignal) {
  let response, text;
  const timeout = idleTimeout(RESPONSE_TIMEOUT_MS, abortSignal);
  try {
    response = await fetch(path, {
      method,
      headers: body ? { "Content-Type": "application/json" } : {},
      body: body && JSON.stringify(body),
      signal: timeout.signal,
    });
    text = await response.text();
  } catch (error) {
    throw new Error("Can’t reach facestream. Is it running? Too many open tabs can also block it.");
  } finally {
    timeout.cancel();
  }
  let json = null;
  try {
    json = text ? JSON.parse(text) : null;
  } catch (error) {
    json = null;
  }
  if (response.status === 401 && path !== "/api/login") location.assign("/login"); // the session has expired
  if (!response.ok) throw new Error(json?.detail ?? `Server error (${response.status}).`);
  return json;
}

export const cameraPath = (name) => `/api/cameras/${encodeURIComponent(name)}`;
