"""Backends in joblib's shape, given to `Parallel` and `parallel_config` as instances and by name."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from jobspan import Parallel, delayed, effective_n_jobs, host, parallel_config, register_parallel_backend, registry
from threaded import Threaded

needs_threads = pytest.mark.skipif(not host.has_threads(), reason="there are no threads here")
needs_processes = pytest.mark.skipif(not host.has_processes(), reason="there are no processes here")


class Pool(Threaded):
    supports_sharedmem = True
    threads = 3
    made: ClassVar[list[Pool]] = []

    def __init__(self, address: str = "here", **options: Any) -> None:
        super().__init__(**options)
        self.address = address
        self.calls = 0
        self.made.append(self)

    def configure(self, n_jobs: int = 1, parallel: Any = None, **kwargs: Any) -> int:
        self.calls += 1
        return super().configure(n_jobs, parallel, **kwargs)


class Far(Pool):
    supports_sharedmem = False


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names and instances of one test only."""
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.setattr(registry, "_instances", {})
    monkeypatch.setattr(registry, "_default", ["auto"])
    monkeypatch.setattr(Pool, "made", [])


def squares(**options: Any) -> list[int]:
    return list(Parallel(**options)(delayed(pow)(i, 2) for i in range(20)))


SQUARES = [i * i for i in range(20)]


@needs_threads
@pytest.mark.parametrize("return_as", ["list", "generator"])
def test_an_instance_is_a_backend(return_as: str) -> None:
    instance = Pool()
    assert squares(n_jobs=2, backend=instance, return_as=return_as) == SQUARES
    assert instance.sent > 0
    assert instance.parallel.return_as == return_as


@needs_threads
def test_an_instance_can_be_configured() -> None:
    instance = Pool()
    with parallel_config(backend=instance, n_jobs=2, verbose=0):
        assert squares() == SQUARES
    assert instance.sent > 0
    assert instance.parallel.n_jobs == 2


@needs_threads
def test_parameters_of_a_call_go_to_configure() -> None:
    instance = Pool()
    assert squares(n_jobs=2, backend=instance, queue="short", max_nbytes="2K", verbose=0) == SQUARES
    assert instance.kwargs["queue"] == "short"
    assert instance.kwargs["max_nbytes"] == 2048


@needs_threads
def test_a_registered_name_is_a_backend() -> None:
    register_parallel_backend("pool", Pool)
    assert squares(n_jobs=2, backend="pool") == SQUARES
    assert Pool.made[-1].sent > 0


@needs_threads
def test_parameters_beside_a_name_go_to_the_factory() -> None:
    register_parallel_backend("pool", Pool)
    with parallel_config("pool", n_jobs=2, address="far away"):
        assert squares() == squares() == SQUARES
    assert [(pool.address, pool.calls) for pool in Pool.made] == [("far away", 2)]


@needs_threads
def test_a_registered_class_may_be_the_default() -> None:
    register_parallel_backend("pool", lambda: Pool("made"), make_default=True)
    assert squares(n_jobs=2) == SQUARES
    assert Pool.made[-1].sent > 0


@needs_threads
def test_in_a_with_block_an_instance_is_configured_once() -> None:
    instance = Pool()
    with Parallel(n_jobs=2, backend=instance) as parallel:
        for _ in range(3):
            assert parallel(delayed(pow)(i, 2) for i in range(20)) == SQUARES
    assert instance.calls == 1


@needs_threads
def test_calls_by_name_at_the_same_time_get_instances_of_their_own() -> None:
    register_parallel_backend("pool", Pool)
    both = threading.Barrier(2)
    results: list[list[int]] = []

    def call() -> None:
        results.append(Parallel(n_jobs=2, backend="pool")([delayed(both.wait)(60), delayed(both.wait)(60)]))

    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(results) == 2
    assert sum(instance.calls for instance in Pool.made) == 2


@needs_threads
def test_shared_memory_is_what_the_backend_says() -> None:
    assert squares(n_jobs=2, backend=Pool(), require="sharedmem") == SQUARES
    with pytest.raises(ValueError, match="does not share the caller's memory"):
        Parallel(n_jobs=2, backend=Far(), require="sharedmem")


def test_the_backend_says_how_many_tasks_run_at_the_same_time() -> None:
    with parallel_config(backend=Pool()):
        assert (effective_n_jobs(-1), effective_n_jobs(2), effective_n_jobs(8)) == (3, 2, 3)


def test_a_backend_without_submit_is_one_too() -> None:
    class Old:
        def effective_n_jobs(self, _n_jobs: int) -> int:
            return 2

        def apply_async(self, func: Callable[[], Any], callback: Any = None) -> Any:
            class Done:
                value = func()

                def get(self) -> Any:
                    return self.value

            return Done()

    assert squares(n_jobs=2, backend=Old()) == SQUARES


def test_a_class_is_no_backend() -> None:
    with pytest.raises(TypeError, match="is no backend"):
        Parallel(n_jobs=2, backend=Pool)


@needs_processes
@pytest.mark.parametrize("name", ["ThreadingBackend", "MultiprocessingBackend", "LokyBackend"])
def test_joblibs_own_can_be_registered(name: str) -> None:
    from joblib import _parallel_backends

    register_parallel_backend("theirs", getattr(_parallel_backends, name))
    assert squares(n_jobs=2, backend="theirs") == SQUARES
    with parallel_config("theirs", n_jobs=2):
        assert squares() == SQUARES
