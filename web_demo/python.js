// Boots Pyodide in this page and hands out the functions of page.py. A page loads this module first, so that Python boots
// while the editor is still on its way.

// The folder that holds pyodide.mjs, pyodide-lock.json and the wheels: on this server, beside the page.
const DISTRIBUTION = new URL("./pyodide/", import.meta.url).href;
const PACKAGES = ["jobspan", "cloudpickle"];

let hear = () => {}; // what Python prints while it boots is of no interest

/** Have a function called with each line that Python prints. */
export function onPrint(listener) {
  hear = listener;
}

async function bootPython() {
  const print = (line) => hear(line);
  const [{ loadPyodide }, source] = await Promise.all([
    import(`${DISTRIBUTION}pyodide.mjs`),
    fetchText("page.py"),
  ]);
  const python = await loadPyodide({ indexURL: DISTRIBUTION, stdout: print, stderr: print });
  const add = (packages) => python.loadPackage(packages, { messageCallback() {} });
  await add(PACKAGES);
  const names = python.toPy({ __name__: "page" });
  python.runPython(source, { globals: names, filename: "page.py" });
  return { run: names.get("run"), stop: names.get("stop"), add };
}

export async function fetchText(path) {
  const response = await fetch(new URL(path, import.meta.url));
  if (!response.ok) throw new Error(`${path} could not be loaded: ${response.status} ${response.statusText}`);
  return response.text();
}

/** The page's Python, as soon as it is there. */
export const booting = bootPython();
booting.catch(() => {}); // whoever awaits it hears of a failure, maybe later
