"""pytest-pyodide on the distribution in build/pyodide: node, Chromium or Firefox (`--rt node`, `chrome`, `firefox`).

Invariant: nothing is asked from outside this machine; the servers listen on 127.0.0.1 alone.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from firefox import Firefox
from page_driver import make_site
from pytest_pyodide import get_global_config
from pytest_pyodide.runner import NodeRunner, SeleniumFirefoxRunner

ROOT = Path(__file__).resolve().parent.parent
SERVER = Path(__file__).with_name("page_server.py")
# A worker boots in 2 to 7 seconds; pytest-pyodide's own limit for a script is 20.
SCRIPT_TIME_LIMIT_S = 120

get_global_config().set_flags(
    "chrome",
    [
        "--js-flags=--expose-gc", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
    ],
)  # fmt: skip


@pytest.hookimpl(trylast=True)  # after pytest-pyodide has resolved its options
def pytest_configure(config: pytest.Config) -> None:
    # node 24, which has JSPI, before the system's.
    os.environ["PATH"] = os.pathsep.join([str(ROOT / "node_modules/.bin"), os.environ["PATH"]])
    if config.option.dist_dir == Path("pyodide").resolve():  # pytest-pyodide's default
        config.option.dist_dir = ROOT / "build/pyodide"
    if not (config.option.dist_dir / "pyodide-lock.json").is_file():
        raise pytest.UsageError(
            f"There is no Pyodide distribution in {config.option.dist_dir}; `make setup` makes one in build/pyodide."
        )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("driver_timeout") is None:
            item.add_marker(pytest.mark.driver_timeout(SCRIPT_TIME_LIMIT_S))
    # node has no page to isolate: one of the two is enough.
    idle = [item for item in items if parameters(item).get("isolated") and parameters(item).get("runtime") == "node"]
    if idle:
        config.hook.pytest_deselected(items=idle)
        items[:] = [item for item in items if item not in idle]


def parameters(item: pytest.Item) -> dict[str, object]:
    return item.callspec.params if hasattr(item, "callspec") else {}


@pytest.fixture(scope="session")
def web_servers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[bool, tuple[str, int, Path]]]:
    """Serve the distribution with the headers of cross-origin isolation (True), and without (False)."""
    addresses = {}
    with contextlib.ExitStack() as stack:
        for isolated in (False, True):
            log = tmp_path_factory.mktemp("server") / "requests.log"
            command = [sys.executable, SERVER, request.config.option.dist_dir, log]
            server = stack.enter_context(
                subprocess.Popen(
                    [*command, "isolated" if isolated else "plain"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            addresses[isolated] = ("127.0.0.1", int(server.stdout.readline()), log)
        yield addresses  # leaving the block closes the servers' standard input, which ends them


@pytest.fixture(scope="module")
def isolated(request: pytest.FixtureRequest) -> bool:
    """Whether the page is cross-origin isolated (SharedArrayBuffer, Atomics.wait); False unless a test asks:

    @pytest.mark.parametrize("isolated", [False, True], indirect=True, scope="module")
    """
    return getattr(request, "param", False)


@pytest.fixture(scope="module")
def web_server_main(web_servers: dict[bool, tuple[str, int, Path]], isolated: bool) -> tuple[str, int, Path]:
    """The server that pytest-pyodide's own fixtures load their page from."""
    return web_servers[isolated]


@pytest.fixture(scope="session", autouse=True)
def node_ends_with_its_workers() -> Iterator[None]:
    """End node by hanging up: at the end of its input it would wait for workers that are still alive."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NodeRunner, "quit", lambda runner: runner.p.close(force=True))
        yield


@pytest.fixture(scope="session", autouse=True)
def firefox_is_driven_without_geckodriver() -> Iterator[None]:
    """Put our Firefox in the place of selenium's, which needs a program that Debian does not have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            SeleniumFirefoxRunner,
            "get_driver",
            lambda _runner, jspi=False: Firefox(get_global_config().get_flags("firefox")),
        )
        yield


@pytest.fixture(scope="session")
def in_chromium(request: pytest.FixtureRequest) -> None:
    """Skip the tests of the demo's pages where they are not shown."""
    if "chrome" not in request.config.option.runtime:
        pytest.skip("the pages are tested in Chromium: --rt chrome")


@pytest.fixture(scope="session")
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, in_chromium: None) -> Path:
    """The demo as `make site` makes it, in a folder of its own."""
    folder = tmp_path_factory.mktemp("site")
    make_site(folder, request.config.option.dist_dir)
    return folder


@pytest.fixture
def run_script(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., str]:
    """Run Python in Pyodide in a node of its own, with flags for node, and return what it printed when it has ended."""

    def run(python: str, *flags: str) -> str:
        folder = request.config.option.dist_dir
        script = tmp_path / "script.mjs"
        script.write_text(
            f"""
import {{ loadPyodide }} from "{folder}/pyodide.mjs";
const python = await loadPyodide({{ indexURL: "{folder}/" }});
await python.loadPackage("jobspan", {{ messageCallback() {{}} }});
await python.runPythonAsync(`{python}`);
"""
        )
        done = subprocess.run(["node", *flags, script], capture_output=True, text=True, timeout=60, check=True)
        return done.stdout

    return run
