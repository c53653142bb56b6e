"""The contract, on backends in joblib's shape.

Exempt are the rules that depend on the backend's own code: rule 2 (its ``submit`` may block, or run the batch in the
caller) where that code does so, and rule 6 (it does see a ``parallel``, which can only be read).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jobspan import host
from jobspan.backends.base import Session
from jobspan.backends.legacy.backend import LegacyBackend
from jobspan.backends.legacy.base import ParallelBackendBase
from jobspan.backends.legacy.batching import AutoBatchingMixin
from jobspan.model import Batch
from jobspan.testing import BackendContract

needs_threads = pytest.mark.skipif(not host.has_threads(), reason="there are no threads here")
needs_processes = pytest.mark.skipif(not host.has_processes(), reason="there are no processes here")


class OnAnExecutor(ParallelBackendBase):
    """As joblib's documentation shows how to write one."""

    supports_retrieve_callback = True

    def __init__(self, make: Callable[[int], Any], **options: Any) -> None:
        super().__init__(**options)
        self.make = make

    def effective_n_jobs(self, n_jobs: int) -> int:
        return 2 if n_jobs == -1 else n_jobs

    def configure(self, n_jobs: int = 1, parallel: Any = None, **_kwargs: Any) -> int:
        self.parallel = parallel
        self.executor = self.make(n_jobs)
        return self.effective_n_jobs(n_jobs)

    def submit(self, func: Callable[[], Any], callback: Any = None) -> Any:
        future = self.executor.submit(func)
        future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: Any) -> Any:
        return out.result()

    def terminate(self) -> None:
        self.executor.shutdown()


class OnThreads(OnAnExecutor):
    supports_sharedmem = True


class OldStyle(AutoBatchingMixin, ParallelBackendBase):
    """As backends were written before joblib 1.3: results by ``get``, and no callback after an error."""

    def effective_n_jobs(self, n_jobs: int) -> int:
        return 2 if n_jobs == -1 else n_jobs

    def configure(self, n_jobs: int = 1, parallel: Any = None, **_kwargs: Any) -> int:
        from multiprocessing.pool import ThreadPool

        self.parallel = parallel
        self.pool = ThreadPool(n_jobs)
        return n_jobs

    def apply_async(self, func: Callable[[], Any], callback: Any = None) -> Any:
        return self.pool.apply_async(func, callback=callback)

    def terminate(self) -> None:
        self.pool.terminate()


@needs_threads
class TestOnThreads(BackendContract):
    @pytest.fixture
    def backend(self) -> LegacyBackend:
        from concurrent.futures import ThreadPoolExecutor

        return LegacyBackend(OnThreads(ThreadPoolExecutor))


@pytest.fixture(scope="module")
def processes() -> Iterator[Any]:
    from loky import ProcessPoolExecutor

    pool = ProcessPoolExecutor(2)
    yield pool
    pool.shutdown()


@needs_processes
class TestOnProcesses(BackendContract):
    @pytest.fixture
    def backend(self, processes: Any) -> LegacyBackend:
        class Kept(OnAnExecutor):
            def terminate(self) -> None:
                """Leave the pool to the next test."""

        return LegacyBackend(Kept(lambda _n_jobs: processes))


class UndeclaredContract(BackendContract):
    """For backends that run batches in this process and do not say so."""

    def test_rule_1_a_batch_that_cannot_be_sent_comes_back_as_lost(
        self, backend: Any, session: Session, poll: Any
    ) -> None:
        """It need not be sent, so it is run."""
        session.submit(1, Batch(0, [(type, (threading.Lock(),), {})]))
        completion = self._collect(session, poll, 1)[0][1]
        assert completion.lost is None
        assert completion.values == [type(threading.Lock())]


@needs_threads
class TestInTheOldStyle(UndeclaredContract):
    @pytest.fixture
    def backend(self) -> LegacyBackend:
        return LegacyBackend(OldStyle())


class InTheCaller(ParallelBackendBase):
    """Runs each batch when it is submitted, as some do for debugging; needs no threads."""

    def effective_n_jobs(self, _n_jobs: int) -> int:
        return 2

    def submit(self, func: Callable[[], Any], callback: Any = None) -> Any:
        class Done:
            def __init__(self) -> None:
                self.value = func()

            def get(self) -> Any:
                return self.value

        done = Done()
        callback(done)
        return done


class TestInTheCaller(UndeclaredContract):
    @pytest.fixture
    def backend(self) -> LegacyBackend:
        return LegacyBackend(InTheCaller())

    @pytest.mark.skip(reason="rule 2 is the one that such a backend cannot keep")
    def test_rule_2_submit_neither_runs_nor_waits(self) -> None:
        """Exempt."""
