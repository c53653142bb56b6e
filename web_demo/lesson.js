// A lesson: its program in the editor, its controls as names of the program, its own picture.

import { find } from "./dom.js";
import { Lab } from "./lab.js";
import { fetchText } from "./python.js";

const MOST_WORKERS = 4; // by default: each takes some 65 MB of a phone's memory

/**
 * Set up the page. name: of the program. view: its picture, with an element, draw(values), drawsEach, and where it
 * has them reset(), onTasks(names), onEvent(event), onBusy(isBusy) and onEnd(outcome). inputs(): names that the program
 * finds besides those of the controls. Returns { lab, run }, run(more) being what Run does, with more of those.
 */
export async function startLesson(name, view, { inputs = () => ({}) } = {}) {
  let original = "";
  const lab = new Lab({
    onRun: () => run(),
    onEdit(text) {
      find("reset").disabled = text === original;
      lab.editor.mark(null);
    },
    onReset: () => lab.editor.replace(original),
    onBusy: (isBusy) => view.onBusy?.(isBusy),
  });

  async function run(more = {}) {
    if (lab.running || !lab.python) return;
    view.reset?.();
    const given = { ...readControls(), ...inputs(), ...more };
    const outcome = await lab.run({
      source: lab.editor.text,
      name: `${name}.py`,
      inputs: given,
      view,
      onTasks: view.onTasks?.bind(view),
      onEvent: view.onEvent?.bind(view),
    });
    view.onEnd?.({ ...outcome, workers: lab.workers, given });
  }

  const wanted = new URLSearchParams(location.hash.slice(1));
  lab.offerWorkers(Number(wanted.get("workers")), MOST_WORKERS);
  find("result").replaceChildren(view.element);
  await lab.boot(loadProgram());
  return { lab, run };

  async function loadProgram() {
    lab.editor.text = original = await fetchText(`lessons/${name}.py`);
    find("reset").disabled = true;
  }
}

/** The values of the controls that the program finds under their names. */
function readControls() {
  const inputs = {};
  for (const control of find("controls").elements) {
    if (!control.name || (control.type === "radio" && !control.checked)) continue;
    inputs[control.name] = control.dataset.kind === "number" && control.value !== "auto" ? Number(control.value) : control.value;
  }
  return inputs;
}
