"""Takes the figures from Chromium: the census on pools of one and of two Web Workers, in turns, and what workers cost.

Writes `browser.json`, whose format is in `browser.py`; `run.py` puts it on the page. Needs the Pyodide distribution
(`make setup`) and Debian's chromium and chromedriver, and says so where they are missing.
"""

import json
import sys
import time
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "tools"))

from demo_table import SCRIPT, chromium_is_here, chromium_page  # noqa: E402  tools is a folder of scripts

from browser_workers import measure  # noqa: E402  in this folder, which is on the path for a script of it

ASKED = 1.8
POOLS = (1, 2)
ROUNDS = 7

PREPARE = """
const [source, done] = arguments;
try {
    const { loadPyodide, version } = await import("/pyodide/pyodide.mjs");
    const python = await loadPyodide({ indexURL: location.origin + "/pyodide/" });
    await python.loadPackage(["jobspan", "stdlib-sources"], { messageCallback() {} });
    python.globals.set("source", source);
    await python.runPythonAsync(`
import time
from jobspan import Parallel, delayed
script = {"__name__": "census"}
exec(source, script)

async def census(workers):
    start = time.perf_counter()
    parallel = Parallel(n_jobs=workers, backend="web")
    rows = await parallel.gather(delayed(script["census"])(path) for path in script["stdlib_modules"]())
    assert len(rows) > 100
    return time.perf_counter() - start
`);
    globalThis.census = python.globals.get("census");
    done({ version });
} catch (error) {
    done({ error: String(error) });
}
"""

MEASURE = "const [workers, done] = arguments; census(workers).then(done, (error) => done(String(error)));"


def thread_seconds(process: psutil.Process) -> dict[tuple[int, int], float]:
    """CPU seconds of every thread of every process below `process`."""
    found = {}
    for child in process.children(recursive=True):
        try:
            for thread in child.threads():
                found[child.pid, thread.id] = thread.user_time + thread.system_time
        except psutil.NoSuchProcess:
            continue
    return found


def main() -> int:
    """Return 1 where the figures cannot be taken."""
    if not chromium_is_here():
        sys.stderr.write("No figures from the browser: chromium and chromedriver are not on PATH.\n")
        return 1
    runs: dict[int, dict[str, list[float]]] = {pool: {"seconds": [], "cpu_seconds": []} for pool in POOLS}
    with chromium_page() as driver:
        told = driver.execute_async_script(PREPARE, SCRIPT.read_text(encoding="utf-8"))
        if "error" in told:
            sys.stderr.write(f"The page could not be prepared: {told['error']}\n")
            return 1
        browser = psutil.Process(driver.service.process.pid)
        for round_ in range(ROUNDS + 1):
            for pool in POOLS:
                before = thread_seconds(browser)
                seconds = driver.execute_async_script(MEASURE, pool)
                after = thread_seconds(browser)
                if not isinstance(seconds, float | int):
                    sys.stderr.write(f"The census failed: {seconds}\n")
                    return 1
                if round_:  # the first warms the workers up
                    runs[pool]["seconds"].append(seconds)
                    busiest = max(after[thread] - before.get(thread, 0.0) for thread in after)
                    runs[pool]["cpu_seconds"].append(busiest)
                    sys.stdout.write(f"{pool} workers: {seconds:.2f} s, busiest thread {busiest:.2f} CPU s\n")
                    sys.stdout.flush()
        where = f"{driver.capabilities['browserName']} {driver.capabilities['browserVersion'].partition('.')[0]}"
    told = {
        "where": where,
        "pyodide": told["version"],
        "program": "census of the standard library on warm workers",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "asked": ASKED,
        "runs": [{"workers": pool, **figures} for pool, figures in runs.items()],
        "costs": measure(),
    }
    (HERE / "browser.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
