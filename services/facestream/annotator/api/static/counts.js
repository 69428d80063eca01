// Card of people counted: by time, by age band and gender, and through zones and lines.
// Queries /api/stats when the period changes, after each counted person, and once a minute.

import { callApi } from "./api-client.js";
import { chartSvg, describeCounts, svgElement, GENDERS, WIDTH } from "./charts.js";

const AGE_BANDS = ["0-12", "13-19", "20-29", "30-39", "40-49", "50-59", "60-69", "70+", "unknown"];
const MIN_QUERY_INTERVAL_MS = 3000; // rate limit while many people are counted
const REFRESH_MS = 60000;
const MAX_DAYS_BY_HOUR = 2;
const MAX_DAYS = 4000;
const TIME_ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

const $ = (id) => document.getElementById(id);

// Local date as YYYY-MM-DD; each query names the time zone.
function isoDay(offset, from = new Date()) {
  const date = new Date(from.getFullYear(), from.getMonth(), from.getDate() + offset);
  const twoDigits = (n) => String(n).padStart(2, "0");
  return `${date.getFullYear()}-${twoDigits(date.getMonth() + 1)}-${twoDigits(date.getDate())}`;
}

function listDays(from, to) {
  const days = [];
  const start = new Date(`${from}T12:00`);
  for (let i = 0; i < MAX_DAYS; i += 1) {
    const day = isoDay(i, start);
    if (day >= to) break;
    days.push(day);
  }
  return days;
}

// The first day and the day after the last.
const PERIODS = {
  today: () => [isoDay(0), isoDay(1)],
  yesterday: () => [isoDay(-1), isoDay(0)],
  week: () => [isoDay(-6), isoDay(1)],
  month: () => [isoDay(-29), isoDay(1)],
  range: () => {
    const [from, to] = [$("counts-from").value, $("counts-to").value].sort();
    return from && to ? [from, isoDay(1, new Date(`${to}T12:00`))] : null;
  },
};

function drawStacks(container, description, labels, stacks, labelInterval) {
  const height = 112, bottom = 92;
  const totals = stacks.map((stack) => GENDERS.reduce((sum, gender) => sum + stack[gender], 0));
  const peak = Math.max(1, ...totals);
  const svg = chartSvg(height, description);
  svg.append(svgElement("line", { class: "grid", x1: 0, x2: WIDTH, y1: bottom, y2: bottom }));
  const slotWidth = WIDTH / labels.length, barWidth = slotWidth * (labels.length > 20 ? 0.86 : 0.66);
  labels.forEach((label, i) => {
    const x = i * slotWidth + (slotWidth - barWidth) / 2;
    let y = bottom;
    for (const gender of GENDERS) {
      const barHeight = (stacks[i][gender] / peak) * (bottom - 18);
      y -= barHeight;
      if (barHeight) svg.append(svgElement("rect", { class: gender, x, y, width: barWidth, height: barHeight, rx: Math.min(2, barWidth / 4) }));
    }
    const centered = { x: x + barWidth / 2, "text-anchor": "middle" };
    if (totals[i] && slotWidth > 22) svg.append(svgElement("text", { ...centered, y: y - 4 }, totals[i]));
    if (i % labelInterval === 0) svg.append(svgElement("text", { ...centered, class: slotWidth < 40 ? "small" : "", y: height - 4 }, label));
  });
  container.replaceChildren(svg);
}

function stackByGender(rows, column, values) {
  const stacks = new Map(values.map((value) => [value, { female: 0, male: 0, unknown: 0 }]));
  for (const row of rows) {
    const stack = stacks.get(row[column]);
    if (stack) stack[row.gender] += row.count;
  }
  return [...stacks.values()];
}

function describeStacks(labels, stacks) {
  const parts = labels.map((label, i) => [label, describeCounts(stacks[i])]);
  return parts.filter(([, counts]) => counts).map(([label, counts]) => `${label}: ${counts}`).join(", ") || "none yet";
}

export class CountsCard {
  constructor() {
    this.timer = null;
    this.pendingPeriod = null; // the period of the query in flight
    this.abort = null; // cancels the query in flight, so that no outdated response is shown
    this.isStale = false; // people were counted while a query was in flight
    this.shownPeriod = null;
    this.card = $("counts-total").closest("section");
    $("counts-from").value = isoDay(-6);
    $("counts-to").value = isoDay(0);
    for (const id of ["counts-period", "counts-from", "counts-to"]) {
      $(id).addEventListener("change", () => this.refresh());
    }
    setInterval(() => { if (!document.hidden) this.refresh(); }, REFRESH_MS);
    this.refresh();
  }

  onPersonCounted() {
    if (!document.hidden) this.timer ??= setTimeout(() => this.refresh(), MIN_QUERY_INTERVAL_MS);
  }

  async refresh() {
    clearTimeout(this.timer);
    this.timer = null;
    const selected = $("counts-period").value;
    $("counts-range").hidden = selected !== "range";
    const range = PERIODS[selected]();
    if (!range) return;
    const [from, to] = range;
    // A query over a year takes seconds. People counted meanwhile are queried after it.
    const period = `${from} ${to}`;
    if (this.pendingPeriod === period) {
      this.isStale = true;
      return;
    }
    this.pendingPeriod = period;
    this.abort?.abort();
    const abort = this.abort = new AbortController();
    // Until the response arrives, the card shows another period.
    const isOtherPeriod = this.shownPeriod !== period;
    this.card.classList.toggle("outdated", isOtherPeriod);
    const days = listDays(from, to);
    const byHour = days.length <= MAX_DAYS_BY_HOUR;
    const url = (parameters) => `/api/stats?${new URLSearchParams({ from, to, tz: TIME_ZONE, ...parameters })}`;
    const query = (parameters) => callApi("GET", url(parameters), undefined, abort.signal);
    $("counts-csv").href = url({ by: `${byHour ? "hour" : "day"},camera,age_band,gender` }).replace("stats?", "stats.csv?");
    try {
      const [times, groups, enter, leave] = await Promise.all([
        query({ by: byHour ? "hour,gender" : "day,gender" }),
        query({ by: "age_band,gender" }),
        query({ by: "camera,region", kind: "enter" }),
        query({ by: "camera,region", kind: "leave" }),
      ]);
      if (abort !== this.abort) return;
      this.shownPeriod = period;
      this.card.classList.remove("outdated");
      $("counts-error").hidden = true;
      $("counts-total").textContent = groups.total.toLocaleString();
      if (byHour) this.drawHours(times.rows, days);
      else this.drawDays(times.rows, days);
      const stacks = stackByGender(groups.rows, "age_band", AGE_BANDS);
      const labels = AGE_BANDS.map((band) => (band === "unknown" ? "?" : band.replace("-", "–")));
      drawStacks($("counts-groups"), `People by age: ${describeStacks(AGE_BANDS, stacks)}.`, labels, stacks, 1);
      this.listRegions(enter.rows, leave.rows);
    } catch (error) {
      if (abort !== this.abort) return;
      if (isOtherPeriod) this.clear();
      $("counts-error").hidden = false;
      $("counts-error").textContent = error.message;
    } finally {
      if (abort === this.abort) {
        this.pendingPeriod = null;
        if (this.isStale) this.onPersonCounted();
        this.isStale = false;
      }
    }
  }

  clear() {
    this.shownPeriod = null;
    this.card.classList.remove("outdated");
    $("counts-total").textContent = "–";
    for (const id of ["counts-times", "counts-groups", "counts-regions"]) $(id).replaceChildren();
  }

  drawHours(rows, days) {
    const hours = days.flatMap((day) => Array.from({ length: 24 }, (_, hour) => `${day}T${String(hour).padStart(2, "0")}`));
    const stacks = stackByGender(rows.map((row) => ({ ...row, hour: row.hour.slice(0, 13) })), "hour", hours);
    const labels = hours.map((hour) => String(Number(hour.slice(11))));
    drawStacks($("counts-times"), `People by hour: ${describeStacks(labels, stacks)}.`, labels, stacks, 3 * days.length);
  }

  drawDays(rows, days) {
    const stacks = stackByGender(rows, "day", days);
    const labels = days.map((day) => new Date(`${day}T12:00`).toLocaleDateString(undefined, { day: "numeric", month: "numeric" }));
    drawStacks($("counts-times"), `People by day: ${describeStacks(labels, stacks)}.`, labels, stacks, Math.ceil(days.length / 8));
  }

  listRegions(enterRows, leaveRows) {
    const regions = new Map();
    for (const [rows, direction] of [[enterRows, "enter"], [leaveRows, "leave"]]) {
      for (const row of rows) {
        const name = `${row.camera}: ${row.region}`;
        if (!regions.has(name)) regions.set(name, { enter: 0, leave: 0 });
        regions.get(name)[direction] += row.count;
      }
    }
    $("counts-regions").replaceChildren(...[...regions].sort().map(([name, n]) => {
      const item = document.createElement("li");
      item.textContent = `${name}, ${n.enter.toLocaleString()} in, ${n.leave.toLocaleString()} out`;
      return item;
    }));
  }
}
