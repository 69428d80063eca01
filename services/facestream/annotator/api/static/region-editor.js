// Drawing zones and lines on a camera's picture: by pointer, by touch, and by keyboard. Points are
// fractions of the upright picture, as the API has them.

import { call, cameraPath } from "./api-client.js";

const MAX_PLACES = 8, MAX_CORNERS = 16; // of each kind; of a zone
const STEP = 0.01, BIG_STEP = 0.05;
const HANDLE_PX = 9, REACH_PX = 22;
const NEW = {
  zone: [[0.3, 0.3], [0.7, 0.3], [0.7, 0.8], [0.3, 0.8]],
  line: [[0.5, 0.9], [0.5, 0.1]],
};
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const $ = (id) => document.getElementById(id);
const within = (x) => Math.min(1, Math.max(0, x));
const rounded = (x) => Math.round(within(x) * 1e4) / 1e4;
const middle = ([ax, ay], [bx, by]) => [(ax + bx) / 2, (ay + by) / 2];

function drawn(kind, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export class PlacesDialog {
  constructor() {
    this.places = [];
    this.drag = null;
    const svg = $("places-svg");
    svg.addEventListener("pointerdown", (event) => this.grab(event));
    svg.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, () => { this.drag = null; });
    svg.addEventListener("keydown", (event) => this.key(event));
    $("places-zone").addEventListener("click", () => this.add("zone"));
    $("places-line").addEventListener("click", () => this.add("line"));
    $("places-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.save();
    });
    $("places-dialog").addEventListener("cancel", (event) => this.leave(event));
    addEventListener("resize", () => $("places-dialog").open && this.draw());
  }

  async open(status) {
    const camera = await call("GET", cameraPath(status.name));
    this.camera = camera.name;
    this.places = [...camera.zones.map((zone) => ({ kind: "zone", ...zone })), ...camera.lines.map((line) => ({ kind: "line", ...line }))];
    this.chosen = this.places[0] ?? null;
    this.changed = this.warned = false;
    this.size(status.width || 16, status.height || 9);
    $("places-title").textContent = `Zones and lines of ${camera.name}`;
    this.tell("", "");
    $("places-dialog").showModal();
    this.list();
    this.draw();
  }

  size(width, height) {
    this.width = width;
    this.height = height;
    Object.assign($("places-canvas"), { width, height });
    $("places-svg").setAttribute("viewBox", `0 0 ${width} ${height}`);
    $("places-picture").style.setProperty("--ratio", `${width} / ${height}`);
  }

  // The camera's next picture.
  picture(name, bitmap) {
    if (name !== this.camera || !$("places-dialog").open) return;
    if (bitmap.width !== this.width || bitmap.height !== this.height) {
      this.size(bitmap.width, bitmap.height);
      this.draw();
    }
    $("places-canvas").getContext("2d").drawImage(bitmap, 0, 0);
  }

  tell(level, text) {
    $("places-result").dataset.level = level;
    $("places-result").textContent = text;
  }

  touched() {
    this.changed = true;
    this.warned = false;
    this.tell("", "");
  }

  add(kind) {
    const names = this.places.map((place) => place.name);
    let n = 1;
    while (names.includes(`${kind}-${n}`)) n++;
    this.chosen = { kind, name: `${kind}-${n}`, points: NEW[kind].map((point) => [...point]) };
    this.places.push(this.chosen);
    this.touched();
    this.list();
    this.draw();
    $("places-list").lastElementChild.querySelector("input").select();
  }

  remove(place) {
    this.places = this.places.filter((other) => other !== place);
    if (this.chosen === place) this.chosen = this.places[0] ?? null;
    this.touched();
    this.list();
    this.draw();
    $(`places-${place.kind}`).focus();
  }

  choose(place) {
    this.chosen = place;
    for (const [i, row] of [...$("places-list").children].entries()) row.classList.toggle("chosen", this.places[i] === place);
    this.draw();
  }

  list() {
    $("places-list").replaceChildren(...this.places.map((place) => this.row(place)));
    $("places-none").hidden = this.places.length > 0;
    for (const kind of ["zone", "line"]) {
      $(`places-${kind}`).disabled = this.places.filter((place) => place.kind === kind).length >= MAX_PLACES;
    }
  }

  row(place) {
    const row = $("places-row").content.firstElementChild.cloneNode(true);
    row.classList.toggle("chosen", place === this.chosen);
    const [name, turn, remove] = row.querySelectorAll("input, button");
    name.value = place.name;
    name.setAttribute("aria-label", `Name of this ${place.kind}`);
    name.addEventListener("focus", () => this.choose(place));
    const label = () => {
      turn.setAttribute("aria-label", `Swap enter and leave of ${place.name}`);
      remove.setAttribute("aria-label", `Remove ${place.name}`);
    };
    label();
    name.addEventListener("input", () => {
      place.name = name.value;
      label();
      this.touched();
      this.draw();
    });
    turn.hidden = place.kind !== "line";
    turn.addEventListener("click", () => {
      place.points.reverse();
      this.touched();
      this.choose(place);
    });
    remove.addEventListener("click", () => this.remove(place));
    return row;
  }

  draw() {
    const svg = $("places-svg");
    const focused = document.activeElement?.dataset?.handle;
    this.unit = this.width / (svg.clientWidth || this.width); // picture pixels in one of the screen
    svg.style.setProperty("--unit", this.unit);
    svg.replaceChildren(...this.places.map((place) => this.shape(place)), ...(this.chosen ? this.handles(this.chosen) : []));
    if (focused) svg.querySelector(`[data-handle="${focused}"]`)?.focus();
  }

  at([x, y]) {
    return [x * this.width, y * this.height];
  }

  shape(place) {
    const points = place.points.map((point) => this.at(point));
    const text = points.map((point) => point.join(" ")).join(" ");
    const tag = place.kind === "zone" ? "polygon" : "polyline";
    const [x, y] = place.kind === "zone" ? points[0] : points[1];
    const group = drawn("g", { class: `place ${place.kind}${place === this.chosen ? " chosen" : ""}`, "data-place": this.places.indexOf(place) },
      drawn(tag, { class: "reach", points: text }), drawn(tag, { class: "under", points: text }), drawn(tag, { class: "over", points: text }));
    if (place.kind === "line") group.append(...this.arrow(points));
    const name = drawn("text", { x: x + 12 * this.unit, y: Math.max(16 * this.unit, y - 10 * this.unit) });
    name.textContent = place.name;
    group.append(name);
    return group;
  }

  // From the middle of a line to where a person is who has entered: its right side, seen along it.
  arrow([[ax, ay], [bx, by]]) {
    const length = Math.hypot(bx - ax, by - ay) || 1;
    const [rx, ry] = [-(by - ay) / length, (bx - ax) / length];
    const [x, y] = middle([ax, ay], [bx, by]);
    const put = (along, aside) => `${x + (rx * along - ry * aside) * this.unit} ${y + (ry * along + rx * aside) * this.unit}`;
    const path = `M${put(0, 0)}L${put(34, 0)}M${put(24, -8)}L${put(34, 0)}L${put(24, 8)}`;
    const word = drawn("text", { x: x + rx * 48 * this.unit, y: y + (ry * 48 + 5) * this.unit, "text-anchor": rx > 0.3 ? "start" : rx < -0.3 ? "end" : "middle" });
    word.textContent = "enter";
    return [drawn("path", { class: "under", d: path }), drawn("path", { class: "over", d: path }), word];
  }

  handles(place) {
    const corners = place.points.map((point, i) => this.handle(point, "corner", i, `${place.kind === "zone" ? "Corner" : "End"} ${i + 1} of ${place.name}`));
    if (place.kind !== "zone" || place.points.length >= MAX_CORNERS) return corners;
    const between = place.points.map((point, i) => this.handle(middle(point, place.points[(i + 1) % place.points.length]), "between", i, `New corner of ${place.name} after ${i + 1}`));
    return [...between, ...corners];
  }

  handle(point, kind, i, label) {
    const [x, y] = this.at(point);
    const where = `${Math.round(point[0] * 100)} % from the left, ${Math.round(point[1] * 100)} % from the top`;
    return drawn("g", { class: `handle ${kind}`, "data-handle": `${kind} ${i}`, tabindex: 0, role: "button", "aria-label": `${label}: ${where}` },
      drawn("circle", { class: "reach", cx: x, cy: y, r: REACH_PX * this.unit * (kind === "between" ? 0.6 : 1) }),
      drawn("circle", { class: "knob", cx: x, cy: y, r: HANDLE_PX * this.unit * (kind === "between" ? 0.6 : 1) }));
  }

  // The corner of a handle; one between two corners becomes a corner.
  cornerOf(handle) {
    const [kind, i] = handle.split(" ");
    if (kind === "corner") return Number(i);
    const points = this.chosen.points;
    const next = Number(i) + 1;
    points.splice(next, 0, middle(points[next - 1], points[next % points.length]));
    this.touched();
    return next;
  }

  pointOf(event) {
    const box = $("places-svg").getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  grab(event) {
    const handle = event.target.closest("[data-handle]")?.dataset.handle;
    const shape = event.target.closest("[data-place]")?.dataset.place;
    if (handle === undefined && shape === undefined) return;
    event.preventDefault();
    $("places-svg").setPointerCapture(event.pointerId);
    if (handle === undefined) this.choose(this.places[shape]);
    const corner = handle === undefined ? null : this.cornerOf(handle);
    this.drag = { from: this.pointOf(event), corner, points: this.chosen.points.map((point) => [...point]) };
    this.draw();
    if (corner !== null) $("places-svg").querySelector(`[data-handle="corner ${corner}"]`)?.focus();
  }

  move(event) {
    if (!this.drag) return;
    const [x, y] = this.pointOf(event);
    this.shift(this.drag.points, this.drag.corner, x - this.drag.from[0], y - this.drag.from[1]);
  }

  // One corner, or the whole place where `corner` is null, but never out of the picture.
  shift(points, corner, dx, dy) {
    const moved = points.filter((_, i) => corner === null || i === corner);
    const room = (d, axis) => Math.min(1 - Math.max(...moved.map((p) => p[axis])), Math.max(-Math.min(...moved.map((p) => p[axis])), d));
    const [rx, ry] = [room(dx, 0), room(dy, 1)];
    this.chosen.points = points.map((p, i) => (corner === null || i === corner ? [rounded(p[0] + rx), rounded(p[1] + ry)] : p));
    this.touched();
    this.draw();
  }

  key(event) {
    const handle = event.target.dataset?.handle;
    if (!handle) return;
    const place = this.chosen;
    if (ARROWS[event.key] || ["Enter", " "].includes(event.key)) {
      event.preventDefault();
      const corner = this.cornerOf(handle);
      const [x, y] = ARROWS[event.key] ?? [0, 0];
      const step = event.shiftKey ? BIG_STEP : STEP;
      this.shift(place.points, corner, x * step, y * step);
      $("places-svg").querySelector(`[data-handle="corner ${corner}"]`)?.focus();
    } else if (["Delete", "Backspace"].includes(event.key) && handle.startsWith("corner") && place.kind === "zone" && place.points.length > 3) {
      event.preventDefault();
      const corner = this.cornerOf(handle);
      place.points.splice(corner, 1);
      this.touched();
      this.draw();
      $("places-svg").querySelector(`[data-handle="corner ${Math.min(corner, place.points.length - 1)}"]`)?.focus();
    }
  }

  async save() {
    const of = (kind) => this.places.filter((place) => place.kind === kind).map(({ name, points }) => ({ name, points }));
    $("places-save").disabled = true;
    try {
      await call("PATCH", cameraPath(this.camera), { zones: of("zone"), lines: of("line") });
      $("places-dialog").close();
    } catch (error) {
      this.tell("bad", error.message);
    }
    $("places-save").disabled = false;
  }

  leave(event) {
    if (!this.changed || this.warned) return;
    event.preventDefault();
    this.warned = true;
    this.tell("busy", "Not saved yet. Press Escape again to discard your changes.");
  }
}
