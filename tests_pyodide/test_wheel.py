"""The wheel as a user gets it: installed from a URL into a Pyodide that does not have it."""

from pathlib import Path

import pytest

INSTALL = """
import importlib, importlib.util, micropip

is_there = [importlib.util.find_spec("jobspan") is not None]
await micropip.install({url!r})
importlib.invalidate_caches()
is_there + [importlib.util.find_spec("jobspan") is not None]
"""

SEQUENTIAL = """
from jobspan import Parallel, delayed

Parallel(n_jobs=1)(delayed(pow)(number, 2) for number in range(10))
"""

# A task that runs in a worker leaves nothing in this interpreter's `here`.
POOL = """
from jobspan import Parallel, delayed

here = []

def square(number):
    here.append(number)
    return number**2

pool = Parallel(n_jobs=2, backend="web")
[
    pool(delayed(square)(number) for number in range(10)),
    await pool.gather(delayed(square)(number) for number in range(10)),
    here,
]
"""
SQUARES = [number**2 for number in range(10)]


@pytest.fixture
def wheel_url(request: pytest.FixtureRequest, web_server_main: tuple[str, int, Path]) -> str:
    host, port, _ = web_server_main
    (wheel,) = request.config.option.dist_dir.glob("jobspan-*.whl")
    return f"http://{host}:{port}/{wheel.name}"


@pytest.fixture
def installed(selenium_standalone, wheel_url: str):
    """Yield an interpreter of its own, into which micropip has installed the wheel."""
    selenium_standalone.load_package("micropip")
    assert selenium_standalone.run_async(INSTALL.format(url=wheel_url)) == [False, True]
    return selenium_standalone


def test_the_installed_wheel_runs_a_sequential_call(installed) -> None:
    assert installed.run_async(SEQUENTIAL) == SQUARES


def test_the_installed_wheel_runs_a_pool_of_workers(installed) -> None:
    assert installed.run_async(POOL) == [SQUARES, SQUARES, []]
