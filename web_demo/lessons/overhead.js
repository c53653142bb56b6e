// Lesson 2: a slider for the size of a task; each measurement is a point in a plot of speed-up over size.

import { draw as shape, find, fit, foldedTable, make, place } from "../dom.js";
import { startLesson } from "../lesson.js";

const SIZES = [100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000];
const HEIGHT = 320;
const EDGE = { left: 44, right: 18, top: 18, bottom: 48 };
const WAYS = { 1: "one by one", auto: "in batches" };
const NARROW = 420;
const number = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact" });
const slider = find("size");
const sweep = find("sweep");

const points = []; // { steps, count, alone, together, workers, way }
let secondsPerStep = null; // as measured

const svg = shape("svg", { id: "plot", role: "img" });
const drawPlot = fit(svg, HEIGHT, renderPlot);
const table = foldedTable("The plot as a table", ["Steps in a task", "A task takes", "Way", "Workers", "Speed-up"]);
const sentence = make("p", { className: "finding" }, "Nothing is measured yet: press Run.");
const legend = make("ul", { className: "legend", ariaLabel: "Legend" },
  make("li", { className: "one-by-one" }, WAYS[1]), make("li", { className: "batches" }, WAYS.auto));
let current = null; // what is being measured: { workers, way }

const view = {
  element: make("div", {}, sentence, legend, svg, table.element),
  drawsEach: true,
  onBusy(isBusy) {
    sweep.disabled = isBusy;
    if (isBusy) current = { workers: Number(find("workers").value), way: document.querySelector("input[name=batch]:checked").value };
  },
  draw([steps, count, alone, together]) {
    secondsPerStep = alone / count / steps;
    points.push({ steps, count, alone, together, ...current });
    tellSize();
    tellLast();
    drawPlot();
  },
};

slider.addEventListener("input", () => {
  tellSize();
  drawPlot();
});
tellSize();

function tellSize() {
  const steps = SIZES[slider.value];
  const time = secondsPerStep ? `, about ${tellTime(steps * secondsPerStep)}` : "";
  const text = `${number.format(steps)} steps${time}`;
  find("size-value").textContent = text;
  slider.setAttribute("aria-valuetext", text);
}

function tellTime(seconds) {
  const [value, unit] = seconds < 1e-3 ? [1e6 * seconds, "µs"] : seconds < 1 ? [1e3 * seconds, "ms"] : [seconds, "s"];
  return `${number.format(Number(value.toPrecision(2)))} ${unit}`;
}

function tellLast() {
  const { steps, count, alone, together, workers, way } = points.at(-1);
  const gain = alone / together;
  const worth = gain >= 1 ? `${gain.toFixed(2)} times faster` : `${(1 / gain).toFixed(gain < 0.1 ? 0 : 1)} times slower`;
  sentence.textContent = `${number.format(count)} tasks of ${tellTime(alone / count)}, ${WAYS[way]}: ` +
    `${workers} ${workers === 1 ? "worker is" : "workers are"} ${worth} than one that gets everything at once.`;
}

function renderPlot(width) {
  const most = Math.max(2, ...points.map(({ workers }) => workers), ...points.map((point) => point.alone / point.together));
  const top = Math.ceil(most * 1.05);
  const [low, high] = [Math.log(SIZES[0]), Math.log(SIZES.at(-1))];
  const x = (steps) => EDGE.left + ((Math.log(steps) - low) / (high - low)) * (width - EDGE.left - EDGE.right);
  const y = (gain) => HEIGHT - EDGE.bottom - (gain / top) * (HEIGHT - EDGE.top - EDGE.bottom);
  const text = (content, attributes) => shape("text", attributes, content);
  const parts = [shape("line", { class: "chosen", x1: x(SIZES[slider.value]), x2: x(SIZES[slider.value]), y1: EDGE.top, y2: y(0) })];
  for (let gain = 0; gain <= top; gain++) {
    parts.push(shape("line", { class: gain === 1 ? "even" : "grid", x1: EDGE.left, x2: width - EDGE.right, y1: y(gain), y2: y(gain) }),
      text(`${gain} ×`, { x: EDGE.left - 8, y: y(gain) + 5, "text-anchor": "end" }));
  }
  parts.push(text("as fast as one worker", { class: "note", x: EDGE.left + 6, y: y(1) - 6 }));
  const labels = width < NARROW ? short : number;
  for (const steps of SIZES.filter((_, i) => i % 2 === 0)) {
    parts.push(text(labels.format(steps), { x: x(steps), y: HEIGHT - EDGE.bottom + 20, "text-anchor": steps === SIZES.at(-1) ? "end" : "middle" }));
  }
  parts.push(text("steps in a task", { class: "note", x: (width + EDGE.left) / 2, y: HEIGHT - 6, "text-anchor": "middle" }));
  for (const way of Object.keys(WAYS)) {
    const own = points.filter((point) => point.way === way).sort((a, b) => a.steps - b.steps);
    const places = own.map((point) => [x(point.steps), y(point.alone / point.together)]);
    const name = way === "auto" ? "batches" : "one-by-one";
    parts.push(shape("polyline", { class: `path ${name}`, points: places.map((place) => place.join()).join(" ") }));
    for (const [cx, cy] of places) {
      parts.push(way === "auto"
        ? shape("rect", { class: `point ${name}`, x: cx - 5, y: cy - 5, width: 10, height: 10 })
        : shape("circle", { class: `point ${name}`, cx, cy, r: 5.5 }));
    }
  }
  svg.replaceChildren(...parts);
  const said = points.map(({ steps, alone, together, way }) => `${number.format(steps)} steps ${WAYS[way]}: ${(alone / together).toFixed(2)}`);
  place(svg, { "aria-label": `Speed-up over the size of a task. ${said.join("; ") || "Nothing is measured yet"}.` });
  table.fill(points.map(({ steps, count, alone, together, workers, way }) =>
    [number.format(steps), tellTime(alone / count), WAYS[way], workers, `${(alone / together).toFixed(2)} ×`]));
}

const lesson = await startLesson("overhead", view, { inputs: () => ({ sizes: [SIZES[slider.value]] }) });
sweep.addEventListener("click", () => lesson.run({ sizes: SIZES }));
sweep.disabled = false;
