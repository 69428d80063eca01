// Calls that change something. Every failure becomes one Error with the server's own line.

export async function call(method, path, body) {
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers: body ? { "Content-Type": "application/json" } : {},
      body: body && JSON.stringify(body),
    });
  } catch (error) {
    throw new Error("facestream does not answer. Is it still running?");
  }
  const text = await answer.text();
  let said = null;
  try {
    said = text ? JSON.parse(text) : null;
  } catch (error) {
    said = null;
  }
  if (!answer.ok) throw new Error(said?.detail ?? `The server said ${answer.status}.`);
  return said;
}

export const cameraPath = (name) => `/api/cameras/${encodeURIComponent(name)}`;
