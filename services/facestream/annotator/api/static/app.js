// Main page: applies server-sent events to the tiles, people, charts and system status, and draws the
// frames of the multiplexed stream.

import { callApi, cameraPath } from "./api-client.js";
import { AddDialog, openPrompt } from "./camera-dialogs.js";
import { drawAgeChart, drawInViewChart } from "./charts.js";
import { CountsCard } from "./counts.js";
import { EventStream } from "./event-stream.js";
import { MultiStream } from "./multi-stream.js";
import { drawPeople } from "./people.js";
import { PhoneDialog } from "./phone-dialog.js";
import { RegionEditor } from "./region-editor.js";
import { applySession } from "./session.js";
import { toggleTheme } from "./theme.js";

const $ = (id) => document.getElementById(id);
const toastNode = $("toast");
const tiles = new Map();
const people = new Map();
let cameras = [];
let hasCameras = false; // the first list of cameras has arrived
let hasPeople = false; // `people` is current
let streamError = ""; // why the stream of frames is down; empty while it works
let selected = null; // the camera shown large; null: the first, "": none (grid)

const TOAST_MS = 6000;

const statusOf = (name) => cameras.find((c) => c.name === name);
const showLarge = (name) => { selected = name; render(); };
const stream = new MultiStream(showFrame, onStreamLost);
const countsCard = new CountsCard();
const phoneDialog = new PhoneDialog(statusOf, showLarge);
const regionEditor = new RegionEditor();
const addDialog = new AddDialog(statusOf, showLarge, (link) => phoneDialog.open(link));

function showFrame(name, bitmap) {
  const tile = tiles.get(name);
  if (!tile) return;
  const canvas = tile.querySelector("canvas");
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
    canvas.parentElement.style.setProperty("--ratio", `${bitmap.width} / ${bitmap.height}`);
  }
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  tile.classList.add("has-frame");
  if (streamError) {
    streamError = "";
    render();
  }
  regionEditor.showFrame(name, bitmap);
}

// Hide the last frames: a stale frame must not look live.
function onStreamLost(reason) {
  streamError = reason || "Connection lost, retrying…";
  hideFrames();
  render();
}

function hideFrames() {
  for (const tile of tiles.values()) tile.classList.remove("has-frame");
}

function showToast(text) {
  // Only the full-screen element and its children are visible.
  (document.fullscreenElement ?? document.body).append(toastNode);
  toastNode.textContent = text;
  toastNode.hidden = false;
  clearTimeout(toastNode.timer);
  toastNode.timer = setTimeout(() => { toastNode.hidden = true; }, TOAST_MS);
}

async function withToast(action) {
  try {
    await action();
  } catch (error) {
    showToast(error.message);
  }
}

const ACTIONS = {
  pause: (c) => withToast(() => callApi("PATCH", cameraPath(c.name), { paused: !c.paused })),
  rotate: (c) => withToast(() => callApi("PATCH", cameraPath(c.name), { rotate: (c.rotate + 90) % 360 })),
  rename: (c) => openPrompt({
    title: `Rename ${c.name}`, button: "Rename", value: c.name,
    onSubmit: async (name) => {
      if (name === c.name) return;
      const wasSelected = selected === c.name;
      if (wasSelected) selected = name; // before the event arrives, which would select the first camera
      try {
        await callApi("PATCH", cameraPath(c.name), { name });
      } catch (error) {
        if (wasSelected) selected = c.name;
        throw error;
      }
    },
  }),
  remove: (c) => openPrompt({
    title: `Remove ${c.name}?`, text: "Live view stops for all viewers. The camera device is not changed.",
    button: "Remove", onSubmit: () => callApi("DELETE", cameraPath(c.name)),
  }),
  regions: (c) => withToast(async () => {
    showLarge(c.name); // the stream sends only the large camera at full rate
    await regionEditor.open(c);
  }),
  phone: (c) => withToast(() => phoneDialog.openFor(c.name)),
  fullscreen: (c) => withToast(() => {
    showLarge(c.name);
    return tiles.get(c.name).requestFullscreen();
  }),
};

function createTile(name) {
  const tile = $("tile").content.firstElementChild.cloneNode(true);
  tile.dataset.camera = name;
  tile.querySelector("h3").textContent = name;
  tile.querySelector("a").href = `/cameras/${encodeURIComponent(name)}/stream.mjpg`;
  tile.querySelector(".live-view").addEventListener("click", () => {
    if (document.fullscreenElement) return;
    selected = largeCamera() === name && cameras.length > 1 ? "" : name;
    render();
  });
  const menu = tile.querySelector("details");
  menu.querySelector("summary").setAttribute("aria-label", `Menu of ${name}`);
  menu.querySelector("[data-action=fullscreen]").hidden = !document.fullscreenEnabled; // not available on iPhones
  menu.addEventListener("click", (event) => {
    const action = event.target.dataset.action;
    if (!action) return;
    menu.open = false;
    menu.querySelector("summary").focus(); // closing hides the pressed button, which had the focus
    ACTIONS[action]?.(cameras.find((c) => c.name === name));
  });
  return tile;
}

document.addEventListener("click", (event) => closeMenus(event.target));
document.addEventListener("focusin", (event) => closeMenus(event.target));
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const menu = document.querySelector(".menu[open]");
  if (menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

function closeMenus(target) {
  for (const menu of document.querySelectorAll(".menu[open]")) if (!menu.contains(target)) menu.open = false;
}

const STATE_LABELS = { connecting: "connecting…", stalled: "no video", failed: "unavailable", paused: "paused" };
const isPaused = (camera) => camera.state === "paused";
const PRIVACY_LABELS = { blur: " · faces hidden", "stats-only": " · counts only" };

function describeCamera(camera) {
  if (camera.state === "live") return `${Math.round(camera.fps)} fps · ${camera.width}×${camera.height}${PRIVACY_LABELS[camera.privacy] ?? ""}`;
  return camera.reason && !isPaused(camera) ? `${STATE_LABELS[camera.state]}: ${camera.reason}` : STATE_LABELS[camera.state];
}

// The placeholder covers a tile without a current frame; it states the problem, its start and its cause.
function updatePlaceholder(placeholder, camera) {
  const [title, detail] = placeholder.children;
  const date = new Date(camera.since * 1000);
  const since = date.toDateString() === new Date().toDateString() ? date.toLocaleTimeString() : date.toLocaleString();
  const label = STATE_LABELS[camera.state] ?? "";
  const heading = label.charAt(0).toUpperCase() + label.slice(1);
  title.textContent = camera.state === "live" ? "" : camera.state === "connecting" ? heading : `${heading} since ${since}`;
  detail.textContent = camera.state === "live" ? streamError || "Waiting for video…" : isPaused(camera) ? "" : camera.reason;
}

function largeCamera() {
  if (selected === "") return null;
  return cameras.some((c) => c.name === selected) ? selected : cameras[0]?.name ?? null;
}

function render() {
  for (const [name, tile] of tiles) {
    if (!cameras.some((c) => c.name === name)) {
      tile.remove();
      tiles.delete(name);
      people.delete(name);
    }
  }
  const large = largeCamera();
  for (const camera of cameras) {
    let tile = tiles.get(camera.name);
    if (!tile) {
      tile = createTile(camera.name);
      tiles.set(camera.name, tile);
      $("cameras").append(tile);
    }
    tile.dataset.state = camera.state;
    tile.classList.toggle("large", camera.name === large);
    tile.classList.toggle("disconnected", streamError !== "");
    const info = tile.querySelector(".info");
    info.textContent = streamError ? "no video" : camera.state === "live" ? describeCamera(camera) : STATE_LABELS[camera.state];
    info.title = streamError || describeCamera(camera);
    updatePlaceholder(tile.querySelector(".placeholder"), camera);
    tile.querySelector("[data-action=pause]").textContent = camera.paused ? "Resume" : "Pause";
    tile.querySelector("[data-action=phone]").hidden = !camera.is_phone;
  }
  $("cameras").dataset.view = large === null ? "grid" : "large";
  $("view").hidden = cameras.length < 2;
  $("view-text").textContent = large === null ? "Large" : "Grid";
  $("empty").hidden = !hasCameras || cameras.length > 0;
  stream.setCameras(cameras.map((c) => c.name), large);
  renderPeople();
}

function updateLabel(camera, isLarge) {
  const count = people.get(camera.name)?.length ?? 0;
  const inView = count === 1 ? "1 person in view" : `${count} people in view`;
  const button = tiles.get(camera.name).querySelector(".live-view");
  const label = `${camera.name}: ${describeCamera(camera)}, ${inView}. ${isLarge ? "Show all at equal size" : "Show large"}`;
  if (button.getAttribute("aria-label") !== label) button.setAttribute("aria-label", label);
}

function renderPeople() {
  const large = largeCamera();
  const sorted = [...cameras].sort((a, b) => (b.name === large) - (a.name === large));
  for (const camera of cameras) updateLabel(camera, camera.name === large);
  const groups = sorted.map((c) => ({ camera: c.name, people: people.get(c.name) ?? [] }));
  drawPeople($("people"), $("people-count"), hasPeople ? groups : null);
}

function showSystemStatus(messages) {
  $("system").replaceChildren(...messages.map((message) => {
    const item = document.createElement("li");
    item.dataset.level = message.level;
    const text = document.createElement("span");
    text.className = "text";
    text.textContent = message.text;
    const dot = document.createElement("span");
    dot.className = "dot";
    item.append(dot, text);
    return item;
  }));
  const problems = messages.filter((message) => message.level === "error").length;
  const level = messages[0].level; // the most severe comes first
  setOverallStatus(level, level === "ok" ? "All systems OK" : problems > 1 ? `${problems} problems` : problems ? "1 problem" : "Degraded");
}

function setOverallStatus(level, text) {
  const node = $("overall-status"), textNode = $("overall-status-text");
  if (node.dataset.level === level && textNode.textContent === text) return;
  node.dataset.level = level;
  textNode.textContent = text;
}

// Each new connection starts with the current people.
function clearPeople() {
  hasPeople = false;
  people.clear();
  renderPeople();
}

const events = new EventStream({
  keepalive: () => {},
  cameras: (list) => { cameras = list; hasCameras = hasPeople = true; render(); phoneDialog.updateStatus(); },
  people: (update) => { people.set(update.camera, update.people); renderPeople(); },
  system: showSystemStatus,
  count: () => countsCard.onPersonCounted(),
  history: (history) => { drawInViewChart($("in-view-chart"), history); drawAgeChart($("age-chart"), history); },
}, {
  onDisconnect: clearPeople,
  onLost: () => setOverallStatus("error", "Connection lost, retrying…"),
  onRejected: () => applySession().catch(() => {}),
});

document.addEventListener("visibilitychange", () => {
  // The last frames would be stale when the page is shown again.
  if (document.hidden) hideFrames();
});
$("theme").addEventListener("click", toggleTheme);
$("view").addEventListener("click", () => { selected = largeCamera() === null ? null : ""; render(); });
for (const button of [$("add"), ...document.querySelectorAll("[data-add]")]) {
  button.addEventListener("click", () => addDialog.open(cameras.map((c) => c.name)));
}
applySession().catch(() => {});
events.connect();
