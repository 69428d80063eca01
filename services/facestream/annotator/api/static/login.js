// Login form: by name and password, by a token, or by a link with a token after `#`. Browsers never
// send that part of a link to a server, so the token appears in no log.

import { callApi } from "./api-client.js";
import "./theme.js";

const $ = (id) => document.getElementById(id);

function setResult(level, text) {
  $("login-result").dataset.level = level;
  $("login-result").textContent = text;
}

async function signIn(name, password) {
  $("login-submit").disabled = true;
  setResult("pending", "Signing in…");
  try {
    await callApi("POST", "/api/login", { name, password });
    location.replace("/");
  } catch (error) {
    setResult("error", error.message);
    $("login-password").select();
  }
  $("login-submit").disabled = false;
}

$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  signIn($("login-name").value.trim(), $("login-password").value);
});

async function signInFromLink() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) {
    history.replaceState(null, "", "/login"); // keep the token out of the address bar and the history
    await signIn("", token);
  } else if ((await fetch("/api/me")).ok) {
    location.replace("/"); // a link from another site brings no cookie, though the session is valid
  }
}

addEventListener("hashchange", signInFromLink);
signInFromLink().catch(() => setResult("error", "Can’t reach facestream. Is it running?"));
