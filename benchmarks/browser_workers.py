"""What Web Workers cost in Chromium: their start, their memory, the way to them and back; peers are in the same page.

`browser_run.py` calls `measure` and keeps what it returns in `browser.json`; `browser.py` makes rows of it.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "tools"))

from demo_table import chromium_page  # noqa: E402  tools is a folder of scripts

LOAD = """
const [program, done] = arguments;
(async () => {
    const { loadPyodide } = await import("/pyodide/pyodide.mjs");
    const python = await loadPyodide({ indexURL: location.origin + "/pyodide/" });
    await python.loadPackage(["jobspan", "joblib"], { messageCallback() {} });
    return (await python.runPythonAsync(program)).toJs({ dict_converter: Object.fromEntries });
})().then(done, (error) => done({ error: String(error) }));
"""

# Everything in turns, so that what else the machine does is shared by all.
PROGRAM = """
import asyncio, sys, time
from pickle import PickleBuffer
from time import perf_counter
from pyodide.code import run_js

def forget(name):
    for module in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[module]

figures = {name: [] for name in ("import jobspan", "import joblib", "plain", "image", "trip", "result", "argument")}
for _ in range(3):
    for name in ("joblib", "jobspan"):
        forget(name)
        begin = perf_counter()
        __import__(name)
        figures["import " + name].append(perf_counter() - begin)

from jobspan import Parallel, delayed
from jobspan.backends.web import WebBackend
from jobspan.web import images

SIZE = 16 << 20
found = images.find
by_itself = run_js("({ next: async () => ({ image: null, makes: false }), take() {}, lose() {}, refuse() {} })")

class Block:
    # Its memory stays out of the pickle, as that of arrays of numpy does.

    def __init__(self, data):
        self.data = data

    def __reduce_ex__(self, protocol):
        return Block, (PickleBuffer(self.data),)

def give(size):
    return Block(bytearray(size))

def take(block):
    return len(block.data)

async def start(find):
    images.find = find
    backend = WebBackend()
    begin = perf_counter()
    await Parallel(n_jobs=1, backend=backend).gather([delayed(abs)(-1)])
    seconds = perf_counter() - begin
    backend.shutdown()
    return seconds

async def time_call(name, backend, task):
    begin = perf_counter()
    await Parallel(n_jobs=1, backend=backend).gather([task])
    figures[name].append(perf_counter() - begin)

await start(found)  # makes the image
for _ in range(9):
    figures["image"].append(await start(found))
    figures["plain"].append(await start(lambda url: by_itself))
images.find = found
backend = WebBackend()
data = Block(bytearray(SIZE))
for _ in range(30):
    await time_call("trip", backend, delayed(abs)(-1))
for _ in range(15):
    await time_call("result", backend, delayed(give)(SIZE))
    await time_call("argument", backend, delayed(take)(data))
two = Parallel(n_jobs=2, backend=backend)
await two.gather(delayed(abs)(i) for i in range(1000))
figures["trivial"] = []
for _ in range(5):
    begin = perf_counter()
    await two.gather(delayed(abs)(i) for i in range(50_000))
    figures["trivial"].append(50_000 / (perf_counter() - begin))
figures
"""

MEMORY = """
const [kind, count, done] = arguments;
(async () => {
    const url = location.origin + "/pyodide/";
    if (kind === "bare") {
        const script = `import { loadPyodide } from "${url}pyodide.mjs";
            const python = await loadPyodide({ indexURL: "${url}" }); postMessage("ready");`;
        const source = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
        globalThis.kept = [];
        for (let i = 0; i < count; i++) {
            const worker = new Worker(source, { type: "module" });
            kept.push(worker);
            await new Promise((resolve, reject) => { worker.onmessage = resolve; worker.onerror = reject; });
        }
    } else {
        const { loadPyodide } = await import(url + "pyodide.mjs");
        globalThis.python = await loadPyodide({ indexURL: url });
        await python.loadPackage("jobspan", { messageCallback() {} });
        await python.runPythonAsync(`from jobspan import web\\nif ${count}: await web.warm(${count})`);
    }
})().then(() => done(null), (error) => done(String(error)));
"""


def renderer_bytes(driver: Any) -> int:
    """The proportional memory of the browser's processes that run pages."""
    import psutil

    total = 0
    for child in psutil.Process(driver.service.process.pid).children(recursive=True):
        if "--type=renderer" in " ".join(child.cmdline()):
            total += child.memory_full_info().pss
    return total


def memory_of(kind: str, count: int) -> int:
    with chromium_page(cached=True) as driver:
        if error := driver.execute_async_script(MEMORY, kind, count):
            raise RuntimeError(error)
        driver.execute_async_script("setTimeout(arguments[0], 1500)")  # until the image is written, and garbage is gone
        return renderer_bytes(driver)


def row(name: str, value: float, unit: str, asked: float, *, at_least: bool = False, peer: str = "") -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "asked": asked, "at_least": at_least, "peer": peer}


def rows_of(plain: Mapping[str, list[float]], isolated: Mapping[str, list[float]]) -> Iterator[dict[str, Any]]:
    image, alone = median(plain["image"]), median(plain["plain"])
    yield row("a worker ready, from an image", image, "s", 0.3)
    yield row("beside a plain boot", alone / image, "x faster", 8, at_least=True, peer=f"{alone:.2f} s")
    yield row("round trip of one task", 1000 * min(plain["trip"]), "ms, the best of 30", 1)
    yield row("trivial tasks on two workers", median(plain["trivial"]), "per second", 50_000, at_least=True)
    for name in ("result", "argument"):
        yield row(f"16 MB as {name}, transferred", 16.8 / min(plain[name]), "MB/s", 800, at_least=True)
        yield row(f"16 MB as {name}, isolated page", 16.8 / min(isolated[name]), "MB/s", 1500, at_least=True)
    ours, joblib = min(plain["import jobspan"]), min(plain["import joblib"])
    yield row("import jobspan beside import joblib", ours / joblib, "of it", 1 / 8, peer=f"{joblib:.2f} s")


def measure() -> list[dict[str, Any]]:
    """Rows for `browser.json`."""
    figures = []
    # Browsers keep the files of Pyodide's own host for a year.
    for isolate in (False, True):
        with chromium_page(isolate=isolate, cached=True) as driver:
            told = driver.execute_async_script(LOAD, PROGRAM)
            if "error" in told:
                raise RuntimeError(told["error"])
            figures.append(told)
    rows = list(rows_of(*figures))
    count = 4
    ours = (memory_of("jobspan", count) - memory_of("jobspan", 0)) / count / 1e6
    bare = (memory_of("bare", count + 1) - memory_of("bare", 1)) / count / 1e6
    rows.append(row("memory of a worker beyond Pyodide's own", ours - bare, "MB", 45, peer=f"{bare:.0f} MB"))
    (wheel,) = (ROOT / "build/wheels/jobspan").glob("*.whl")
    rows.append(row("the wheel", wheel.stat().st_size / 1000, "kB", 150))
    return rows


if __name__ == "__main__":
    for each in measure():
        print(f"{each['name']:45} {each['value']:10.3f} {each['unit']} (asked {each['asked']:.4g}) {each['peer']}")
