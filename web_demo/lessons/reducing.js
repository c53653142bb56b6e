// Lesson 4: a histogram that grows, and how many results waited to be added.

import { draw as shape, fit, foldedTable, make, place } from "../dom.js";
import { startLesson } from "../lesson.js";

const [HEIGHT, BOTTOM] = [260, 28];
const number = new Intl.NumberFormat("en");
const svg = shape("svg", { id: "histogram", role: "img" });
const drawHistogram = fit(svg, HEIGHT, renderHistogram);
const table = foldedTable("The histogram as a table", ["Sum of the dice", "How often"]);
const figure = (name) => make("dd", { id: name }, "–");
const [taken, waiting, most] = ["taken", "waiting", "most"].map(figure);
const figures = make("dl", { className: "figures" },
  make("div", {}, make("dt", {}, "Results added"), taken),
  make("div", {}, make("dt", {}, "Waiting now"), waiting),
  make("div", {}, make("dt", {}, "Waiting at most"), most));

let counts = {}; // how often each sum came
let done = 0;
let added = 0;
let mostWaiting = 0;

function count() {
  taken.textContent = String(added);
  waiting.textContent = String(done - added);
  most.textContent = String((mostWaiting = Math.max(mostWaiting, done - added)));
}

function renderHistogram(whole) {
  const bars = Object.entries(counts).sort(([a], [b]) => a - b);
  const all = bars.reduce((sum, [, often]) => sum + often, 0);
  const highest = Math.max(1, ...bars.map(([, often]) => often));
  const width = whole / Math.max(11, bars.length);
  svg.replaceChildren(...bars.flatMap(([sum, often], i) => {
    const height = ((HEIGHT - BOTTOM - 20) * often) / highest;
    const middle = (i + 0.5) * width;
    return [
      shape("rect", { class: "bar", x: i * width + 4, y: HEIGHT - BOTTOM - height, width: width - 8, height }),
      shape("text", { x: middle, y: HEIGHT - 8, "text-anchor": "middle" }, sum),
      shape("text", { class: "note", x: middle, y: HEIGHT - BOTTOM - height - 6, "text-anchor": "middle" },
        `${((100 * often) / all).toFixed(1)} %`),
    ];
  }));
  const said = bars.map(([sum, often]) => `${sum}: ${number.format(often)}`).join(", ");
  place(svg, { "aria-label": said ? `Histogram of ${number.format(all)} throws by their sum. ${said}.` : "Histogram: nothing is counted yet" });
  table.fill(bars.map(([sum, often]) => [sum, number.format(often)]));
}

await startLesson("reducing", {
  element: make("div", {}, svg, figures, table.element),
  drawsEach: true,
  reset() {
    done = added = mostWaiting = 0;
    count();
    counts = {};
    drawHistogram();
  },
  onEvent({ kind }) {
    if (kind !== "done") return;
    done += 1;
    count();
  },
  draw([total]) {
    counts = total;
    added += 1;
    count();
    drawHistogram();
  },
});
