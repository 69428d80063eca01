// Dialog that edits the zones and lines of a camera by mouse, touch or keyboard, over its live view.
// Points are fractions of the upright frame's width and height, as in the API.

import { callApi, cameraPath } from "./api-client.js";

const MAX_REGIONS = 8; // of each kind
const MAX_CORNERS = 16; // of a zone
const STEP = 0.01, LARGE_STEP = 0.05;
const HANDLE_PX = 9, HIT_AREA_PX = 22;
const MIDPOINT_SCALE = 0.6;
const DEFAULT_POINTS = {
  zone: [[0.3, 0.3], [0.7, 0.3], [0.7, 0.8], [0.3, 0.8]],
  line: [[0.5, 0.9], [0.5, 0.1]],
};
const ARROW_KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const $ = (id) => document.getElementById(id);
const clamp = (x) => Math.min(1, Math.max(0, x));
const round = (x) => Math.round(clamp(x) * 1e4) / 1e4;
const midpoint = ([ax, ay], [bx, by]) => [(ax + bx) / 2, (ay + by) / 2];

function svgElement(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

export class RegionEditor {
  constructor() {
    this.regions = [];
    this.drag = null;
    const svg = $("regions-svg");
    svg.addEventListener("pointerdown", (event) => this.onPointerDown(event));
    svg.addEventListener("pointermove", (event) => this.onPointerMove(event));
    for (const type of ["pointerup", "pointercancel"]) svg.addEventListener(type, () => { this.drag = null; });
    svg.addEventListener("keydown", (event) => this.onKeyDown(event));
    $("regions-add-zone").addEventListener("click", () => this.add("zone"));
    $("regions-add-line").addEventListener("click", () => this.add("line"));
    $("regions-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.save();
    });
    $("regions-dialog").addEventListener("cancel", (event) => this.onCancel(event));
    addEventListener("resize", () => $("regions-dialog").open && this.draw());
  }

  async open(status) {
    const camera = await callApi("GET", cameraPath(status.name));
    this.camera = camera.name;
    this.regions = [...camera.zones.map((zone) => ({ kind: "zone", ...zone })), ...camera.lines.map((line) => ({ kind: "line", ...line }))];
    this.selected = this.regions[0] ?? null;
    this.hasChanges = this.hasWarned = false;
    this.setSize(status.width || 16, status.height || 9);
    $("regions-title").textContent = `Zones and lines of ${camera.name}`;
    this.setResult("", "");
    $("regions-dialog").showModal();
    this.drawList();
    this.draw();
  }

  setSize(width, height) {
    this.width = width;
    this.height = height;
    Object.assign($("regions-canvas"), { width, height });
    $("regions-svg").setAttribute("viewBox", `0 0 ${width} ${height}`);
    $("regions-frame").style.setProperty("--ratio", `${width} / ${height}`);
  }

  // Draw the next frame of a camera, if the dialog shows that camera.
  showFrame(name, bitmap) {
    if (name !== this.camera || !$("regions-dialog").open) return;
    if (bitmap.width !== this.width || bitmap.height !== this.height) {
      this.setSize(bitmap.width, bitmap.height);
      this.draw();
    }
    $("regions-canvas").getContext("2d").drawImage(bitmap, 0, 0);
  }

  setResult(level, text) {
    $("regions-result").dataset.level = level;
    $("regions-result").textContent = text;
  }

  onChange() {
    this.hasChanges = true;
    this.hasWarned = false;
    this.setResult("", "");
  }

  add(kind) {
    const names = this.regions.map((region) => region.name);
    let n = 1;
    while (names.includes(`${kind}-${n}`)) n++;
    this.selected = { kind, name: `${kind}-${n}`, points: DEFAULT_POINTS[kind].map((point) => [...point]) };
    this.regions.push(this.selected);
    this.onChange();
    this.drawList();
    this.draw();
    $("regions-list").lastElementChild.querySelector("input").select();
  }

  remove(region) {
    this.regions = this.regions.filter((other) => other !== region);
    if (this.selected === region) this.selected = this.regions[0] ?? null;
    this.onChange();
    this.drawList();
    this.draw();
    $(`regions-add-${region.kind}`).focus();
  }

  select(region) {
    this.selected = region;
    for (const [i, row] of [...$("regions-list").children].entries()) row.classList.toggle("selected", this.regions[i] === region);
    this.draw();
  }

  drawList() {
    $("regions-list").replaceChildren(...this.regions.map((region) => this.createRow(region)));
    $("regions-empty").hidden = this.regions.length > 0;
    for (const kind of ["zone", "line"]) {
      $(`regions-add-${kind}`).disabled = this.regions.filter((region) => region.kind === kind).length >= MAX_REGIONS;
    }
  }

  createRow(region) {
    const row = $("region-row").content.firstElementChild.cloneNode(true);
    row.classList.toggle("selected", region === this.selected);
    const [nameInput, reverseButton, removeButton] = row.querySelectorAll("input, button");
    nameInput.value = region.name;
    nameInput.setAttribute("aria-label", `Name of this ${region.kind}`);
    nameInput.addEventListener("focus", () => this.select(region));
    const setLabels = () => {
      reverseButton.setAttribute("aria-label", `Reverse direction of ${region.name}`);
      removeButton.setAttribute("aria-label", `Remove ${region.name}`);
    };
    setLabels();
    nameInput.addEventListener("input", () => {
      region.name = nameInput.value;
      setLabels();
      this.onChange();
      this.draw();
    });
    reverseButton.hidden = region.kind !== "line";
    reverseButton.addEventListener("click", () => {
      region.points.reverse();
      this.onChange();
      this.select(region);
    });
    removeButton.addEventListener("click", () => this.remove(region));
    return row;
  }

  draw() {
    const svg = $("regions-svg");
    const focusedHandle = document.activeElement?.dataset?.handle;
    this.unit = this.width / (svg.clientWidth || this.width); // frame pixels per screen pixel
    svg.style.setProperty("--unit", this.unit);
    svg.replaceChildren(...this.regions.map((region) => this.createShape(region)), ...(this.selected ? this.createHandles(this.selected) : []));
    if (focusedHandle) svg.querySelector(`[data-handle="${focusedHandle}"]`)?.focus();
  }

  toPixels([x, y]) {
    return [x * this.width, y * this.height];
  }

  createShape(region) {
    const points = region.points.map((point) => this.toPixels(point));
    const text = points.map((point) => point.join(" ")).join(" ");
    const tag = region.kind === "zone" ? "polygon" : "polyline";
    const [x, y] = region.kind === "zone" ? points[0] : points[1];
    const group = svgElement("g", { class: `region ${region.kind}${region === this.selected ? " selected" : ""}`, "data-region": this.regions.indexOf(region) },
      svgElement(tag, { class: "hit-area", points: text }), svgElement(tag, { class: "outline", points: text }), svgElement(tag, { class: "stroke", points: text }));
    if (region.kind === "line") group.append(...this.createArrow(points));
    const label = svgElement("text", { x: x + 12 * this.unit, y: Math.max(16 * this.unit, y - 10 * this.unit) });
    label.textContent = region.name;
    group.append(label);
    return group;
  }

  // Arrow from the middle of a line to its "enter" side: the right side, seen from the first point to the second.
  createArrow([[ax, ay], [bx, by]]) {
    const length = Math.hypot(bx - ax, by - ay) || 1;
    const [nx, ny] = [-(by - ay) / length, (bx - ax) / length];
    const [x, y] = midpoint([ax, ay], [bx, by]);
    const offset = (along, across) => `${x + (nx * along - ny * across) * this.unit} ${y + (ny * along + nx * across) * this.unit}`;
    const path = `M${offset(0, 0)}L${offset(34, 0)}M${offset(24, -8)}L${offset(34, 0)}L${offset(24, 8)}`;
    const label = svgElement("text", { x: x + nx * 48 * this.unit, y: y + (ny * 48 + 5) * this.unit, "text-anchor": nx > 0.3 ? "start" : nx < -0.3 ? "end" : "middle" });
    label.textContent = "enter";
    return [svgElement("path", { class: "outline", d: path }), svgElement("path", { class: "stroke", d: path }), label];
  }

  createHandles(region) {
    const corners = region.points.map((point, i) => this.createHandle(point, "corner", i, `${region.kind === "zone" ? "Corner" : "End"} ${i + 1} of ${region.name}`));
    if (region.kind !== "zone" || region.points.length >= MAX_CORNERS) return corners;
    const midpoints = region.points.map((point, i) => this.createHandle(midpoint(point, region.points[(i + 1) % region.points.length]), "midpoint", i, `New corner of ${region.name} after ${i + 1}`));
    return [...midpoints, ...corners];
  }

  createHandle(point, kind, i, label) {
    const [x, y] = this.toPixels(point);
    const scale = this.unit * (kind === "midpoint" ? MIDPOINT_SCALE : 1);
    const position = `${Math.round(point[0] * 100)}% from the left, ${Math.round(point[1] * 100)}% from the top`;
    return svgElement("g", { class: `handle ${kind}`, "data-handle": `${kind} ${i}`, tabindex: 0, role: "button", "aria-label": `${label}: ${position}` },
      svgElement("circle", { class: "hit-area", cx: x, cy: y, r: HIT_AREA_PX * scale }),
      svgElement("circle", { class: "knob", cx: x, cy: y, r: HANDLE_PX * scale }));
  }

  // Return the corner index of a handle. The handle of a midpoint first becomes a new corner.
  resolveCorner(handle) {
    const [kind, i] = handle.split(" ");
    if (kind === "corner") return Number(i);
    const points = this.selected.points;
    const next = Number(i) + 1;
    points.splice(next, 0, midpoint(points[next - 1], points[next % points.length]));
    this.onChange();
    return next;
  }

  focusCorner(index) {
    $("regions-svg").querySelector(`[data-handle="corner ${index}"]`)?.focus();
  }

  toFractions(event) {
    const box = $("regions-svg").getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  onPointerDown(event) {
    const handle = event.target.closest("[data-handle]")?.dataset.handle;
    const region = event.target.closest("[data-region]")?.dataset.region;
    if (handle === undefined && region === undefined) return;
    event.preventDefault();
    $("regions-svg").setPointerCapture(event.pointerId);
    if (handle === undefined) this.select(this.regions[region]);
    const corner = handle === undefined ? null : this.resolveCorner(handle);
    this.drag = { start: this.toFractions(event), corner, points: this.selected.points.map((point) => [...point]) };
    this.draw();
    if (corner !== null) this.focusCorner(corner);
  }

  onPointerMove(event) {
    if (!this.drag) return;
    const [x, y] = this.toFractions(event);
    this.movePoints(this.drag.points, this.drag.corner, x - this.drag.start[0], y - this.drag.start[1]);
  }

  // Move one corner, or the whole region if `corner` is null. Points stay inside the frame.
  movePoints(points, corner, dx, dy) {
    const moved = points.filter((_, i) => corner === null || i === corner);
    const limit = (d, axis) => Math.min(1 - Math.max(...moved.map((p) => p[axis])), Math.max(-Math.min(...moved.map((p) => p[axis])), d));
    const [limitedX, limitedY] = [limit(dx, 0), limit(dy, 1)];
    this.selected.points = points.map((p, i) => (corner === null || i === corner ? [round(p[0] + limitedX), round(p[1] + limitedY)] : p));
    this.onChange();
    this.draw();
  }

  onKeyDown(event) {
    const handle = event.target.dataset?.handle;
    if (!handle) return;
    const region = this.selected;
    if (ARROW_KEYS[event.key] || ["Enter", " "].includes(event.key)) {
      event.preventDefault();
      const corner = this.resolveCorner(handle);
      const [x, y] = ARROW_KEYS[event.key] ?? [0, 0];
      const step = event.shiftKey ? LARGE_STEP : STEP;
      this.movePoints(region.points, corner, x * step, y * step);
      this.focusCorner(corner);
    } else if (["Delete", "Backspace"].includes(event.key) && handle.startsWith("corner") && region.kind === "zone" && region.points.length > 3) {
      event.preventDefault();
      const corner = this.resolveCorner(handle);
      region.points.splice(corner, 1);
      this.onChange();
      this.draw();
      this.focusCorner(Math.min(corner, region.points.length - 1));
    }
  }

  async save() {
    const regionsOf = (kind) => this.regions.filter((region) => region.kind === kind).map(({ name, points }) => ({ name, points }));
    $("regions-save").disabled = true;
    try {
      await callApi("PATCH", cameraPath(this.camera), { zones: regionsOf("zone"), lines: regionsOf("line") });
      $("regions-dialog").close();
    } catch (error) {
      this.setResult("error", error.message);
    }
    $("regions-save").disabled = false;
  }

  // Warn once before Escape discards changes.
  onCancel(event) {
    if (!this.hasChanges || this.hasWarned) return;
    event.preventDefault();
    this.hasWarned = true;
    this.setResult("warning", "Unsaved changes. Press Escape again to discard them.");
  }
}
