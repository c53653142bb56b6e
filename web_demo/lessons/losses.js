// Lesson 6: a button that ends a worker as the browser would, and what became of its task.

import { find, make } from "../dom.js";
import { startLesson } from "../lesson.js";

const workers = new Map(); // by the name that jobspan gives a worker in the first message to it
globalThis.Worker = class extends Worker {
  postMessage(message, ...rest) {
    if (message?.type === "init") workers.set(message.name, this);
    super.postMessage(message, ...rest);
  }
};

const result = make("p", { className: "estimate" }, make("span", {}, "Sum of all digits: "), make("b", {}, "–"));
const log = make("ol", { id: "log" });
const kill = find("kill");
const running = new Map(); // what each worker is on: the task's index
let isBusy = false;

kill.addEventListener("click", () => {
  const [name, index] = [...running].at(-1);
  running.delete(name);
  offerKill();
  tell(`You killed ${name} while it was at task ${index}.`);
  workers.get(name).terminate();
});

function offerKill() {
  // Without locks, which browsers have for https and this computer only, nobody hears of a worker's end.
  kill.disabled = !isBusy || running.size === 0 || !navigator.locks;
}

function tell(text) {
  log.append(make("li", {}, text));
}

const view = {
  element: make("div", {}, result, make("div", { className: "log", role: "log", ariaLabel: "What happened" }, log)),
  drawsEach: true,
  reset() {
    running.clear();
    log.replaceChildren();
    result.querySelector("b").textContent = "–";
  },
  onBusy(isNowBusy) {
    isBusy = isNowBusy;
    if (!isBusy) running.clear();
    offerKill();
  },
  onEvent({ kind, index, worker, attempt }) {
    if (kind === "started") {
      running.set(worker, index);
      if (attempt > 1) tell(`Task ${index} runs again, on ${worker}: attempt ${attempt}.`);
    } else if (running.get(worker) === index) {
      running.delete(worker);
    }
    if (kind === "lost") tell(`${worker} died, and task ${index} was lost.`);
    if (kind === "retried") tell(`Task ${index} will be run again, as soon as a worker is free.`);
    offerKill();
  },
  draw([sum, count]) {
    result.querySelector("b").textContent = new Intl.NumberFormat("en").format(sum);
    tell(`All ${count} tasks are done.`);
  },
};

if (!navigator.locks) tell("To kill workers, this page must come from https, or from this computer.");
await startLesson("losses", view);
