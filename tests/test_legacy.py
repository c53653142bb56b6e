"""Backends in joblib's shape: the ways in which third parties wrote them, and what they get to see."""

from __future__ import annotations

import os
import pickle
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytest

from jobspan import FallbackWarning, Parallel, UnpicklableError, WorkerLost, delayed, errors, host
from jobspan.backends.base import OpenRequest
from jobspan.backends.legacy.backend import LegacyBackend
from jobspan.backends.legacy.base import ParallelBackendBase
from jobspan.backends.legacy.batching import AutoBatchingMixin
from jobspan.backends.legacy.jobs import find_submit
from jobspan.backends.legacy.parallel import LegacyOptions
from jobspan.backends.legacy.traits import is_legacy
from jobspan.model import Batch
from threaded import Threaded

needs_threads = pytest.mark.skipif(not host.has_threads(), reason="there are no threads here")
needs_processes = pytest.mark.skipif(not host.has_processes(), reason="there are no processes here")

SQUARES = [i * i for i in range(20)]


class Base(Threaded):
    """It records what was called."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.said: list[str] = []

    def configure(self, n_jobs: int = 1, parallel: Any = None, **kwargs: Any) -> int:
        self.said.append("configure")
        return super().configure(n_jobs, parallel, **kwargs)

    def start_call(self) -> None:
        self.said.append("start")

    @contextmanager
    def retrieval_context(self) -> Iterator[None]:
        self.said.append("enter")
        yield
        self.said.append("leave")

    def abort_everything(self, ensure_ready: bool = True) -> None:
        self.said.append(f"abort, ready={ensure_ready}")

    def stop_call(self) -> None:
        self.said.append("stop")

    def terminate(self) -> None:
        self.said.append("terminate")
        super().terminate()


class Sharing(Base):
    supports_sharedmem = True


class Pickling(Base):
    """Pickles a batch when its turn comes, as pools of processes do."""

    def submit(self, func: Callable[[], Any], callback: Any = None) -> Any:
        def later() -> Any:
            time.sleep(0.01)
            return pickle.loads(pickle.dumps(func))()

        return super().submit(later, callback)


class OldStyle(Base):
    """Results by ``get``."""

    supports_retrieve_callback = False

    def submit(self, func: Callable[[], Any], callback: Any = None) -> Any:
        self.sent += 1
        return self.apply_async(func, callback)


def squares(instance: Any, **options: Any) -> list[int]:
    settings = {"n_jobs": 2, **options}
    return Parallel(backend=LegacyBackend(instance), **settings)(delayed(pow)(i, 2) for i in range(20))


# The life cycle


@needs_threads
def test_a_call_goes_through_joblibs_life_cycle() -> None:
    instance = Base()
    assert squares(instance) == SQUARES
    assert instance.said == ["configure", "start", "enter", "leave", "stop", "terminate"]
    assert squares(instance) == SQUARES  # and may be repeated


@needs_threads
def test_a_run_that_fails_is_aborted_while_tasks_still_run() -> None:
    instance = Base()
    release = threading.Event()

    class Blocking(Base):
        supports_sharedmem = True

        def abort_everything(self, ensure_ready: bool = True) -> None:
            super().abort_everything(ensure_ready)
            release.set()

    instance = Blocking()
    with pytest.raises(ValueError, match="invalid literal"):
        Parallel(n_jobs=2, backend=LegacyBackend(instance), batch_size=1)(
            [delayed(release.wait)(60), delayed(int)("x"), delayed(release.wait)(60)]
        )
    assert instance.said[3:] == ["leave", "abort, ready=False", "stop", "terminate"]


@needs_threads
def test_a_failed_run_with_nothing_left_is_not_aborted() -> None:
    instance = Base()
    with pytest.raises(ValueError, match="invalid literal"):
        Parallel(n_jobs=2, backend=LegacyBackend(instance))([delayed(int)("x")])
    assert "abort, ready=False" not in instance.said
    assert instance.said[-1] == "terminate"


@needs_threads
def test_what_configure_has_begun_is_ended_when_the_start_fails() -> None:
    class Broken(Base):
        def start_call(self) -> None:
            raise OSError("no cluster")

    instance = Broken()
    with pytest.raises(OSError, match="no cluster"):
        squares(instance)
    assert instance.said == ["configure", "terminate"]
    with pytest.raises(OSError, match="no cluster"):  # and it is free again
        squares(instance)


@needs_threads
def test_leaving_a_generator_early_aborts_what_still_runs() -> None:
    class Stopping(Base):
        def abort_everything(self, ensure_ready: bool = True) -> None:
            super().abort_everything(ensure_ready)
            self.pool.shutdown(cancel_futures=True)

    instance = Stopping()
    results = Parallel(n_jobs=2, backend=LegacyBackend(instance), return_as="generator")(
        delayed(time.sleep)(0.02) for _ in range(1000)
    )
    next(results)
    results.close()
    assert instance.said[-3:] == ["abort, ready=False", "stop", "terminate"]


@needs_threads
def test_in_a_with_block_it_is_configured_once() -> None:
    instance = Base()
    held = LegacyBackend(instance).fresh()
    for _ in range(2):
        assert Parallel(n_jobs=2, backend=held)(delayed(pow)(i, 2) for i in range(20)) == SQUARES
    held.shutdown()
    call = ["start", "enter", "leave", "stop"]
    assert instance.said == ["configure", *call, *call, "terminate"]


# What is decided before


@needs_threads
@pytest.mark.parametrize("n_jobs", [None, 1])
def test_a_width_of_one_runs_in_the_callers_thread(n_jobs: int | None) -> None:
    instance = Sharing()
    backend = LegacyBackend(instance)
    (found,) = Parallel(n_jobs=n_jobs, backend=backend)([delayed(threading.get_ident)()])
    assert found == threading.get_ident()
    assert instance.said == ["configure", "terminate"]
    assert instance.sent == 0


@needs_threads
def test_without_a_number_the_backends_own_default_holds() -> None:
    class All(Base):
        default_n_jobs = -1

    session = LegacyBackend(All()).open(OpenRequest(n_jobs=None))
    assert session.width == 2
    session.close("release")


@needs_threads
def test_an_enormous_width_is_just_a_width() -> None:
    class Queueing(Base):
        def effective_n_jobs(self, _n_jobs: int) -> int:
            return sys.maxsize // 2  # as backends for clusters with a queue say

    instance = Queueing()
    assert squares(instance, n_jobs=-1) == SQUARES


def test_no_workers_is_an_error() -> None:
    class Empty(ParallelBackendBase):
        def effective_n_jobs(self, _n_jobs: int) -> int:
            return 0

        def submit(self, func: Any, callback: Any = None) -> Any:
            raise AssertionError

    with pytest.raises(RuntimeError, match="Empty has no workers"):
        squares(Empty())


@needs_threads
def test_configure_gets_what_joblib_gives() -> None:
    instance = Base()
    options = LegacyOptions(verbose=60, prefer="processes", params={"address": "far"})
    backend = LegacyBackend(instance, options=options)
    session = backend.open(OpenRequest(n_jobs=2))
    session.close("release")
    given = {"max_nbytes", "temp_folder", "mmap_mode", "prefer", "require", "verbose", "address"}
    assert set(instance.kwargs) == given
    assert (instance.kwargs["address"], instance.kwargs["verbose"]) == ("far", 10)


def test_what_is_taken_for_a_joblib_style_backend() -> None:
    class Duck:
        def effective_n_jobs(self, n_jobs: int) -> int:
            return n_jobs

        def apply_async(self, func: Any, callback: Any = None) -> Any:
            raise AssertionError

    assert is_legacy(Duck())
    assert not any(map(is_legacy, [Duck, "loky", None, LegacyBackend(Duck()), Parallel()]))
    if host.has_threads():
        with ThreadPoolExecutor(1) as pool:
            assert not is_legacy(pool)


# Shapes that third parties gave them


@needs_threads
def test_an_object_with_nothing_but_two_methods_will_do() -> None:
    class Duck:
        def effective_n_jobs(self, _n_jobs: int) -> int:
            return 2

        def apply_async(self, func: Callable[[], Any], callback: Any = None) -> Any:
            class Job:
                def get(self) -> Any:
                    return func()

            return Job()

    assert squares(Duck()) == SQUARES


@needs_threads
def test_a_job_that_has_only_get_is_waited_for_without_blocking_the_rest() -> None:
    first = threading.Event()

    class Job:
        def __init__(self, future: Future[Any]) -> None:
            self.future = future

        def get(self) -> Any:
            return self.future.result()

    class Containers(OldStyle):
        supports_sharedmem = True

        def apply_async(self, func: Callable[[], Any], callback: Any = None) -> Any:
            callback(None)  # as soon as it is sent, as in some
            return Job(self.pool.submit(func))

    tasks = [delayed(first.wait)(60), *(delayed(pow)(i, 2) for i in range(8)), delayed(first.set)()]
    results = Parallel(n_jobs=2, backend=LegacyBackend(Containers()), batch_size=1)(tasks)
    assert results == [True, *SQUARES[:8], None]


@needs_threads
def test_a_callback_that_gets_the_result_and_is_not_called_after_an_error() -> None:
    class View(OldStyle):
        def apply_async(self, func: Callable[[], Any], callback: Any = None) -> Any:
            future = self.pool.submit(self.connection, func)
            future.get = future.result  # type: ignore[attr-defined]
            future.add_done_callback(lambda done: None if done.exception() else callback(done.result()))
            return future

        def connection(self, func: Callable[[], Any]) -> Any:
            return func()

    class Unplugged(View):
        def connection(self, func: Callable[[], Any]) -> Any:
            raise ConnectionError("the controller is gone")

    assert squares(View()) == SQUARES
    with pytest.raises(ConnectionError, match="the controller is gone") as caught:
        squares(Unplugged())
    assert any("Unplugged and not by a task" in note for note in caught.value.__notes__)


@needs_threads
def test_a_pool_whose_callback_comes_only_with_success() -> None:
    class Cluster(OldStyle):
        def configure(self, n_jobs: int = 1, parallel: Any = None, **_kwargs: Any) -> int:
            from multiprocessing.pool import ThreadPool

            self.pool = ThreadPool(2)
            return 2

        def apply_async(self, func: Callable[[], Any], callback: Any = None) -> Any:
            return self.pool.apply_async(self.remote, (func,), callback=callback)

        def remote(self, func: Callable[[], Any]) -> Any:
            return func()

        def terminate(self) -> None:
            self.pool.terminate()

    class Down(Cluster):
        def remote(self, func: Callable[[], Any]) -> Any:
            raise ConnectionError("no route to the cluster")

    class DownForCallbacks(Down):
        supports_retrieve_callback = True

    assert squares(Cluster()) == SQUARES
    for broken in (Down(), DownForCallbacks()):
        with pytest.raises(ConnectionError, match="no route"):
            squares(broken)


@needs_threads
def test_a_backend_that_never_calls_back_is_asked() -> None:
    class Silent(OldStyle):
        def configure(self, n_jobs: int = 1, parallel: Any = None, **_kwargs: Any) -> int:
            from multiprocessing.pool import ThreadPool

            self.pool = ThreadPool(2)
            return 2

        def apply_async(self, func: Any, callback: Any = None) -> Any:
            return self.pool.starmap_async(lambda function, args, kwargs: function(*args, **kwargs), func.items)

        def terminate(self) -> None:
            self.pool.terminate()

    assert Parallel(n_jobs=2, backend=LegacyBackend(Silent()))(delayed(abs)(-i) for i in range(3)) == [0, 1, 2]


@needs_threads
def test_a_backend_that_makes_the_calls_of_a_batch_itself_on_a_loop_of_its_own() -> None:
    import queue

    class Client(Base):
        """As joblib's own for Dask: looks at the arguments, has promises as jobs, is silent after an error."""

        def start_call(self) -> None:
            self.orders: queue.SimpleQueue[Any] = queue.SimpleQueue()
            self.thread = threading.Thread(target=self.collect, daemon=True)
            self.thread.start()

        def stop_call(self) -> None:
            self.orders.put(None)
            self.thread.join()

        def collect(self) -> None:
            while (order := self.orders.get()) is not None:
                func, callback, promise = order
                try:
                    result = [function(*list(args), **dict(kwargs)) for function, args, kwargs in func.items]
                    self.connection()
                except OSError as error:
                    promise.set_exception(error)
                else:
                    promise.set_result(result)
                    callback(result)

        def connection(self) -> None:
            """Works."""

        def submit(self, func: Any, callback: Any = None) -> Any:
            promise: Future[Any] = Future()
            self.orders.put((func, callback, promise))
            return promise

        def retrieve_result_callback(self, out: Any) -> Any:
            return out

    class Lost(Client):
        def connection(self) -> None:
            raise OSError("the scheduler has gone")

    assert squares(Client()) == SQUARES
    with pytest.raises(OSError, match="the scheduler has gone"):
        squares(Lost())


@needs_threads
def test_a_submit_that_raises_fails_the_run() -> None:
    class Refusing(Base):
        def submit(self, func: Any, callback: Any = None) -> Any:
            raise PermissionError("quota used up")

    with pytest.raises(PermissionError, match="quota used up") as caught:
        squares(Refusing())
    assert any("Refusing and not by a task" in note for note in caught.value.__notes__)


@needs_threads
def test_a_retrieval_that_returns_something_else_is_explained() -> None:
    class Forgetful(Base):
        def retrieve_result_callback(self, out: Any) -> Any:
            return None

    with pytest.raises(TypeError, match=r"Forgetful gave back None .* retrieve_result_callback\(out\) must return"):
        squares(Forgetful())


def test_a_backend_may_run_batches_when_they_are_submitted() -> None:
    class Done:
        def __init__(self, value: Any) -> None:
            self.value = value

        def get(self) -> Any:
            return self.value

    class Immediate(ParallelBackendBase):
        def effective_n_jobs(self, _n_jobs: int) -> int:
            return 2

        def apply_async(self, func: Any, callback: Any = None) -> Any:
            done = Done(func())
            callback(done)
            return done

    assert squares(Immediate()) == SQUARES
    assert squares(Immediate(), batch_size=7) == SQUARES


def test_submit_is_used_unless_only_the_old_name_was_overridden() -> None:
    class New(ParallelBackendBase):
        def effective_n_jobs(self, n_jobs: int) -> int:
            return n_jobs

        def submit(self, func: Any, callback: Any = None) -> Any:
            """Is there."""

    class Old(ParallelBackendBase):
        def effective_n_jobs(self, n_jobs: int) -> int:
            return n_jobs

        def apply_async(self, func: Any, callback: Any = None) -> Any:
            """Is there."""

    class Mixed(New):
        def apply_async(self, func: Any, callback: Any = None) -> Any:
            """Would not be called by joblib either."""

    assert [find_submit(kind()).__name__ for kind in (New, Old, Mixed)] == ["submit", "apply_async", "submit"]


@needs_threads
def test_a_fallback_is_followed() -> None:
    class FallbackToBackend(Exception):  # joblib's
        def __init__(self, backend: Any) -> None:
            self.backend = backend

    class Choosy(Base):
        def configure(self, n_jobs: int = 1, parallel: Any = None, **_kwargs: Any) -> int:
            raise FallbackToBackend(other)

    other = Base()
    assert squares(Choosy()) == SQUARES
    assert other.said[-1] == "terminate"


@needs_threads
def test_a_costly_round_trip_makes_batches_last_longer() -> None:
    class Distant(Base):
        def submit(self, func: Any, callback: Any = None) -> Any:
            def start_a_container() -> Any:
                time.sleep(0.1)
                return func()

            return super().submit(start_a_container, callback)

    instance = Distant()
    results = Parallel(n_jobs=2, backend=LegacyBackend(instance), batch_size=100)(
        delayed(time.sleep)(0.002) for _ in range(400)
    )
    assert len(results) == 400
    assert instance.sent <= 10  # 16 or more, if each came back after 50 ms


# Memory, place, concurrency


@needs_threads
def test_tasks_share_memory_unless_the_backend_pickles_them() -> None:
    def note(seen: list[int], _lock: Any = None) -> None:
        seen.append(1)

    for kind, expected in ((Sharing, [1] * 6), (Base, [1] * 6), (Pickling, [])):
        seen: list[int] = []
        Parallel(n_jobs=2, backend=kind(), batch_size=1)(delayed(note)(seen) for _ in range(6))
        assert seen == expected
    lock = threading.Lock()
    tasks = [delayed(note)([], lock)] * 6
    assert Parallel(n_jobs=2, backend=Base(), batch_size=1)(tasks) == [None] * 6
    with pytest.raises(UnpicklableError, match="argument '_lock'"):
        Parallel(n_jobs=2, backend=Pickling(), batch_size=1)(tasks)


@needs_threads
def test_what_a_backend_pickles_late_is_what_it_was_when_it_was_submitted() -> None:
    buffer = [0]

    def refilled() -> Iterator[Any]:
        for i in range(20):
            buffer[0] = i
            yield delayed(lambda x: x[0])(buffer)

    found = Parallel(n_jobs=2, backend=Pickling(), batch_size=1, pre_dispatch=4)(refilled())
    assert found == list(range(20))


@needs_threads
def test_tasks_that_share_memory_see_the_callers_context() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="unset")
    token = variable.set("set")
    try:
        found = Parallel(n_jobs=2, backend=LegacyBackend(Sharing()))(delayed(variable.get)() for _ in range(3))
    finally:
        variable.reset(token)
    assert found == ["set"] * 3


@needs_threads
def test_a_cancelled_batch_that_shares_memory_is_not_run() -> None:
    class Narrow(Sharing):
        def configure(self, n_jobs: int = 1, parallel: Any = None, **_kwargs: Any) -> int:
            self.pool = ThreadPoolExecutor(1)
            return 2

    release = threading.Event()
    seen: list[int] = []
    session = LegacyBackend(Narrow()).open(OpenRequest(n_jobs=2))
    session.submit(1, Batch(0, [delayed(release.wait)(60)]))
    session.submit(2, Batch(1, [delayed(seen.append)(1)]))
    session.cancel([2])
    release.set()
    facts = {fact.ticket: fact for fact in [*session.poll(60), *session.poll(1)]}
    session.close("kill")
    assert facts[1].values == [True]  # type: ignore[union-attr]
    assert facts[2].lost is not None  # type: ignore[union-attr]
    assert seen == []


@needs_threads
@pytest.mark.parametrize("kind", [Base, Sharing])
def test_tasks_are_one_level_below_the_backend(kind: type[Base]) -> None:
    def level() -> int:
        from jobspan.worker.context import PLACE  # a context variable cannot travel

        return PLACE.get().level

    def levels(instance: Base) -> set[int]:
        return set(Parallel(n_jobs=2, backend=LegacyBackend(instance))(delayed(level)() for _ in range(4)))

    instance = kind()
    assert levels(instance) == {1}
    assert instance.nesting_level == 0
    assert levels(kind(nesting_level=2)) == {3}


@needs_threads
def test_an_instance_in_use_lets_the_inner_call_run_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "_said", {})
    instance = Sharing()

    def inner() -> list[int]:
        return Parallel(n_jobs=2, backend=LegacyBackend(instance))(delayed(abs)(-i) for i in range(3))

    with pytest.warns(FallbackWarning, match="Sharing that runs tasks is given more"):
        results = Parallel(n_jobs=2, backend=LegacyBackend(instance))(delayed(inner)() for _ in range(4))
    assert results == [[0, 1, 2]] * 4
    assert instance.said.count("configure") == 1


@needs_threads
def test_with_a_factory_a_second_call_gets_an_instance_of_its_own() -> None:
    made: list[Base] = []

    def another() -> Base:
        made.append(Sharing())
        return made[-1]

    backend = LegacyBackend(Sharing(), another=another)
    results = Parallel(n_jobs=2, backend=backend, return_as="generator")(delayed(pow)(i, 2) for i in range(20))
    assert Parallel(n_jobs=2, backend=backend)(delayed(abs)(-i) for i in range(3)) == [0, 1, 2]
    assert list(results) == SQUARES
    assert [instance.said[-1] for instance in made] == ["terminate"]


# What a backend sees of the call


@needs_threads
def test_parallel_can_be_read() -> None:
    instance = Base()
    options = LegacyOptions(verbose=11, batch_size=4, return_as="generator", params={"address": "far"})
    squares_ = Parallel(n_jobs=2, backend=LegacyBackend(instance, options=options), batch_size=4)
    assert squares_(delayed(pow)(i, 2) for i in range(20)) == SQUARES
    parallel = instance.parallel
    assert (parallel.n_jobs, parallel.verbose, parallel.batch_size, parallel.timeout) == (2, 11, 4, None)
    assert (parallel.return_generator, parallel.return_ordered) == (True, True)
    assert parallel._backend is instance
    assert dict(parallel._backend_kwargs) == dict(parallel._backend_args) == instance.kwargs
    assert parallel._temp_folder is None
    assert len(parallel._id) == 32
    assert parallel.n_completed_tasks == 20
    assert parallel.n_dispatched_tasks >= 20
    assert parallel.n_dispatched_batches == instance.sent
    assert (parallel._aborting, parallel._exception) == (False, False)
    with parallel._lock:
        assert repr(parallel) == "Parallel(n_jobs=2)"
    assert parallel.print_progress() is None


@needs_threads
def test_parallel_cannot_be_changed() -> None:
    class Painting(Base):
        def start_call(self) -> None:
            self.parallel.print_progress = print

    with pytest.raises(AttributeError, match=r"set 'print_progress' of its 'parallel'.*on_event"):
        squares(Painting())
    instance = Base()
    squares(instance)
    with pytest.raises(AttributeError, match="read-only"):
        del instance.parallel.n_jobs
    with pytest.raises(TypeError):
        instance.parallel._backend_kwargs["verbose"] = 3
    with pytest.raises(AttributeError, match=r"'dispatch_next'.* knows n_jobs, verbose"):
        _ = instance.parallel.dispatch_next


@needs_threads
@pytest.mark.parametrize(("verbose", "stream"), [(0, None), (10, "err"), (50, "out")])
def test_parallel_prints_where_joblib_does(
    verbose: int, stream: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    class Chatty(Base):
        def start_call(self) -> None:
            self.parallel._print("starting")

    session = LegacyBackend(Chatty(), options=LegacyOptions(verbose=verbose)).open(OpenRequest(n_jobs=2))
    session.close("release")
    captured = capsys.readouterr()
    for name in ("out", "err"):
        assert getattr(captured, name) == ("[Parallel(n_jobs=2)]: starting\n" if name == stream else "")


# The base classes


def test_the_base_class_says_what_is_missing() -> None:
    class Unfinished(ParallelBackendBase):
        def effective_n_jobs(self, n_jobs: int) -> int:
            return n_jobs

    with pytest.raises(TypeError, match="effective_n_jobs"):
        ParallelBackendBase()  # type: ignore[abstract]
    instance = Unfinished(nesting_level=1, inner_max_num_threads=3, color="red")
    assert (instance.nesting_level, instance.inner_max_num_threads) == (1, 3)
    assert instance.backend_kwargs == {"color": "red"}
    assert instance.configure(n_jobs=3, parallel="it", verbose=1) == 3
    assert instance.parallel == "it"
    with (
        pytest.warns(DeprecationWarning, match="rename it to submit"),
        pytest.raises(NotImplementedError, match=r"Unfinished has to implement submit"),
    ):
        instance.submit(list)
    with pytest.raises(NotImplementedError, match=r"retrieve_result_callback\(out\)"):
        instance.retrieve_result_callback(None)


def test_the_base_class_does_nothing_unasked() -> None:
    class Mine(ParallelBackendBase):
        def effective_n_jobs(self, n_jobs: int) -> int:
            return n_jobs

    instance = Mine()
    instance.start_call()
    instance.stop_call()
    instance.terminate()
    instance.abort_everything()
    instance.batch_completed(1, 0.1)
    with instance.retrieval_context():
        assert instance.compute_batch_size() == 1
    assert instance.get_nested_backend() == ("sequential", None)
    assert (instance.supports_timeout, instance.supports_return_generator) == (False, False)
    assert instance.in_main_thread()
    assert instance.default_n_jobs == 1


def test_results_are_retrieved_with_a_timeout_where_that_is_supported() -> None:
    class Mine(ParallelBackendBase):
        def effective_n_jobs(self, n_jobs: int) -> int:
            return n_jobs

    class Patient(Mine):
        supports_timeout = True  # type: ignore[assignment]

    class Job:
        def get(self, **given: Any) -> Any:
            return given

    assert Mine().retrieve_result(Job(), timeout=3) == {}
    assert Patient().retrieve_result(Job(), timeout=3) == {"timeout": 3}


def test_worker_processes_get_their_share_of_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(ParallelBackendBase):
        def effective_n_jobs(self, n_jobs: int) -> int:
            return n_jobs

    monkeypatch.setattr(host, "cpu_count", lambda: 8)
    for name in (*Mine.MAX_NUM_THREADS_VARS, Mine.TBB_ENABLE_IPC_VAR):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    env = Mine()._prepare_worker_env(n_jobs=3)
    assert (env["OMP_NUM_THREADS"], env["MKL_NUM_THREADS"], env["ENABLE_IPC"]) == ("5", "2", "1")
    monkeypatch.setenv("ENABLE_IPC", "0")
    env = Mine(inner_max_num_threads=1)._prepare_worker_env(n_jobs=3)
    assert set(env) == set(Mine.MAX_NUM_THREADS_VARS)
    assert set(env.values()) == {"1"}


class Batching(AutoBatchingMixin, ParallelBackendBase):
    def effective_n_jobs(self, n_jobs: int) -> int:
        return n_jobs


def test_short_batches_grow_and_long_ones_shrink() -> None:
    batching = Batching()
    assert batching.compute_batch_size() == 1
    sizes = []
    for _ in range(5):
        batching.batch_completed(batching.compute_batch_size(), 0.001)
        sizes.append(batching.compute_batch_size())
    assert sizes == [2, 4, 8, 16, 32]
    batching.batch_completed(32, 6.4)
    assert batching.compute_batch_size() == 2
    batching.batch_completed(2, 1.0)
    assert batching.compute_batch_size() == 2
    batching.reset_batch_stats()
    assert batching.compute_batch_size() == 1


def test_a_single_long_task_cannot_be_divided_and_late_reports_do_not_count() -> None:
    batching = Batching()
    batching.batch_completed(1, 100.0)
    assert batching.compute_batch_size() == 1
    batching.reset_batch_stats()
    batching.batch_completed(17, 0.001)
    assert batching.compute_batch_size() == 1


def test_durations_are_averaged() -> None:
    batching = Batching()
    batching.batch_completed(1, 0.1)
    batching.batch_completed(1, 1.0)  # 0.28 in the mean: long enough
    assert batching.compute_batch_size() == 1
    batching.batch_completed(1, 0.01)
    batching.batch_completed(1, 0.01)  # 0.18
    assert batching.compute_batch_size() == 2


@needs_threads
def test_batches_may_last_as_long_as_the_backend_wants() -> None:
    class Long(AutoBatchingMixin, Base):
        MIN_IDEAL_BATCH_DURATION = 60.0

    backend = LegacyBackend(Long())
    assert backend.traits.round_trip_s == pytest.approx(3.0)
    session = backend.open(OpenRequest(n_jobs=2, budget_s=0.05))
    session.submit(1, Batch(0, [delayed(time.sleep)(0.02)] * 8))
    (fact,) = session.poll(60)
    session.close("release")
    assert len(fact.values) == 8  # type: ignore[union-attr]


@needs_threads
def test_a_backend_may_talk_about_its_batches(capsys: pytest.CaptureFixture[str]) -> None:
    class Talking(AutoBatchingMixin, Base):
        def start_call(self) -> None:
            self.batch_completed(1, 0.001)
            self.compute_batch_size()

    squares_ = LegacyBackend(Talking(), options=LegacyOptions(verbose=10)).open(OpenRequest(n_jobs=2))
    squares_.close("release")
    assert capsys.readouterr().err == "[Parallel(n_jobs=2)]: Batches are too short (0.001 s): batch_size=2.\n"


# joblib's own


def joblib_backend(name: str, **options: Any) -> Any:
    import joblib._parallel_backends

    return getattr(joblib._parallel_backends, name)(**options)


JOBLIBS = ["ThreadingBackend", "MultiprocessingBackend", "LokyBackend"]


@needs_processes
@pytest.mark.parametrize("name", JOBLIBS)
@pytest.mark.parametrize("return_as", ["list", "generator", "generator_unordered"])
def test_the_backends_of_joblib_itself_run(name: str, return_as: str) -> None:
    backend = LegacyBackend(joblib_backend(name))
    results = Parallel(n_jobs=2, backend=backend, return_as=return_as)(delayed(pow)(i, 2) for i in range(20))
    assert sorted(results) == SQUARES


@needs_processes
@pytest.mark.parametrize("name", JOBLIBS)
def test_errors_of_tasks_come_out_of_joblibs_backends_as_themselves(name: str) -> None:
    backend = LegacyBackend(joblib_backend(name))
    with pytest.raises(ValueError, match="invalid literal") as caught:
        Parallel(n_jobs=2, backend=backend)(delayed(int)(text) for text in ["1", "2", "x", *"345"])
    assert any("task 2" in note for note in caught.value.__notes__)
    assert squares(joblib_backend(name)) == SQUARES


@needs_processes
@pytest.mark.parametrize("name", [*JOBLIBS, "SequentialBackend"])
def test_with_one_worker_joblibs_backends_leave_the_work_to_the_caller(name: str) -> None:
    (found,) = Parallel(n_jobs=1, backend=LegacyBackend(joblib_backend(name)))([delayed(threading.get_ident)()])
    assert found == threading.get_ident()


@needs_processes
@pytest.mark.parametrize("name", ["MultiprocessingBackend", "LokyBackend"])
def test_an_initializer_is_the_backends_to_call(name: str) -> None:
    def prepare(value: int) -> None:
        import builtins

        builtins.jobspan_prepared = value  # type: ignore[attr-defined]

    def read() -> int:
        import builtins

        return builtins.jobspan_prepared  # type: ignore[attr-defined, no-any-return]

    backend = LegacyBackend(joblib_backend(name))
    parallel = Parallel(n_jobs=2, backend=backend, initializer=prepare, initargs=(7,), idle_worker_timeout=None)
    assert parallel(delayed(read)() for _ in range(4)) == [7] * 4


@needs_processes
def test_a_killed_worker_of_joblibs_loky_is_reported() -> None:
    with pytest.raises(WorkerLost, match="LokyBackend died"):
        Parallel(n_jobs=2, backend=LegacyBackend(joblib_backend("LokyBackend")))(delayed(os._exit)(3) for _ in range(2))
    assert squares(joblib_backend("LokyBackend")) == SQUARES


@needs_processes
def test_subclasses_of_joblibs_classes_run() -> None:
    from joblib import ParallelBackendBase as TheirBase
    from joblib._parallel_backends import LokyBackend, ThreadingBackend

    class NoMemmap(LokyBackend):  # as some override it
        def configure(self, *args: Any, **kwargs: Any) -> Any:
            kwargs["max_nbytes"] = None
            return super().configure(*args, **kwargs)

    class Counting(ThreadingBackend):
        n = 0

        def submit(self, func: Any, callback: Any = None) -> Any:
            self.n += 1
            return super().submit(func, callback)

    class Custom(TheirBase):  # as joblib's documentation shows it
        supports_retrieve_callback = True

        def effective_n_jobs(self, n_jobs: int) -> int:
            return n_jobs

        def configure(self, n_jobs: int = 1, parallel: Any = None, **backend_kwargs: Any) -> int:
            self.parallel = parallel
            self._executor = ThreadPoolExecutor(n_jobs)
            return self.effective_n_jobs(n_jobs)

        def terminate(self) -> None:
            self._executor.shutdown()

        def submit(self, func: Any, callback: Any = None) -> Any:
            future = self._executor.submit(func)
            future.add_done_callback(callback)
            return future

        def retrieve_result_callback(self, future: Any) -> Any:
            return future.result()

    class Old(TheirBase):  # as written for joblib 0.10 to 1.2
        supports_timeout = True

        def effective_n_jobs(self, n_jobs: int) -> int:
            return n_jobs

        def apply_async(self, func: Any, callback: Any = None) -> Any:
            future = pool.submit(func)
            future.get = future.result
            future.add_done_callback(lambda done: callback(done.result()))
            return future

    counting = Counting()
    with ThreadPoolExecutor(2) as pool, warnings.catch_warnings():
        warnings.simplefilter("error")  # joblib's submit would warn of apply_async
        for instance in (NoMemmap(), counting, Custom(), Old()):
            assert squares(instance) == SQUARES
    assert counting.n > 0


@needs_processes
def test_joblib_is_not_imported_for_any_of_this() -> None:
    import subprocess

    code = (
        "import jobspan.backends.legacy.backend, jobspan.backends.legacy.base, sys; assert 'joblib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
