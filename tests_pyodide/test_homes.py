"""jobspan in pages of one's own: the pages of docs/web_pages.md, by Pyodide alone and by PyScript, under a policy.

Invariant: pages are those of the document, word for word; the browser knows no host but 127.0.0.1, and in Chromium what
was asked for is found out, too.
"""

import contextlib
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from firefox import Firefox
from lite import hosts
from page_driver import NO_STACK_SWITCHING, browsing, serving

ROOT = Path(__file__).resolve().parent.parent
PAGES = dict(re.findall(r"```html\n<!-- (\S+) -->\n(.*?)```", (ROOT / "docs/web_pages.md").read_text(), re.DOTALL))
PYSCRIPT = ROOT / "node_modules/@pyscript/core/dist"
SQUARES = str([i * i for i in range(10)])
TIME_LIMIT_S = 40
TEXT = "arguments[arguments.length - 1](document.body ? document.body.innerText : '')"
POLICY = "default-src 'none'; connect-src 'self'; script-src 'self' 'unsafe-eval'; worker-src blob:"


class Home:
    """A browser that looks at a page, and what it has said since."""

    def __init__(self, driver, address: str) -> None:
        self.driver = driver
        self.address = address
        self.said = ""

    def open(self, name: str) -> None:
        self.driver.get("about:blank")
        self.driver.get_log("browser")
        self.said = ""
        self.driver.get(f"{self.address}{name}")

    def wait_for(self, text: str) -> None:
        """Wait until the page, or the console, says this."""
        late = time.monotonic() + TIME_LIMIT_S
        shown = ""
        while text not in shown + self.said:
            assert time.monotonic() < late, shown + self.said
            self.said += "".join(f"{entry['message']}\n" for entry in self.driver.get_log("browser"))
            shown = self.driver.execute_async_script(TEXT)
            time.sleep(0.2)  # browsers tell by being asked


@pytest.fixture(scope="module")
def pages(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, beside the distribution and PyScript."""
    folder = tmp_path_factory.mktemp("pages")
    for name, text in PAGES.items():
        (folder / name).write_text(text)
    (folder / "pyodide").symlink_to(request.config.option.dist_dir.resolve())
    (folder / "pyscript").symlink_to(PYSCRIPT)
    return folder


@pytest.fixture(scope="module")
def browse(runtime: str, tmp_path_factory: pytest.TempPathFactory) -> Callable:
    """Starts the browser, with JSPI or without."""
    if runtime == "node":
        pytest.skip("node has no pages")

    @contextlib.contextmanager
    def start(*, jspi: bool = True) -> Iterator[object]:
        if runtime == "firefox":
            driver = Firefox(preferences={} if jspi else {"javascript.options.wasm_js_promise_integration": False})
            driver.set_script_timeout(TIME_LIMIT_S)
            try:
                yield driver
            finally:
                driver.quit()
            return
        log = tmp_path_factory.mktemp("log") / "net.json"
        with browsing(f"--log-net-log={log}") as driver:
            if not jspi:  # for which Chromium has no switch any more
                driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": NO_STACK_SWITCHING})
            yield driver
        assert hosts(log) == {"127.0.0.1"}

    return start


@pytest.fixture(scope="module", params=["plain"])
def home(request: pytest.FixtureRequest, pages: Path, browse: Callable) -> Iterator[Home]:
    options = ["--isolate"] if request.param == "isolated" else []
    with serving(pages, *options) as address, browse() as driver:
        yield Home(driver, address)


def test_the_document_has_a_page_for_each_home():
    assert set(PAGES) == {"plain.html", "await.html", "pyscript.html", "pyscript_worker.html"}


@pytest.mark.parametrize("home", ["plain", "isolated"], indirect=True, scope="module")
@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_the_document_runs_tasks_on_workers(home, name):
    home.open(name)
    home.wait_for(SQUARES)
    assert "FallbackWarning" not in home.said


def test_without_jspi_a_plain_call_runs_here_and_says_so_and_await_has_workers(pages, browse):
    with serving(pages) as address, browse(jspi=False) as driver:
        home = Home(driver, address)
        home.open("await.html")
        home.wait_for(SQUARES)
        assert "FallbackWarning" not in home.said
        home.open("plain.html")
        home.wait_for(SQUARES)
        home.wait_for("FallbackWarning")
        assert "await Parallel(...).gather(tasks)" in home.said


def test_a_wheel_named_by_its_address_will_do(home, pages, request):
    wheel = next(request.config.option.dist_dir.glob("jobspan-*.whl"))
    shutil.copy(wheel, pages / wheel.name)
    named = f'packages: ["cloudpickle", "./{wheel.name}"]'
    (pages / "by_address.html").write_text(PAGES["plain.html"].replace('packages: ["jobspan"]', named))
    home.open("by_address.html")
    home.wait_for(SQUARES)
    assert "FallbackWarning" not in home.said


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (POLICY, SQUARES),
        (POLICY.replace("'unsafe-eval'", "'wasm-unsafe-eval'"), "Its script-src needs 'unsafe-eval'"),
        (POLICY.replace("worker-src blob:", "worker-src 'self'"), "workers from blob: URLs?"),
    ],
    ids=["as documented", "no eval", "no blob"],
)
def test_the_policy_of_the_document_suffices_and_less_is_said(home, pages, policy, expected):
    script = re.search(r"<script type=\"module\">(.*?)</script>", PAGES["plain.html"], re.DOTALL)[1]
    (pages / "plain.mjs").write_text(script)
    (pages / "page.mjs").write_text("import('./plain.mjs').catch((error) => document.body.append(error));")
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    (pages / "policy.html").write_text(f'<!doctype html>{meta}<body><script type="module" src="page.mjs"></script>')
    home.open("policy.html")
    home.wait_for(expected)
