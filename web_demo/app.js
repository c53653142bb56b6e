// The page: what is chosen, what runs, and what is told about it.

import { make } from "./dom.js";
import { Editor } from "./editor.js";
import { bootPython, fetchText } from "./python.js";
import { VIEWS } from "./results.js";
import { Timeline } from "./timeline.js";

const PROGRAMS = { mandelbrot: "Mandelbrot set", pi: "Monte Carlo π", census: "Library census" };
const FEWEST_OFFERED = 4;
const MOST_OFFERED = 32;
const FRAME_MS = matchMedia("(prefers-reduced-motion: reduce)").matches ? 500 : 120;

const find = (id) => document.getElementById(id);
const [controls, workersBox, runButton, stopButton, resetButton, elapsed, count, speedup, runsList, baseline, notice] =
  ["controls", "workers", "run", "stop", "reset", "elapsed", "count", "speedup", "runs", "baseline", "notice"].map(find);

const timeline = new Timeline(find("timeline"));
const editor = new Editor(document.querySelector(".editor"), { onChange: edited, onRun: run });
const originals = {}; // program: its code as it came
const edits = {}; // program: its code as it was left
const times = new Map(); // program and code: workers: seconds, as long as the page is open
let python = null;
let program = null;
let running = false;
let lastRun = null;

const wanted = new URLSearchParams(location.hash.slice(1));
offerPrograms(wanted.get("program") in PROGRAMS ? wanted.get("program") : Object.keys(PROGRAMS)[0]);
offerWorkers(navigator.hardwareConcurrency || 1, Number(wanted.get("workers")));
controls.addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
stopButton.addEventListener("click", () => python.stop());
resetButton.addEventListener("click", () => {
  editor.text = originals[program];
  edited(editor.text);
});
workersBox.addEventListener("change", () => {
  remember();
  if (!running) timeline.reset(Number(workersBox.value));
  showTimes();
});
baseline.querySelector("button").addEventListener("click", () => run(1));
await start();

async function start() {
  try {
    for (const name of Object.keys(PROGRAMS)) edits[name] = originals[name] = await fetchText(`programs/${name}.py`);
    choose(program);
    setRunning(false);
    runButton.disabled = true; // until there is a Python
    python = await bootPython(print);
    tell("ready", "Python is ready; workers start with the first run");
    runButton.disabled = false;
  } catch (error) {
    tell("failed", "Python could not start");
    showError("The page could not load its Python. Is the Pyodide distribution beside it, in pyodide/?", String(error));
    throw error;
  }
}

function offerPrograms(first) {
  program = first;
  for (const [name, title] of Object.entries(PROGRAMS)) {
    const radio = make("input", { type: "radio", name: "program", value: name, checked: name === first, disabled: true });
    radio.addEventListener("change", () => choose(name));
    find("programs").append(make("label", {}, radio, make("span", {}, title)));
  }
}

function offerWorkers(cpus, chosen) {
  const most = Math.min(MOST_OFFERED, Math.max(FEWEST_OFFERED, cpus));
  for (let n = 1; n <= most; n++) {
    const beyond = n > cpus ? `, more than the ${cpus} ${cpus === 1 ? "CPU" : "CPUs"}` : "";
    workersBox.append(new Option(`${n}${beyond}`, n));
  }
  workersBox.value = String(chosen >= 1 && chosen <= most ? chosen : Math.min(Math.max(2, cpus), 8));
}

function choose(name) {
  program = name;
  editor.text = edits[name];
  edited(editor.text);
  remember();
  if (!running) clearOutcome(Number(workersBox.value));
}

function remember() {
  history.replaceState(null, "", `#${new URLSearchParams({ program, workers: workersBox.value })}`);
}

function edited(text) {
  edits[program] = text;
  editor.mark(null);
  resetButton.disabled = text === originals[program];
  showTimes();
}

function clearOutcome(workers) {
  const view = VIEWS[program]();
  find("result").replaceChildren(view.element);
  find("error").hidden = find("output").hidden = notice.hidden = true;
  find("output").textContent = "";
  elapsed.textContent = count.textContent = speedup.textContent = "–";
  timeline.reset(workers);
  showTimes();
  return view;
}

async function run(workers = Number(workersBox.value)) {
  if (running || !python) return;
  setRunning(true);
  const source = editor.text;
  const view = clearOutcome(workers);
  editor.mark(null);

  let onWorkers = true;
  let begun = null;
  let done = 0;
  let timer;
  const seconds = () => (begun === null ? 0 : Date.now() / 1000 - begun);
  const hooks = {
    drawsEach: view.drawsEach,
    draw: (values) => view.draw(values),
    notice: showNotice,
    awake: (ready) => tell("waking", `Starting workers: ${ready} of ${workers} ready`),
    begin(backend) {
      onWorkers = backend === "web";
      tell("running", `Running ${describePlace(onWorkers, workers)}`);
      if (!onWorkers) timeline.reset(1);
      begun = Date.now() / 1000;
      timeline.begin(begun);
      timer = setInterval(() => {
        elapsed.textContent = `${seconds().toFixed(1)} s`;
        timeline.advance(seconds());
      }, FRAME_MS);
    },
    event(kind, index, worker, start, end, total) {
      timeline.event(kind, index, worker, start, end);
      done += kind === "done";
      count.textContent = total == null ? String(done) : `${done} / ${total}`;
    },
  };

  try {
    const outcome = await python.run(source, `${program}.py`, workers, hooks);
    const took = seconds();
    if (begun !== null) elapsed.textContent = `${took.toFixed(2)} s`;
    if (outcome.state === "finished") {
      if (onWorkers) keepTime(source, workers, took);
      tell("finished", `Finished in ${took.toFixed(2)} s, ${describePlace(onWorkers, workers)}`);
    } else if (outcome.state === "stopped") {
      tell("stopped", "Stopped");
    } else {
      tell("failed", outcome.line ? `The program failed in line ${outcome.line}` : "The program failed");
      showError("What Python says about it:", outcome.text);
      editor.mark(outcome.line);
    }
  } finally {
    clearInterval(timer);
    if (begun !== null) timeline.finish(seconds());
    setRunning(false);
    showTimes();
  }
}

function describePlace(onWorkers, workers) {
  if (!onWorkers) return "in this page alone, one task after the other";
  return workers === 1 ? "on one web worker" : `on ${workers} web workers`;
}

function setRunning(busy) {
  running = busy;
  runButton.disabled = busy;
  stopButton.disabled = !busy;
  baseline.querySelector("button").disabled = busy;
  for (const input of find("programs").querySelectorAll("input")) input.disabled = busy;
}

function timesOf(source) {
  return times.get(`${program}\n${source}`) ?? new Map();
}

function keepTime(source, workers, seconds) {
  times.set(`${program}\n${source}`, timesOf(source).set(workers, seconds));
  lastRun = { source, workers };
}

/** The times of the code in the editor, and the speed-up of its last run. */
function showTimes() {
  const known = [...timesOf(editor.text)].sort(([a], [b]) => a - b);
  const slowest = Math.max(...known.map(([, seconds]) => seconds));
  const one = timesOf(editor.text).get(1);
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
  const isLast = lastRun?.source === editor.text && !running;
  speedup.textContent = isLast ? gain(timesOf(editor.text).get(lastRun.workers)) : "–";
  baseline.hidden = one !== undefined || known.length === 0;
  speedup.hidden = !baseline.hidden;
}

function tell(state, text) {
  Object.assign(find("status"), { textContent: text }).dataset.state = state;
}

function showNotice(text) {
  notice.textContent = text;
  notice.hidden = false;
}

function showError(summary, text) {
  find("error").querySelector("p").textContent = summary;
  find("error").querySelector("pre").textContent = text;
  find("error").hidden = false;
}

function print(text) {
  find("output").textContent += `${text}\n`;
  find("output").hidden = false;
}
