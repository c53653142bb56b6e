"""joblib's parameters and habits, beyond what every call needs."""

from __future__ import annotations

import io
import re
import threading
import time
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import pytest

import jobspan
from jobspan import Parallel, delayed, host, parallel_backend, parallel_config
from jobspan.units import parse_nbytes, parse_window

needs_threads = pytest.mark.skipif(not host.has_threads(), reason="there are no threads here")


# --- hints and constraints ---------------------------------------------------------------------------------------


@needs_threads
@pytest.mark.parametrize("option", [{"prefer": "threads"}, {"require": "sharedmem"}])
def test_tasks_see_the_callers_objects_where_that_is_asked_for(option: dict[str, str]) -> None:
    seen: list[int] = []
    Parallel(n_jobs=2, **option)(delayed(seen.append)(i) for i in range(20))
    assert sorted(seen) == list(range(20))


def test_sharedmem_holds_against_a_configured_backend_that_copies(copying_backend: Any) -> None:
    seen: list[int] = []
    with parallel_config(backend=copying_backend, n_jobs=2):
        Parallel(require="sharedmem")(delayed(seen.append)(i) for i in range(20))
    assert sorted(seen) == list(range(20))


def test_sharedmem_and_a_backend_that_copies_contradict_each_other(copying_backend: Any) -> None:
    with pytest.raises(ValueError, match="does not share the caller's memory"):
        Parallel(n_jobs=2, backend=copying_backend, require="sharedmem")


def test_a_named_backend_counts_more_than_a_hint(copying_backend: Any) -> None:
    seen: list[int] = []
    Parallel(n_jobs=2, backend=copying_backend, prefer="threads")(delayed(seen.append)(i) for i in range(3))
    assert seen == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prefer": "fibres"}, "prefer='fibres' is none of"),
        ({"require": "gpu"}, "require='gpu' is none of"),
        ({"mmap_mode": "x"}, "mmap_mode='x' is none of"),
        ({"prefer": "processes", "require": "sharedmem"}, "contradict each other"),
        ({"max_nbytes": "1X"}, "max_nbytes='1X' is not a number of bytes"),
        ({"timeout": -1}, "timeout=-1 is not a positive number of seconds"),
        ({"timeout": float("nan")}, "timeout=nan"),
        ({"verbose": "much"}, "verbose='much'"),
        ({"pre_dispatch": "2**n_jobs"}, r"pre_dispatch='2\*\*n_jobs' is not"),
        ({"pre_dispatch": "__import__('os')"}, "pre_dispatch="),
        ({"batch_size": 0}, "batch_size=0"),
        ({"max_tasks_per_worker": 0}, "max_tasks_per_worker=0"),
    ],
)
def test_wrong_values_are_refused_by_name_before_any_work(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Parallel(n_jobs=2, **options)


def test_an_unknown_parameter_is_refused_with_those_there_are() -> None:
    with pytest.raises(TypeError, match=r"'colour' is no parameter of Parallel.*initializer, initargs, idle_worker"):
        Parallel(n_jobs=2, colour="red")


def test_an_initializer_must_be_callable() -> None:
    with pytest.raises(TypeError, match="initializer=3 cannot be called"):
        Parallel(n_jobs=2, initializer=3)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"n_job": 2}, TypeError, "did you mean n_jobs"),
        ({"initialiser": print}, TypeError, "did you mean initializer"),
        ({"initializer": print, "initargs": 3}, TypeError, r"write initargs=\(3,\)"),
        ({"initializer": print, "initargs": "ab"}, TypeError, "initargs='ab' is no tuple"),
        ({"temp_folder": 3}, TypeError, "temp_folder=3 is no path"),
        ({"temp_folder": b"/tmp"}, TypeError, "temp_folder="),
        ({"verbose": "a"}, ValueError, "more than 10"),
    ],
)
def test_wrong_arguments_are_named_with_what_was_meant(
    options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        Parallel(**options)


def test_more_workers_than_any_machine_bears_are_refused_before_one_starts(copying_backend: Any) -> None:
    if not isinstance(copying_backend, str):
        pytest.skip("an executor has the workers that it has")
    with pytest.raises(ValueError, match="n_jobs=1000000 would start so many workers"):
        Parallel(10**6, copying_backend)([delayed(abs)(1)])


# --- grammar ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("n_jobs", 4),
        ("2*n_jobs", 8),
        ("n_jobs * 2 + 1", 9),
        ("3*(n_jobs-1)", 9),
        ("1.5*n_jobs", 6),
        ("n_jobs // 3", 1),
        ("n_jobs/8", 1),
        ("12", 12),
        (7.9, 7),
        ("all", None),
    ],
)
def test_pre_dispatch_is_arithmetic(text: Any, window: int | None) -> None:
    assert parse_window(text, 4) == window


@pytest.mark.parametrize(
    "text", ["-n_jobs", "0", "0*n_jobs", "(n_jobs", "n_jobs)", "2 n_jobs", "1/0", "", "n_jobs-9999"]
)
def test_pre_dispatch_that_means_no_task_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="pre_dispatch="):
        parse_window(text, 4)


@pytest.mark.parametrize(("text", "nbytes"), [("1M", 2**20), ("1.5k", 1536), ("2GiB", 2**31), (10, 10), (None, None)])
def test_sizes_are_read_as_people_write_them(text: Any, nbytes: int | None) -> None:
    assert parse_nbytes(text, "max_nbytes") == nbytes


# --- surroundings -------------------------------------------------------------------------------------------------


def test_parallel_config_gives_the_settings_in_force_and_restores_them() -> None:
    with parallel_config("sequential", n_jobs=3, verbose=0) as settings:
        assert settings["backend"] == "sequential"
        assert settings["n_jobs"] == 3
        assert len(settings) == 8
    with parallel_config(progress="tqdm") as settings:
        assert settings["progress"] == "tqdm"
    block = parallel_backend("sequential", n_jobs=2)
    with block as (backend, n_jobs):
        assert (backend, n_jobs) == ("sequential", 2)
    assert Parallel().n_jobs == 1


def test_parameters_of_a_backend_need_its_name() -> None:
    with pytest.raises(ValueError, match="'initializer' is a parameter for a backend that is named"):
        parallel_config(n_jobs=2, initializer=print)


def test_n_jobs_and_backend_are_not_inherited_by_code_inside_tasks(backend: Any) -> None:
    def inner() -> int:
        return Parallel().n_jobs

    with parallel_config(backend=backend, n_jobs=2):
        widths = Parallel()([delayed(inner)()] * 3)
    assert widths == ([2] * 3 if backend == "sequential" else [1] * 3)


# --- with blocks --------------------------------------------------------------------------------------------------


def test_a_with_block_serves_several_calls(backend: Any) -> None:
    with Parallel(n_jobs=2, backend=backend) as parallel:
        for _ in range(3):
            assert parallel(delayed(abs)(-i) for i in range(5)) == [0, 1, 2, 3, 4]


def test_a_with_block_goes_on_after_an_error(backend: Any) -> None:
    with Parallel(n_jobs=2, backend=backend) as parallel:
        with pytest.raises(ValueError, match="invalid literal"):
            parallel(delayed(int)(text) for text in "1x")
        assert parallel(delayed(int)(text) for text in "12") == [1, 2]


def test_leaving_a_with_block_ends_a_generator(backend: Any) -> None:
    with Parallel(n_jobs=2, backend=backend, return_as="generator") as parallel:
        results = parallel(delayed(abs)(i) for i in range(1000))
        assert next(results) == 0
    results.close()


# --- time-outs ----------------------------------------------------------------------------------------------------


def test_a_task_that_takes_too_long_ends_the_call(expelling_backend: Any, run: Any) -> None:
    with pytest.raises(TimeoutError, match=r"task 1: sleep\(1\.5\), on .* was not done after .* timeout=0\.2 seconds"):
        run([delayed(time.sleep)(0), delayed(time.sleep)(1.5)], n_jobs=2, backend=expelling_backend, timeout=0.2)


def test_a_time_out_has_no_effect_on_an_executor_which_is_said(executors: dict[str, Any]) -> None:
    for executor in executors.values():
        jobspan.errors._said.clear()
        with pytest.warns(jobspan.FallbackWarning, match="timeout has no effect on ExecutorBackend"):
            assert Parallel(2, backend=executor, timeout=0.01)([delayed(time.sleep)(0.05)] * 2) == [None] * 2


@pytest.mark.skipif(not host.has_processes(), reason="there is no multiprocessing here")
def test_a_time_out_is_also_what_scripts_for_joblib_catch() -> None:
    import multiprocessing
    import pickle

    error = jobspan.errors.time_out("too long")
    assert isinstance(error, TimeoutError)
    assert isinstance(error, multiprocessing.TimeoutError)
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, TimeoutError)
    assert again.args == ("too long",)


def test_many_quick_tasks_do_not_time_out(expelling_backend: Any) -> None:
    tasks = (delayed(time.sleep)(0.02) for _ in range(40))
    assert len(Parallel(n_jobs=2, backend=expelling_backend, timeout=0.4)(tasks)) == 40


def test_a_time_out_without_workers_is_said_to_have_no_effect() -> None:
    jobspan.errors._said.clear()
    with pytest.warns(jobspan.FallbackWarning, match="timeout has no effect"):
        results = Parallel(timeout=0.001, return_as="generator")([delayed(time.sleep)(0.01)])
    assert list(results) == [None]


# --- progress -----------------------------------------------------------------------------------------------------


def test_verbose_tells_of_the_beginning_and_the_end(parallel_backend_: Any) -> None:
    stream = io.StringIO()
    with redirect_stderr(stream):
        Parallel(n_jobs=2, backend=parallel_backend_, verbose=11)([delayed(abs)(i) for i in range(10)])
    first, *_, last = stream.getvalue().splitlines()
    assert re.fullmatch(r"\[Parallel\(n_jobs=2\)\]: Using backend \w+ with \d+ concurrent workers\.", first)
    assert re.fullmatch(r"\[Parallel\(n_jobs=2\)\]: Done 10 out of 10 \| elapsed: +[\d.]+s finished", last)


def test_much_verbosity_goes_to_stdout() -> None:
    stream = io.StringIO()
    with redirect_stdout(stream):
        Parallel(verbose=50)(delayed(abs)(i) for i in range(3))
    lines = stream.getvalue().splitlines()
    assert "Using backend" not in lines[0]  # as in joblib, where nothing is used
    assert "Done 1 out of" not in lines[0]
    assert "Done   1 tasks" in lines[0]
    assert "Done   3 out of   3" in lines[-1]


def test_little_verbosity_says_little() -> None:
    stream = io.StringIO()
    with redirect_stderr(stream):
        Parallel(verbose=1)([delayed(abs)(i) for i in range(200)])
    assert 2 <= len(stream.getvalue().splitlines()) <= 8


def test_a_subclass_shows_progress_of_its_own(backend: Any, run: Any) -> None:
    class Counting(Parallel):
        def print_progress(self) -> None:
            told.append((self.n_completed_tasks, self.n_dispatched_tasks, self.n_tasks))

    told: list[tuple[int, int, int | None]] = []
    del run  # one way to run is enough: all go through the same listener
    assert Counting(n_jobs=2, backend=backend)([delayed(abs)(i) for i in range(30)]) == list(range(30))
    assert told[-1] == (30, 30, 30)
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    assert all(done <= sent for done, sent, _ in told)


def test_progress_may_be_replaced_on_one_object() -> None:
    parallel = Parallel()
    told: list[int] = []
    parallel.print_progress = lambda: told.append(parallel.n_completed_tasks)  # type: ignore[method-assign]
    parallel(delayed(abs)(i) for i in range(3))
    assert told == [1, 2, 3]


def test_the_counts_hold_after_a_plain_call() -> None:
    parallel = Parallel()
    parallel([delayed(abs)(1)] * 4)
    assert (parallel.n_completed_tasks, parallel.n_dispatched_tasks) == (4, 4)


# --- small habits -------------------------------------------------------------------------------------------------


def test_delayed_looks_like_the_function() -> None:
    def documented() -> int:
        """Say something."""
        return 1

    assert delayed(documented).__name__ == "documented"
    assert delayed(documented).__doc__ == "Say something."
    assert delayed(documented).__wrapped__ is documented  # type: ignore[attr-defined]


def test_attributes_say_what_was_asked_for() -> None:
    parallel = Parallel(2, "threads", "generator", 5, 10.0, "all", 3)
    assert (parallel.n_jobs, parallel.return_as, parallel.verbose, parallel.timeout) == (2, "generator", 5, 10.0)
    assert (parallel.pre_dispatch, parallel.batch_size) == ("all", 3)
    assert Parallel().batch_size == "auto"
    assert repr(parallel) == "Parallel(n_jobs=2)"


def test_what_replaces_a_private_hook_of_joblib_is_said() -> None:
    import jobspan.parallel

    with pytest.raises(AttributeError, match="on_event"):
        _ = jobspan.parallel.BatchCompletionCallBack


@needs_threads
def test_several_threads_may_use_one_object_at_once(backend: Any) -> None:
    parallel = Parallel(n_jobs=2, backend=backend)
    found: list[list[int]] = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(parallel(delayed(pow)(i, n) for i in range(50))))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted([i**n for i in range(50)] for n in range(4))
