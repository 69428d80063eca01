// Session of the current user: hide admin controls from viewers, offer to sign out, and redirect to
// the login page when the session has expired.

import { callApi } from "./api-client.js";

export async function applySession() {
  const response = await fetch("/api/me", { cache: "no-store" });
  if (response.status === 401) location.assign("/login");
  if (!response.ok) return;
  const user = await response.json();
  document.documentElement.dataset.role = user.role;
  const button = document.getElementById("sign-out");
  button.hidden = !user.can_sign_out;
  button.title = user.name ? `Signed in as ${user.name}` : "";
}

document.getElementById("sign-out").addEventListener("click", async () => {
  await callApi("POST", "/api/logout", {}).catch(() => {});
  location.assign("/login");
});
