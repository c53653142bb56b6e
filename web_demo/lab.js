// What all pages with a program share: editor, number of workers, Run and Stop, timeline, status, output and errors.

import { find } from "./dom.js";
import { Editor } from "./editor.js";
import { booting, onPrint } from "./python.js";
import { Timeline } from "./timeline.js";

const FEWEST_OFFERED = 4;
const MOST_OFFERED = 32;
const FRAME_MS = matchMedia("(prefers-reduced-motion: reduce)").matches ? 500 : 120;

export class Lab {
  /**
   * onRun: Run was pressed. onEdit(text): the code has changed. onReset: Reset was pressed. onBusy(isBusy): a run
   * begins or is over.
   */
  constructor({ onRun, onEdit, onReset, onBusy = () => {} }) {
    this.timeline = find("timeline") && new Timeline(find("timeline"), find("timeline-details"));
    this.editor = new Editor(find("editor"), { onChange: onEdit, onRun });
    this.onBusy = onBusy;
    this.python = null;
    onPrint(print);
    this.running = false;
    find("controls").addEventListener("submit", (event) => {
      event.preventDefault();
      onRun();
    });
    find("stop").addEventListener("click", () => this.python.stop());
    find("reset").addEventListener("click", onReset);
  }

  /** Offer numbers of workers, as many as there are CPUs and a few more. */
  offerWorkers(chosen, mostByDefault) {
    const cpus = navigator.hardwareConcurrency || 1;
    const most = Math.min(MOST_OFFERED, Math.max(FEWEST_OFFERED, cpus));
    for (let n = 1; n <= most; n++) {
      const beyond = n > cpus ? `, more than the ${cpus} ${cpus === 1 ? "CPU" : "CPUs"}` : "";
      find("workers").append(new Option(`${n}${beyond}`, n));
    }
    this.workers = chosen >= 1 && chosen <= most ? chosen : Math.min(Math.max(2, cpus), mostByDefault);
    find("workers").addEventListener("change", () => {
      if (!this.running) this.timeline?.reset(this.workers);
    });
  }

  get workers() {
    return Number(find("workers").value);
  }

  set workers(count) {
    find("workers").value = String(count);
    this.timeline?.reset(count);
  }

  /** Start Python, while the page can be read and the code be edited; Run waits for `prepared`, too. */
  async boot(prepared) {
    try {
      [this.python] = await Promise.all([booting, prepared]);
    } catch (error) {
      this.tell("failed", "Python could not start");
      showError("The page could not load its Python. Is the Pyodide distribution beside it, in pyodide/?", String(error));
      throw error;
    }
    this.tell("ready", "Python is ready; workers start with the first run");
    this.setRunning(false);
  }

  /** Forget what the last run has left. */
  clear(workers = this.workers) {
    find("error").hidden = find("output").hidden = find("notice").hidden = true;
    find("output").textContent = "";
    this.editor.mark(null);
    this.timeline?.reset(workers);
  }

  /**
   * Run a program. name: what tracebacks call it. workers: how many. inputs: names that it finds besides, with
   * their values. packages: what is loaded before. view: draw(values) and drawsEach, whether every call counts or only
   * the latest. onEvent(event), onTime(seconds): what else hears of the run. Returns { state, seconds, onWorkers }.
   */
  async run({
    source, name, workers = this.workers, inputs = {}, packages = [], view, onTasks, onEvent = () => {}, onTime = () => {},
  }) {
    this.setRunning(true);
    this.tell("waking", "Starting workers");
    this.clear(workers);
    let onWorkers = true;
    let begun = null;
    let timer;
    const seconds = () => (begun === null ? 0 : Date.now() / 1000 - begun);
    const hooks = {
      drawsEach: view.drawsEach,
      draw: (values) => view.draw(values),
      notice: showNotice,
      tasks: onTasks,
      awake: (ready) => this.tell("waking", `Starting workers: ${ready} of ${workers} ready`),
      begin: (backend) => {
        onWorkers = backend === "web";
        this.tell("running", `Running ${describePlace(onWorkers, workers)}`);
        if (!onWorkers) this.timeline?.reset(1);
        begun = Date.now() / 1000;
        this.timeline?.begin(begun);
        timer = setInterval(() => {
          onTime(seconds());
          this.timeline?.advance(seconds());
        }, FRAME_MS);
      },
      event: (kind, index, worker, start, end, attempt, total, error) => {
        const event = { kind, index, worker, start, end, attempt, total, error };
        this.timeline?.event(event);
        onEvent(event);
      },
    };
    try {
      if (packages.length) await this.python.add(packages);
      const outcome = await this.python.run(source, name, workers, hooks, inputs);
      const took = seconds();
      if (outcome.state === "finished") {
        this.tell("finished", `Finished in ${took.toFixed(2)} s, ${describePlace(onWorkers, workers)}`);
      } else if (outcome.state === "stopped") {
        this.tell("stopped", "Stopped");
      } else {
        this.tell("failed", outcome.line ? `The program failed in line ${outcome.line}` : "The program failed");
        showError("What Python says about it:", outcome.text);
        this.editor.mark(outcome.line);
      }
      return { state: outcome.state, seconds: took, onWorkers };
    } catch (error) {
      this.tell("failed", "The page failed"); // not the program: a package that did not load, or a fault of ours
      showError("The page could not run the program:", String(error));
      throw error;
    } finally {
      clearInterval(timer);
      if (begun !== null) {
        onTime(seconds());
        this.timeline?.finish(seconds());
      }
      this.setRunning(false);
    }
  }

  setRunning(isBusy) {
    this.running = isBusy;
    find("run").disabled = isBusy;
    find("stop").disabled = !isBusy;
    this.onBusy(isBusy);
  }

  tell(state, text) {
    Object.assign(find("status"), { textContent: text }).dataset.state = state;
  }
}

function describePlace(onWorkers, workers) {
  if (!onWorkers) return "in this page alone, one task after the other";
  return workers === 1 ? "on one web worker" : `on ${workers} web workers`;
}

function showNotice(text) {
  find("notice").textContent = text;
  find("notice").hidden = false;
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
