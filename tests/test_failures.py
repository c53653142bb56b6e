"""Tasks that fail: what takes their place, how often they are tried, and what of the others is kept."""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobspan import Parallel, TaskError, UnpicklableError, attempt, delayed
from jobspan.errors import InitializerError

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


def test_only_what_is_listed_is_tried_again(backend: Any, tmp_path: Path) -> None:
    def counts(path: Path) -> None:
        with path.open("a") as file:
            file.write("x")
        raise LookupError

    (error,) = Parallel(n_jobs=2, backend=backend, retries=5, retry_on=(OSError, ValueError), errors="return")(
        [delayed(counts)(tmp_path / "tries")]
    )
    assert (tmp_path / "tries").read_text() == "x"
    assert error.attempt == 1


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
        ({"retry_on": ()}, TypeError, r"retry_on=\(\) is no exception type"),
        ({"backoff": "soon"}, ValueError, "backoff='soon'"),
        ({"backoff": -1}, ValueError, "backoff=-1"),
        ({"timeout": "2 weeks"}, ValueError, "timeout='2 weeks' is not a positive number of seconds, text like '30s'"),
    ],
)
def test_what_means_nothing_is_refused_at_once(options: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        Parallel(**options)
