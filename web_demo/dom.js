// Makes and finds elements.

const SVG = "http://www.w3.org/2000/svg";

export const find = (id) => document.getElementById(id);

/** An element with properties and children; strings become text. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** An element of a drawing with attributes and children. */
export function draw(tag, attributes = {}, ...children) {
  const element = place(document.createElementNS(SVG, tag), attributes);
  element.append(...children);
  return element;
}

/** Set attributes. */
export function place(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** Call render(width) now and whenever the width of a drawing changes; returns how to call it again. */
export function fit(svg, height, render) {
  const again = () => {
    const width = svg.clientWidth;
    if (!width) return; // not on the page yet
    place(svg, { viewBox: `0 0 ${width} ${height}`, height });
    render(width);
  };
  new ResizeObserver(again).observe(svg);
  return again;
}

/** A row of a table; its first cell is its heading. */
export function row([heading, ...cells]) {
  return make("tr", {}, make("th", { scope: "row" }, String(heading)), ...cells.map((cell) => make("td", {}, String(cell))));
}

/** A table, folded away, that says in numbers what a picture shows; fill() replaces its rows. */
export function foldedTable(summary, headings) {
  const body = make("tbody");
  const head = make("tr", {}, ...headings.map((heading) => make("th", { scope: "col" }, heading)));
  const scroll = make("div", { className: "scroll", tabIndex: 0, role: "group", ariaLabel: summary },
    make("table", {}, make("thead", {}, head), body));
  const element = make("details", { className: "as-table" }, make("summary", {}, summary), scroll);
  return { element, fill: (rows) => body.replaceChildren(...rows.map(row)) };
}
