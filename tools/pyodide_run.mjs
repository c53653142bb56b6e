// node pyodide_run.mjs [--once] [--backend NAME] [--dist FOLDER] SCRIPT [-- ARGUMENT...]
// Runs a Python script twice in Pyodide under node: output on stdout, the seconds of both on stderr's last line.

import { readFileSync } from "node:fs";
import { basename, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { runScript } from "./run_script.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    once: { type: "boolean", default: false },
    backend: { type: "string", default: "auto" },
    dist: { type: "string", default: resolve(import.meta.dirname, "../build/pyodide") },
  },
});
if (positionals.length < 1) {
  console.error("usage: node pyodide_run.mjs [--once] [--backend NAME] [--dist FOLDER] SCRIPT [-- ARGUMENT...]");
  process.exit(2);
}

const indexURL = resolve(values.dist) + "/";
const { loadPyodide } = await import(pathToFileURL(indexURL + "pyodide.mjs"));
let status = 0;
try {
  const { output, seconds } = await runScript({
    loadPyodide,
    indexURL,
    name: basename(positionals[0]),
    source: readFileSync(positionals[0], "utf8"),
    backend: values.backend,
    args: positionals.slice(1),
    times: values.once ? 1 : 2,
  });
  process.stdout.write(output);
  process.stderr.write(`seconds: ${seconds.map((s) => s.toFixed(3)).join(" ")}\n`);
} catch (error) {
  process.stderr.write(`${error.message}\n`); // left to node it would come with a line of minified source
  status = 1;
}
process.exit(status); // workers that are kept for a next call would keep node alive
