// Runs a Python script in Pyodide, in node and in a page alike: boot, packages, then the unchanged script
// under the chosen backend, twice unless `times` says otherwise. Returns its output and the seconds of each time:
// without the interpreter's boot, and the first time with that of the workers.

const RUN = `
import sys, warnings
from pyodide.code import eval_code_async
from jobspan import FallbackWarning, parallel_config

warnings.simplefilter("error", FallbackWarning)  # what says web was run by web workers
sys.argv = [script_name, *script_args]
with parallel_config(backend=backend):
    await eval_code_async(script, {"__name__": "__main__"}, filename=script_name)
`;

export async function runScript({ loadPyodide, indexURL, name, source, backend, args = [], times = 2 }) {
  const lines = [];
  const python = await loadPyodide({ indexURL, stdout: (line) => lines.push(line) });
  await python.loadPackage(["jobspan", "stdlib-sources"], { messageCallback() {} });
  python.globals.set("script_name", name);
  python.globals.set("script_args", args);
  python.globals.set("script", source);
  python.globals.set("backend", backend);
  const seconds = [];
  for (let i = 0; i < times; i++) {
    const start = performance.now();
    await python.runPythonAsync(RUN);
    seconds.push((performance.now() - start) / 1000);
  }
  return { output: lines.map((line) => line + "\n").join(""), seconds };
}
