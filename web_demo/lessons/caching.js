// Lesson 5: both lists over each other, where they differ, and what jobspan says about it.

import { draw as shape, fit, foldedTable, make, place } from "../dom.js";
import { startLesson } from "../lesson.js";

const [HEIGHT, CELLS] = [270, 34];
const verdict = make("p", { className: "verdict" }, "The second call: not yet.");
const first = make("p", { className: "verdict" }, "The first call: not yet.");
const said = make("pre", { id: "explanation", className: "said", tabIndex: 0, role: "group", ariaLabel: "What jobspan says", hidden: true });
const svg = shape("svg", { id: "arrays", role: "img", "aria-label": "Two lists: nothing has run yet" });
const drawLists = fit(svg, HEIGHT, renderLists);
const legend = make("ul", { className: "legend", ariaLabel: "Legend", hidden: true },
  make("li", { className: "earlier" }, "first call"), make("li", { className: "now" }, "second call"),
  make("li", { className: "differs" }, "differs"));
const table = foldedTable("Where they differ, as a table", ["Place", "First call", "Second call", "Difference"]);
table.element.id = "differences";
let wasComputed = false;
let lists = { earlier: [], now: [], differing: new Set() };

function renderLists(width) {
  const { earlier, now, differing } = lists;
  if (!earlier.length) return; // nothing has run yet
  const all = [...earlier, ...now];
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const most = Math.max(earlier.length, now.length);
  const unit = width / most;
  const bottom = HEIGHT - CELLS - 8;
  const y = (value) => 8 + ((high - value) / (high - low || 1)) * (bottom - 16);
  const path = (values) => values.map((value, i) => `${((i + 0.5) * unit).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  const cells = (values, top, name) => values.map((_, i) =>
    shape("rect", { class: differing.has(i) ? `cell differs ${name}` : `cell ${name}`, x: i * unit + 0.4, y: top, width: unit - 0.8, height: CELLS / 2 - 3 }));
  svg.replaceChildren(
    ...[...differing].map((i) => shape("rect", { class: "stripe", x: i * unit, y: 0, width: unit, height: HEIGHT })),
    shape("polyline", { class: "line earlier", points: path(earlier) }),
    shape("polyline", { class: "line now", points: path(now) }),
    ...cells(earlier, HEIGHT - CELLS, "earlier"), ...cells(now, HEIGHT - CELLS / 2, "now"));
}

await startLesson("caching", {
  element: make("div", {}, first, verdict, said, legend, svg, table.element),
  drawsEach: true,
  reset() {
    wasComputed = false;
    first.textContent = "The first call: …";
    verdict.textContent = "The second call: …";
    verdict.className = "verdict";
    said.hidden = true;
  },
  onEvent() {
    wasComputed = true; // a task has begun
  },
  draw([earlier, now, seconds, isHit, why]) {
    const places = Array.from({ length: Math.max(earlier.length, now.length) }, (_, i) => i);
    const differing = new Set(places.filter((i) => earlier[i] !== now[i]));
    lists = { earlier, now, differing };
    drawLists();
    const count = `${differing.size} of ${places.length} numbers differ`;
    place(svg, { "aria-label": `The lists of both calls, over each other: ${differing.size ? count : "all numbers are the same"}.` });
    table.fill([...differing].map((i) => [i, earlier[i] ?? "–", now[i] ?? "–", (now[i] - earlier[i]).toPrecision(2)]));
    legend.hidden = false;
    verdict.textContent = isHit ? "The second call: a hit." : "The second call: a miss. Why?";
    verdict.className = `verdict ${isHit ? "hit" : "miss"}`;
    said.textContent = why;
    said.hidden = false;
    const how = wasComputed ? "computed, as the timeline shows" : "a hit: read, and no task was run";
    first.textContent = `The first call: ${how}, in ${seconds.toFixed(seconds < 0.1 ? 3 : 2)} s.`;
  },
});
