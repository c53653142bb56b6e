// What each program's draw(...) shows. A view is an element, draw(values), and drawsEach: whether every call
// counts (tiles of a picture) or only the latest (a state that replaces the one before).

import { make } from "./dom.js";

const number = new Intl.NumberFormat("en");

export const VIEWS = { census: makeCensus, mandelbrot: makeMandelbrot, pi: makePi };

function makeCensus() {
  const element = make("div", { className: "census" });
  element.innerHTML = `
    <p class="sum" hidden></p>
    <div class="columns">
      <div class="table" tabindex="0" role="group" aria-label="Modules by complexity"><table>
        <thead><tr><th scope="col">Most complex modules</th><th scope="col">complexity</th><th scope="col">lines</th></tr></thead>
        <tbody></tbody>
      </table></div>
      <ol class="kinds" aria-label="Most frequent kinds of syntax nodes"></ol>
    </div>`;
  const [sum, body, list] = [".sum", "tbody", ".kinds"].map((name) => element.querySelector(name));
  return {
    element,
    drawsEach: false,
    draw([rows, kinds]) {
      const modules = Object.entries(rows);
      const total = (key) => modules.reduce((all, [, row]) => all + row[key], 0);
      const nodes = Object.values(kinds).reduce((all, count) => all + count, 0);
      sum.hidden = false;
      sum.replaceChildren(
        ...[[modules.length, "modules"], [total("lines"), "lines"], [total("comments"), "comments"],
          [nodes, "nodes"]].map(([count, of]) => make("span", {}, make("b", {}, number.format(count)), ` ${of}`)),
      );
      const complex = modules.sort((a, b) => b[1].complexity - a[1].complexity).slice(0, 8);
      body.replaceChildren(...complex.map(([name, { complexity, lines }]) =>
        make("tr", {}, make("th", { scope: "row" }, name),
          ...[complexity, lines].map((count) => make("td", {}, number.format(count))))));
      const frequent = Object.entries(kinds).sort((a, b) => b[1] - a[1]).slice(0, 8);
      list.replaceChildren(...frequent.map(([kind, count]) => {
        const bar = make("i");
        bar.style.width = `${(100 * count) / frequent[0][1]}%`;
        return make("li", {}, make("span", {}, kind), make("span", { className: "count" }, number.format(count)), bar);
      }));
    },
  };
}

// From deep blue at the points that run away at once, to paper and amber at those that take long.
const STOPS = [[16, 32, 74], [38, 92, 158], [112, 178, 205], [244, 239, 222], [232, 167, 66], [140, 52, 24]];
const INSIDE = [10, 14, 28];

/** Red, green, blue of a point that ran away after so many steps; 0 means never. */
export function colourOf(steps) {
  if (!steps) return INSIDE;
  const place = Math.min(Math.log2(steps) / 7, 0.999) * (STOPS.length - 1);
  const [low, high] = [STOPS[Math.floor(place)], STOPS[Math.floor(place) + 1]];
  return low.map((from, i) => Math.round(from + (high[i] - from) * (place % 1)));
}

function makeMandelbrot() {
  const canvas = make("canvas", { width: 480, height: 320, ariaLabel: "The Mandelbrot set" });
  const element = make("figure", { className: "mandelbrot" }, canvas);
  canvas.setAttribute("role", "img");
  const context = canvas.getContext("2d");
  const palette = new Map();
  return {
    element,
    drawsEach: true,
    draw([[left, top, size, steps], width, height]) {
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      const tile = context.createImageData(size, Math.ceil(steps.length / size));
      steps.forEach((count, i) => {
        if (!palette.has(count)) palette.set(count, [...colourOf(count), 255]);
        tile.data.set(palette.get(count), 4 * i);
      });
      context.putImageData(tile, left, top);
    },
  };
}

function makePi() {
  const element = make("div", { className: "pi" });
  element.innerHTML = `
    <p class="estimate"><span>π ≈</span> <b>–</b></p>
    <p class="darts">no darts yet</p>
    <svg role="img" aria-label="The estimate after each batch, with π as a line" viewBox="0 0 600 180"
      preserveAspectRatio="none"><line class="pi-line" x1="0" x2="600"/><polyline fill="none"/></svg>
    <p class="scale"><span>first batch</span><span>dashed: π</span><span>last batch</span></p>`;
  const [value, darts, line, path] = ["b", ".darts", "line", "polyline"].map((name) => element.querySelector(name));
  const points = [];
  return {
    element,
    drawsEach: true,
    draw([estimate, thrown]) {
      points.push([thrown, estimate]);
      value.textContent = estimate.toFixed(6);
      const off = estimate - Math.PI;
      darts.textContent =
        `${number.format(thrown)} darts; ${Math.abs(off).toFixed(6)} too ${off < 0 ? "low" : "high"}`;
      const all = [Math.PI - 0.0002, Math.PI + 0.0002, ...points.map(([, value]) => value)];
      const [low, high] = [Math.min(...all), Math.max(...all)];
      const y = (value) => 6 + (168 * (high - value)) / (high - low);
      line.setAttribute("y1", y(Math.PI));
      line.setAttribute("y2", y(Math.PI));
      path.setAttribute("points", points.map(([x, value]) => `${((600 * x) / thrown).toFixed(1)},${y(value).toFixed(1)}`).join(" "));
    },
  };
}
