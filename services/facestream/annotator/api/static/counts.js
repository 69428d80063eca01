// People counted: today or any period, by time, by age band and gender, and through zones and lines.
// Asks /api/stats when the period changes, when somebody was counted, and now and then.

import { call } from "./api-client.js";
import { canvas, node, split, KINDS, WIDTH } from "./charts.js";

const BANDS = ["0-12", "13-19", "20-29", "30-39", "40-49", "50-59", "60-69", "70+", "unknown"];
const KIND_OF = { female: "female", male: "male", unknown: "unsure" };
const PAUSE_MS = 3000; // between two questions, however many people come
const REFRESH_MS = 60000;
const MAX_DAYS_BY_HOUR = 2;
const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

const $ = (id) => document.getElementById(id);

// Local dates as YYYY-MM-DD: the server is told the zone.
function day(offset, from = new Date()) {
  const at = new Date(from.getFullYear(), from.getMonth(), from.getDate() + offset);
  const two = (n) => String(n).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
}

function days(from, to) {
  const found = [];
  const start = new Date(`${from}T12:00`);
  for (let i = 0; i < 4000; i += 1) {
    const name = day(i, start);
    if (name >= to) break;
    found.push(name);
  }
  return found;
}

// First day and the day after the last.
const PERIODS = {
  today: () => [day(0), day(1)],
  yesterday: () => [day(-1), day(0)],
  week: () => [day(-6), day(1)],
  month: () => [day(-29), day(1)],
  range: () => {
    const [from, to] = [$("counts-from").value, $("counts-to").value].sort();
    return from && to ? [from, day(1, new Date(`${to}T12:00`))] : null;
  },
};

function drawStacks(place, words, labels, stacks, every) {
  const height = 112, bottom = 92;
  const totals = stacks.map((stack) => KINDS.reduce((sum, kind) => sum + stack[kind], 0));
  const most = Math.max(1, ...totals);
  const svg = canvas(height, words);
  svg.append(node("line", { class: "grid", x1: 0, x2: WIDTH, y1: bottom, y2: bottom }));
  const slot = WIDTH / labels.length, wide = slot * (labels.length > 20 ? 0.86 : 0.66);
  labels.forEach((label, i) => {
    const x = i * slot + (slot - wide) / 2;
    let y = bottom;
    for (const kind of KINDS) {
      const tall = (stacks[i][kind] / most) * (bottom - 18);
      y -= tall;
      if (tall) svg.append(node("rect", { class: kind, x, y, width: wide, height: tall, rx: Math.min(2, wide / 4) }));
    }
    const middle = { x: x + wide / 2, "text-anchor": "middle" };
    if (totals[i] && slot > 22) svg.append(node("text", { ...middle, y: y - 4 }, totals[i]));
    if (i % every === 0) svg.append(node("text", { ...middle, class: slot < 40 ? "fine" : "", y: height - 4 }, label));
  });
  place.replaceChildren(svg);
}

const none = () => ({ female: 0, male: 0, unsure: 0 });

function stacked(rows, column, names) {
  const stacks = new Map(names.map((name) => [name, none()]));
  for (const row of rows) {
    const stack = stacks.get(row[column]);
    if (stack) stack[KIND_OF[row.gender]] += row.count;
  }
  return [...stacks.values()];
}

function inWords(labels, stacks) {
  const said = labels.map((label, i) => [label, split(stacks[i])]);
  return said.filter(([, words]) => words).map(([label, words]) => `${label}: ${words}`).join(", ") || "nobody yet";
}

export class Counts {
  constructor() {
    this.timer = null;
    this.asking = null; // the period that is asked for
    this.stop = null; // ends the last question; an answer to an older one is not shown
    this.again = false; // somebody was counted meanwhile
    this.shown = null; // the period that is shown
    this.card = $("counts-total").closest("section");
    $("counts-from").value = day(-6);
    $("counts-to").value = day(0);
    for (const id of ["counts-period", "counts-from", "counts-to"]) {
      $(id).addEventListener("change", () => this.show());
    }
    setInterval(() => { if (!document.hidden) this.show(); }, REFRESH_MS);
    this.show();
  }

  // Somebody was counted.
  changed() {
    if (!document.hidden) this.timer ??= setTimeout(() => this.show(), PAUSE_MS);
  }

  async show() {
    clearTimeout(this.timer);
    this.timer = null;
    const kind = $("counts-period").value;
    $("counts-range").hidden = kind !== "range";
    const period = PERIODS[kind]();
    if (!period) return;
    const [from, to] = period;
    // Counts of a year take seconds: who comes meanwhile is asked for when that answer is there.
    const wanted = `${from} ${to}`;
    if (this.asking === wanted) {
      this.again = true;
      return;
    }
    this.asking = wanted;
    this.stop?.abort();
    const stop = this.stop = new AbortController();
    // What stands there is of another period until the answer comes.
    const isOther = this.shown !== wanted;
    this.card.classList.toggle("outdated", isOther);
    const names = days(from, to);
    const byHour = names.length <= MAX_DAYS_BY_HOUR;
    const ask = (more) => call("GET", url(more), undefined, stop.signal);
    const url = (more) => `/api/stats?${new URLSearchParams({ from, to, zone: ZONE, ...more })}`;
    $("counts-csv").href = url({ by: `${byHour ? "hour" : "day"},camera,age_band,gender` }).replace("stats?", "stats.csv?");
    try {
      const [times, groups, enter, leave] = await Promise.all([
        ask({ by: byHour ? "hour,gender" : "day,gender" }),
        ask({ by: "age_band,gender" }),
        ask({ by: "camera,place", what: "enter" }),
        ask({ by: "camera,place", what: "leave" }),
      ]);
      if (stop !== this.stop) return;
      this.shown = wanted;
      this.card.classList.remove("outdated");
      $("counts-note").hidden = true;
      $("counts-total").textContent = groups.total.toLocaleString();
      if (byHour) this.drawHours(times.rows, names);
      else this.drawDays(times.rows, names);
      const stacks = stacked(groups.rows, "age_band", BANDS);
      const labels = BANDS.map((band) => (band === "unknown" ? "?" : band.replace("-", "–")));
      drawStacks($("counts-groups"), `People by age: ${inWords(BANDS, stacks)}.`, labels, stacks, 1);
      this.listPlaces(enter.rows, leave.rows);
    } catch (error) {
      if (stop !== this.stop) return;
      if (isOther) this.clear();
      $("counts-note").hidden = false;
      $("counts-note").textContent = error.message;
    } finally {
      if (stop === this.stop) {
        this.asking = null;
        if (this.again) this.changed();
        this.again = false;
      }
    }
  }

  clear() {
    this.shown = null;
    this.card.classList.remove("outdated");
    $("counts-total").textContent = "–";
    for (const id of ["counts-times", "counts-groups", "counts-places"]) $(id).replaceChildren();
  }

  drawHours(rows, names) {
    const hours = names.flatMap((name) => Array.from({ length: 24 }, (_, hour) => `${name}T${String(hour).padStart(2, "0")}`));
    const stacks = stacked(rows.map((row) => ({ ...row, hour: row.hour.slice(0, 13) })), "hour", hours);
    const labels = hours.map((hour) => String(Number(hour.slice(11))));
    drawStacks($("counts-times"), `People by hour: ${inWords(labels, stacks)}.`, labels, stacks, 3 * names.length);
  }

  drawDays(rows, names) {
    const stacks = stacked(rows, "day", names);
    const labels = names.map((name) => new Date(`${name}T12:00`).toLocaleDateString(undefined, { day: "numeric", month: "numeric" }));
    drawStacks($("counts-times"), `People by day: ${inWords(labels, stacks)}.`, labels, stacks, Math.ceil(names.length / 8));
  }

  listPlaces(enter, leave) {
    const places = new Map();
    for (const [rows, direction] of [[enter, "enter"], [leave, "leave"]]) {
      for (const row of rows) {
        const name = `${row.camera}: ${row.place}`;
        if (!places.has(name)) places.set(name, { enter: 0, leave: 0 });
        places.get(name)[direction] += row.count;
      }
    }
    $("counts-places").replaceChildren(...[...places].sort().map(([name, n]) => {
      const item = document.createElement("li");
      item.textContent = `${name}, ${n.enter.toLocaleString()} in, ${n.leave.toLocaleString()} out`;
      return item;
    }));
  }
}
