"""Run the census everywhere Python runs, unchanged, and print one table of times and outputs.

Invariant: each row is a fresh process or page that runs the script twice: first with the start of its workers, then
on warm ones; the boot of the interpreter is not counted. The exit status is 1 if any output differs or any run fails.
"""

import contextlib
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import serve
from selenium import webdriver
from selenium.common.exceptions import WebDriverException

from jobspan import cpu_count

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "docs/examples/stdlib_census.py"
NODE = ROOT / "node_modules/.bin/node"
TIME_LIMIT_S = 300

# Run by `python -c`: the unchanged script as __main__, under the chosen backend.
NATIVE = """
import runpy, sys, time, warnings
from jobspan import FallbackWarning, parallel_config
warnings.simplefilter("error", FallbackWarning)  # a row that says loky was run by loky
script, backend = sys.argv[1:]
seconds = []
for _ in range(2):
    start = time.perf_counter()
    with parallel_config(backend=backend):
        runpy.run_path(script, run_name="__main__")
    seconds.append(f"{time.perf_counter() - start:.3f}")
print("seconds:", *seconds, file=sys.stderr)
"""

IN_PAGE = """
const [name, source, backend, done] = arguments;
try {
    const { loadPyodide } = await import("/pyodide/pyodide.mjs");
    const { runScript } = await import("/run_script.mjs");
    const indexURL = location.origin + "/pyodide/";
    done(await runScript({ loadPyodide, indexURL, name, source, backend }));
} catch (error) {
    done({ error: String(error) });
}
"""

CHROMIUM_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


class RunError(Exception):
    """One place could not run the script."""


class Run(NamedTuple):
    """What a script printed twice, and the seconds of both times."""

    output: str
    first_s: float
    again_s: float


def run_command(command: list[object]) -> Run:
    """Run a command that prints its seconds on the last line of stderr."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, timeout=TIME_LIMIT_S
    )
    *_, last = done.stderr.splitlines() or [""]
    if done.returncode or not last.startswith("seconds: "):
        raise RunError(f"exit status {done.returncode}\n{done.stderr}")
    return Run(done.stdout, *map(float, last.removeprefix("seconds: ").split()))


def run_natively(backend: str) -> Run:
    return run_command([sys.executable, "-c", NATIVE, SCRIPT, backend])


def run_in_node(backend: str) -> Run:
    return run_command([NODE, ROOT / "tools/pyodide_run.mjs", SCRIPT, "--backend", backend])


@contextlib.contextmanager
def chromium_page(
    site: Path | None = None, beside: Mapping[str, str] | None = None, *, isolate: bool = False, cached: bool = False
) -> Iterator[webdriver.Chrome]:
    """Open headless Chromium on a page of `site`, with files `beside`; or on a blank one, with Pyodide and a runner."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, contextlib.ExitStack() as stack:
        served = Path(folder) / "site"
        served.mkdir()
        if site is None:
            (served / "pyodide").symlink_to(ROOT / "build/pyodide")
            (served / "index.html").write_text("<!doctype html><title>blank</title>")
            shutil.copy(ROOT / "tools/run_script.mjs", served)
        else:
            for each in site.iterdir():
                (served / each.name).symlink_to(each.resolve())
        for name, text in (beside or {}).items():
            (served / name).write_text(text)
        address = stack.enter_context(serve.serving(served, isolate=isolate, cached=cached))
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for flag in (*CHROMIUM_FLAGS, f"--user-data-dir={folder}/profile"):
            options.add_argument(flag)
        service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
        driver = webdriver.Chrome(options=options, service=service)
        stack.callback(driver.quit)
        driver.set_script_timeout(TIME_LIMIT_S)
        driver.get(address)
        yield driver


def run_in_chromium(backend: str) -> Run:
    try:
        with chromium_page() as driver:
            result = driver.execute_async_script(IN_PAGE, SCRIPT.name, SCRIPT.read_text(), backend)
    except WebDriverException as error:
        raise RunError(f"Chromium: {error.msg}") from error
    if "error" in result:
        raise RunError(result["error"])
    return Run(result["output"], *result["seconds"])


def rows() -> Iterator[tuple[str, Callable[[str], Run], str]]:
    """Yield place, runner and backend; the others are compared with the first."""
    native = f"Python {platform.python_version()}"
    for backend in ("sequential", "threads", "loky"):
        yield native, run_natively, backend
    for place, runner in (("Pyodide, node", run_in_node), ("Pyodide, Chromium", run_in_chromium)):
        for backend in ("sequential", "web"):
            yield place, runner, backend


def chromium_is_here() -> bool:
    return all(shutil.which(name) for name in ("chromium", "chromedriver"))


def print_table() -> bool:
    """Print the table row by row; return whether every run gave the same output."""
    layout = "{:20} {:12} {:>7} {:>8} {:>8}  {}"
    print(layout.format("where", "backend", "workers", "seconds", "warm", "same output?"))
    expected = None
    failures = []
    for place, runner, backend in rows():
        workers = 1 if backend == "sequential" else cpu_count()  # the script says n_jobs=-1
        if runner is run_in_chromium and not chromium_is_here():
            print(layout.format(place, backend, workers, "-", "-", "skipped: no chromium and chromedriver on PATH"))
            continue
        try:
            run = runner(backend)
        except (RunError, subprocess.TimeoutExpired) as error:
            failures.append(f"{place}, {backend}: {error}")
            print(layout.format(place, backend, workers, "-", "-", "FAILED, see below"), flush=True)
            continue
        expected = expected or run.output
        same = run.output == expected
        if not same:
            failures.append(f"{place}, {backend} printed:\n{run.output}")
        seconds = f"{run.first_s:.2f}", f"{run.again_s:.2f}"
        print(layout.format(place, backend, workers, *seconds, "yes" if same else "NO"), flush=True)
    if expected:
        once = expected[: len(expected) // 2]
        print(f"\nThe output of {SCRIPT.relative_to(ROOT)}:\n\n{once}")
    for failure in failures:
        print(failure, file=sys.stderr)
    return not failures


if __name__ == "__main__":
    sys.exit(0 if print_table() else 1)
