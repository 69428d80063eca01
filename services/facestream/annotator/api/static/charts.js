// Two small charts as SVG: who was in view over the last minutes, and the ages seen.
// Numbers come from the `history` event; each chart says in words what it shows.

const SVG = "http://www.w3.org/2000/svg";
export const KINDS = ["female", "male", "unsure"];
export const WIDTH = 320;
const WORDS = { female: "female", male: "male", unsure: "not sure" };

export function node(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

export function canvas(height, words) {
  return node("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": words });
}

function sum(numbers) {
  return numbers.reduce((a, b) => a + b, 0);
}

// "3 (2 female, 1 male)"; empty where there is nobody.
export function split(counts) {
  const kinds = KINDS.filter((kind) => counts[kind]);
  const words = kinds.map((kind) => `${counts[kind]} ${WORDS[kind]}`).join(", ");
  return kinds.length ? `${sum(kinds.map((kind) => counts[kind]))} (${words})` : "";
}

export function drawFlow(place, history) {
  const samples = history.samples;
  const height = 96, bottom = 78, left = 18;
  const most = Math.max(1, ...samples.map((s) => sum(s.slice(1))));
  const top = most <= 4 ? most : Math.ceil(most / 2) * 2;
  const latest = Object.fromEntries(KINDS.map((kind, i) => [kind, samples.length ? samples.at(-1)[i + 1] : 0]));
  const svg = canvas(height, `People in view over the last ten minutes: ${split(latest) || 0} now, ${samples.length ? most : 0} at most.`);
  const y = (n) => bottom - (n / top) * (bottom - 8);
  for (const n of top === 1 ? [0, 1] : [0, top / 2, top]) {
    if (!Number.isInteger(n)) continue;
    svg.append(node("line", { class: "grid", x1: left, x2: WIDTH, y1: y(n), y2: y(n) }));
    svg.append(node("text", { x: left - 6, y: y(n) + 4, "text-anchor": "end" }, n));
  }
  const now = samples.length ? samples.at(-1)[0] : 0;
  const step = ((WIDTH - left) * history.every_s) / history.keep_s;
  for (const [at, ...counts] of samples) {
    const x = WIDTH - ((now - at) / history.keep_s) * (WIDTH - left) - step;
    let below = 0;
    counts.forEach((count, kind) => {
      if (count && x >= left - step) {
        svg.append(node("rect", { class: KINDS[kind], x: Math.max(left, x), width: step + 0.25, y: y(below + count), height: y(below) - y(below + count) }));
      }
      below += count;
    });
  }
  svg.append(node("text", { x: left, y: height - 3 }, "10 min ago"));
  svg.append(node("text", { x: WIDTH, y: height - 3, "text-anchor": "end" }, "now"));
  place.replaceChildren(svg);
}

export function drawAges(place, history) {
  const bands = history.bands;
  const height = 108, bottom = 88;
  const totals = bands.map((band) => sum(KINDS.map((kind) => band[kind])));
  const most = Math.max(1, ...totals);
  const label = (i) => (i + 1 < bands.length ? `${bands[i].from}–${bands[i + 1].from - 1}` : `${bands[i].from}+`);
  const words = bands.map((band, i) => (totals[i] ? `${label(i)}: ${split(band)}` : "")).filter(Boolean).join(", ");
  const svg = canvas(height, `Faces by age in the last ten minutes. ${words || "None yet"}.`);
  svg.append(node("line", { class: "grid", x1: 0, x2: WIDTH, y1: bottom, y2: bottom }));
  const slot = WIDTH / bands.length, wide = slot * 0.66;
  bands.forEach((band, i) => {
    const x = i * slot + (slot - wide) / 2;
    let y = bottom;
    for (const kind of KINDS) {
      const tall = (band[kind] / most) * (bottom - 16);
      y -= tall;
      if (tall) svg.append(node("rect", { class: kind, x, y, width: wide, height: tall, rx: 2 }));
    }
    if (totals[i]) svg.append(node("text", { x: x + wide / 2, y: y - 4, "text-anchor": "middle" }, totals[i]));
    svg.append(node("text", { x: x + wide / 2, y: height - 4, "text-anchor": "middle" }, label(i)));
  });
  place.replaceChildren(svg);
}
