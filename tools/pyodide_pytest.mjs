// node pyodide_pytest.mjs REPORT.xml PATH... : runs ordinary pytest folders inside Pyodide, from the
// repository's folder. The library is the distribution's wheel; only the tests are read from the folder. The
// environment's PYODIDE_WHEELS names a folder of wheels to have there as well.

import { mkdirSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
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
const more = process.env.PYODIDE_WHEELS;
const extractDir = python.runPython("import sysconfig; sysconfig.get_path('purelib')");
for (const name of more ? readdirSync(more).filter((name) => name.endsWith(".whl")) : []) {
  python.unpackArchive(new Uint8Array(readFileSync(join(more, name))), "wheel", { extractDir });
}
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
