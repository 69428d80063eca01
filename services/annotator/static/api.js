// Calls of the API. Every failure becomes one Error with the server's own line.

export const ANSWER_MS = 30000; // counts of a year take seconds on a small machine

export async function call(method, path, body, signal) {
  let answer, text;
  try {
    answer = await fetch(path, {
      method,
      headers: body ? { "Content-Type": "application/json" } : {},
      body: body && JSON.stringify(body),
      signal: signal ?? AbortSignal.timeout?.(ANSWER_MS),
    });
    text = await answer.text();
  } catch (error) {
    throw new Error("facestream does not answer. Is it still running, or open in too many windows of this browser?");
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
