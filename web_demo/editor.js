// The editor: CodeMirror with Python's colours, a mark for the line of an error, and a way out by keyboard.

import {
  Decoration, EditorState, EditorView, HighlightStyle, StateEffect, StateField, bracketMatching, defaultKeymap,
  drawSelection, highlightActiveLine, history, historyKeymap, indentOnInput, indentUnit, indentWithTab, keymap,
  lineNumbers, python, syntaxHighlighting, tags,
} from "./vendor/codemirror.js";

// The colours themselves are the style sheet's, for light and dark.
const COLOURS = HighlightStyle.define([
  { tag: [tags.keyword, tags.operatorKeyword, tags.bool, tags.null], class: "keyword" },
  { tag: [tags.string, tags.special(tags.string)], class: "string" },
  { tag: tags.number, class: "number" },
  { tag: tags.comment, class: "comment" },
  { tag: [tags.definition(tags.variableName), tags.definition(tags.function(tags.variableName)), tags.className], class: "defined" },
]);

const setWrong = StateEffect.define();
const wrongLine = StateField.define({
  create: () => Decoration.none,
  update(marks, change) {
    for (const effect of change.effects) {
      if (effect.is(setWrong)) {
        return effect.value === null ? Decoration.none : Decoration.set(
          Decoration.line({ class: "wrong", attributes: { "aria-invalid": "true" } }).range(effect.value));
      }
    }
    return marks.map(change.changes);
  },
  provide: (field) => EditorView.decorations.from(field),
});

export class Editor {
  constructor(parent, { onChange, onRun }) {
    this.onChange = onChange;
    this.extensions = [
      lineNumbers(), history(), drawSelection(), highlightActiveLine(), bracketMatching(), indentOnInput(),
      indentUnit.of("    "), python(), syntaxHighlighting(COLOURS), wrongLine,
      EditorView.contentAttributes.of({ tabindex: "0", "aria-labelledby": "code-title", "aria-describedby": "code-hint" }),
      keymap.of([
        { key: "Mod-Enter", run: () => (onRun(), true) },
        { key: "Ctrl-Enter", run: () => (onRun(), true) },
        indentWithTab, ...defaultKeymap, ...historyKeymap,
      ]),
      EditorView.updateListener.of((update) => {
        if (update.docChanged) this.onChange(this.text);
      }),
    ];
    this.view = new EditorView({ parent, extensions: this.extensions });
  }

  get text() {
    return this.view.state.doc.toString();
  }

  /** Another text, with a history of its own. */
  set text(text) {
    this.view.setState(EditorState.create({ doc: text, extensions: this.extensions }));
  }

  /** Another text, as if it had been typed: undo brings the old one back. */
  replace(text) {
    this.view.dispatch({ changes: { from: 0, to: this.view.state.doc.length, insert: text } });
  }

  /** Mark the line of an error, and show it; none for null. */
  mark(line) {
    const { doc } = this.view.state;
    const at = line && line <= doc.lines ? doc.line(line).from : null;
    const effects = [setWrong.of(at)];
    if (at !== null) effects.push(EditorView.scrollIntoView(at, { y: "center" }));
    this.view.dispatch({ effects });
  }
}
