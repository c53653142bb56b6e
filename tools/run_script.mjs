// Runs a Python script in Pyodide, in node and in a page alike: boot, packages, then the unchanged script
// under the chosen backend. Returns its output and its seconds: boot not counted, the workers' boot counted.

const RUN = `
import sys, warnings
from pyodide.code import eval_code_async
from jobspan import FallbackWarning, parallel_config

warnings.simplefilter("error", FallbackWarning)  # what says web was run by web workers
sys.argv = [script_name]
with parallel_config(**config.to_py()):
    await eval_code_async(script, {"__name__": "__main__"}, filename=script_name)
`;

export async function runScript({ loadPyodide, indexURL, name, source, backend, nJobs }) {
  const lines = [];
  const python = await loadPyodide({ indexURL, stdout: (line) => lines.push(line) });
  await python.loadPackage(["jobspan", "stdlib-sources"], { messageCallback() {} });
  const config = {};
  if (backend) config.backend = backend;
  if (nJobs) config.n_jobs = nJobs;
  python.globals.set("script_name", name);
  python.globals.set("script", source);
  python.globals.set("config", config);
  const start = performance.now();
  await python.runPythonAsync(RUN);
  return { output: lines.map((line) => line + "\n").join(""), seconds: (performance.now() - start) / 1000 };
}
