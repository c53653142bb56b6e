// Boots Pyodide in this page and hands out the functions of page.py.

// The folder that holds pyodide.mjs, pyodide-lock.json and the wheels: on this server, beside the page.
const DISTRIBUTION = new URL("./pyodide/", import.meta.url).href;
const PACKAGES = ["jobspan", "cloudpickle"];

export async function bootPython(print) {
  const [{ loadPyodide }, source] = await Promise.all([
    import(`${DISTRIBUTION}pyodide.mjs`),
    fetchText("page.py"),
  ]);
  const python = await loadPyodide({
    indexURL: DISTRIBUTION,
    packages: PACKAGES,
    stdout: print,
    stderr: print,
  });
  const names = python.toPy({ __name__: "page" });
  python.runPython(source, { globals: names, filename: "page.py" });
  return {
    run: names.get("run"),
    stop: names.get("stop"),
    cpus: names.get("count_cpus")(),
    add: (packages) => python.loadPackage(packages, { messageCallback() {} }),
  };
}

export async function fetchText(path) {
  const response = await fetch(new URL(path, import.meta.url));
  if (!response.ok) throw new Error(`${path} could not be loaded: ${response.status} ${response.statusText}`);
  return response.text();
}
