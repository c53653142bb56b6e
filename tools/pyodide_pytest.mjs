// node pyodide_pytest.mjs REPORT.xml PATH... : runs ordinary pytest folders inside Pyodide, from the
// repository's folder. The library is the distribution's wheel; only the tests are read from the folder.

import { mkdirSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [report, ...paths] = process.argv.slice(2);
if (!paths.length) {
  console.error("usage: node pyodide_pytest.mjs REPORT.xml PATH...: no path of tests was given");
  process.exit(2);
}

const indexURL = resolve("build/pyodide") + "/";
const { loadPyodide } = await import(pathToFileURL(indexURL + "pyodide.mjs"));
const python = await loadPyodide({ indexURL, env: { HOME: "/home/pyodide", PYTHONDONTWRITEBYTECODE: "1" } });
await python.loadPackage(["jobspan", "pytest", "hypothesis", "tblib"], { messageCallback() {} });
mkdirSync(dirname(report), { recursive: true });
python.mountNodeFS("/repository", process.cwd());
const options = ["-q", "-p", "no:cacheprovider", `--junitxml=${report}`];
python.globals.set("arguments", python.toPy([...options, ...paths]));
const status = await python.runPythonAsync(`
import os, pytest
os.chdir("/repository")
int(pytest.main(arguments))
`);
process.exit(status);
