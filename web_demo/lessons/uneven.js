// Lesson 3: a row in a table for each run, with what the workers lost by waiting.

import { make, row } from "../dom.js";
import { startLesson } from "../lesson.js";

const HEADINGS = ["Order", "batch_size", "pre_dispatch", "Workers", "Time", "Idle", "Made ahead"];
const hint = make("p", { className: "hint" }, "Each run adds a line here.");
const body = make("tbody");
const head = make("tr", {}, ...HEADINGS.map((heading) => make("th", { scope: "col" }, heading)));
const table = make("div", { className: "scroll", tabIndex: 0, role: "group", ariaLabel: "Your runs", hidden: true },
  make("table", { id: "comparison" }, make("thead", {}, head), body));
let done = [];
let made = null;

await startLesson("uneven", {
  element: make("div", {}, hint, table),
  drawsEach: false,
  reset() {
    done = [];
    made = null;
  },
  onEvent(event) {
    if (event.kind === "done") done.push(event);
  },
  draw([madeBeforeFirst]) {
    made = madeBeforeFirst;
  },
  onEnd({ state, workers, given }) {
    if (state !== "finished" || done.length === 0) return;
    const time = Math.max(...done.map(({ end }) => end)) - Math.min(...done.map(({ start }) => start));
    const busy = done.reduce((sum, { start, end }) => sum + end - start, 0);
    const idle = Math.max(0, 1 - busy / (time * workers));
    hint.hidden = true;
    table.hidden = false;
    body.append(row([given.order, given.batch, given.ready, workers, `${time.toFixed(2)} s`, `${Math.round(100 * idle)} %`, made ?? "–"]));
  },
});
