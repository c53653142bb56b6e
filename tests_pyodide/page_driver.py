"""The pages of the demo in a browser, by what a user sees and does; shared by their tests.

Invariant: a site is served and a browser started for a test and ended with it; the browser knows no host but 127.0.0.1.
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
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from jobspan import parallel_config

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "web_demo"
EDITOR = ROOT / "build/vendor/codemirror.js"
AXE = ROOT / "node_modules/axe-core/axe.min.js"
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
VIEWS = {
    "light": (1280, "light"),
    "dark": (1280, "dark"),
    "phone": (360, "light"),
}


def replaced(source: str, changes: Mapping[str, str]) -> str:
    """Return a program with other settings, each of which was there."""
    for old, new in changes.items():
        assert old in source
        source = source.replace(old, new)
    return source


def run_natively(source: str, name: str, inputs: Mapping[str, object]) -> list[tuple]:
    """Run a page's program in this process and return what it hands to ``draw``, call by call."""
    drawn: list[tuple] = []
    code = compile(source, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    variables = {
        "__name__": "__main__",
        "workers": 1,
        "show": lambda event: None,
        "draw": lambda *values: drawn.append(values),
        **inputs,
    }

    async def main() -> None:
        await eval(code, variables)

    with parallel_config(backend="sequential"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the sources that the census parses
        asyncio.run(main())
    return drawn


def make_site(folder: Path, distribution: Path) -> None:
    """Put the pages together, with the editor and the distribution beside them."""
    if not EDITOR.is_file():
        raise pytest.UsageError(f"There is no {EDITOR}; `make site` makes it.")
    subprocess.run([sys.executable, ROOT / "tools/make_site.py", folder], check=True)
    (folder / "vendor").symlink_to(EDITOR.parent)
    (folder / "pyodide").symlink_to(distribution.resolve())


class Page:
    """The page in a browser, by what a user sees and does."""

    def __init__(self, driver: webdriver.Chrome, address: str) -> None:
        self.driver = driver
        self.address = address
        self.opened = ("index", "")

    def open(self, name: str, fragment: str = "workers=2") -> None:
        self.driver.get("about:blank")
        self.driver.get(f"{self.address}{name}.html#{fragment}")
        self.opened = name, fragment
        self.wait("ready", "failed")
        assert self.state == "ready", self.error

    @contextlib.contextmanager
    def before_each_page(self, script: str) -> Iterator[None]:
        """Have a script run before those of every page that is opened."""
        added = self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
        try:
            yield
        finally:
            self.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)

    @contextlib.contextmanager
    def reopened_after(self, script: str) -> Iterator[None]:
        """Open the page anew, with a script run before its own; and once more without it."""
        with self.before_each_page(script):
            self.open(*self.opened)
            yield
        self.open(*self.opened)

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

    def edit(self, body: str, *arguments: object):
        """Run a script with the editor as `view`; it returns something by `done`."""
        return self.driver.execute_async_script(
            """
            const [body, values, done] = [arguments[0], arguments[1], arguments[2]];
            import(new URL("vendor/codemirror.js", document.baseURI)).then(({ EditorView }) =>
              new Function("view", "values", "done", body)(
                EditorView.findFromDOM(document.querySelector(".cm-editor")), values, done));
            """,
            body,
            arguments,
        )

    @property
    def source(self) -> str:
        return self.edit("done(view.state.doc.toString())")

    @source.setter
    def source(self, text: str) -> None:
        self.edit("view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: values[0] } }); done()", text)

    @property
    def wrong_line(self) -> int | None:
        """The number of the line that is marked."""
        return self.edit(
            "const mark = view.dom.querySelector('.cm-line.wrong');"
            "done(mark && view.state.doc.lineAt(view.posAtDOM(mark)).number)"
        )

    def wait(self, *states: str) -> None:
        WebDriverWait(self.driver, TIME_LIMIT_S, 0.05).until(
            lambda _: self.state in states, f"still {self.find('#status').text}"
        )

    def choose(self, name: str, value: str) -> None:
        """Click one of several choices, or choose from a list."""
        (control,) = self.find_all(f"input[name={name}][value='{value}'], select[name={name}]")
        if control.tag_name == "select":
            Select(control).select_by_visible_text(value)
        else:
            self.script("arguments[0].labels[0].querySelector('span').click()", control)

    def rows(self, table: str) -> list[list[str]]:
        """Read a table that may be folded away."""
        return self.script(
            "return [...document.querySelectorAll(`${arguments[0]} tbody tr`)].map("
            "(row) => [...row.cells].map((cell) => cell.textContent))",
            table,
        )

    def timeline(self) -> list[list[str]]:
        """Read the timeline's table: task, worker, attempt, begin, length, outcome."""
        self.script("document.querySelector('#timeline-details').open = true")
        WebDriverWait(self.driver, TIME_LIMIT_S, 0.05).until(
            lambda _: len(self.rows("#timeline-details")) == len(self.find_all("#timeline .task"))
        )
        return self.rows("#timeline-details")

    def run(self) -> None:
        """Click Run and wait until the program has finished."""
        self.find("#run").click()
        self.wait(*OVER)
        assert self.state == "finished", self.error

    def lanes(self, kind: str = "done") -> dict[str, int]:
        """Count the bars on each worker's lane."""
        return self.script(
            "return Object.fromEntries([...document.querySelectorAll('.lane[data-worker]')].map("
            "(lane) => [lane.dataset.worker, lane.querySelectorAll(`.task.${arguments[0]}`).length]))",
            kind,
        )

    @contextlib.contextmanager
    def seen(self, width: int, scheme: str = "light") -> Iterator[None]:
        """Look at the page with another width of the window, in light or dark."""
        command = self.driver.execute_cdp_cmd
        command(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        command("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        try:
            yield
        finally:
            command("Emulation.setEmulatedMedia", {"features": []})
            command("Emulation.clearDeviceMetricsOverride", {})

    def has_room(self, width: int) -> bool:
        """Whether nothing sticks out at this width of the window."""
        with self.seen(width):
            return self.script("return document.documentElement.scrollWidth <= arguments[0]", width)

    def find_barriers(self) -> list[str]:
        """What axe finds that keeps people out."""
        self.script(AXE.read_text())
        return self.driver.execute_async_script(
            """
            const done = arguments[0];
            axe.run().then(({ violations, passes }) => {
              const found = violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html}`));
              done(passes.length < 10 ? ["axe saw next to nothing"] : found);
            });
            """
        )

    def check_barriers(self) -> None:
        """Check that there are none, in light, in dark and on a phone, where nothing sticks out either."""
        for view, (width, scheme) in VIEWS.items():
            with self.seen(width, scheme):
                assert self.find_barriers() == [], view
                assert self.script("return document.documentElement.scrollWidth") <= width, view

    def check_quiet(self) -> None:
        """Check that the browser has logged no error, and has loaded nothing from another host."""
        assert [entry for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"] == []
        loaded = self.script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
        assert loaded
        assert [name for name in loaded if not name.startswith((self.address, "blob:", "data:"))] == []


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
def browsing(*flags: str) -> Iterator[webdriver.Chrome]:
    """Start a Chromium with a profile of its own."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in [*FLAGS.split(), ALONE, f"--user-data-dir={profile}", *flags]:
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        try:
            driver.set_script_timeout(TIME_LIMIT_S)
            yield driver
        finally:
            driver.quit()
