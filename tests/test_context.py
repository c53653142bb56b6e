"""What is around a call goes along with its tasks: settings, context variables, what providers say, initializers."""

from __future__ import annotations

import builtins
import contextvars
import decimal
import os
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jobspan import (
    InitializerError,
    Parallel,
    UnpicklableError,
    cpu_count,
    delayed,
    host,
    parallel_config,
    register_context,
)
from jobspan.worker import carry
from jobspan.worker.context import EXECUTORS, Place
from jobspan.worker.frame import Frame, capture, established, unpack
from jobspan.worker.prepare import limit_threads

needs_processes = pytest.mark.skipif(not host.has_processes(), reason="there are no processes here")
needs_threads = pytest.mark.skipif(not host.has_threads(), reason="there are no threads here")

MODULE = "jobspan_test_settings"


@pytest.fixture(autouse=True)
def _nothing_stays_registered() -> Iterator[None]:
    variables, providers = dict(carry._variables), dict(carry._providers)
    yield
    for table, before in ((carry._variables, variables), (carry._providers, providers)):
        table.clear()  # type: ignore[attr-defined]
        table.update(before)  # type: ignore[attr-defined]


@pytest.fixture
def variable() -> Iterator[contextvars.ContextVar[str]]:
    """A variable of the script, which has none of its modules on the workers."""
    made: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")
    main = sys.modules["__main__"]
    main.user = made  # type: ignore[attr-defined]
    yield made
    del main.user  # type: ignore[attr-defined]


def reader(variable: contextvars.ContextVar[str]) -> Callable[[], str]:
    def read() -> str:
        return variable.get()

    return read


# Context variables


def test_a_registered_variable_goes_along(backend: Any, run: Any, variable: contextvars.ContextVar[str]) -> None:
    register_context("__main__:user")
    tasks = [delayed(reader(variable))()] * 3
    assert run(tasks, backend=backend, n_jobs=2) == ["nobody"] * 3
    token = variable.set("ada")
    try:
        assert run(tasks, backend=backend, n_jobs=2) == ["ada"] * 3
    finally:
        variable.reset(token)
    assert run(tasks, backend=backend, n_jobs=2) == ["nobody"] * 3  # workers that had it have forgotten


def test_a_variable_of_an_imported_module_is_found_there(copying_backend: Any) -> None:
    register_context("jobspan.worker.context:EXECUTORS")

    def executors() -> Any:
        from jobspan.worker.context import EXECUTORS

        return EXECUTORS.get()

    token = EXECUTORS.set(frozenset({-1}))
    try:
        assert Parallel(2, copying_backend)([delayed(executors)()] * 2) == [frozenset({-1})] * 2
    finally:
        EXECUTORS.reset(token)


def test_a_variable_that_is_not_registered_is_named_with_what_to_do(
    copying_backend: Any, variable: contextvars.ContextVar[str]
) -> None:
    with pytest.raises(UnpicklableError, match=r"captured variable.*register_context\('module:variable'\)"):
        Parallel(2, copying_backend)([delayed(reader(variable))()] * 2)


def test_a_value_that_cannot_be_pickled_is_refused_at_the_call(
    copying_backend: Any, variable: contextvars.ContextVar[Any]
) -> None:
    register_context("__main__:user")
    token = variable.set({"lock": threading.Lock()})
    try:
        with pytest.raises(UnpicklableError, match=r"the value of the context variable '__main__:user'\['lock'\]"):
            Parallel(2, copying_backend)([delayed(abs)(1)] * 2)
    finally:
        variable.reset(token)


@pytest.mark.parametrize("backend", ["threads", "ThreadPoolExecutor"] if host.has_threads() else [], indirect=True)
def test_threads_see_all_variables_and_each_batch_a_copy(
    backend: Any, run: Any, variable: contextvars.ContextVar[str]
) -> None:
    def read_and_set() -> str:
        before = variable.get()
        variable.set("changed by a task")
        return before

    token = variable.set("ada")
    try:
        assert run([delayed(read_and_set)()] * 4, backend=backend, n_jobs=2, batch_size=1) == ["ada"] * 4
        assert variable.get() == "ada"
    finally:
        variable.reset(token)


@pytest.mark.parametrize(
    ("name", "error"),
    [("decimal", ValueError), ("nowhere:x", ValueError), ("decimal:x", ValueError), ("decimal:Context", TypeError)],
)
def test_a_name_that_finds_no_variable_is_refused(name: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=repr(name)):
        register_context(name)


def test_a_provider_needs_both_functions() -> None:
    with pytest.raises(TypeError, match="needs two functions"):
        register_context("decimal", decimal.getcontext)


# Providers


def test_what_a_provider_says_holds_in_the_tasks_and_is_taken_back(copying_backend: Any) -> None:
    def get() -> Any:
        import builtins

        return getattr(builtins, "jobspan_setting", "unset")

    def put(value: Any) -> None:
        import builtins

        builtins.jobspan_setting = value  # type: ignore[attr-defined]

    before = set(Parallel(2, copying_backend)([delayed(get)()] * 4))
    assert before == {"unset"}
    register_context("setting", get, put)
    put("mine")
    try:
        assert Parallel(2, copying_backend)([delayed(get)()] * 4) == ["mine"] * 4
        carry._providers.clear()
        assert Parallel(2, copying_backend)([delayed(get)()] * 4) == ["unset"] * 4
    finally:
        del builtins.jobspan_setting  # type: ignore[attr-defined]


@pytest.mark.parametrize("backend", ["threads", "ThreadPoolExecutor"] if host.has_threads() else [], indirect=True)
def test_a_provider_brings_settings_of_each_thread(backend: Any) -> None:
    settings = threading.local()

    def get() -> str:
        return getattr(settings, "value", "unset")

    def put(value: str) -> None:
        settings.value = value

    put("mine")
    assert Parallel(2, backend)([delayed(get)()] * 4) == ["unset"] * 4
    register_context("setting", get, put)
    assert Parallel(2, backend)([delayed(get)()] * 4) == ["mine"] * 4
    carry._providers.clear()
    assert Parallel(2, backend)([delayed(get)()] * 4) == ["unset"] * 4


def test_the_setting_of_scikit_learn_goes_along(parallel_backend_: Any) -> None:
    sklearn = pytest.importorskip("sklearn", reason="scikit-learn is not installed here")
    register_context("sklearn", sklearn.get_config, lambda config: sklearn.set_config(**config))

    def assumes_finite() -> bool:
        import sklearn

        return bool(sklearn.get_config()["assume_finite"])

    with sklearn.config_context(assume_finite=True):
        assert Parallel(2, parallel_backend_)([delayed(assumes_finite)()] * 4) == [True] * 4
    assert Parallel(2, parallel_backend_)([delayed(assumes_finite)()] * 4) == [False] * 4


def test_a_provider_that_fails_on_a_worker_fails_the_call(copying_backend: Any) -> None:
    def refuse(_: Any) -> None:
        raise KeyError("no such setting")

    register_context("setting", lambda: 1, refuse)
    with pytest.raises(KeyError, match="no such setting") as caught:
        Parallel(2, copying_backend)([delayed(abs)(1)] * 2)
    assert "'set' that register_context('setting', ...) was given" in "".join(caught.value.__notes__)


def test_a_provider_that_fails_in_the_caller_is_named(parallel_backend_: Any) -> None:
    register_context("broken", lambda: 1 // 0, print)
    with pytest.raises(ZeroDivisionError) as caught:
        Parallel(2, parallel_backend_)([delayed(abs)(1)] * 2)
    assert "'get' that register_context('broken', ...) was given" in "".join(caught.value.__notes__)


# Settings of parallel_config


def test_settings_hold_inside_tasks_but_not_backend_and_number(backend: Any, run: Any) -> None:
    def inner() -> tuple[Any, ...]:
        from jobspan import Parallel
        from jobspan.config import CONFIG
        from jobspan.worker.context import PLACE

        config = CONFIG.get().inherited(PLACE.get().level)
        return config.max_nbytes, config.mmap_mode, Parallel().n_jobs

    with parallel_config(backend=backend, n_jobs=2, max_nbytes=12345, mmap_mode="r"):
        found = run([delayed(inner)()] * 3)
    expected = (12345, "r", 2 if backend == "sequential" else 1)
    assert found == [expected] * 3
    outside = run([delayed(inner)()] * 3, backend=backend, n_jobs=2)
    assert [found[0] == 12345 for found in outside] == [False] * 3


def test_a_configured_backend_that_cannot_be_pickled_stays_here(copying_backend: Any) -> None:
    class Mine:
        lock = threading.Lock()

        def __init__(self) -> None:
            self.own = threading.Lock()

        def submit(self) -> None:
            raise NotImplementedError

    with parallel_config(Mine(), verbose=0):
        assert Parallel(2, copying_backend)([delayed(abs)(-1)] * 2) == [1, 1]


@needs_threads
def test_inside_tasks_all_cpus_means_their_share(parallel_backend_: Any) -> None:
    def share() -> tuple[int, int]:
        from jobspan import cpu_count
        from jobspan.parallel import Parallel

        return Parallel(-1, "threads")._effective_n_jobs(), cpu_count()

    for share_of_two, cpus in Parallel(2, parallel_backend_)([delayed(share)()] * 4):
        assert share_of_two == max(1, cpus // 2)


@needs_threads
def test_a_nested_call_for_all_cpus_is_as_wide_as_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "cpu_count", lambda: 8)

    def nested() -> int:
        return Parallel(-1, "threads")(delayed(width)() for _ in range(1))[0]  # type: ignore[no-any-return]

    def width() -> int:
        from jobspan.worker.context import PLACE

        return PLACE.get().width

    assert Parallel(2, "threads")([delayed(nested)()] * 2) == [8, 8]  # two of four
    assert Parallel(4, "threads")([delayed(nested)()] * 2) == [8, 8]  # four of two


# Initializers


def preparation() -> tuple[Callable[..., None], Callable[[], tuple[int, ...]]]:
    """An initializer that adds to a list of its worker, and a task that tells the list."""
    key = f"jobspan_{os.urandom(8).hex()}"

    def prepare(*values: int) -> None:
        import builtins

        vars(builtins).setdefault(key, []).extend(values)

    def tell() -> tuple[int, ...]:
        import builtins

        return tuple(vars(builtins).get(key, ()))

    return prepare, tell


def test_an_initializer_runs_once_in_each_copying_worker(copying_backend: Any, run: Any) -> None:
    prepare, tell = preparation()
    options = {"backend": copying_backend, "n_jobs": 2, "batch_size": 1, "initializer": prepare, "initargs": (1, 2)}
    assert run([delayed(tell)() for _ in range(8)], **options) == [(1, 2)] * 8
    assert run([delayed(tell)() for _ in range(8)], **options) == [(1, 2)] * 8
    assert tell() == ()


SCRIPT = """
settings = {"greeting": "none"}
volume = 1

def prepare(greeting):
    global model
    settings["greeting"] = greeting
    model = len(greeting)

def say(name):
    return f"{settings['greeting']} {name}" + "!" * volume

def greet(name):
    return say(name), model

def call(function, name):
    return function(name)
"""


@pytest.fixture
def script() -> types.SimpleNamespace:
    """What a user's script defines: nothing that a worker could import."""
    space = {"__name__": f"script_{os.urandom(4).hex()}"}
    exec(SCRIPT, space)
    return types.SimpleNamespace(**space, space=space)


def test_what_an_initializer_sets_in_its_script_is_seen_by_the_tasks(
    copying_backend: Any, run: Any, script: Any
) -> None:
    for greeting in ("hi", "bye", "hi"):
        options = {"backend": copying_backend, "n_jobs": 2, "initializer": script.prepare, "initargs": (greeting,)}
        tasks = [delayed(script.greet)("Ada"), delayed(script.call)(script.greet, "Alan")]
        assert run(tasks, **options) == [(f"{greeting} Ada!", len(greeting)), (f"{greeting} Alan!", len(greeting))]
    assert script.settings == {"greeting": "none"}, "the caller's own are as they were"


def test_what_the_script_itself_changes_between_two_calls_counts_beside_an_initializer(
    copying_backend: Any, run: Any, script: Any
) -> None:
    for volume in (2, 0):
        script.space["volume"] = volume
        options = {"backend": copying_backend, "n_jobs": 2, "initializer": script.prepare, "initargs": ("hi",)}
        assert run([delayed(script.say)("Ada")] * 2, **options) == ["hi Ada" + "!" * volume] * 2
    with pytest.raises(NameError, match="model"):  # of a run that has none, nothing is left
        run([delayed(script.greet)("Ada")], backend=copying_backend, n_jobs=2)


@pytest.mark.parametrize("backend", ["threads", "ThreadPoolExecutor"] if host.has_threads() else [], indirect=True)
def test_an_initializer_runs_once_in_each_thread_that_serves_a_call(backend: Any, run: Any) -> None:
    prepared: list[int] = []

    def prepare() -> None:
        prepared.append(threading.get_ident())

    def is_prepared() -> bool:
        return threading.get_ident() in prepared

    for _ in range(2):
        prepared.clear()
        tasks = [delayed(is_prepared)() for _ in range(8)]
        assert run(tasks, backend=backend, n_jobs=2, batch_size=1, initializer=prepare) == [True] * 8
        assert len(prepared) == len(set(prepared)) <= 2


@needs_threads
def test_variables_that_an_initializer_sets_are_seen_by_its_thread(variable: contextvars.ContextVar[str]) -> None:
    tasks = [delayed(reader(variable))()] * 4
    found = Parallel(2, "threads", batch_size=1, initializer=variable.set, initargs=("prepared",))(tasks)
    assert found == ["prepared"] * 4
    assert Parallel(2, "threads", batch_size=1)(tasks) == ["nobody"] * 4


@pytest.mark.parametrize(("n_jobs", "backend"), [(1, "loky"), (1, "threads"), (2, "sequential"), (None, "auto")])
def test_without_workers_an_initializer_runs_once_for_each_call(n_jobs: int | None, backend: str, run: Any) -> None:
    if backend == "loky" and not host.has_processes():
        pytest.skip("there are no processes here")
    prepare, tell = preparation()
    tasks = [delayed(tell)()] * 3
    options = {"backend": backend, "n_jobs": n_jobs, "initializer": prepare, "initargs": (1,)}
    assert run(tasks, **options) == [(1,)] * 3
    assert run(tasks, **options) == [(1, 1)] * 3


def test_an_initializer_that_fails_ends_the_call_at_once(backend: Any, run: Any) -> None:
    def no_licence(which: str) -> None:
        raise LookupError(f"no licence for {which}")

    ran: list[int] = []
    with pytest.raises(InitializerError, match=r"no_licence\('solver'\) failed.*LookupError: no licence") as caught:
        run(
            (delayed(ran.append)(i) for i in range(20)),
            backend=backend,
            n_jobs=2,
            initializer=no_licence,
            initargs=("solver",),
        )
    assert type(caught.value.__cause__) is LookupError
    assert ran == []
    assert run([delayed(abs)(-1)] * 2, backend=backend, n_jobs=2) == [1, 1]


def test_an_initializer_that_ends_its_worker_or_raises_what_cannot_travel_is_named(copying_backend: Any) -> None:
    class Locked(Exception):
        def __init__(self, one: int, two: int) -> None:
            super().__init__("locked out")

    def leave() -> None:
        raise SystemExit(3)

    def lock_out() -> None:
        raise Locked(1, 2)

    with pytest.raises(InitializerError, match=r"leave\(\) failed.*SystemExit: 3"):
        Parallel(2, copying_backend, initializer=leave)([delayed(abs)(1)] * 2)
    with pytest.raises(InitializerError, match="locked out") as caught:
        Parallel(2, copying_backend, initializer=lock_out)([delayed(abs)(1)] * 2)
    assert "in lock_out" in "".join(caught.value.__notes__)


def test_an_initializer_that_failed_is_tried_again_by_the_next_call(copying_backend: Any) -> None:
    key = f"jobspan_{os.urandom(8).hex()}"

    def at_the_second_time() -> None:
        import builtins

        vars(builtins)[key] = vars(builtins).get(key, 0) + 1
        if vars(builtins)[key] == 1:
            raise ConnectionError("not yet")

    failures = 0
    for _ in range(20):  # each failure is of a worker that has not failed yet
        try:
            found = Parallel(2, copying_backend, initializer=at_the_second_time)([delayed(abs)(-1)] * 2)
            break
        except InitializerError:
            failures += 1
    assert found == [1, 1]
    assert failures > 0


def test_an_initializer_that_cannot_be_sent_is_named(copying_backend: Any) -> None:
    with pytest.raises(UnpicklableError, match=r"argument 0 of the initializer\['lock'\]"):
        Parallel(2, copying_backend, initializer=print, initargs=({"lock": threading.Lock()},))([delayed(abs)(1)] * 2)


@needs_processes
@pytest.mark.parametrize("options", [{"max_tasks_per_worker": 1}, {}])
def test_workers_that_replace_others_run_the_initializer_too(options: dict[str, int]) -> None:
    prepare, tell = preparation()

    def tell_and_who() -> tuple[int, tuple[int, ...]]:
        return os.getpid(), tell()

    def ask() -> list[tuple[int, tuple[int, ...]]]:
        found = Parallel(2, "loky", initializer=prepare, initargs=(1,), batch_size=1, **options)
        return found(delayed(tell_and_who)() for _ in range(6))  # type: ignore[no-any-return]

    first = ask()
    if not options:
        with pytest.raises(Exception, match="worker died"):
            Parallel(2, "loky", initializer=prepare, initargs=(1,))([delayed(os._exit)(1)] * 2)
    second = ask()
    assert {told for _, told in first + second} == {(1,)}
    assert not {who for who, _ in first} & {who for who, _ in second}


# Threads of numerical libraries


@needs_processes
def test_numerical_libraries_get_the_share_of_a_worker_that_nobody_prepared() -> None:
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    pytest.importorskip("threadpoolctl", reason="threadpoolctl is not installed here")
    pytest.importorskip("numpy", reason="numpy is not installed here")

    def limits() -> tuple[bool, set[int]]:
        import sys

        was_loaded = "numpy" in sys.modules  # before this batch, or nobody could limit it
        import numpy as np  # noqa: F401
        import threadpoolctl

        return was_loaded, {pool["num_threads"] for pool in threadpoolctl.threadpool_info()}

    fresh = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))
    with fresh, parallel_config(fresh, n_jobs=2):
        share = max(1, cpu_count() // 2)
        found = Parallel(batch_size=1)([delayed(limits)()] * 12)
        assert any(was_loaded for was_loaded, _ in found)
        assert all(numbers <= {share} for was_loaded, numbers in found if was_loaded)


def test_limits_are_set_only_where_something_is_loaded_that_has_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setitem(sys.modules, "threadpoolctl", types.SimpleNamespace(threadpool_limits=asked.append))
    for name in ("numpy", "scipy", "sklearn", "torch"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr("jobspan.worker.prepare._limited", None)
    monkeypatch.setattr(host, "cpu_count", lambda: 8)
    limit_threads(None, 2)
    assert asked == []
    monkeypatch.setitem(sys.modules, "numpy", types.ModuleType("numpy"))
    for threads, width in ((None, 2), (None, 2), (3, 2), (0, 2), (None, 16)):
        limit_threads(threads, width)
    assert asked == [4, 3, 1]


# The frame itself


def test_nothing_is_packed_where_memory_is_shared() -> None:
    assert capture(inline=True).surroundings is None
    assert capture(inline=False).surroundings is None
    assert capture(inline=False, copied=True).surroundings is not None


def test_what_was_established_is_taken_back_when_the_batch_fails() -> None:
    filters, show = warnings.filters, warnings.showwarning
    frame = unpack(capture(inline=False, copied=True).within(3).packed())
    assert frame.place == Place(1, 3)
    with pytest.raises(ZeroDivisionError), established(frame, []):
        1 / int(warnings.showwarning == show)
    assert warnings.filters is filters
    assert warnings.showwarning == show


def test_a_frame_without_surroundings_is_good_enough_for_a_backend_alone() -> None:
    with established(unpack(Frame().packed()), []):
        pass


def test_what_a_task_sets_does_not_outlast_its_batch(copying_backend: Any) -> None:
    def look_and_set() -> int:
        import decimal  # which keeps its context in a context variable

        before = decimal.getcontext().prec
        decimal.setcontext(decimal.Context(prec=7))
        return before

    for _ in range(2):
        found = Parallel(n_jobs=2, backend=copying_backend, batch_size=1)(delayed(look_and_set)() for _ in range(8))
        assert found == [28] * 8
