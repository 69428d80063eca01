// SVG charts of the last minutes: people in view over time, and faces by age.
// Input is the `history` event. The aria-label of each chart states its numbers in words.

const SVG_NS = "http://www.w3.org/2000/svg";
export const GENDERS = ["female", "male", "unknown"];
export const WIDTH = 320;

export function svgElement(name, attributes, text) {
  const element = document.createElementNS(SVG_NS, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

export function chartSvg(height, label) {
  return svgElement("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": label });
}

function sum(numbers) {
  return numbers.reduce((a, b) => a + b, 0);
}

// "3 (2 female, 1 male)"; empty for no people.
export function describeCounts(counts) {
  const genders = GENDERS.filter((gender) => counts[gender]);
  const parts = genders.map((gender) => `${counts[gender]} ${gender}`).join(", ");
  return genders.length ? `${sum(genders.map((gender) => counts[gender]))} (${parts})` : "";
}

export function drawInViewChart(container, history) {
  const samples = history.samples;
  const height = 96, bottom = 78, left = 18;
  const peak = Math.max(1, ...samples.map((sample) => sum(GENDERS.map((gender) => sample[gender]))));
  const top = peak <= 4 ? peak : Math.ceil(peak / 2) * 2;
  const latest = samples.at(-1) ?? {};
  const svg = chartSvg(height, `People in view over the last ten minutes: ${describeCounts(latest) || 0} now, peak ${samples.length ? peak : 0}.`);
  const y = (n) => bottom - (n / top) * (bottom - 8);
  for (const n of top === 1 ? [0, 1] : [0, top / 2, top]) {
    if (!Number.isInteger(n)) continue;
    svg.append(svgElement("line", { class: "grid", x1: left, x2: WIDTH, y1: y(n), y2: y(n) }));
    svg.append(svgElement("text", { x: left - 6, y: y(n) + 4, "text-anchor": "end" }, n));
  }
  const now = samples.length ? samples.at(-1).timestamp : 0;
  const barWidth = ((WIDTH - left) * history.every_s) / history.keep_s;
  for (const sample of samples) {
    const x = WIDTH - ((now - sample.timestamp) / history.keep_s) * (WIDTH - left) - barWidth;
    let stacked = 0;
    for (const gender of GENDERS) {
      const count = sample[gender];
      if (count && x >= left - barWidth) {
        svg.append(svgElement("rect", { class: gender, x: Math.max(left, x), width: barWidth + 0.25, y: y(stacked + count), height: y(stacked) - y(stacked + count) }));
      }
      stacked += count;
    }
  }
  svg.append(svgElement("text", { x: left, y: height - 3 }, "10 min ago"));
  svg.append(svgElement("text", { x: WIDTH, y: height - 3, "text-anchor": "end" }, "now"));
  container.replaceChildren(svg);
}

export function drawAgeChart(container, history) {
  const bands = history.bands;
  const height = 108, bottom = 88;
  const totals = bands.map((band) => sum(GENDERS.map((gender) => band[gender])));
  const peak = Math.max(1, ...totals);
  const label = (i) => (i + 1 < bands.length ? `${bands[i].from}–${bands[i + 1].from - 1}` : `${bands[i].from}+`);
  const summary = bands.map((band, i) => (totals[i] ? `${label(i)}: ${describeCounts(band)}` : "")).filter(Boolean).join(", ");
  const svg = chartSvg(height, `Faces by age in the last ten minutes. ${summary || "None yet"}.`);
  svg.append(svgElement("line", { class: "grid", x1: 0, x2: WIDTH, y1: bottom, y2: bottom }));
  const slotWidth = WIDTH / bands.length, barWidth = slotWidth * 0.66;
  bands.forEach((band, i) => {
    const x = i * slotWidth + (slotWidth - barWidth) / 2;
    let y = bottom;
    for (const gender of GENDERS) {
      const barHeight = (band[gender] / peak) * (bottom - 16);
      y -= barHeight;
      if (barHeight) svg.append(svgElement("rect", { class: gender, x, y, width: barWidth, height: barHeight, rx: 2 }));
    }
    if (totals[i]) svg.append(svgElement("text", { x: x + barWidth / 2, y: y - 4, "text-anchor": "middle" }, totals[i]));
    svg.append(svgElement("text", { x: x + barWidth / 2, y: height - 4, "text-anchor": "middle" }, label(i)));
  });
  container.replaceChildren(svg);
}
