// Signing in by name and password, by a token, or by a link that carries one after `#`: what stands
// there is sent to no server and stands in no log.

import { call } from "./api-client.js";
import "./theme.js";

const $ = (id) => document.getElementById(id);

function tell(level, text) {
  $("login-result").dataset.level = level;
  $("login-result").textContent = text;
}

async function signIn(name, password) {
  $("login-submit").disabled = true;
  tell("busy", "Signing in…");
  try {
    await call("POST", "/api/login", { name, password });
    location.replace("/");
  } catch (error) {
    tell("bad", error.message);
    $("login-password").select();
  }
  $("login-submit").disabled = false;
}

$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  signIn($("login-name").value.trim(), $("login-password").value);
});

async function begin() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) {
    history.replaceState(null, "", "/login"); // not to be left in the history or over a shoulder
    await signIn("", token);
  } else if ((await fetch("/api/me")).ok) {
    location.replace("/"); // came by a link from another site, which brings no cookie
  }
}

addEventListener("hashchange", begin);
begin().catch(() => tell("bad", "facestream does not answer. Is it still running?"));
