"""Warnings of tasks: let through as the caller's filters say, and heard once, with a count, where the call was made."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from jobspan import Parallel, delayed, host
from jobspan.follow.echo import WarningEcho
from jobspan.model import Completion, Warned
from jobspan.worker.warned import current_filters, heard


def warner(category: type[Warning] = UserWarning) -> Callable[[int], int]:
    def warn(i: int) -> int:
        import warnings

        warnings.warn("it is late", category, stacklevel=1)
        return i

    return warn


def texts(caught: Any) -> list[str]:
    return [str(warning.message) for warning in caught]


def test_a_warning_comes_once_with_a_count(copying_backend: Any, run: Any) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = run((delayed(warner())(i) for i in range(20)), backend=copying_backend, n_jobs=2, batch_size=3)
    assert found == list(range(20))
    assert texts(caught) == ["it is late (raised 20 times by the tasks)"]
    assert caught[0].category is UserWarning
    assert caught[0].filename == __file__


def test_a_single_warning_comes_as_it_is(copying_backend: Any) -> None:
    with pytest.warns(UserWarning, match="^it is late$"):
        Parallel(2, copying_backend)([delayed(warner())(1), delayed(abs)(1)])


def test_warnings_of_a_failed_run_come_too_and_its_error_first(copying_backend: Any, run: Any) -> None:
    def warn_and_fail() -> None:
        import warnings

        warnings.warn("it is late", stacklevel=1)
        raise KeyError("the error")

    with pytest.warns(UserWarning, match="it is late"), pytest.raises(KeyError, match="the error"):
        run([delayed(warn_and_fail)()], backend=copying_backend, n_jobs=2)


def test_warnings_that_the_caller_ignores_do_not_come(copying_backend: Any) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", message="it is")
        Parallel(2, copying_backend)([delayed(warner())(1)] * 3)
    assert texts(caught) == []


def test_warnings_that_are_errors_fail_the_task(copying_backend: Any, run: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        with pytest.raises(RuntimeWarning, match="it is late"):
            run([delayed(warner(RuntimeWarning))(1)] * 3, backend=copying_backend, n_jobs=2)
    with pytest.warns(RuntimeWarning):  # and no longer
        assert run([delayed(warner(RuntimeWarning))(1)] * 3, backend=copying_backend, n_jobs=2) == [1] * 3


def test_filters_go_by_the_module_that_warned(copying_backend: Any) -> None:
    warn = warner(DeprecationWarning)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", module=__name__.replace(".", r"\."))
        Parallel(2, copying_backend)([delayed(warn)(1)] * 2)
    assert texts(caught) == ["it is late (raised 2 times by the tasks)"]


def test_a_warning_of_the_users_own_class_comes_as_itself(copying_backend: Any) -> None:
    class Late(UserWarning):
        pass

    with pytest.warns(Late, match=r"raised 3 times"):
        Parallel(2, copying_backend)([delayed(warner(Late))(1)] * 3)


def test_a_filter_for_a_class_that_workers_do_not_have_imports_nothing() -> None:
    class Late(UserWarning):
        pass

    with warnings.catch_warnings():
        warnings.simplefilter("error", Late)
        names = [category for _, _, category, _, _ in current_filters()]
    assert f"{__name__}:Late" in names


def test_filters_reach_the_tasks_of_a_call_inside_a_task(copying_backend: Any) -> None:
    class Unlucky(UserWarning):
        pass

    if not host.has_processes():
        pytest.skip("there are no processes here")

    def warn_within() -> None:
        Parallel(2, "loky")([delayed(warnings.warn)(text, Unlucky) for text in ("seven", "thirteen")])

    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", category=Unlucky)
        warnings.filterwarnings("ignore", message="seven", category=Unlucky)
        Parallel(2, copying_backend)([delayed(warn_within)()])
    assert ["thirteen" in str(warning.message) for warning in caught] == [True]


def test_where_a_call_does_not_warn_another_filter_of_the_worker_does_not_stay(copying_backend: Any) -> None:
    def filters() -> int:
        import warnings

        return len(warnings.filters)

    (before,) = Parallel(2, copying_backend)([delayed(filters)()])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="one more")
        (within,) = Parallel(2, copying_backend)([delayed(filters)()])
    (after,) = Parallel(2, copying_backend)([delayed(filters)()])
    assert (within, after) == (before + 1, before)


def test_warnings_of_a_stream_that_is_left_come_too(copying_backend: Any) -> None:
    tasks = [delayed(warner())(1)] + [delayed(time.sleep)(0.01)] * 50
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results = Parallel(2, copying_backend, batch_size=1, return_as="generator")(tasks)
        assert next(results) == 1
        results.close()
    assert texts(caught) == ["it is late"]


def test_batches_that_run_at_the_same_time_hear_their_own_warnings_only() -> None:
    first: list[Warned] = []
    second: list[Warned] = []
    filters = (("always", None, Warning, None, 0),)
    show = warnings.showwarning
    with heard(filters, first):
        with heard(filters, second):
            warnings.warn("inner", stacklevel=1)
        warnings.warn("outer", stacklevel=1)
    assert [warned.text for warned in first] == ["outer"]
    assert [warned.text for warned in second] == ["inner"]
    assert warnings.showwarning is show


def test_where_warnings_are_errors_they_fail_a_run_that_has_not_failed() -> None:
    warned = Warned(UserWarning, "it is late", "script.py", 1, 1)
    echo = WarningEcho()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        echo.hear(Completion(0, [], warned=[warned]))
        with pytest.raises(UserWarning, match="it is late"):
            echo.end(True)
        echo.hear(Completion(0, [], warned=[warned]))
        echo.end(False)


def test_an_echo_that_becomes_an_error_ends_the_run(copying_backend: Any, run: Any) -> None:
    def change_and_yield() -> Any:
        yield delayed(warner())(1)
        warnings.simplefilter("error")  # after the workers were told

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with pytest.raises(UserWarning, match="it is late"):
            run(change_and_yield(), backend=copying_backend, n_jobs=2)


def test_a_warning_class_with_two_arguments_is_no_obstacle() -> None:
    class Two(UserWarning):
        def __init__(self, a: str, b: str) -> None:
            super().__init__(a, b)

    echo = WarningEcho()
    echo.hear(Completion(0, [], warned=[Warned(Two, "it is late", "script.py", 1, 1)]))
    with pytest.warns(UserWarning, match="it is late"):
        echo.end(True)
