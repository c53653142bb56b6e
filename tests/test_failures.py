"""Tasks that fail: what takes their place, how often they are tried, and what of the others is kept."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

import pytest

from jobspan import (
    Event,
    InitializerError,
    Parallel,
    TaskError,
    TaskTimeout,
    UnpicklableError,
    WorkerLost,
    attempt,
    cancelled,
    delayed,
    host,
)
from jobspan.backends.threads import ThreadsBackend

Run = Callable[..., list[Any]]


def fail_at(bad: tuple[int, ...], index: int) -> int:
    if index in bad:
        raise ValueError(f"no {index}")
    return index


def tasks(count: int, *bad: int) -> list[Any]:
    return [delayed(fail_at)(bad, index) for index in range(count)]


def test_an_error_can_take_the_place_of_its_result(backend: Any, run: Run) -> None:
    results = run(tasks(40, 3, 4, 39), n_jobs=2, backend=backend, errors="return")
    errors = {index: each for index, each in enumerate(results) if isinstance(each, TaskError)}
    assert set(errors) == {3, 4, 39}
    assert [each for each in results if not isinstance(each, TaskError)] == [i for i in range(40) if i not in errors]
    for index, error in errors.items():
        assert error.index == index
        assert isinstance(error.error, ValueError)
        assert str(error.error) == f"no {index}"
        assert error.__cause__ is error.error
        assert error.call == f"fail_at((3, 4, 39), {index})"
        assert error.attempt == 1
        assert error.worker
        assert "in fail_at" in error.traceback
        assert str(error).startswith(f"task {index}: fail_at((3, 4, 39), {index}), on {error.worker}: ValueError: no")


def test_a_task_that_failed_can_be_left_out(backend: Any, run: Run) -> None:
    results = run(tasks(20, 0, 7, 19), n_jobs=2, backend=backend, errors="skip")
    assert results == [i for i in range(20) if i not in (0, 7, 19)]


def test_a_function_can_say_what_takes_its_place(backend: Any, run: Run) -> None:
    results = run(tasks(6, 2, 5), n_jobs=2, backend=backend, errors=lambda error: -error.index)
    assert results == [0, 1, -2, 3, 4, -5]


def test_what_that_function_raises_ends_the_call(backend: Any, run: Run) -> None:
    def refuse(error: TaskError) -> None:
        raise LookupError(error.call)

    with pytest.raises(LookupError, match=r"fail_at\(\(2,\), 2\)"):
        run(tasks(6, 2), n_jobs=2, backend=backend, errors=refuse)


def test_errors_can_be_raised_together_at_the_end(backend: Any, run: Run) -> None:
    with pytest.raises(ExceptionGroup, match="2 of 10 tasks failed") as caught:
        run(tasks(10, 4, 8), n_jobs=2, backend=backend, errors="group")
    assert sorted(map(str, caught.value.exceptions)) == ["no 4", "no 8"]
    notes = [note for error in caught.value.exceptions for note in error.__notes__]
    assert any("task 4: fail_at((4, 8), 4)" in note for note in notes)


@pytest.mark.parametrize("errors", ["raise", "group"])
def test_an_error_brings_along_what_was_finished(backend: Any, errors: str) -> None:
    with pytest.raises(Exception, match=r"no 5|1 of 6") as caught:
        Parallel(n_jobs=2, backend=backend, errors=errors)(tasks(6, 5))
    partial: dict[int, int] = caught.value.partial  # type: ignore[attr-defined]
    assert partial
    assert all(index == value < 5 for index, value in partial.items())
    assert errors == "raise" or set(partial) == {0, 1, 2, 3, 4}


@pytest.mark.skipif(host.in_pyodide(), reason="workers of a page have files of their own")
def test_a_generator_that_fails_brings_along_what_it_had_not_handed_out(parallel_backend_: Any, tmp_path: Path) -> None:
    flag = tmp_path / "go"

    def slow_then_fail() -> None:
        while not flag.exists():
            threading.Event().wait(0.01)
        raise ValueError("late")

    def finish_all(index: int) -> int:
        if index == 9:
            flag.touch()
        return index

    calls = [delayed(slow_then_fail)(), *(delayed(finish_all)(index) for index in range(1, 10))]
    results = Parallel(n_jobs=2, backend=parallel_backend_, return_as="generator", batch_size=1)(calls)
    with pytest.raises(ValueError, match="late") as caught:
        next(results)
    partial: dict[int, int] = caught.value.partial  # type: ignore[attr-defined]
    assert set(partial) >= set(range(1, 9))
    assert all(index == value for index, value in partial.items())


def test_a_task_can_be_tried_again(backend: Any, run: Run) -> None:
    def works_the_third_time(index: int) -> tuple[int, int]:
        if index % 3 == 0 and attempt() < 3:
            raise OSError("not yet")
        return index, attempt()

    results = run(
        (delayed(works_the_third_time)(i) for i in range(10)), n_jobs=2, backend=backend, retries=2, backoff=0.01
    )
    assert results == [(i, 3 if i % 3 == 0 else 1) for i in range(10)]


def test_attempts_run_out(backend: Any) -> None:
    def never_works() -> None:
        raise OSError("down")

    with pytest.raises(OSError, match="down") as caught:
        Parallel(n_jobs=2, backend=backend, retries=2, backoff=0)([delayed(never_works)()])
    assert any("task 0: never_works(), attempt 3, on " in note for note in caught.value.__notes__)


def test_only_what_is_listed_is_tried_again(backend: Any) -> None:
    def works_the_second_time(kind: type[Exception]) -> int:
        if attempt() == 1:
            raise kind
        return attempt()

    results = Parallel(
        n_jobs=2, backend=backend, retries=5, retry_on=(OSError, ValueError), errors="return", backoff=0
    )(delayed(works_the_second_time)(kind) for kind in (LookupError, FileNotFoundError, ValueError))
    assert results[0].attempt == 1
    assert results[1:] == [2, 2]


def test_an_inner_call_is_at_its_own_attempt(backend: Any) -> None:
    def outer() -> tuple[int, list[int]]:
        if attempt() == 1:
            raise OSError
        return attempt(), Parallel()([delayed(attempt)()])

    assert Parallel(n_jobs=2, backend=backend, retries=1, backoff=0)([delayed(outer)()]) == [(2, [1])]
    assert attempt() == 1


def test_an_interrupt_is_never_collected() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Parallel(errors="return")([delayed(interrupted)()])


def test_a_task_that_calls_exit_is_collected(backend: Any) -> None:
    (error,) = Parallel(n_jobs=2, backend=backend, errors="return")([delayed(sys.exit)(3)])
    assert isinstance(error.error, SystemExit)


def test_a_task_that_cannot_be_sent_fails_alone(copying_backend: Any) -> None:
    calls = [delayed(id)(threading.Lock() if index == 3 else index) for index in range(8)]
    results = Parallel(n_jobs=2, backend=copying_backend, errors="return", batch_size=4)(calls)
    assert [index for index, each in enumerate(results) if isinstance(each, TaskError)] == [3]
    assert isinstance(results[3].error, UnpicklableError)


def test_a_result_that_cannot_be_sent_fails_alone(copying_backend: Any) -> None:
    def make(index: int) -> Any:
        return threading.Lock() if index == 3 else index

    results = Parallel(n_jobs=2, backend=copying_backend, errors="skip", batch_size=4)(
        delayed(make)(index) for index in range(8)
    )
    assert results == [0, 1, 2, 4, 5, 6, 7]


def test_an_item_that_is_no_task_fails_alone(backend: Any) -> None:
    calls: list[Any] = [delayed(abs)(-1), 7, delayed(abs)(-2)]
    first, wrong, last = Parallel(n_jobs=2, backend=backend, errors="return")(calls)
    assert (first, last) == (1, 2)
    assert isinstance(wrong.error, TypeError)
    assert wrong.call == "7"


def test_an_initializer_that_fails_is_no_failure_of_a_task() -> None:
    with pytest.raises(InitializerError):
        Parallel(errors="skip", initializer=divmod, initargs=(1, 0))(tasks(3))


def test_results_as_they_come_tell_which_failed(backend: Any) -> None:
    results = Parallel(n_jobs=2, backend=backend, errors="return", return_as="generator_unordered")(tasks(12, 3, 6))
    assert sorted(each.index if isinstance(each, TaskError) else each for each in results) == list(range(12))


def test_a_collected_error_travels_on() -> None:
    (error,) = Parallel(errors="return")(tasks(1, 0))
    arrived = pickle.loads(pickle.dumps(error))
    assert (str(arrived), arrived.traceback) == (str(error), error.traceback)
    assert str(arrived.__cause__) == "no 0"


def test_a_collected_error_holds_no_frames(backend: Any) -> None:
    (error,) = Parallel(n_jobs=2, backend=backend, errors="return")(tasks(1, 0))
    assert error.error.__traceback__ is None


def test_a_failed_input_brings_along_what_was_finished(backend: Any) -> None:
    def calls() -> Any:
        yield from tasks(5, 2)
        raise LookupError("the input")

    with pytest.raises(LookupError, match="the input") as caught:
        Parallel(n_jobs=2, backend=backend, errors="skip", pre_dispatch=1)(calls())
    partial: dict[int, int] = caught.value.partial  # type: ignore[attr-defined]
    assert set(partial) <= {0, 1, 3, 4}
    assert set(partial) >= {0, 1, 3}
    assert all(index == value for index, value in partial.items())


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        (
            {"errors": "ignore"},
            ValueError,
            "errors='ignore' is none of 'raise', 'return', 'skip', 'group' or a function",
        ),
        ({"retries": -1}, ValueError, "retries=-1"),
        ({"retries": 1.5}, ValueError, "retries=1.5"),
        ({"retry_on": OSError()}, TypeError, "is no exception type"),
        ({"backoff": "soon"}, ValueError, "backoff='soon'"),
        ({"backoff": -1}, ValueError, "backoff=-1"),
        ({"timeout": "2 weeks"}, ValueError, "timeout='2 weeks' is not a positive number of seconds, text like '30s'"),
    ],
)
def test_what_means_nothing_is_refused_at_once(options: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        Parallel(**options)


# --- workers that die -------------------------------------------------------------------------------------------------


def count_runs(folder: Path, index: int) -> int:
    """How often a task was begun; it says so itself, by `note_run`."""
    return len(list(folder.glob(f"{index}-*")))


def note_run(folder: Path, index: int) -> None:
    (folder / f"{index}-{time.time_ns()}-{os.getpid()}").touch()


def die_at(bad: dict[int, int], folder: Path, index: int) -> int:
    note_run(folder, index)
    if index in bad:
        if bad[index] < 0:
            os.kill(os.getpid(), -bad[index])
            time.sleep(60)
        os._exit(bad[index])
    time.sleep(0.01)
    return index


def test_a_worker_that_ends_leaves_the_others_alone(replacing_backend: Any, run: Run) -> None:
    def leave_at_three(index: int) -> int:
        if index == 3:
            os._exit(3)
        return index

    results = run((delayed(leave_at_three)(i) for i in range(12)), n_jobs=2, backend=replacing_backend, errors="return")
    assert [index for index, each in enumerate(results) if isinstance(each, TaskError)] == [3]
    assert isinstance(results[3].error, WorkerLost)


needs_processes = pytest.mark.skipif(not host.has_processes(), reason="there are no processes here")
PROCESSES = ["loky", "multiprocessing"]


@needs_processes
@pytest.mark.parametrize("options", [{}, {"max_tasks_per_worker": 5}], ids=["line", "rationed"])
@pytest.mark.parametrize("name", PROCESSES)
def test_a_worker_that_dies_costs_the_task_it_was_on_and_nothing_else(
    name: str, options: dict[str, Any], run: Run, tmp_path: Path
) -> None:
    bad = {3: 7, 11: -signal.SIGKILL, 12: -signal.SIGSEGV}
    calls = (delayed(die_at)(bad, tmp_path, index) for index in range(24))
    results = run(calls, n_jobs=2, backend=name, errors="return", **options)
    errors = {index: each for index, each in enumerate(results) if isinstance(each, TaskError)}
    assert set(errors) == set(bad)
    assert [each for each in results if not isinstance(each, TaskError)] == [i for i in range(24) if i not in bad]
    assert all(isinstance(error.error, WorkerLost) for error in errors.values())
    assert all(isinstance(error.error, BrokenExecutor) for error in errors.values())
    assert "exit code 7" in str(errors[3])
    assert "SIGKILL" in str(errors[11])
    assert "SIGSEGV" in str(errors[12])
    assert all(error.worker.startswith("process ") for error in errors.values())
    assert {index: count_runs(tmp_path, index) for index in bad} == dict.fromkeys(bad, 1)


@needs_processes
@pytest.mark.parametrize("name", PROCESSES)
def test_a_task_whose_worker_died_is_tried_again_and_a_deadly_one_given_up(name: str, tmp_path: Path) -> None:
    def dies(index: int) -> tuple[int, int]:
        note_run(tmp_path, index)
        if index == 2 or (index == 5 and attempt() < 3):
            os._exit(1)
        return index, attempt()

    results = Parallel(n_jobs=2, backend=name, errors="return", retries=9, retry_on=(), backoff=0)(
        delayed(dies)(index) for index in range(8)
    )
    assert [each for each in results if not isinstance(each, TaskError)] == [
        (index, 3 if index == 5 else 1) for index in range(8) if index != 2
    ]
    assert results[2].attempt == 3  # it has killed three workers
    assert count_runs(tmp_path, 2) == 3


@needs_processes
@pytest.mark.parametrize("batch_size", [1, 30])
@pytest.mark.parametrize("name", PROCESSES)
def test_the_task_that_ended_its_worker_is_named_though_the_whole_pool_breaks(
    name: str, batch_size: int, tmp_path: Path
) -> None:
    events: list[Event] = []
    calls = [delayed(die_at)({77: -signal.SIGSEGV}, tmp_path, index) for index in range(200)]
    with pytest.raises(WorkerLost, match="SIGSEGV") as caught:
        Parallel(2, name, batch_size=batch_size, on_event=events.append)(calls)
    assert any("task 77 was running there: die_at({77: " in note for note in caught.value.__notes__)
    first, *others = [event.index for event in events if event.kind == "lost"]
    assert first >= 77 - batch_size + 1
    assert 77 in [first, *others]
    assert len(others) <= 2 * batch_size  # what had begun there and in the other worker, not all that was sent


@needs_processes
def test_in_raise_mode_a_death_ends_the_call_with_what_was_finished(tmp_path: Path) -> None:
    calls = (delayed(die_at)({9: 3}, tmp_path, index) for index in range(10))
    with pytest.raises(WorkerLost, match="exit code 3") as caught:
        Parallel(n_jobs=2, backend="loky", retries=1, backoff=0)(calls)
    partial: dict[int, int] = caught.value.partial  # type: ignore[attr-defined]
    assert set(partial) == set(range(9))
    assert any("task 9 was running there: die_at({9: 3}, " in note for note in caught.value.__notes__)


@needs_processes
def test_the_other_workers_are_left_alone_by_a_death(tmp_path: Path) -> None:
    def wait_or_die(index: int) -> int:
        note_run(tmp_path, index)
        if index:
            os._exit(1)
        time.sleep(0.5)
        return os.getpid()

    calls = (delayed(wait_or_die)(index) for index in range(4))
    results = Parallel(n_jobs=2, backend="loky", errors="return", batch_size=1)(calls)
    assert [isinstance(each, TaskError) for each in results] == [False, True, True, True]
    assert count_runs(tmp_path, 0) == 1


@needs_processes
def test_a_worker_that_is_killed_between_its_tasks_is_replaced() -> None:
    pids = set(Parallel(n_jobs=2, backend="loky", errors="skip")(delayed(pid_after)(0.05) for _ in range(4)))

    def kill_then_go_on() -> Iterator[Any]:
        yield delayed(pid_after)(0.05)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for _ in range(6):
            yield delayed(pid_after)(0.05)

    again = Parallel(n_jobs=2, backend="loky", errors="return", retries=1, backoff=0, batch_size=1, pre_dispatch=1)
    later = again(kill_then_go_on())
    assert all(isinstance(each, int) for each in later)
    assert set(later) - pids


def pid_after(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


@needs_processes
def test_workers_that_cannot_stay_alive_end_the_call() -> None:
    with pytest.raises(WorkerLost):
        Parallel(n_jobs=2, backend="loky", errors="skip", initializer=os._exit, initargs=(4,))(tasks(100))


# --- tasks that take too long -----------------------------------------------------------------------------------------


def sleep_at(bad: tuple[int, ...], index: int) -> int:
    time.sleep(2.5 if index in bad else 0.001)
    return index


@pytest.mark.filterwarnings("ignore:jobspan. a task in a thread has had its time")
def test_a_task_that_takes_too_long_fails_alone(expelling_backend: Any, run: Run) -> None:
    begun = time.monotonic()
    calls = (delayed(sleep_at)((3, 17), index) for index in range(40))
    results = run(calls, n_jobs=2, backend=expelling_backend, errors="return", timeout="300ms")
    errors = {index: each for index, each in enumerate(results) if isinstance(each, TaskError)}
    assert set(errors) == {3, 17}
    assert [each for each in results if not isinstance(each, TaskError)] == [i for i in range(40) if i not in errors]
    for index, error in errors.items():
        assert isinstance(error, TaskTimeout)
        assert isinstance(error, TimeoutError)
        assert (error.index, error.limit, error.attempt) == (index, 0.3, 1)
        assert error.elapsed >= 0.3
        assert error.worker
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
    if host.has_processes():  # in a browser, workers take that long to boot
        assert time.monotonic() - begun < 2.5


@pytest.mark.filterwarnings("ignore:jobspan. a task in a thread has had its time")
def test_a_task_that_took_too_long_can_be_tried_again(expelling_backend: Any) -> None:
    def slow_at_first(index: int) -> tuple[int, int]:
        time.sleep(2.5 if index == 1 and attempt() == 1 else 0)
        return index, attempt()

    results = Parallel(n_jobs=2, backend=expelling_backend, timeout=0.3, retries=1, retry_on=TimeoutError, backoff=0)(
        delayed(slow_at_first)(index) for index in range(4)
    )
    assert results == [(0, 1), (1, 2), (2, 1), (3, 1)]


def test_time_in_the_queue_does_not_count(expelling_backend: Any) -> None:
    results = Parallel(n_jobs=2, backend=expelling_backend, timeout=0.4, pre_dispatch="all", batch_size=3)(
        delayed(sleep_at)((), index) for index in range(12) for _ in range(20)
    )
    assert len(results) == 240


@pytest.mark.filterwarnings("ignore:jobspan. a task in a thread has had its time")
@pytest.mark.skipif(not host.has_threads(), reason="there are no threads here")
def test_a_thread_that_is_left_runs_nothing_more_of_its_batch(tmp_path: Path) -> None:
    go_on = threading.Event()
    begun: list[int] = []

    def wait_at_one(index: int) -> int:
        begun.append(index)
        if index == 1:
            go_on.wait(30)
        return index

    results = Parallel(n_jobs=1, backend=ThreadsAlone(), batch_size=4, timeout=0.2, errors="return")(
        delayed(wait_at_one)(index) for index in range(8)
    )
    assert [each if isinstance(each, int) else each.index for each in results] == list(range(8))
    go_on.set()
    time.sleep(0.05)
    assert sorted(begun) == list(range(8))  # each once, those before the late one too


class ThreadsAlone(ThreadsBackend):
    """One thread is enough."""

    traits = ThreadsBackend.traits._replace(lone_worker=True)


def test_a_call_ends_at_its_deadline(backend: Any, run: Run) -> None:
    with pytest.raises(TimeoutError, match=r"deadline=0\.3 seconds have passed"):
        run((delayed(time.sleep)(0.05) for _ in range(100)), n_jobs=2, backend=backend, deadline=0.3)


def test_a_deadline_that_is_not_reached_changes_nothing(backend: Any) -> None:
    assert Parallel(n_jobs=2, backend=backend, deadline="1h")(tasks(4)) == [0, 1, 2, 3]


# --- calls that are cancelled -----------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers here")
@pytest.mark.thread_unsafe(reason="signals are the main thread's")
def test_ctrl_c_brings_along_what_was_finished(backend: Any) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    def slow_from_four_on(index: int) -> int:
        time.sleep(5 if index >= 4 else 0)
        return index

    before = signal.signal(signal.SIGALRM, interrupt)
    Parallel(n_jobs=2, backend=backend)(delayed(abs)(0) for _ in range(2))  # workers are up
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(KeyboardInterrupt) as caught:
            Parallel(n_jobs=2, backend=backend, batch_size=1)(delayed(slow_from_four_on)(i) for i in range(8))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert caught.value.partial == {0: 0, 1: 1, 2: 2, 3: 3}  # type: ignore[attr-defined]


@pytest.mark.skipif(not host.has_threads(), reason="there are no threads here")
@pytest.mark.parametrize("how", ["close", "error", "timeout"])
def test_a_task_in_a_thread_can_ask_whether_anybody_waits_for_it(how: str) -> None:
    stopped = threading.Event()

    def search(index: int) -> int:
        if index == 0:
            return index
        if index == 1 and how == "error":
            raise ValueError
        if index == 2:
            while not cancelled():
                time.sleep(0.005)
            stopped.set()
        return index

    assert not cancelled()
    timeout = 0.2 if how == "timeout" else None
    results = Parallel(n_jobs=3, backend="threads", return_as="generator", batch_size=1, timeout=timeout)(
        delayed(search)(index) for index in range(3)
    )
    assert next(results) == 0
    if how == "close":
        results.close()
    else:
        with pytest.raises((ValueError, TimeoutError)):
            list(results)
    assert stopped.wait(10)


@needs_processes
@pytest.mark.parametrize("name", PROCESSES)
def test_a_task_in_a_process_is_ended_and_can_tell_why(name: str, tmp_path: Path) -> None:
    def tidy_up(index: int) -> None:
        if index == 0:
            while not (tmp_path / "begun").exists():
                time.sleep(0.005)
            raise ValueError
        assert not cancelled()
        (tmp_path / "begun").touch()
        try:
            time.sleep(60)
        finally:
            (tmp_path / "told").write_text(str(cancelled()))

    with pytest.raises(ValueError, match=r"^"):
        Parallel(n_jobs=2, backend=name, batch_size=1)(delayed(tidy_up)(index) for index in range(2))
    assert (tmp_path / "told").read_text() == "True"


def test_a_task_that_runs_is_not_cancelled(backend: Any) -> None:
    assert Parallel(n_jobs=2, backend=backend)(delayed(cancelled)() for _ in range(4)) == [False] * 4
