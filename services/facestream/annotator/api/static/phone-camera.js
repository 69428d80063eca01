// This phone as a camera: the browser's camera in, JPEG pictures out, one request each. Two requests
// are under way at most, so a slow network or computer makes the phone skip pictures and not fall
// behind. What stands behind `#` in the link is the key; it permits nothing but sending. Old browsers must
// be able to read it: nothing newer than `?.` and `??` (Chrome 80, Firefox 74, Safari 13.1).

import { patience } from "./idle-timeout.js";
import { NEEDS_HTTPS } from "./https-hint.js";

const MAX_SIDE_PX = 1280; // what finds faces; more costs the network and finds them further off
const JPEG_QUALITY = 0.75;
const AT_ONCE = 2;
const ANSWER_MS = 8000;
const FIRST_WAIT_MS = 500, LONGEST_WAIT_MS = 8000;
const PAUSED_WAIT_MS = 1000;
const OTHER_MS = 6500;
const FACING = "facestream-facing";

const $ = (id) => document.getElementById(id);
const key = location.hash.slice(1);
// The same after a reload, so that the page keeps its place; pictures are numbered upwards all the same,
// though the clock may have been set back.
const SENDER = "facestream-sender", SEQ = "facestream-seq";
const sender = sessionStorage.getItem(SENDER) ?? Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
sessionStorage.setItem(SENDER, sender);
const canvas = document.createElement("canvas");
const video = $("phone-view");

let facing = localStorage.getItem(FACING) ?? "environment";
let running = false; // the user wants it to send
let media = null; // the camera's MediaStream
let fps = 15;
let seq = Math.max(Date.now(), Number(sessionStorage.getItem(SEQ)));
let atOnce = 0, failures = 0;
let otherSince = 0; // since when another page has this one's place
let nextAt = 0; // performance.now() from which on the next picture may go
let quietUntil = 0; // nothing is sent before, something was wrong
let sentAt = []; // when the last pictures were taken by the server, for their rate
let opened = 0; // which opening of the camera counts: the last
let awake = null; // the wake lock

function tell(level, what, why = "") {
  $("phone-state").dataset.level = level;
  if ($("phone-what").textContent !== what) $("phone-what").textContent = what;
  $("phone-why").textContent = why;
}

// Why there is no camera, in words, by what the browser calls it.
const NO_CAMERA = {
  NotAllowedError: ["The camera is not allowed", "Tap the sign left of the address, allow the camera for this page, then tap Start. On an iPhone also: Settings, Apps, Safari, Camera."],
  NotFoundError: ["No camera found", "This device has no camera that the browser can use."],
  NotReadableError: ["The camera does not answer", "Another app may be using it: close that app, then tap Start."],
  AbortError: ["The camera does not answer", "Another app may be using it: close that app, then tap Start."],
};

// Whether it is open; not where it was stopped, or opened anew, while the browser asked.
async function openCamera() {
  closeCamera();
  const mine = opened;
  const wish = { width: { ideal: MAX_SIDE_PX }, height: { ideal: (MAX_SIDE_PX * 9) / 16 }, frameRate: { ideal: fps } };
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: false, video: { ...wish, facingMode: { ideal: facing } } });
  } catch (error) {
    if (mine !== opened) return false;
    throw error;
  }
  if (mine !== opened) {
    stream.getTracks().forEach((track) => track.stop());
    return false;
  }
  media = stream;
  media.getVideoTracks()[0].addEventListener("ended", () => { if (media === stream) recover(); });
  video.srcObject = media;
  video.classList.toggle("mirrored", facing === "user");
  await video.play().catch(() => {});
  const devices = await navigator.mediaDevices.enumerateDevices().catch(() => []);
  if (mine !== opened) return false;
  $("phone-turn").hidden = devices.filter((device) => device.kind === "videoinput").length < 2;
  return true;
}

function closeCamera() {
  opened += 1;
  media?.getTracks().forEach((track) => track.stop());
  media = video.srcObject = null;
}

// The system took the camera away, for a call or another app: it comes back by itself or by a tap.
async function recover() {
  closeCamera();
  if (running && !document.hidden) await start();
}

async function start() {
  running = true;
  $("phone-go").hidden = true;
  tell("busy", "Starting…", "Allow the camera when the browser asks.");
  try {
    if (!(await openCamera())) return;
  } catch (error) {
    running = false;
    const [what, why] = NO_CAMERA[error.name] ?? ["The camera cannot be opened", error.message];
    tell("bad", what, why);
    showGo("Start");
    return;
  }
  quietUntil = failures = 0;
  tell("busy", "Connecting…");
  showGo("Stop");
  keepAwake();
}

function stop() {
  running = false;
  closeCamera();
  awake?.release().catch(() => {});
  awake = null;
  tell("busy", "Stopped", "No picture leaves this phone.");
  $("phone-facts").textContent = "";
  $("phone-turn").hidden = true;
  showGo("Start");
}

function showGo(text) {
  $("phone-go").textContent = text;
  $("phone-go").className = text === "Stop" ? "quiet" : "primary";
  $("phone-go").hidden = false;
}

async function keepAwake() {
  if (awake && !awake.released) return;
  try {
    const lock = await navigator.wakeLock.request("screen");
    if (running && (!awake || awake.released)) awake = lock;
    else await lock.release(); // stopped, or another one came, meanwhile
    $("phone-facts").dataset.asleep = "";
  } catch (error) { // not every browser can, and none while the battery is low
    $("phone-facts").dataset.asleep = " · set the phone’s auto-lock to never";
  }
}

function beat(now) {
  requestAnimationFrame(beat);
  if (!running || !media || now < nextAt || now < quietUntil || atOnce >= AT_ONCE) return;
  if (video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA || !video.videoWidth) return;
  // A third of a picture's grace: the screen's beat must not cost every second picture.
  nextAt = Math.max(nextAt + 1000 / fps, now - 300 / fps);
  send();
}

async function send() {
  atOnce += 1;
  try {
    const jpeg = await picture();
    if (jpeg && running) await post(jpeg);
  } finally {
    atOnce -= 1;
  }
}

function picture() {
  const scale = Math.min(1, MAX_SIDE_PX / Math.max(video.videoWidth, video.videoHeight));
  // Even sides: colours come in blocks of two by two.
  const width = 2 * Math.round((video.videoWidth * scale) / 2), height = 2 * Math.round((video.videoHeight * scale) / 2);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  canvas.getContext("2d", { alpha: false }).drawImage(video, 0, 0, width, height);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", JPEG_QUALITY));
}

async function post(jpeg) {
  seq += 1;
  sessionStorage.setItem(SEQ, seq);
  let answer, said;
  const waiting = patience(ANSWER_MS);
  try {
    answer = await fetch(`/api/phone/picture?sender=${sender}&seq=${seq}`, {
      method: "POST",
      headers: { "Content-Type": "image/jpeg", Authorization: `Bearer ${key}` },
      body: jpeg,
      cache: "no-store",
      signal: waiting.signal,
    });
    said = await answer.json();
  } catch (error) {
    failed("Connection lost, trying again…", "Is facestream running, and is this phone in its network?");
    return;
  } finally {
    waiting.end();
  }
  if (!running) return;
  if (answer.ok) taken(said);
  else if (answer.status === 429) quietUntil = performance.now() + 1000 / fps;
  else if (answer.status === 401) failed("This link is not valid", "The camera was removed, or the link is incomplete. Ask for a new link.");
  else if (answer.status === 409) another();
  else failed("The picture was not taken", said?.detail ?? `The server said ${answer.status}.`);
}

// The place is another's: perhaps of a page that was just closed, for which the server keeps it a while.
function another() {
  const now = performance.now();
  if (!otherSince) otherSince = now;
  if (now - otherSince > OTHER_MS) {
    failed("Another phone sends by this link", "It is this phone’s turn when the other one stops. For two cameras, ask for two links.");
    return;
  }
  tell("busy", "Connecting…");
  quietUntil = now + PAUSED_WAIT_MS;
}

const PRIVACY = { live: "", blur: " · faces are hidden", "stats-only": " · no picture is shown, only counts" };

function taken(said) {
  failures = otherSince = 0;
  fps = said.fps;
  $("phone-name").textContent = said.camera;
  document.title = `${said.camera} · facestream`;
  const now = performance.now();
  sentAt = [...sentAt.filter((at) => now - at < 2000), now];
  const rate = sentAt.length > 1 ? Math.round(((sentAt.length - 1) * 1000) / (now - sentAt[0])) : 0;
  if (said.state === "live") tell("good", "Live", "");
  else if (said.state === "stopped") {
    tell("busy", "Paused", "It was paused on the page of facestream; it goes on when it is resumed there.");
    quietUntil = now + PAUSED_WAIT_MS;
  } else tell("busy", "Connecting…", said.state === "connecting" ? "" : said.reason);
  const asleep = $("phone-facts").dataset.asleep ?? "";
  $("phone-facts").textContent = said.state === "live" ? `${rate} pictures/s · ${canvas.width}×${canvas.height}${PRIVACY[said.privacy]}${asleep}` : "";
}

function failed(what, why) {
  if (!running) return;
  const now = performance.now();
  if (now >= quietUntil) { // one wait for both of the requests that were under way
    failures += 1;
    quietUntil = now + Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (failures - 1));
  }
  tell("bad", what, why);
  $("phone-facts").textContent = "";
}

function begin() {
  $("phone-host").textContent = location.host;
  addEventListener("hashchange", () => location.reload());
  video.closest(".lens").addEventListener("contextmenu", (event) => event.preventDefault());
  if (!key) {
    tell("bad", "This link is incomplete", "Open the whole link, or scan the code that the page of facestream shows under Add camera.");
    return;
  }
  if (!navigator.mediaDevices?.getUserMedia) {
    tell("bad", "This browser gives no camera", window.isSecureContext
      ? "Open the link in Safari (iPhone) or Chrome (Android), not inside another app."
      : NEEDS_HTTPS);
    return;
  }
  $("phone-go").addEventListener("click", () => (running ? stop() : start()));
  $("phone-turn").addEventListener("click", () => {
    facing = facing === "user" ? "environment" : "user";
    localStorage.setItem(FACING, facing);
    start();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden || !running) return;
    keepAwake();
    // A phone takes the camera from a page that is not in front.
    if (media?.getVideoTracks()[0]?.readyState !== "live") start();
  });
  requestAnimationFrame(beat);
  start();
}

begin();
