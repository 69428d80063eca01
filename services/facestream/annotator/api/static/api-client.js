// Calls of the API. Every failure becomes one Error with the server's own line.

import { patience } from "./idle-timeout.js";

const ANSWER_MS = 30000; // counts of a year take seconds on a small machine

export async function call(method, path, body, stop) {
  let answer, text;
  const waiting = patience(ANSWER_MS, stop);
  try {
    answer = await fetch(path, {
      method,
      headers: body ? { "Content-Type": "application/json" } : {},
      body: body && JSON.stringify(body),
      signal: waiting.signal,
    });
    text = await answer.text();
  } catch (error) {
    throw new Error("facestream does not answer. Is it still running, or open in too many windows of this browser?");
  } finally {
    waiting.end();
  }
  let said = null;
  try {
    said = text ? JSON.parse(text) : null;
  } catch (error) {
    said = null;
  }
  if (answer.status === 401 && path !== "/api/login") location.assign("/login"); // the session has ended
  if (!answer.ok) throw new Error(said?.detail ?? `The server said ${answer.status}.`);
  return said;
}

export const cameraPath = (name) => `/api/cameras/${encodeURIComponent(name)}`;
