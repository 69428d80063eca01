// The page: events in, tiles, people, charts and health out. Pictures come through the wall.

import { call, cameraPath } from "./api-client.js";
import { drawAges, drawFlow } from "./charts.js";
import { Counts } from "./counts.js";
import { AddDialog, ask } from "./camera-dialogs.js";
import { checkDoor } from "./session.js";
import { drawPeople } from "./people.js";
import { PhoneDialog } from "./phone-dialog.js";
import { PlacesDialog } from "./region-editor.js";
import { switchTheme } from "./theme.js";
import { Wall } from "./multi-stream.js";

const $ = (id) => document.getElementById(id);
const toasted = $("toast");
const tiles = new Map();
const people = new Map();
let cameras = [];
let known = false; // whether the first list of cameras has come
let hears = false; // who is in view
let lost = ""; // why no pictures come from the server
let large = null; // the camera shown large; null = the first, "" = all alike

const SILENT_MS = 40000; // an event comes every 15 s at least

const wall = new Wall(showPicture, showLost);
const counts = new Counts();
const statusOf = (name) => cameras.find((c) => c.name === name);
const showLarge = (name) => { large = name; layOut(); };
const phone = new PhoneDialog(statusOf, showLarge);
const places = new PlacesDialog();
const adder = new AddDialog(statusOf, showLarge, (link) => phone.show(link));

function showPicture(name, bitmap) {
  const tile = tiles.get(name);
  if (!tile) return;
  const canvas = tile.querySelector("canvas");
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
    canvas.parentElement.style.setProperty("--ratio", `${bitmap.width} / ${bitmap.height}`);
  }
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  tile.classList.add("drawn");
  if (lost) {
    lost = "";
    layOut();
  }
  places.picture(name, bitmap);
}

// An old picture must not pass for a live one.
function showLost(why) {
  lost = why || "connection lost, trying again…";
  for (const tile of tiles.values()) tile.classList.remove("drawn");
  layOut();
}

function toast(text) {
  // What is full screen is above all else.
  (document.fullscreenElement ?? document.body).append(toasted);
  toasted.textContent = text;
  toasted.hidden = false;
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => { toasted.hidden = true; }, 6000);
}

async function attempt(work) {
  try {
    await work();
  } catch (error) {
    toast(error.message);
  }
}

const ACTIONS = {
  pause: (c) => attempt(() => call("PATCH", cameraPath(c.name), { paused: !c.paused })),
  rotate: (c) => attempt(() => call("PATCH", cameraPath(c.name), { rotate: (c.rotate + 90) % 360 })),
  rename: (c) => ask({
    title: `Rename ${c.name}`, button: "Rename", input: c.name,
    work: async (name) => {
      if (name === c.name) return;
      const wasLarge = large === c.name;
      if (wasLarge) large = name; // before the news of it, which would show another one large
      try {
        await call("PATCH", cameraPath(c.name), { name });
      } catch (error) {
        if (wasLarge) large = c.name;
        throw error;
      }
    },
  }),
  remove: (c) => ask({
    title: `Remove ${c.name}?`, text: "Its picture ends for everyone who watches. The camera itself is not touched.",
    button: "Remove", work: () => call("DELETE", cameraPath(c.name)),
  }),
  places: (c) => attempt(async () => {
    showLarge(c.name); // at its full rate
    await places.open(c);
  }),
  phone: (c) => attempt(() => phone.showAgain(c.name)),
  fullscreen: (c) => attempt(() => {
    showLarge(c.name);
    return tiles.get(c.name).requestFullscreen();
  }),
};

function makeTile(name) {
  const tile = $("tile").content.firstElementChild.cloneNode(true);
  tile.dataset.camera = name;
  tile.querySelector("h3").textContent = name;
  tile.querySelector("a").href = `/cameras/${encodeURIComponent(name)}/stream.mjpg`;
  tile.querySelector(".picture").addEventListener("click", () => {
    if (document.fullscreenElement) return;
    large = largeName() === name && cameras.length > 1 ? "" : name;
    layOut();
  });
  const menu = tile.querySelector("details");
  menu.querySelector("summary").setAttribute("aria-label", `Menu of ${name}`);
  menu.querySelector("[data-do=fullscreen]").hidden = !document.fullscreenEnabled; // an iPhone has none
  menu.addEventListener("click", (event) => {
    const wish = event.target.dataset.do;
    if (!wish) return;
    menu.open = false;
    menu.querySelector("summary").focus(); // the button that was pressed is gone
    ACTIONS[wish]?.(cameras.find((c) => c.name === name));
  });
  return tile;
}

// Menus close when one clicks or tabs away, or presses Escape.
document.addEventListener("click", (event) => closeMenus(event.target));
document.addEventListener("focusin", (event) => closeMenus(event.target));
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const open = document.querySelector(".menu[open]");
  if (open) {
    open.open = false;
    open.querySelector("summary").focus();
  }
});

function closeMenus(except) {
  for (const menu of document.querySelectorAll(".menu[open]")) if (!menu.contains(except)) menu.open = false;
}

const WORDS = { connecting: "connecting…", stalled: "no picture", failed: "not available", stopped: "paused" };

const PRIVACY = { blur: " · faces hidden", "stats-only": " · counts only" };

function factsOf(camera) {
  if (camera.state === "live") return `${Math.round(camera.fps)} fps · ${camera.width}×${camera.height}${PRIVACY[camera.privacy] ?? ""}`;
  return camera.reason && camera.state !== "stopped" ? `${WORDS[camera.state]}: ${camera.reason}` : WORDS[camera.state];
}

// What stands in a picture's place: what is wrong and since when, and why.
function showVeil(veil, camera) {
  const [what, why] = veil.children;
  const at = new Date(camera.since * 1000);
  const since = at.toDateString() === new Date().toDateString() ? at.toLocaleTimeString() : at.toLocaleString();
  what.textContent = camera.state === "live" ? "" : camera.state === "connecting" ? WORDS.connecting : `${WORDS[camera.state]} since ${since}`;
  why.textContent = camera.state === "live" ? lost || "waiting for the picture…" : camera.state === "stopped" ? "" : camera.reason;
}

function largeName() {
  if (large === "") return null;
  return cameras.some((c) => c.name === large) ? large : cameras[0]?.name ?? null;
}

function layOut() {
  for (const [name, tile] of tiles) {
    if (!cameras.some((c) => c.name === name)) {
      tile.remove();
      tiles.delete(name);
      people.delete(name);
    }
  }
  const main = largeName();
  for (const camera of cameras) {
    let tile = tiles.get(camera.name);
    if (!tile) {
      tile = makeTile(camera.name);
      tiles.set(camera.name, tile);
      $("cameras").append(tile);
    }
    const isLarge = camera.name === main;
    tile.dataset.state = camera.state;
    tile.classList.toggle("large", isLarge);
    tile.classList.toggle("lost", lost !== "");
    const facts = tile.querySelector(".facts");
    facts.textContent = lost ? "no picture" : camera.state === "live" ? factsOf(camera) : WORDS[camera.state];
    facts.title = lost || factsOf(camera);
    showVeil(tile.querySelector(".veil"), camera);
    tile.querySelector("[data-do=pause]").textContent = camera.paused ? "Resume" : "Pause";
    tile.querySelector("[data-do=phone]").hidden = !camera.is_phone;
  }
  $("cameras").dataset.view = main === null ? "grid" : "large";
  $("view").hidden = cameras.length < 2;
  $("view-text").textContent = main === null ? "Large" : "Grid";
  $("empty").hidden = !known || cameras.length > 0;
  wall.show(cameras.map((c) => c.name), main);
  showPeople();
}

function describe(camera, isLarge) {
  const count = people.get(camera.name)?.length ?? 0;
  const seen = count === 1 ? "1 person in view" : `${count} people in view`;
  const picture = tiles.get(camera.name).querySelector(".picture");
  const words = `${camera.name}: ${factsOf(camera)}, ${seen}. ${isLarge ? "Show all the same size" : "Show large"}`;
  if (picture.getAttribute("aria-label") !== words) picture.setAttribute("aria-label", words);
}

function showPeople() {
  const main = largeName();
  const order = [...cameras].sort((a, b) => (b.name === main) - (a.name === main));
  for (const camera of cameras) describe(camera, camera.name === main);
  const groups = order.map((c) => ({ camera: c.name, people: people.get(c.name) ?? [] }));
  drawPeople($("people"), $("people-count"), hears ? groups : null);
}

function showSystem(notes) {
  $("system").replaceChildren(...notes.map((note) => {
    const item = document.createElement("li");
    item.dataset.level = note.level;
    const text = document.createElement("span");
    text.className = "text";
    text.textContent = note.text;
    const dot = document.createElement("span");
    dot.className = "dot";
    item.append(dot, text);
    return item;
  }));
  const bad = notes.filter((note) => note.level === "bad").length;
  const level = notes[0].level;
  pulse(level, level === "good" ? "All is well" : bad > 1 ? `${bad} things need attention` : level === "bad" ? "One thing needs attention" : "Busy");
}

function pulse(level, text) {
  if ($("pulse").dataset.level === level && $("pulse-text").textContent === text) return;
  $("pulse").dataset.level = level;
  $("pulse-text").textContent = text;
}

let events = null;
let watch = 0;

function hush() {
  clearInterval(watch);
  events?.close();
  events = null;
  forgetPeople();
}

// The first events of the next connection say who is there.
function forgetPeople() {
  hears = false;
  people.clear();
  showPeople();
}

// A hidden page hears nothing: a browser opens six connections to a server at most, whatever the windows.
function listen() {
  hush();
  if (document.hidden) return;
  const mine = events = new EventSource("/api/events");
  let heard = performance.now();
  const on = (kind, work) => mine.addEventListener(kind, (event) => {
    heard = performance.now();
    work(JSON.parse(event.data));
  });
  // A network that is gone says nothing, and a browser waits for minutes.
  watch = setInterval(() => {
    if (performance.now() - heard < SILENT_MS) return;
    listen();
    pulse("bad", "Connection lost, trying again…");
  }, SILENT_MS / 4);
  on("alive", () => {});
  on("cameras", (list) => { cameras = list; known = hears = true; layOut(); phone.changed(); });
  on("people", (news) => { people.set(news.camera, news.people); showPeople(); });
  on("system", showSystem);
  on("counted", () => counts.changed());
  on("history", (history) => { drawFlow($("flow"), history); drawAges($("ages"), history); });
  mine.onerror = () => {
    if (mine !== events) return;
    pulse("bad", "Connection lost, trying again…");
    forgetPeople();
    // A browser gives up for good when the server answers with an error; a wall display must not.
    if (mine.readyState === EventSource.CLOSED) {
      setTimeout(() => { if (mine === events) listen(); }, 2000);
      checkDoor().catch(() => {});
    }
  };
}

document.addEventListener("visibilitychange", () => {
  // What stands there when the page is looked at again would be old.
  if (document.hidden) for (const tile of tiles.values()) tile.classList.remove("drawn");
  listen();
});
$("theme").addEventListener("click", switchTheme);
$("view").addEventListener("click", () => { large = largeName() === null ? null : ""; layOut(); });
for (const button of [$("add"), ...document.querySelectorAll("[data-add]")]) {
  button.addEventListener("click", () => adder.open(cameras.map((c) => c.name)));
}
checkDoor().catch(() => {});
listen();
