"""jobspan in JupyterLite, in Chromium and Firefox: by the kernel API, and by what a user sees and clicks in a notebook.

Invariant: one Chromium, few kernels; each test uses the kernel that the one before it has left, with names of its own.
"""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from firefox import Firefox
from lite import ROOT, TIME_LIMIT_S, Lite, Notebook, browsing, hosts
from page_driver import serving
from selenium.webdriver.common.by import By

SITE = ROOT / "build/jupyterlite/site"
EXAMPLE = ROOT / "docs/examples/cross_validation.ipynb"
NO_STACK_SWITCHING = "delete WebAssembly.Suspending; delete WebAssembly.promising;"
ELSEWHERE = "elsewhere.invalid"
ASK_ELSEWHERE = """
const [url, done] = arguments;
const make = (script) => `new Worker(URL.createObjectURL(new Blob([${JSON.stringify(script)}])))`;
const asks = `fetch(${JSON.stringify(url)}).catch(() => self.postMessage("asked"))`;
eval(make(`${make(asks)}.onmessage = () => self.postMessage("asked")`)).onmessage = () => done();
"""
KINDS = {"plain": [], "isolated": ["--isolate"], "without JSPI": ["--prelude", NO_STACK_SWITCHING]}


@pytest.fixture(scope="module", autouse=True)
def _there_is_a_site(request: pytest.FixtureRequest) -> None:
    if "chrome" not in request.config.option.runtime:
        pytest.skip("JupyterLite is tested in Chromium: --rt chrome")
    if not (SITE / "index.html").is_file():
        pytest.fail(f"There is no site in {SITE}; `make jupyterlite` makes one.")


@pytest.fixture(scope="module")
def net_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("browser") / "net.json"


@pytest.fixture(scope="module")
def driver(net_log: Path) -> Iterator:
    with browsing(net_log) as driver:
        yield driver
        driver.execute_async_script(ASK_ELSEWHERE, f"http://{ELSEWHERE}/")
    # The second was asked by a worker in a worker: so whatever such ask for is written down.
    assert hosts(net_log) == {"127.0.0.1", ELSEWHERE}


@pytest.fixture(scope="module", params=KINDS)
def anywhere(request: pytest.FixtureRequest, driver) -> Iterator[Lite]:
    """A kernel of a site with and without cross-origin isolation, and without JSPI."""
    with serving(SITE, *KINDS[request.param]) as address:
        lite = Lite(driver, address)
        lite.open()
        assert driver.execute_script("return crossOriginIsolated") is (request.param == "isolated")
        yield lite


@pytest.fixture(scope="module")
def has_jspi(anywhere: Lite) -> bool:
    return anywhere.run("from pyodide.ffi import can_run_sync; print(can_run_sync())").text() == "True\n"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(SITE) as address:
        yield address


@pytest.fixture(scope="module")
def lite(driver, address: str) -> Lite:
    lite = Lite(driver, address)
    lite.open()
    return lite


NAMES = """
import time
from jobspan import Memory, Parallel, delayed

def slow(x):
    time.sleep(0.2)
    return x
"""


# With and without cross-origin isolation, and without JSPI


def test_a_bare_import_and_a_call_in_a_plain_cell(anywhere: Lite, has_jspi: bool) -> None:
    cell = anywhere.run(f"{NAMES}\nprint(Parallel(n_jobs=2)(delayed(pow)(x, 2) for x in range(6)))")
    assert cell.text() == "[0, 1, 4, 9, 16, 25]\n", cell.error
    if has_jspi:
        assert cell.text("stderr") == ""
    else:
        assert "cannot wait for workers without hanging (no JSPI here)" in cell.text("stderr")
        assert "await Parallel(...).gather(tasks)" in cell.text("stderr")


def test_an_awaited_call_runs_on_workers_everywhere(anywhere: Lite) -> None:
    cell = anywhere.run(
        """
        parallel = Parallel(n_jobs=2, progress=True)
        print(await parallel.gather(delayed(slow)(x) for x in range(8)))
        print({each.name for each in parallel.report().workers} <= {"web-1", "web-2"})
        """
    )
    assert cell.text() == "[0, 1, 2, 3, 4, 5, 6, 7]\nTrue\n", cell.error
    assert len(counts(cell)) >= 3


def test_progress_is_seen_while_the_cell_runs(anywhere: Lite, has_jspi: bool) -> None:
    anywhere.start("Parallel(n_jobs=2, progress=True)([delayed(slow)(x) for x in range(10)])")
    anywhere.wait("return cell.messages.filter(([type]) => type === 'update_display_data').length >= 2")
    assert not anywhere.driver.execute_script("return cell.over")
    cell = anywhere.end()
    finished = counts(cell)
    assert finished == sorted(finished)
    assert len(set(finished)) >= 4
    assert finished[-1] == 10
    buttons = [html for html in cell.shown() if "jobspan-stop" in html]
    assert len(buttons) == has_jspi  # what runs in the kernel alone could not hear it
    assert not has_jspi or cell.shown()[-1] == ""  # the button is gone


def counts(cell) -> list[int]:
    """How many tasks were finished, as the bar showed it."""
    return [int(found[1]) for html in cell.shown() if (found := re.search(r' value="(\d+)"', html))]


def test_a_traceback_shows_the_lines_of_cells(anywhere: Lite, has_jspi: bool) -> None:
    cell = anywhere.run(
        """
        def bad(x):
            if x == 3:
                raise ValueError("unlucky")  # of the task
            return x

        Parallel(n_jobs=2)(delayed(bad)(x) for x in range(6))  # of the call
        """
    )
    assert "ValueError: unlucky" in cell.error
    assert re.search("-> 6 Parallel.*# of the call", cell.error)
    assert 'raise ValueError("unlucky")  # of the task' in cell.error
    assert "task 3: bad(3)" in cell.error
    if has_jspi:
        assert re.search(r'line 3, in bad\n    raise ValueError\("unlucky"\)  # of the task', cell.error)


# What the browser keeps, and a kernel leaves behind


@pytest.fixture
def ready(lite: Lite) -> Lite:
    """A kernel that has the names."""
    cell = lite.run(NAMES)
    assert cell.error == ""
    return lite


CACHED = """
memory = Memory("cache", verbose=0)

@memory.cache
def cube(x):
    print("computed", x)
    return x**3
"""


def test_a_cache_outlives_the_page_with_what_workers_have_computed(ready: Lite) -> None:
    first = ready.run(f"{CACHED}\nprint(cube(2), cube(2), Parallel(n_jobs=2)(delayed(cube)(x) for x in (3, 4)))")
    assert sorted(first.text().splitlines()) == ["8 8 [27, 64]", "computed 2", "computed 3", "computed 4"], first.error
    ready.open()
    cell = ready.run(f"{NAMES}{CACHED}\nprint(cube(2), cube(3), Parallel(n_jobs=2)(delayed(cube)(x) for x in (3, 4)))")
    assert cell.text() == "8 27 [27, 64]\n", cell.error
    cell = ready.run("memory.clear(warn=False)\nprint(cube(2))\nimport os\nprint('cache' in os.listdir())")
    assert cell.text() == "computed 2\n8\nFalse\n", cell.error  # the drive, which is slow, has nothing of it


def test_a_call_that_a_reload_cuts_off_goes_on_from_its_checkpoint(ready: Lite) -> None:
    ready.start('Parallel(n_jobs=2, checkpoint="run.ckpt", progress=True)([delayed(slow)(x) for x in range(300)])')
    ready.wait("return cell.messages.some(([, content]) => / value=\"[1-9]/.test(content.data?.['text/html']))")
    ready.open()
    cell = ready.run(
        NAMES + 'parallel = Parallel(n_jobs=2, checkpoint="run.ckpt")\n'
        "print(parallel([delayed(slow)(x) for x in range(4)]), parallel.report().known)\n"
        "print(Parallel(checkpoint='run.ckpt')([delayed(slow)(x) for x in range(4)]))"
    )
    said = re.fullmatch(r"\[0, 1, 2, 3\] ([1-4])\n\[0, 1, 2, 3\]\n", cell.text())
    assert said, cell.text() + cell.error


def held_locks(lite: Lite) -> list[str]:
    """The locks that jobspan's workers hold while they live."""
    return lite.driver.execute_async_script(
        "const done = arguments[0]; navigator.locks.query().then(({ held }) => "
        "done(held.map(({ name }) => name).filter((name) => name.startsWith('jobspan worker'))))"
    )


def test_a_restart_ends_the_workers_and_the_next_kernel_has_its_own(ready: Lite) -> None:
    ready.start("print(Parallel(n_jobs=2, progress=True)([delayed(slow)(x) for x in range(300)]))")
    ready.wait("return cell.messages.length > 0")
    before = held_locks(ready)
    assert len(before) == 2
    ready.restart()
    while set(held_locks(ready)) & set(before):  # the browser takes them away a little later
        pass
    pip = ready.run("%pip install jobspan")
    assert pip.error == ""
    cell = ready.run(f"import jobspan\n{NAMES}\nprint(Parallel(n_jobs=2)(delayed(slow)(x) for x in range(4)))")
    assert cell.text() == "[0, 1, 2, 3]\n", cell.error
    after = held_locks(ready)
    assert len(after) == 2
    assert not set(before) & set(after)


# What workers find


def test_what_pip_installs_is_there_in_workers_that_run_already(ready: Lite) -> None:
    assert ready.run("print(Parallel(n_jobs=2)(delayed(abs)(x) for x in (-1, 1)))").text() == "[1, 1]\n"
    assert ready.run("%pip install sortedcontainers").error == ""
    cell = ready.run(
        """
        def in_order(x):
            from sortedcontainers import SortedList
            return list(SortedList([x, 1]))

        print(Parallel(n_jobs=2)(delayed(in_order)(x) for x in (0, 2)))
        """
    )
    assert cell.text() == "[[0, 1], [1, 2]]\n", cell.error


def test_modules_of_the_drive_are_there_in_workers(ready: Lite) -> None:
    cell = ready.run(
        """
        import importlib
        from pathlib import Path

        Path("helping.py").write_text("def more(x):\\n    return x + 100\\n")
        importlib.invalidate_caches()
        import helping

        print(Parallel(n_jobs=2)(delayed(helping.more)(x) for x in range(3)))
        """
    )
    assert cell.text() == "[100, 101, 102]\n", cell.error


def test_a_worker_that_dies_costs_one_attempt(ready: Lite) -> None:
    cell = ready.run(
        """
        import os
        from jobspan import attempt

        def deadly(x):
            if x == 2 and attempt() == 1:
                os._exit(1)
            return x

        lost = []
        note = lambda event: lost.append(event.index) if event.kind == "lost" else None
        print(Parallel(n_jobs=2, retries=1, batch_size=1, on_event=note)(delayed(deadly)(x) for x in range(5)), lost)
        """
    )
    assert cell.text() == "[0, 1, 2, 3, 4] [2]\n", cell.error


# The notebook as a user sees it

CELLS = [
    "import time\nfrom jobspan import Parallel, delayed\n\ndef slow(x):\n    time.sleep(0.2)\n    return x",
    "Parallel(n_jobs=2, progress=True)([delayed(slow)(x) for x in range(8)])",
    """try:
    Parallel(n_jobs=2, progress=True)([delayed(slow)(x) for x in range(1000)])
except KeyboardInterrupt as error:
    partial = error.partial
    raise""",
]


@pytest.fixture
def notebook(lite: Lite) -> Notebook:
    """A notebook that is open and was not run yet."""
    notebook = Notebook(lite.driver, lite.address)
    notebook.write("stopped.ipynb", CELLS)
    notebook.open("stopped.ipynb")
    return notebook


def test_the_button_below_a_cell_ends_its_run_and_keeps_what_was_finished(notebook: Notebook) -> None:
    notebook.run_cells()
    notebook.wait("return document.querySelectorAll('.jp-OutputArea progress').length === 2")
    notebook.wait("return document.querySelectorAll('.jp-OutputArea progress')[1].value >= 3")
    (button,) = notebook.driver.find_elements(By.CSS_SELECTOR, ".jobspan-stop")
    assert button.text == "Stop"
    button.click()
    notebook.wait_idle()
    assert notebook.driver.find_elements(By.CSS_SELECTOR, ".jobspan-stop") == []
    _, finished, stopped, _ = notebook.outputs()
    assert finished[-1]["data"]["text/plain"] == "[0, 1, 2, 3, 4, 5, 6, 7]"
    assert stopped[-1]["ename"] == "<class 'KeyboardInterrupt'>"
    notebook.add_cell("print({0, 1, 2} <= set(partial), len(partial) < 1000, Parallel(2)([delayed(slow)(7)]))")
    assert notebook.outputs()[-2][0]["text"] == "True True [7]\n"


def packages() -> dict:
    return json.loads((SITE / "static/pyodide/pyodide-lock.json").read_text())["packages"]


NO_NUMPY = "the example needs numpy for Pyodide, which npm does not have: set PYODIDE_WHEELS to a folder of it"


def test_the_example_prints_what_it_prints_natively(lite: Lite) -> None:
    if "numpy" not in packages():
        pytest.skip(NO_NUMPY)
    notebook = Notebook(lite.driver, lite.address)
    notebook.open(EXAMPLE.name)
    notebook.run_cells()
    check_example(notebook)


class NotebookInFirefox(Notebook):
    """What drives Firefox here knows no mouse: the command of the menu's "Run All Cells" is called."""

    def run_cells(self) -> None:
        run = "jupyterapp.commands.execute('notebook:run-all-cells')"
        self.driver.execute_async_script(f"{run}.then(() => arguments[0](null))")


def test_the_example_prints_the_same_in_firefox() -> None:
    if "numpy" not in packages():
        pytest.skip(NO_NUMPY)
    if shutil.which("firefox-esr") is None:
        pytest.skip("there is no firefox-esr on PATH")
    with serving(SITE) as address:
        driver = Firefox()
        try:
            driver.set_script_timeout(TIME_LIMIT_S)
            notebook = NotebookInFirefox(driver, address)
            notebook.open(EXAMPLE.name)
            notebook.run_cells()
            check_example(notebook)
        finally:
            driver.quit()


def check_example(notebook: Notebook) -> None:
    """Compare what is in the page, when all has run, with what is in the file: the native outputs."""
    notebook.wait_idle()
    cells = [cell for cell in json.loads(EXAMPLE.read_text())["cells"] if cell["cell_type"] == "code"]
    for cell, outputs in zip(cells, notebook.outputs(), strict=False):  # the last run has added an empty cell
        source = "".join(cell["source"])
        assert [each for each in outputs if each["output_type"] == "error"] == [], source
        assert stdout(outputs) == stdout(cell["outputs"]), source
        bars = [each for each in outputs if "<progress" in each.get("data", {}).get("text/html", "")]
        assert len(bars) == source.count("progress=True")


def stdout(outputs: list[dict]) -> str:
    return "".join("".join(each["text"]) for each in outputs if each.get("name") == "stdout")
