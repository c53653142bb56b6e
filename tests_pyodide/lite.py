"""Drives a JupyterLite site in Chromium: its kernels by the kernel API, its notebooks by what a user clicks.

Invariant: the browser knows no other host than 127.0.0.1, and what it asked one for is found out afterwards.
"""

import contextlib
import re
import shutil
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

ROOT = Path(__file__).resolve().parent.parent
TIME_LIMIT_S = 100
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1280,1000"
)
ALONE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"

# With cross-origin isolation the kernel's transport (coincident) loses a reply when Atomics.waitAsync returns at once.
KEEP_REPLIES = """
const wait = Atomics.waitAsync;
if (wait) Atomics.waitAsync = (...a) => {
  const r = wait.apply(Atomics, a);
  return r.async ? r : { async: true, value: Promise.resolve(r.value) };
};
"""
START = """
const [path, done] = arguments;
(async () => {
  const app = window.jupyterapp;
  await app.started;
  await app.serviceManager.ready;
  const model = { name: path, path, type: "notebook", kernel: { name: "python" } };
  window.session = await app.serviceManager.sessions.startNew(model);
  await session.kernel.info;
})().then(() => done(null), (error) => done(String(error)));
"""
RUN = """
const [code] = arguments;
window.cell = { over: false, messages: [] };
const begun = performance.now();
const future = session.kernel.requestExecute({ code, stop_on_error: true, allow_stdin: false });
const { messages } = cell;
future.onIOPub = ({ header, content }) => {
  messages.push([header.msg_type, JSON.parse(JSON.stringify(content)), performance.now() - begun]);
};
future.done.then(() => (cell.over = true), (error) => messages.push(["disposed", String(error), 0]));
"""
SAVE = """
const [path, content, done] = arguments;
const model = { type: "notebook", format: "json", content };
jupyterapp.serviceManager.contents.save(path, model).then(() => done(null), (error) => done(String(error)));
"""
MODEL = "jupyterapp.shell.currentWidget.content.model"
# The notebook is there, and its kernel too.
SHOWN = """
const shown = window.jupyterapp?.shell?.currentWidget;
return shown?.content?.model && shown.sessionContext?.isReady && !!document.querySelector(".jp-Notebook .jp-Cell");
"""


class Output(NamedTuple):
    """What a cell has put out, in the order in which it came."""

    messages: list

    def text(self, stream: str = "stdout") -> str:
        return "".join(
            content["text"] for kind, content, _ in self.messages if kind == "stream" and content["name"] == stream
        )

    def shown(self, kind: str = "text/html") -> list[str]:
        """All that displays showed, one after the other."""
        shows = ("display_data", "update_display_data")
        return [
            content["data"][kind] for name, content, _ in self.messages if name in shows and kind in content["data"]
        ]

    @property
    def error(self) -> str:
        """The traceback, without its colours; empty if there is none."""
        for kind, content, _ in self.messages:
            if kind == "error":
                return re.sub("\x1b\\[[0-9;]*m", "", "\n".join(content["traceback"]))
        return ""


class Lite:
    """A browser on a site, with one kernel."""

    def __init__(self, driver: webdriver.Chrome, address: str) -> None:
        self.driver = driver
        self.address = address.rstrip("/")

    def open(self, path: str = "scratch.ipynb") -> None:
        """Load the page anew and start a kernel."""
        self.driver.get("about:blank")
        self.driver.get(f"{self.address}/lab/index.html?reset")
        self.wait("return !!window.jupyterapp")
        assert (error := self.driver.execute_async_script(START, path)) is None, error

    def restart(self) -> None:
        error = self.driver.execute_async_script(
            "const done = arguments[0]; session.kernel.restart().then(() => session.kernel.info)"
            ".then(() => done(null), (error) => done(String(error)))"
        )
        assert error is None, error

    def start(self, code: str) -> None:
        """Begin to run a cell."""
        self.driver.execute_script(RUN, textwrap.dedent(code))

    def so_far(self) -> Output:
        return Output(self.driver.execute_script("return cell.messages"))

    def end(self) -> Output:
        """Wait for the cell's end."""
        self.wait("return cell.over")
        return self.so_far()

    def run(self, code: str) -> Output:
        self.start(code)
        return self.end()

    def wait(self, script: str, *arguments: object, limit_s: float = TIME_LIMIT_S) -> object:
        """Wait until the script returns something true, and return that."""
        return wait(self.driver, script, *arguments, limit_s=limit_s)


class Notebook:
    """A notebook, as a user sees it in the page."""

    def __init__(self, driver: webdriver.Chrome, address: str) -> None:
        self.driver = driver
        self.address = address.rstrip("/")

    def write(self, path: str, cells: list[str]) -> None:
        """Put a notebook of code cells among the files of the site that is open."""
        made = [
            {"cell_type": "code", "execution_count": None, "id": f"c{n}", "metadata": {}, "outputs": [], "source": cell}
            for n, cell in enumerate(cells)
        ]
        about = {"language_info": {"name": "python"}}  # by which the site finds its kernel
        content = {"cells": made, "metadata": about, "nbformat": 4, "nbformat_minor": 5}
        error = self.driver.execute_async_script(SAVE, path, content)
        assert error is None, error

    def open(self, path: str) -> None:
        self.driver.get("about:blank")
        self.driver.get(f"{self.address}/notebooks/index.html?path={path}")
        self.wait(SHOWN)

    def run_cells(self) -> None:
        """Press the button that runs the cell and goes to the next, from the first cell to the last."""
        button = self.driver.find_element(By.CSS_SELECTOR, "[data-command='notebook:run-cell-and-select-next']")
        for _ in range(self.driver.execute_script(f"return {MODEL}.cells.length")):
            button.click()

    def wait(self, script: str, *arguments: object, limit_s: float = TIME_LIMIT_S) -> object:
        return wait(self.driver, script, *arguments, limit_s=limit_s)

    def add_cell(self, source: str) -> None:
        """Write into the last cell, which running the one before has made, and run it."""
        cell = self.driver.find_elements(By.CSS_SELECTOR, ".jp-Notebook .jp-CodeCell .cm-content")[-1]
        cell.click()
        cell.send_keys(source)
        cell.send_keys(Keys.SHIFT, Keys.ENTER)
        self.wait(f"return [...{MODEL}.cells].at(-2).executionCount")
        self.wait_idle()

    def wait_idle(self) -> None:
        """Wait until each cell has run."""
        prompts = "[...document.querySelectorAll('.jp-InputPrompt')]"
        self.wait(f"return {prompts}.every((prompt) => !prompt.textContent.includes('*'))")

    def outputs(self) -> list[list[dict]]:
        """What each code cell has put out, as the file has it."""
        return self.driver.execute_script(
            f"return [...{MODEL}.cells].map((cell) => cell.toJSON()).filter((cell) => cell.cell_type === 'code')"
            ".map((cell) => cell.outputs)"
        )


def wait(driver: webdriver.Chrome, script: str, *arguments: object, limit_s: float = TIME_LIMIT_S) -> object:
    """Wait until the script returns something true, and return that."""
    return WebDriverWait(driver, limit_s, 0.1).until(
        lambda driver: driver.execute_script(script, *arguments), f"not within {limit_s} s: {script}"
    )


@contextlib.contextmanager
def browsing(net_log: Path) -> Iterator[webdriver.Chrome]:
    """Start a Chromium with a profile of its own, which writes down whatever is asked for, by its workers too."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in [*FLAGS.split(), ALONE, f"--log-net-log={net_log}", f"--user-data-dir={profile}"]:
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        try:
            driver.set_script_timeout(TIME_LIMIT_S)
            driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": KEEP_REPLIES})
            yield driver
        finally:
            driver.quit()


def hosts(net_log: Path) -> set[str]:
    """The hosts that pages of 127.0.0.1 and their workers have asked for something, in a browser that has ended."""
    asked = r'"initiator":"http://127[.]0[.]0[.]1:\d+".*?"url":"\w+://([^/:"]+)'
    return set(re.findall(asked, net_log.read_text(errors="replace")))
