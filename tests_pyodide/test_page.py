"""The demo page, clicked through in Chromium, with and without cross-origin isolation.

Invariant: what the page shows is compared with the same program's result natively; after each test the browser
has logged no error and has loaded nothing from another host.
"""

import ast
import asyncio
import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from jobspan import parallel_config

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "web_demo"
TIME_LIMIT_S = 120
OVER = ("finished", "failed", "stopped")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1280,900"
)
# Any other host does not exist.
ALONE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
# As in a browser without JSPI, in the page and in the workers that it makes from blobs.
NO_STACK_SWITCHING = """
const remove = "delete WebAssembly.Suspending; delete WebAssembly.promising;";
(0, eval)(remove);
globalThis.Blob = class extends Blob {
  constructor(parts, options) {
    super(options?.type === "text/javascript" ? [remove, ...parts] : parts, options);
  }
};
"""
# Programs made small: what to replace, and how many tasks are left.
SMALL = {
    "pi": ({"BATCHES = 48": "BATCHES = 12", "DARTS = 250_000": "DARTS = 40_000"}, 12),
    "mandelbrot": ({"480, 320, 40": "120, 80, 20", "LIMIT = 800": "LIMIT = 200"}, 24),
    "census": ({'root.rglob("*.py.txt"))': 'root.rglob("*.py.txt"))[:60]'}, 60),
}


def small(program: str) -> str:
    """Return the source of a program with settings that take a second."""
    source = (DEMO / "programs" / f"{program}.py").read_text()
    for old, new in SMALL[program][0].items():
        assert old in source
        source = source.replace(old, new)
    return source


def run_natively(program: str) -> list[tuple]:
    """Run the small program in this process and return what it hands to ``draw``, call by call."""
    drawn: list[tuple] = []
    code = compile(small(program), program, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    variables = {
        "__name__": "__main__",
        "workers": 1,
        "show": lambda event: None,
        "draw": lambda *values: drawn.append(values),
    }

    async def main() -> None:
        await eval(code, variables)

    with parallel_config(backend="sequential"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the sources that the census parses
        asyncio.run(main())
    return drawn


class Page:
    """The page in a browser, by what a user sees and does."""

    def __init__(self, driver: webdriver.Chrome, address: str) -> None:
        self.driver = driver
        self.address = address

    def open(self, program: str = "pi", workers: int = 2) -> None:
        self.driver.get("about:blank")
        self.driver.get(f"{self.address}#program={program}&workers={workers}")
        self.wait("ready", "failed")
        assert self.state == "ready", self.error

    @contextlib.contextmanager
    def reopened_after(self, script: str) -> Iterator[None]:
        """Open the page anew, with a script run before its own."""
        added = self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
        self.open()
        try:
            yield
        finally:
            self.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
            self.open()

    def find(self, selector: str):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def find_all(self, selector: str) -> list:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def script(self, body: str, *arguments: object):
        return self.driver.execute_script(body, *arguments)

    @property
    def state(self) -> str:
        return self.find("#status").get_dom_attribute("data-state")

    @property
    def error(self) -> str:
        return self.find("#error pre").text

    @property
    def source(self) -> str:
        return self.find("#source").get_property("value")

    @source.setter
    def source(self, text: str) -> None:
        self.script(
            "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))",
            self.find("#source"),
            text,
        )

    def choose(self, program: str, workers: int = 2) -> None:
        self.find(f"input[value={program}]").click()
        Select(self.find("#workers")).select_by_value(str(workers))

    def wait(self, *states: str) -> None:
        WebDriverWait(self.driver, TIME_LIMIT_S, 0.05).until(
            lambda _: self.state in states, f"still {self.find('#status').text}"
        )

    def run(self) -> None:
        """Click Run and wait until the program has finished."""
        self.find("#run").click()
        self.wait(*OVER)
        assert self.state == "finished", self.error

    def run_small(self, program: str, workers: int = 2) -> None:
        self.choose(program, workers)
        self.source = small(program)
        self.run()

    def lanes(self, kind: str = "done") -> dict[str, int]:
        """Count the bars on each worker's lane."""
        return self.script(
            "return Object.fromEntries([...document.querySelectorAll('.lane[data-worker]')].map("
            "(lane) => [lane.dataset.worker, lane.querySelectorAll(`.task.${arguments[0]}`).length]))",
            kind,
        )

    def has_room(self, width: int) -> bool:
        """Whether nothing sticks out at this width of the window."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        try:
            return self.script("return document.documentElement.scrollWidth <= arguments[0]", width)
        finally:
            self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.fixture(scope="module", autouse=True)
def _in_chromium(request: pytest.FixtureRequest) -> None:
    if "chrome" not in request.config.option.runtime:
        pytest.skip("the page is tested in Chromium: --rt chrome")


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page and the distribution beside it."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(DEMO, folder, dirs_exist_ok=True)
    (folder / "pyodide").symlink_to(request.config.option.dist_dir.resolve())
    return folder


@contextlib.contextmanager
def serving(site: Path, *options: str) -> Iterator[str]:
    """Serve the site by tools/serve.py, in a process of its own, on a free port."""
    command = [sys.executable, ROOT / "tools/serve.py", site, "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            yield re.search(r"http://\S+", server.stdout.readline())[0]
        finally:
            server.terminate()


@contextlib.contextmanager
def browsing() -> Iterator[webdriver.Chrome]:
    """Start a Chromium with a profile of its own."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in [*FLAGS.split(), ALONE, f"--user-data-dir={profile}"]:
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        try:
            driver.set_script_timeout(TIME_LIMIT_S)
            yield driver
        finally:
            driver.quit()


@pytest.fixture(scope="module", params=["plain", "isolated"])
def opened(request: pytest.FixtureRequest, site: Path) -> Iterator[Page]:
    options = ["--isolate"] if request.param == "isolated" else []
    with serving(site, *options) as address, browsing() as driver:
        page = Page(driver, address)
        page.open()
        assert page.script("return crossOriginIsolated") is (request.param == "isolated")
        yield page


@pytest.fixture
def page(opened: Page) -> Iterator[Page]:
    """The page, and the proof afterwards that nothing went wrong behind it."""
    yield opened
    assert [entry for entry in opened.driver.get_log("browser") if entry["level"] == "SEVERE"] == []
    loaded = opened.script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert loaded
    assert [name for name in loaded if not name.startswith((opened.address, "blob:", "data:"))] == []


@pytest.fixture(scope="module")
def sources(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The input of the census, from the distribution's wheel."""
    (wheel,) = request.config.option.dist_dir.glob("stdlib_sources-*.whl")
    folder = tmp_path_factory.mktemp("sources")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.delitem(sys.modules, "stdlib_sources", raising=False)
        yield


def check_pi(page: Page) -> None:
    estimate = page.find(".estimate b").text
    assert abs(float(estimate) - 3.14159265) < 0.05
    assert estimate == f"{run_natively('pi')[-1][0]:.6f}"


def check_mandelbrot(page: Page) -> None:
    width, height = 120, 80
    steps = [0] * (width * height)
    for (left, top, size, tile), *_ in run_natively("mandelbrot"):
        for i, count in enumerate(tile):
            steps[(top + i // size) * width + left + i % size] = count
    differing, colours = page.driver.execute_async_script(
        """
        const [steps, done] = arguments;
        const canvas = document.querySelector(".mandelbrot canvas");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        import(new URL("results.js", document.baseURI)).then(({ colourOf }) => {
          const pixels = steps.map((_, i) => [...data.slice(4 * i, 4 * i + 4)].join());
          const wrong = pixels.filter((pixel, i) => pixel !== [...colourOf(steps[i]), 255].join());
          done([wrong.length, new Set(pixels).size]);
        });
        """,
        steps,
    )
    # Where the processor fuses multiplication and addition, points on the border may fall on its other side.
    assert differing <= 0.01 * width * height
    assert colours > 20


def check_census(page: Page) -> None:
    rows, kinds = run_natively("census")[-1]
    totals = [len(rows), *(sum(row[key] for row in rows.values()) for key in ("lines", "comments")), kinds.total()]
    assert [int(total.text.replace(",", "")) for total in page.find_all(".sum b")] == totals
    name, row = max(rows.items(), key=lambda item: item[1]["complexity"])
    assert page.find("tbody tr").text.split() == [name, *(f"{row[key]:,}" for key in ("complexity", "lines"))]


@pytest.mark.parametrize("program", SMALL)
@pytest.mark.usefixtures("sources")
def test_a_program_gives_what_it_gives_natively(page: Page, program: str) -> None:
    page.run_small(program)
    {"pi": check_pi, "mandelbrot": check_mandelbrot, "census": check_census}[program](page)
    lanes = page.lanes()
    assert len(lanes) == 2
    assert min(lanes.values()) > 0
    tasks = SMALL[program][1]
    assert sum(lanes.values()) == tasks
    assert page.find("#count").text == f"{tasks} / {tasks}"
    assert "on 2 web workers" in page.find("#status").text
    assert page.has_room(1280)
    assert page.has_room(390)


def test_the_time_of_one_worker_gives_the_speed_up(page: Page) -> None:
    page.choose("pi")
    page.source = small("pi") + "# timed\n"
    page.run()
    assert not page.find("#speedup").is_displayed()
    page.find("#baseline button").click()
    page.wait("running")
    page.wait(*OVER)
    assert "on one web worker" in page.find("#status").text
    page.run()
    assert re.fullmatch("[0-9]+[.][0-9]{2} \N{MULTIPLICATION SIGN}", page.find("#speedup").text)
    assert [line.text.splitlines()[0] for line in page.find_all("#runs li")] == ["1 worker", "2 workers"]


def test_an_error_in_a_task_is_shown_with_its_line(page: Page) -> None:
    page.choose("pi")
    page.source = small("pi").replace("    random = ", "    assert seed != 7, 'unlucky'\n    random = ")
    line = page.source.splitlines().index("    assert seed != 7, 'unlucky'") + 1
    page.find("#run").click()
    page.wait(*OVER)
    assert page.state == "failed"
    assert "AssertionError: unlucky" in page.error
    assert "task 7" in page.error
    assert f'File "pi.py", line {line}, in count_hits\n    assert seed != 7' in page.error
    assert "async for count in pool.stream(tasks):" in page.error
    assert "eval_code_async" not in page.error
    assert page.find(".numbers .wrong").text == str(line)
    assert sum(page.lanes("failed").values()) == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("hits = darts = 0", "hits = darts = zero", "NameError: name 'zero' is not defined"),
        ("hits = darts = 0", "hits = = 0", "SyntaxError: invalid syntax"),
    ],
)
def test_an_error_beside_the_tasks_is_shown_with_its_line(page: Page, old: str, new: str, message: str) -> None:
    page.choose("pi")
    page.source = small("pi").replace(old, new)
    page.find("#run").click()
    page.wait(*OVER)
    assert message in page.error
    assert new in page.error
    assert page.find(".numbers .wrong").text == str(page.source.splitlines().index(new) + 1)


def test_stop_ends_a_run_and_the_next_one_works(page: Page) -> None:
    page.choose("pi")
    page.source = small("pi").replace("DARTS = 40_000", "DARTS = 40_000_000")
    page.find("#run").click()
    page.wait("running")
    WebDriverWait(page.driver, TIME_LIMIT_S, 0.05).until(lambda _: sum(page.lanes("running").values()) == 2)
    page.find("#stop").click()
    page.wait(*OVER)
    assert page.state == "stopped"
    assert sum(page.lanes("running").values()) == 0
    assert sum(page.lanes("stopped").values()) == 2
    page.find("#run").click()  # its workers start anew
    page.wait("waking")
    page.find("#stop").click()
    page.wait(*OVER)
    assert page.state == "stopped"
    page.run_small("pi")


def test_the_keyboard_runs_the_code_and_reset_restores_it(page: Page) -> None:
    page.choose("pi")
    original = (DEMO / "programs/pi.py").read_text()
    page.source = "print('hello, class')\n"
    area = page.find("#source")
    ActionChains(page.driver).click(area).key_down(Keys.CONTROL).send_keys(Keys.ENTER).key_up(Keys.CONTROL).perform()
    page.wait(*OVER)
    assert page.find("#output").text == "hello, class"
    page.find("#reset").click()
    assert page.source == original
    assert not page.find("#reset").is_enabled()


def test_without_workers_the_page_runs_alone_and_says_why(page: Page) -> None:
    with page.reopened_after("delete globalThis.Worker"):
        page.run_small("pi")
        assert "in this page alone" in page.find("#status").text
        assert "No web workers: " in page.find("#notice").text
        assert sum(page.lanes().values()) == SMALL["pi"][1]
        assert not page.find("#baseline").is_displayed()
        check_pi(page)


def test_without_stack_switching_the_page_runs_on_workers(page: Page) -> None:
    with page.reopened_after(NO_STACK_SWITCHING):
        assert page.script("return 'Suspending' in WebAssembly") is False
        page.run_small("pi")
        assert "on 2 web workers" in page.find("#status").text
        assert sum(page.lanes().values()) == SMALL["pi"][1]
        check_pi(page)


def test_the_census_is_that_of_the_example() -> None:
    example, program = (
        next(
            ast.unparse(node)
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.FunctionDef) and node.name == "census"
        )
        for path in (ROOT / "docs/examples/stdlib_census.py", DEMO / "programs/census.py")
    )
    assert program == example
