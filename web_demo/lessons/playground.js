// The playground: longer programs, the speed-up by numbers of workers, and what each program draws.

import { find, make } from "../dom.js";
import { Lab } from "../lab.js";
import { fetchText } from "../python.js";
import { VIEWS } from "../results.js";

const PROGRAMS = { mandelbrot: "Mandelbrot set", pi: "Monte Carlo π", census: "Library census" };
const PACKAGES = { census: ["stdlib-sources"] }; // loaded when the program is run first
const MOST_WORKERS = 8; // by default

const [elapsed, count, speedup, runsList, baseline] = ["elapsed", "count", "speedup", "runs", "baseline"].map(find);
const originals = {}; // program: its code as it came
const edits = {}; // program: its code as it was left
const times = new Map(); // program and code: workers: seconds, as long as the page is open
let program = null;
let lastRun = null;

const lab = new Lab({
  onRun: () => run(),
  onEdit: edited,
  onReset: () => lab.editor.replace(originals[program]),
  onBusy(isBusy) {
    baseline.querySelector("button").disabled = isBusy;
    for (const input of find("programs").querySelectorAll("input")) input.disabled = isBusy;
  },
});

const wanted = new URLSearchParams(location.hash.slice(1));
offerPrograms(wanted.get("program") in PROGRAMS ? wanted.get("program") : Object.keys(PROGRAMS)[0]);
lab.offerWorkers(Number(wanted.get("workers")), MOST_WORKERS);
find("workers").addEventListener("change", () => {
  remember();
  showTimes();
});
baseline.querySelector("button").addEventListener("click", () => run(1));
await lab.boot(loadPrograms());

async function loadPrograms() {
  for (const name of Object.keys(PROGRAMS)) edits[name] = originals[name] = await fetchText(`programs/${name}.py`);
  choose(program);
  for (const input of find("programs").querySelectorAll("input")) input.disabled = false;
}

function offerPrograms(first) {
  program = first;
  for (const [name, title] of Object.entries(PROGRAMS)) {
    const radio = make("input", { type: "radio", name: "program", value: name, checked: name === first, disabled: true });
    radio.addEventListener("change", () => choose(name));
    find("programs").append(make("label", {}, radio, make("span", {}, title)));
  }
}

function choose(name) {
  program = name;
  lab.editor.text = edits[name];
  edited(edits[name]);
  remember();
  if (!lab.running) clearOutcome();
}

function remember() {
  history.replaceState(null, "", `#${new URLSearchParams({ program, workers: lab.workers })}`);
}

function edited(text) {
  edits[program] = text;
  lab.editor.mark(null);
  find("reset").disabled = text === originals[program];
  showTimes();
}

function clearOutcome() {
  const view = VIEWS[program]();
  find("result").replaceChildren(view.element);
  elapsed.textContent = count.textContent = speedup.textContent = "–";
  lab.clear();
  showTimes();
  return view;
}

async function run(workers = lab.workers) {
  if (lab.running || !lab.python) return;
  const source = lab.editor.text;
  const view = clearOutcome();
  let done = 0;
  const { state, seconds, onWorkers } = await lab.run({
    source,
    name: `${program}.py`,
    workers,
    packages: PACKAGES[program],
    view,
    onTime: (passed) => (elapsed.textContent = `${passed.toFixed(1)} s`),
    onEvent({ kind, total }) {
      done += kind === "done";
      count.textContent = total == null ? String(done) : `${done} / ${total}`;
    },
  });
  if (state === "finished") {
    elapsed.textContent = `${seconds.toFixed(2)} s`;
    if (onWorkers) {
      times.set(`${program}\n${source}`, timesOf(source).set(workers, seconds));
      lastRun = { source, workers };
    }
  }
  showTimes();
}

function timesOf(source) {
  return times.get(`${program}\n${source}`) ?? new Map();
}

/** The times of the code in the editor, and the speed-up of its last run. */
function showTimes() {
  const known = [...timesOf(lab.editor.text)].sort(([a], [b]) => a - b);
  const slowest = Math.max(...known.map(([, seconds]) => seconds));
  const one = timesOf(lab.editor.text).get(1);
  const gain = (seconds) => (one ? `${(one / seconds).toFixed(2)} ×` : "–");
  runsList.hidden = known.length < 2;
  runsList.replaceChildren(...known.map(([workers, seconds]) => {
    const bar = make("i");
    bar.style.width = `${(100 * seconds) / slowest}%`;
    return make("li", {},
      make("span", {}, workers === 1 ? "1 worker" : `${workers} workers`),
      make("span", { className: "track" }, bar),
      make("span", {}, `${seconds.toFixed(2)} s`),
      make("span", {}, gain(seconds)));
  }));
  const isLast = lastRun?.source === lab.editor.text && !lab.running;
  speedup.textContent = isLast ? gain(timesOf(lab.editor.text).get(lastRun.workers)) : "–";
  baseline.hidden = one !== undefined || known.length === 0;
  speedup.hidden = !baseline.hidden;
}
