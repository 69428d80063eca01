// Who looks at this page: hides what viewers may not do, offers to sign out, and leads to the login
// when the door has shut meanwhile.

import { call } from "./api-client.js";

export async function checkDoor() {
  const answer = await fetch("/api/me", { cache: "no-store" });
  if (answer.status === 401) location.assign("/login");
  if (!answer.ok) return;
  const me = await answer.json();
  document.documentElement.dataset.role = me.role;
  const out = document.getElementById("sign-out");
  out.hidden = !me.can_sign_out;
  out.title = me.name ? `Signed in as ${me.name}` : "";
}

document.getElementById("sign-out").addEventListener("click", async () => {
  await call("POST", "/api/logout", {}).catch(() => {});
  location.assign("/login");
});
