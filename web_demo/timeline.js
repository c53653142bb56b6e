// Draws a run as a score: a staff for each worker, a bar for each task, from left to right in seconds.
// Bars lie in a group whose horizontal unit is one second, so that time moves by changing one scale.

import { draw as make, place, row } from "./dom.js";

const AXIS = 26; // pixels below the lanes
const SHORTEST_S = 1; // what the axis shows at least
const LEAST_S = 1e-4; // a bar without width would not be drawn
const NARROW = 480;

export class Timeline {
  /** svg: the drawing. details: the same as a table, which is filled when it is opened. */
  constructor(svg, details) {
    this.svg = svg;
    this.details = details;
    this.reset(2);
    details.addEventListener("toggle", () => this.fillTable());
    new ResizeObserver(() => this.draw()).observe(svg);
  }

  /** Forget the last run; make room for so many workers. */
  reset(workers) {
    this.lanes = [];
    this.bars = new Map(); // what runs now, by index
    this.told = []; // a row of the table for each attempt that is over
    this.origin = null;
    this.now = 0;
    this.grid = make("g", { class: "grid" });
    this.scaled = make("g");
    this.playhead = make("line", { class: "playhead" });
    this.svg.setAttribute("aria-label", "Timeline: nothing has run yet");
    this.details.querySelector("tbody").replaceChildren();
    this.svg.replaceChildren(this.grid, this.scaled, this.playhead);
    for (let i = 0; i < workers; i++) this.addLane();
    this.draw();
  }

  addLane() {
    const staff = make("g", { class: "staff" });
    for (let i = 0; i < 3; i++) staff.append(make("line"));
    const name = make("text", { class: "name" });
    const load = make("text", { class: "load" });
    name.textContent = `worker ${this.lanes.length + 1}`;
    const bars = make("g", { class: "lane" });
    this.grid.append(staff, name, load);
    this.scaled.append(bars);
    this.lanes.push({ worker: null, staff, name, load, bars, tasks: 0, busy: 0 });
  }

  begin(origin) {
    this.origin = origin;
  }

  event({ kind, index, worker, start, end, attempt = 1 }) {
    if (kind === "retried") return; // its next attempt tells of itself
    if (kind === "started") {
      const lane = this.findLane(worker);
      const bar = make("rect", { class: "task running", x: start - this.origin, "data-index": index });
      if (lane.tasks++ % 2) bar.classList.add("odd");
      if (attempt > 1) bar.classList.add("again");
      lane.bars.append(bar);
      this.bars.set(index, { bar, lane, start, attempt });
      return;
    }
    const found = this.bars.get(index);
    if (!found) return; // lost before it began
    this.bars.delete(index);
    const length = (Number.isNaN(end) ? this.origin + this.now : end) - found.start;
    found.lane.busy += length;
    found.bar.setAttribute("width", Math.max(length, LEAST_S));
    found.bar.classList.replace("running", kind.replace(" ", "-"));
    const title = make("title");
    const which = found.attempt > 1 ? `task ${index}, attempt ${found.attempt}` : `task ${index}`;
    title.textContent = `${which}: ${length.toFixed(3)} s, ${kind}`;
    found.bar.append(title);
    const begins = Math.max(0, found.start - this.origin); // clocks of workers differ by a millisecond
    this.told.push([index, found.lane.worker, found.attempt, `${begins.toFixed(2)} s`, `${length.toFixed(3)} s`, kind]);
  }

  /** The lane of a worker: the first free one when it is new, since workers come in any order. */
  findLane(worker) {
    let lane = this.lanes.find((one) => one.worker === worker) ?? this.lanes.find((one) => one.worker === null);
    if (!lane) {
      this.addLane();
      lane = this.lanes.at(-1);
    }
    if (lane.worker === null) {
      lane.worker = worker;
      lane.bars.dataset.worker = worker;
      lane.name.textContent = worker;
      const order = new Intl.Collator("en", { numeric: true });
      this.lanes.sort((a, b) => !a.worker - !b.worker || order.compare(a.worker ?? "", b.worker ?? ""));
      this.draw();
    }
    return lane;
  }

  /** Move on to so many seconds after the beginning. */
  advance(seconds) {
    this.now = seconds;
    for (const { bar, start } of this.bars.values()) {
      bar.setAttribute("width", Math.max(0, this.origin + seconds - start));
    }
    this.draw();
  }

  /** The run is over: what did not end was stopped. */
  finish(seconds) {
    for (const index of [...this.bars.keys()]) this.event({ kind: "stopped", index, end: NaN });
    this.origin = null;
    this.advance(seconds);
    for (const lane of this.lanes) {
      const percent = seconds > 0 ? Math.min(100, Math.round((100 * lane.busy) / seconds)) : 0;
      const share = make("tspan", { class: "share" });
      share.textContent = `, ${percent} % busy`;
      lane.load.replaceChildren(lane.tasks === 1 ? "1 task" : `${lane.tasks} tasks`, share);
    }
    const lanes = this.lanes.map(({ name, load }) => `${name.textContent}: ${load.textContent}`);
    this.svg.setAttribute("aria-label", `Timeline of ${seconds.toFixed(1)} seconds. ${lanes.join("; ")}.`);
    this.draw();
    this.fillTable();
  }

  fillTable() {
    if (!this.details.open) return;
    const rows = [...this.told].sort((a, b) => a[0] - b[0] || a[2] - b[2]);
    this.details.querySelector("tbody").replaceChildren(...rows.map(row));
  }

  draw() {
    const width = this.svg.clientWidth;
    if (!width) return;
    const left = width < NARROW ? 72 : 144;
    const height = this.lanes.length > 6 ? 30 : 44;
    const bottom = this.lanes.length * height;
    const right = width - 14;
    const domain = Math.max(SHORTEST_S, this.now);
    const unit = (right - left) / domain;
    this.svg.style.height = `${bottom + AXIS}px`;
    this.scaled.setAttribute("transform", `translate(${left} 0) scale(${unit} 1)`);

    this.lanes.forEach(({ staff, name, load, bars }, i) => {
      const top = i * height;
      [...staff.children].forEach((line, k) =>
        place(line, { x1: left, x2: right, y1: top + (height * (k + 1)) / 4, y2: top + (height * (k + 1)) / 4 }));
      place(name, { x: 0, y: top + height / 2 - (load.textContent ? 4 : -4) });
      place(load, { x: 0, y: top + height / 2 + 11 });
      place(bars, { transform: `translate(0 ${top + 6})` });
      bars.style.setProperty("--height", `${height - 12}px`);
    });

    this.grid.querySelectorAll(".tick").forEach((tick) => tick.remove());
    const step = findStep(domain, (right - left) / 64);
    for (let k = 0; k * step <= domain * 1.0001; k++) {
      const x = left + k * step * unit;
      const tick = make("g", { class: "tick" });
      const label = make("text", { x, y: bottom + 18, "text-anchor": "middle" });
      label.textContent = `${+(k * step).toFixed(2)}${k ? "" : " s"}`;
      tick.append(make("line", { x1: x, x2: x, y1: 0, y2: bottom + 4 }), label);
      this.grid.append(tick);
    }
    const x = left + this.now * unit;
    place(this.playhead, { x1: x, x2: x, y1: 0, y2: bottom + 4, visibility: this.origin ? "visible" : "hidden" });
  }
}

function findStep(domain, most) {
  for (let step = 0.1; ; step *= 10) {
    for (const factor of [1, 2, 5]) if (domain / (step * factor) <= most) return step * factor;
  }
}
