// A textarea with line numbers and colours: the text lies transparent above a coloured copy of itself.

import { make } from "./dom.js";

const KEYWORDS =
  "False|None|True|and|as|assert|async|await|break|class|continue|def|del|elif|else|except|finally|for|from|" +
  "global|if|import|in|is|lambda|nonlocal|not|or|pass|raise|return|try|while|with|yield";
const TOKENS = new RegExp(
  [
    "(?<comment>#.*)",
    String.raw`(?<string>(?<!\w)[bfrtuBFRTU]{0,2}(?:"""[^]*?(?:"""|$)|'''[^]*?(?:'''|$)|"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?))`,
    String.raw`(?<defined>(?<=\b(?:def|class)\s+)\w+)`,
    `(?<keyword>\\b(?:${KEYWORDS})\\b)`,
    String.raw`(?<number>\b\d[\d_.]*(?:[eE][+-]?\d+)?\b)`,
  ].join("|"),
  "g",
);

export class Editor {
  constructor(root, { onChange, onRun }) {
    this.area = root.querySelector("textarea");
    this.colours = root.querySelector(".colours");
    this.numbers = root.querySelector(".numbers");
    this.area.addEventListener("input", () => {
      this.render();
      onChange(this.text);
    });
    this.area.addEventListener("scroll", () => this.follow());
    this.area.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      event.preventDefault();
      if (event.ctrlKey || event.metaKey) onRun();
      else this.breakLine();
    });
  }

  get text() {
    return this.area.value;
  }

  set text(text) {
    this.area.value = text;
    this.area.scrollTop = this.area.scrollLeft = 0;
    this.render();
  }

  /** Mark the line of an error; none for null. */
  mark(line) {
    this.numbers.querySelector(".wrong")?.classList.remove("wrong");
    const number = line && this.numbers.children[line - 1];
    if (!number) return;
    number.classList.add("wrong");
    const middle = number.offsetTop - this.area.clientHeight / 2;
    this.area.scrollTop = Math.max(0, middle);
  }

  /** Begin a line as deep as the last one, deeper after a colon. */
  breakLine() {
    const before = this.text.slice(0, this.area.selectionStart);
    const line = before.slice(before.lastIndexOf("\n") + 1);
    const indent = line.match(/^ */)[0] + (/:\s*(#.*)?$/.test(line) ? "    " : "");
    document.execCommand("insertText", false, `\n${indent}`); // the one way that keeps undo
  }

  render() {
    const count = this.text.split("\n").length;
    this.numbers.replaceChildren(
      ...Array.from({ length: count }, (_, i) => make("span", {}, `${i + 1}\n`)),
    );
    this.colours.replaceChildren(...colour(this.text), "\n");
    this.follow();
  }

  follow() {
    const { scrollLeft, scrollTop } = this.area;
    this.colours.style.transform = `translate(${-scrollLeft}px, ${-scrollTop}px)`;
    this.numbers.style.transform = `translateY(${-scrollTop}px)`;
  }
}

function* colour(text) {
  let end = 0;
  for (const token of text.matchAll(TOKENS)) {
    yield text.slice(end, token.index);
    const kind = Object.keys(token.groups).find((name) => token.groups[name] !== undefined);
    yield make("span", { className: kind }, token[0]);
    end = token.index + token[0].length;
  }
  yield text.slice(end);
}
