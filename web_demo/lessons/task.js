// Lesson 1: a card for each task, from waiting to its result.

import { make } from "../dom.js";
import { startLesson } from "../lesson.js";

const list = make("ol", { className: "task-cards" });
let cards = [];

const view = {
  element: make("div", {}, make("p", { className: "hint" }, "Press Run: each task becomes a card."), list),
  drawsEach: true,
  reset() {
    cards = [];
    list.replaceChildren();
  },
  onTasks(names) {
    this.element.querySelector(".hint").hidden = true;
    cards = names.map((name) => {
      const state = make("span", { className: "state" }, "waiting");
      const value = make("b", {}, "");
      return { state, value, card: make("li", { className: "waiting" }, make("code", {}, name), state, value) };
    });
    list.replaceChildren(...cards.map(({ card }) => card));
  },
  onEvent({ kind, index, worker }) {
    if (!cards[index]) return; // the program changed its list meanwhile
    const { card, state } = cards[index];
    card.className = kind === "started" ? "running" : kind;
    state.textContent = kind === "started" ? `running on ${worker}` : `${kind} by ${worker}`;
  },
  draw([results]) {
    results.forEach((result, i) => {
      if (cards[i]) cards[i].value.textContent = `→ ${result}`;
    });
  },
};

await startLesson("task", view);
