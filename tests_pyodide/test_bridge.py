"""joblib's own `Parallel` on Web Workers, through the bridge."""

import pytest
from pytest_pyodide import run_in_pyodide

pytestmark = pytest.mark.parametrize("isolated", [False, True], indirect=True, scope="module")


@run_in_pyodide(packages=["jobspan", "joblib"])
def test_joblib_runs_on_web_workers(selenium):
    import builtins

    import joblib

    import jobspan.bridge.joblib
    from jobspan.backends.web import WebBackend

    def square(i):
        import builtins

        return i * i, hasattr(builtins, "jobspan_caller")

    builtins.jobspan_caller = True
    backend = WebBackend()
    try:
        tasks = [joblib.delayed(square)(i) for i in range(200)]
        expected = [(i * i, False) for i in range(200)]
        with joblib.parallel_config("jobspan"):  # what jobspan chooses
            assert joblib.effective_n_jobs(None) == jobspan.cpu_count()
            assert joblib.Parallel(n_jobs=2)(tasks[:4]) == expected[:4]
        with joblib.parallel_config("jobspan", on=backend, n_jobs=2):
            assert joblib.Parallel()(tasks) == expected
            assert joblib.Parallel(batch_size=7, pre_dispatch="all")(iter(tasks)) == expected
            assert list(joblib.Parallel(return_as="generator")(tasks)) == expected
            with joblib.Parallel() as parallel:
                assert [parallel(tasks[:n]) for n in (3, 0, 40)] == [expected[:n] for n in (3, 0, 40)]
        assert backend.pool.size == 2
    finally:
        del builtins.jobspan_caller
        backend.shutdown()


@run_in_pyodide(packages=["jobspan", "joblib", "pytest"])
def test_errors_come_as_themselves_and_the_next_call_works(selenium):
    import multiprocessing
    import time

    import joblib
    import pytest

    import jobspan.bridge.joblib  # noqa: F401  registers itself
    from jobspan.backends.web import WebBackend

    backend = WebBackend()
    try:
        with joblib.parallel_config("jobspan", on=backend, n_jobs=2):
            with pytest.raises(ZeroDivisionError) as caught:
                joblib.Parallel()(joblib.delayed(divmod)(1, 5 - i) for i in range(9))
            assert any("raised by task 5: divmod(1, 0), on web-" in note for note in caught.value.__notes__)
            with pytest.raises(multiprocessing.TimeoutError):
                joblib.Parallel(timeout=0.2)(joblib.delayed(time.sleep)(5) for _ in range(2))
            assert joblib.Parallel()([joblib.delayed(abs)(-1)] * 3) == [1, 1, 1]
    finally:
        backend.shutdown()


@run_in_pyodide(packages=["jobspan", "joblib"])
def test_tasks_inside_tasks_start_no_workers(selenium):
    import joblib

    import jobspan.bridge.joblib  # noqa: F401  registers itself
    from jobspan.backends.web import WebBackend

    def outer(i):
        import joblib

        inner = joblib.Parallel(n_jobs=2)(joblib.delayed(pow)(j, i) for j in range(3))
        return inner, joblib.effective_n_jobs(2), type(joblib.parallel.get_active_backend()[0]).__name__

    backend = WebBackend()
    try:
        with joblib.parallel_config("jobspan", on=backend, n_jobs=2):
            found = joblib.Parallel()(joblib.delayed(outer)(i) for i in range(3))
        assert found == [([j**i for j in range(3)], 1, "JobspanBackend") for i in range(3)]
    finally:
        backend.shutdown()


@run_in_pyodide(packages=["jobspan", "joblib", "pytest"])
def test_unordered_results_need_a_thread_and_are_made_one_by_one(selenium):
    import joblib
    import pytest

    import jobspan.bridge.joblib  # noqa: F401  registers itself
    from jobspan import FallbackWarning

    tasks = [joblib.delayed(abs)(-i) for i in range(9)]
    parallel = joblib.Parallel(n_jobs=2, backend="jobspan", return_as="generator_unordered")
    with pytest.warns(FallbackWarning, match="return_as='generator'"):
        results = parallel(tasks)
    assert sorted(results) == list(range(9))
