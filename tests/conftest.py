"""One `backend` fixture that runs every behaviour test on every backend there is, and one `run` per way to wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import hypothesis
import pytest

from jobspan import Parallel, host

hypothesis.settings.register_profile("jobspan", deadline=None)  # the machine may be shared, or be a browser
hypothesis.settings.load_profile("jobspan")

_SEQUENTIAL = ["sequential"]
_THREADED = ["threads", "ThreadPoolExecutor"] if host.has_threads() else []
_PROCESSES = ["loky", "multiprocessing", "ProcessPoolExecutor"] if host.has_processes() else []
_WEB = ["web"] if host.in_pyodide() and host.has_web_workers() else []

BACKENDS = [*_SEQUENTIAL, *_THREADED, *_PROCESSES, *_WEB]
COPYING = [*_PROCESSES, *_WEB]


def pytest_configure(config: pytest.Config) -> None:
    # Here rather than in pyproject.toml, which does not come along into the browser.
    config.addinivalue_line(
        "markers", "thread_unsafe(reason): not for several threads at once, for pytest-run-parallel"
    )


@pytest.fixture(scope="session", autouse=True)
def signing_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A key of the tests' own for what they cache, rather than the user's; child processes have it, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("JOBSPAN_DEBUG", raising=False)
        patch.setenv("JOBSPAN_KEY_FILE", str(tmp_path_factory.mktemp("keys") / "cache.key"))
        yield


@pytest.fixture(scope="session")
def executors() -> Iterator[dict[str, Executor]]:
    """The executors that users would bring."""
    made: dict[str, Executor] = {}
    if _THREADED:
        made["ThreadPoolExecutor"] = ThreadPoolExecutor(2)
    if _PROCESSES:
        import multiprocessing

        made["ProcessPoolExecutor"] = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))
    yield made
    for executor in made.values():
        executor.shutdown()


def resolve(name: str, executors: dict[str, Executor]) -> Any:
    """What to give as ``backend=``."""
    return executors.get(name, name)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, executors: dict[str, Executor]) -> Any:
    """Every backend, as one would name it."""
    return resolve(request.param, executors)


@pytest.fixture(params=[name for name in BACKENDS if name != "sequential"])
def parallel_backend_(request: pytest.FixtureRequest, executors: dict[str, Executor]) -> Any:
    """Every backend that has workers."""
    return resolve(request.param, executors)


@pytest.fixture(params=[name for name in BACKENDS if name != "sequential" and not name.endswith("Executor")])
def expelling_backend(request: pytest.FixtureRequest) -> Any:
    """Every backend that can end one task alone."""
    return request.param


@pytest.fixture(params=[name for name in COPYING if not name.endswith("Executor")])
def replacing_backend(request: pytest.FixtureRequest) -> Any:
    """Every backend that replaces a worker which has ended."""
    return request.param


@pytest.fixture(params=COPYING)
def copying_backend(request: pytest.FixtureRequest, executors: dict[str, Executor]) -> Any:
    """Every backend whose tasks see copies."""
    return resolve(request.param, executors)


Run = Callable[..., list[Any]]


@pytest.fixture(params=["list", "generator", "gather", "stream"])
def run(request: pytest.FixtureRequest) -> Run:
    """Every way to get results, in order: ``run(tasks, backend=..., n_jobs=...)``."""

    def as_list(tasks: Any, **options: Any) -> list[Any]:
        return Parallel(**options)(tasks)

    def as_generator(tasks: Any, **options: Any) -> list[Any]:
        return list(Parallel(return_as="generator", **options)(tasks))

    def gathered(tasks: Any, **options: Any) -> list[Any]:
        return asyncio.run(Parallel(**options).gather(tasks))

    def streamed(tasks: Any, **options: Any) -> list[Any]:
        async def collect() -> list[Any]:
            return [value async for value in Parallel(**options).stream(tasks)]

        return asyncio.run(collect())

    ways: dict[str, Run] = {"list": as_list, "generator": as_generator, "gather": gathered, "stream": streamed}
    return ways[request.param]


@pytest.fixture(autouse=True)
def _no_driver_is_left() -> Iterator[None]:
    """After each test, no run is still being driven."""
    yield
    for thread in threading.enumerate():
        if thread.name == "jobspan-driver":
            thread.join(5)
            assert not thread.is_alive(), "a driver thread was left behind"
