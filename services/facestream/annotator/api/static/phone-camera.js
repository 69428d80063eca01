// Phone camera page: captures the browser's camera and uploads JPEG frames, one request each. At most
// two requests are in flight, so a slow network or server makes the phone skip frames instead of
// falling behind. The part of the link after `#` is the upload key; it permits nothing else. Old
// browsers must parse this file: no syntax newer than `?.` and `??` (Chrome 80, Firefox 74, Safari 13.1).

import { HTTPS_HINT } from "./https-hint.js";
import { idleTimeout } from "./idle-timeout.js";

const MAX_SIDE_PX = 1280; // enough to detect faces; more costs bandwidth and detects faces further away
const JPEG_QUALITY = 0.75;
const MAX_IN_FLIGHT = 2;
const RESPONSE_TIMEOUT_MS = 8000;
const MIN_BACKOFF_MS = 500, MAX_BACKOFF_MS = 8000;
const PAUSED_POLL_MS = 1000;
const SLOT_GRACE_MS = 6500; // longer than the server reserves the upload slot of a closed page
const FACING_KEY = "facestream-facing";

const $ = (id) => document.getElementById(id);
const uploadKey = location.hash.slice(1);
// Persist the sender and the sequence number, so that the page keeps its upload slot after a reload.
// Sequence numbers must increase even if the clock was set back.
const SENDER_KEY = "facestream-sender", SEQ_KEY = "facestream-seq";
const sender = sessionStorage.getItem(SENDER_KEY) ?? Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
sessionStorage.setItem(SENDER_KEY, sender);
const canvas = document.createElement("canvas");
const video = $("phone-preview");

let facing = localStorage.getItem(FACING_KEY) ?? "environment";
let isRunning = false; // the user wants to send
let media = null; // the camera's MediaStream
let fps = 15;
let seq = Math.max(Date.now(), Number(sessionStorage.getItem(SEQ_KEY)));
let inFlight = 0, failures = 0;
let slotTakenSince = 0; // since when another page holds the upload slot; 0: it does not
let nextFrameAt = 0; // performance.now() of the next frame that is due
let backoffUntil = 0; // send nothing before this time
let uploadTimes = []; // of the last accepted frames, for the displayed rate
let cameraGeneration = 0; // incremented by each open and close, so that late callbacks are ignored
let wakeLock = null;

function setStatus(level, text, detail = "") {
  $("phone-status").dataset.level = level;
  if ($("phone-status-text").textContent !== text) $("phone-status-text").textContent = text;
  $("phone-detail").textContent = detail;
}

const NOT_RESPONDING = ["The camera is not responding", "Another app may be using it. Close that app, then tap Start."];
// Messages by the name of the DOMException that getUserMedia throws.
const CAMERA_ERRORS = {
  NotAllowedError: ["Camera access denied", "Tap the icon left of the address, allow the camera, then tap Start. On an iPhone also check Settings, Apps, Safari, Camera."],
  NotFoundError: ["No camera found", "This device has no camera that the browser can use."],
  NotReadableError: NOT_RESPONDING,
  AbortError: NOT_RESPONDING,
};

// Return whether the camera is open; false if it was closed or reopened while the browser prompted.
async function openCamera() {
  closeCamera();
  const generation = cameraGeneration;
  const size = { width: { ideal: MAX_SIDE_PX }, height: { ideal: (MAX_SIDE_PX * 9) / 16 }, frameRate: { ideal: fps } };
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: false, video: { ...size, facingMode: { ideal: facing } } });
  } catch (error) {
    if (generation !== cameraGeneration) return false;
    throw error;
  }
  if (generation !== cameraGeneration) {
    stream.getTracks().forEach((track) => track.stop());
    return false;
  }
  media = stream;
  media.getVideoTracks()[0].addEventListener("ended", () => { if (media === stream) restartCamera(); });
  video.srcObject = media;
  video.classList.toggle("mirrored", facing === "user");
  await video.play().catch(() => {});
  const devices = await navigator.mediaDevices.enumerateDevices().catch(() => []);
  if (generation !== cameraGeneration) return false;
  $("phone-switch").hidden = devices.filter((device) => device.kind === "videoinput").length < 2;
  return true;
}

function closeCamera() {
  cameraGeneration += 1;
  media?.getTracks().forEach((track) => track.stop());
  media = video.srcObject = null;
}

// The system took the camera for a call or another app. Reopen it now, or when the page is shown again.
async function restartCamera() {
  closeCamera();
  if (isRunning && !document.hidden) await start();
}

async function start() {
  isRunning = true;
  $("phone-toggle").hidden = true;
  setStatus("pending", "Starting…", "Allow camera access if the browser asks for it.");
  try {
    if (!(await openCamera())) return;
  } catch (error) {
    isRunning = false;
    const [text, detail] = CAMERA_ERRORS[error.name] ?? ["Can’t open the camera", error.message];
    setStatus("error", text, detail);
    showToggle("Start");
    return;
  }
  backoffUntil = failures = 0;
  setStatus("pending", "Connecting…");
  showToggle("Stop");
  acquireWakeLock();
}

function stop() {
  isRunning = false;
  closeCamera();
  wakeLock?.release().catch(() => {});
  wakeLock = null;
  setStatus("pending", "Stopped", "This phone sends no video.");
  $("phone-info").textContent = "";
  $("phone-switch").hidden = true;
  showToggle("Start");
}

function showToggle(text) {
  $("phone-toggle").textContent = text;
  $("phone-toggle").className = text === "Stop" ? "secondary" : "primary";
  $("phone-toggle").hidden = false;
}

async function acquireWakeLock() {
  if (wakeLock && !wakeLock.released) return;
  try {
    const lock = await navigator.wakeLock.request("screen");
    if (isRunning && (!wakeLock || wakeLock.released)) wakeLock = lock;
    else await lock.release(); // stopped, or locked by another call, meanwhile
    $("phone-info").dataset.hint = "";
  } catch (error) { // not supported, or refused while the battery is low
    $("phone-info").dataset.hint = " · set the phone’s auto-lock to never";
  }
}

function onAnimationFrame(now) {
  requestAnimationFrame(onAnimationFrame);
  if (!isRunning || !media || now < nextFrameAt || now < backoffUntil || inFlight >= MAX_IN_FLIGHT) return;
  if (video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA || !video.videoWidth) return;
  // Allow a lag of 0.3 frame intervals: rounding up to the display's refresh must not halve the rate.
  nextFrameAt = Math.max(nextFrameAt + 1000 / fps, now - 300 / fps);
  sendFrame();
}

async function sendFrame() {
  inFlight += 1;
  try {
    const jpeg = await encodeFrame();
    if (jpeg && isRunning) await uploadFrame(jpeg);
  } finally {
    inFlight -= 1;
  }
}

function encodeFrame() {
  const scale = Math.min(1, MAX_SIDE_PX / Math.max(video.videoWidth, video.videoHeight));
  // Even sides, because JPEG 4:2:0 stores color in blocks of 2 × 2 pixels.
  const width = 2 * Math.round((video.videoWidth * scale) / 2), height = 2 * Math.round((video.videoHeight * scale) / 2);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  canvas.getContext("2d", { alpha: false }).drawImage(video, 0, 0, width, height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", JPEG_QUALITY));
}

async function uploadFrame(jpeg) {
  seq += 1;
  sessionStorage.setItem(SEQ_KEY, seq);
  let response, body;
  const timeout = idleTimeout(RESPONSE_TIMEOUT_MS);
  try {
    response = await fetch(`/api/phone/frame?sender=${sender}&seq=${seq}`, {
      method: "POST",
      headers: { "Content-Type": "image/jpeg", Authorization: `Bearer ${uploadKey}` },
      body: jpeg,
      cache: "no-store",
      signal: timeout.signal,
    });
    body = await response.json();
  } catch (error) {
    onUploadFailed("Connection lost, retrying…", "Is facestream running, and is this phone on its network?");
    return;
  } finally {
    timeout.cancel();
  }
  if (!isRunning) return;
  if (response.ok) onFrameAccepted(body);
  else if (response.status === 429) backoffUntil = performance.now() + 1000 / fps;
  else if (response.status === 401) onUploadFailed("This link is not valid", "The camera was removed, or the link is incomplete. Get a new link.");
  else if (response.status === 409) onSlotTaken();
  else onUploadFailed("Frame rejected", body?.detail ?? `Server error (${response.status}).`);
}

// Another page holds the upload slot. It may just have been closed: the server reserves the slot a while.
function onSlotTaken() {
  const now = performance.now();
  if (!slotTakenSince) slotTakenSince = now;
  if (now - slotTakenSince > SLOT_GRACE_MS) {
    onUploadFailed("Another phone is using this link", "This phone takes over when the other one stops. To use both, add a second camera.");
    return;
  }
  setStatus("pending", "Connecting…");
  backoffUntil = now + PAUSED_POLL_MS;
}

const PRIVACY_LABELS = { blur: " · faces hidden", "stats-only": " · counts only" };

function onFrameAccepted(ack) {
  failures = slotTakenSince = 0;
  fps = ack.fps;
  $("phone-name").textContent = ack.camera;
  document.title = `${ack.camera} · facestream`;
  const now = performance.now();
  uploadTimes = [...uploadTimes.filter((time) => now - time < 2000), now];
  const rate = uploadTimes.length > 1 ? Math.round(((uploadTimes.length - 1) * 1000) / (now - uploadTimes[0])) : 0;
  if (ack.state === "live") setStatus("ok", "Live", "");
  else if (ack.state === "paused") {
    setStatus("pending", "Paused", "Resume this camera in the web UI to continue.");
    backoffUntil = now + PAUSED_POLL_MS;
  } else setStatus("pending", "Connecting…", ack.state === "connecting" ? "" : ack.reason);
  const hint = $("phone-info").dataset.hint ?? "";
  $("phone-info").textContent = ack.state === "live" ? `${rate} fps · ${canvas.width}×${canvas.height}${PRIVACY_LABELS[ack.privacy] ?? ""}${hint}` : "";
}

function onUploadFailed(text, detail) {
  if (!isRunning) return;
  const now = performance.now();
  if (now >= backoffUntil) { // back off once for all requests that were in flight
    failures += 1;
    backoffUntil = now + Math.min(MAX_BACKOFF_MS, MIN_BACKOFF_MS * 2 ** (failures - 1));
  }
  setStatus("error", text, detail);
  $("phone-info").textContent = "";
}

function main() {
  $("phone-host").textContent = location.host;
  addEventListener("hashchange", () => location.reload());
  video.closest(".preview").addEventListener("contextmenu", (event) => event.preventDefault());
  if (!uploadKey) {
    setStatus("error", "This link is incomplete", "Open the full link, or scan the QR code again.");
    return;
  }
  if (!navigator.mediaDevices?.getUserMedia) {
    setStatus("error", "This browser can’t access the camera", window.isSecureContext
      ? "Open the link in Safari (iPhone) or Chrome (Android), not inside another app."
      : HTTPS_HINT);
    return;
  }
  $("phone-toggle").addEventListener("click", () => (isRunning ? stop() : start()));
  $("phone-switch").addEventListener("click", () => {
    facing = facing === "user" ? "environment" : "user";
    localStorage.setItem(FACING_KEY, facing);
    start();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden || !isRunning) return;
    acquireWakeLock();
    // A phone may have stopped the camera while the page was hidden.
    if (media?.getVideoTracks()[0]?.readyState !== "live") start();
  });
  requestAnimationFrame(onAnimationFrame);
  start();
}

main();
