// node pyodide_run.mjs SCRIPT [--backend NAME] [--n-jobs N] [--dist FOLDER]
// Runs a Python script in Pyodide under node: its output on stdout, its seconds on the last line of stderr.

import { readFileSync } from "node:fs";
import { basename, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { runScript } from "./run_script.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    backend: { type: "string" },
    "n-jobs": { type: "string" },
    dist: { type: "string", default: resolve(import.meta.dirname, "../build/pyodide") },
  },
});
if (positionals.length !== 1) {
  console.error("usage: node pyodide_run.mjs SCRIPT [--backend NAME] [--n-jobs N] [--dist FOLDER]");
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
    nJobs: Number(values["n-jobs"] ?? 0),
  });
  process.stdout.write(output);
  process.stderr.write(`seconds: ${seconds.toFixed(3)}\n`);
} catch (error) {
  process.stderr.write(`${error.message}\n`); // left to node it would come with a line of minified source
  status = 1;
}
process.exit(status); // workers that are kept for a next call would keep node alive
