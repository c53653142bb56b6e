"""The contract, on every backend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from jobspan import host
from jobspan.backends.base import OpenRequest, Session
from jobspan.model import Staff
from jobspan.settings import Settings
from jobspan.settle import find_backend
from jobspan.testing import BackendContract


class TestEveryBackend(BackendContract):
    @pytest.fixture
    def backend(self, backend: Any) -> Any:  # the fixture of conftest, as an object
        return find_backend(Settings(2, backend))


needs_processes = pytest.mark.skipif(not host.has_processes(), reason="there are no processes here")


@pytest.fixture(scope="module", params=["by itself", "fork", "spawn", "forkserver"])
def multiprocessing_backend(request: pytest.FixtureRequest) -> Iterator[Any]:
    """`MultiprocessingBackend`, with each way to start processes."""
    import multiprocessing

    from jobspan.backends.multiprocessing import MultiprocessingBackend

    if request.param == "by itself":
        backend = MultiprocessingBackend()
    elif request.param in multiprocessing.get_all_start_methods():
        backend = MultiprocessingBackend(multiprocessing.get_context(request.param))
    else:
        pytest.skip("not on this system")
    yield backend
    backend.shutdown()


@needs_processes
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # "fork" is asked for
class TestMultiprocessing(BackendContract):
    @pytest.fixture
    def backend(self, multiprocessing_backend: Any) -> Any:
        return multiprocessing_backend


@pytest.fixture(scope="module")
def executor_of_workers() -> Iterator[Any]:
    from jobspan.web import WebWorkerExecutor

    with WebWorkerExecutor(2) as executor:
        yield find_backend(Settings(2, executor))


@pytest.mark.skipif(not host.in_pyodide(), reason="runs on Web Workers")
class TestExecutorOfWorkers(BackendContract):
    @pytest.fixture
    def backend(self, executor_of_workers: Any) -> Any:
        return executor_of_workers


class Rationed:
    """A backend whose workers are watched, and replaced when they have taken too much."""

    def __init__(self, name: str) -> None:
        self._backend = find_backend(Settings(2, name))
        self.traits = self._backend.traits

    def cpu_count(self) -> int:
        return self._backend.cpu_count()

    def open(self, request: OpenRequest, /) -> Session:
        return self._backend.open(request._replace(staff=Staff(max_worker_rss=1 << 50)))


@needs_processes
@pytest.mark.parametrize("name", ["loky", "multiprocessing"])
class TestRationedWorkers(BackendContract):
    @pytest.fixture
    def backend(self, name: str) -> Any:
        return Rationed(name)
