"""joblib's own `Parallel`, and scikit-learn above it, on jobspan."""

from __future__ import annotations

import _thread
import contextlib
import gc
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Any

import pytest

joblib = pytest.importorskip("joblib", reason="the bridge is for users of joblib")

import jobspan  # noqa: E402
from jobspan import host, registry  # noqa: E402
from jobspan.backends.executors import ExecutorBackend  # noqa: E402
from jobspan.bridge.joblib import JobspanBackend  # noqa: E402

Parallel, delayed = joblib.Parallel, joblib.delayed

pytestmark = pytest.mark.skipif(
    not (host.has_threads() and host.has_processes()), reason="tests_pyodide has the case of web workers"
)

PLACES = ["loky", "threads", "ThreadPoolExecutor"]


class Watched:
    """A backend that counts its sessions, and what happened to them."""

    def __init__(self, backend: Any) -> None:
        self.traits = backend.traits
        self.cpu_count = backend.cpu_count
        self._backend = backend
        self.opened = 0
        self.tasks = 0
        self.closed: list[str] = []

    def open(self, request: Any) -> Any:
        self.opened += 1
        return WatchedSession(self._backend.open(request), self)


class WatchedSession:
    def __init__(self, session: Any, watch: Watched) -> None:
        self._session = session
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def submit(self, ticket: int, batch: Any) -> None:
        self._watch.tasks += len(batch.tasks)
        self._session.submit(ticket, batch)

    def close(self, how: Any) -> None:
        self._watch.closed.append(how)
        self._session.close(how)


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, executors: dict[str, Executor]) -> Iterator[Watched]:
    """Where the tasks run, watched: each session that is opened is closed, once."""
    executor = executors.get(request.param)
    watched = Watched(registry.find(request.param) if executor is None else ExecutorBackend(executor))
    yield watched
    gc.collect()
    assert watched.opened == len(watched.closed)


@pytest.fixture
def threads() -> Iterator[Watched]:
    watched = Watched(registry.find("threads"))
    yield watched
    gc.collect()
    assert watched.opened == len(watched.closed)


@contextlib.contextmanager
def on(place: Any, **options: Any) -> Iterator[None]:
    """Let joblib run on jobspan, there."""
    with joblib.parallel_config("jobspan", on=place, **{"n_jobs": 2, **options}):
        yield


# scikit-learn


@pytest.fixture
def table() -> Any:
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is the bridge's best customer")
    return datasets.make_classification(n_samples=120, n_features=6, random_state=0)


def plain(results: dict[str, Any]) -> dict[str, Any]:
    """Results without times, as lists."""
    return {name: list(values) for name, values in results.items() if not name.endswith("_time")}


def test_a_grid_search_over_a_pipeline_is_the_same(place: Watched, table: Any) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    search = GridSearchCV(pipeline, {"logisticregression__C": [0.1, 1.0, 10.0]}, cv=3)
    expected = search.fit(*table)
    found = GridSearchCV(pipeline, search.param_grid, cv=3)
    with on(place):
        found.fit(*table)
    assert place.tasks == 9
    scores = [name for name in expected.cv_results_ if "score" in name and "time" not in name]
    for name in scores:
        assert list(found.cv_results_[name]) == list(expected.cv_results_[name])
    assert found.best_params_ == expected.best_params_


def test_a_random_forest_is_the_same(place: Watched, table: Any) -> None:
    from sklearn.ensemble import RandomForestClassifier

    def probabilities() -> list[Any]:
        forest = RandomForestClassifier(12, random_state=1, oob_score=True, n_jobs=2)
        return [forest.fit(*table).predict_proba(table[0]).tolist(), forest.oob_score_]

    expected = probabilities()
    with on(place):
        assert probabilities() == expected
    assert place.tasks >= 12


def test_permutation_importances_are_the_same(place: Watched, table: Any) -> None:
    from sklearn.inspection import permutation_importance
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(random_state=0).fit(*table)
    expected = permutation_importance(tree, *table, random_state=0)
    with on(place):
        found = permutation_importance(tree, *table, random_state=0)
    assert place.tasks == 6
    assert found.importances.tolist() == expected.importances.tolist()


def test_a_cross_validation_is_the_same_and_runs_there(place: Watched, table: Any) -> None:
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import cross_validate

    def process(*_: Any) -> int:
        return os.getpid()

    def thread(*_: Any) -> int:
        return threading.get_ident()

    def scores() -> dict[str, Any]:
        scoring = {"r2": "r2", "process": process, "thread": thread}
        return plain(cross_validate(Ridge(), *table, cv=4, scoring=scoring))

    expected = scores()
    with on(place):
        found = scores()
    assert found["test_r2"] == expected["test_r2"]
    here = [float(os.getpid())] * 4
    assert (found["test_process"] == here) == (place.traits.memory == "shared")
    assert float(threading.get_ident()) not in found["test_thread"] or place.traits.memory == "copied"


# What runs where


def test_without_a_word_it_runs_where_jobspan_would_and_on_all_cpus() -> None:
    with joblib.parallel_config("jobspan"):
        assert joblib.effective_n_jobs(None) == joblib.effective_n_jobs(-1) == jobspan.cpu_count()
        found = set(Parallel(n_jobs=2)([delayed(os.getpid)()] * 4))
    expected = set(jobspan.Parallel(n_jobs=2)([jobspan.delayed(os.getpid)()] * 4))
    assert (os.getpid() in found) == (os.getpid() in expected)


def test_the_configuration_of_jobspan_holds() -> None:
    with jobspan.parallel_config("threads", n_jobs=3), joblib.parallel_config("jobspan"):
        assert joblib.effective_n_jobs(None) == 3
        assert set(Parallel()([delayed(os.getpid)()] * 4)) == {os.getpid()}


def test_one_job_runs_in_the_callers_thread(place: Watched) -> None:
    with on(place, n_jobs=1):
        assert set(Parallel()([delayed(threading.get_ident)()] * 4)) == {threading.get_ident()}
    assert place.opened == 0


def test_the_place_may_be_named_in_the_call() -> None:
    assert set(Parallel(2, backend="jobspan", on="threads")([delayed(os.getpid)()] * 4)) == {os.getpid()}
    assert os.getpid() not in Parallel(2, backend="jobspan", on="loky")([delayed(os.getpid)()] * 4)


@pytest.mark.parametrize("hint", [{"prefer": "threads"}, {"require": "sharedmem"}])
def test_who_prefers_threads_gets_them(hint: dict[str, str]) -> None:
    with joblib.parallel_config("jobspan", n_jobs=2):
        assert set(Parallel(**hint)([delayed(os.getpid)()] * 4)) == {os.getpid()}


def test_who_needs_shared_memory_gets_it_in_spite_of_processes() -> None:
    seen: list[int] = []
    with on("loky"):
        Parallel(n_jobs=2, require="sharedmem")(delayed(seen.append)(i) for i in range(9))
    assert sorted(seen) == list(range(9))


def test_what_means_nothing_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="no backend is called 'nothing'"):
        joblib.parallel_config("jobspan", on="nothing")
    with pytest.raises(ValueError, match="n_jobs == 0"):
        Parallel(n_jobs=0, backend="jobspan")([delayed(abs)(1)])
    with pytest.raises(TypeError, match="'colour' is no parameter"):
        Parallel(n_jobs=2, backend="jobspan", colour="red")([delayed(abs)(1)])


def test_tasks_inside_tasks_share_the_cpus_and_start_no_processes(place: Watched) -> None:
    def inner(i: int) -> Any:
        import joblib

        pids = Parallel(n_jobs=2)(delayed(os.getpid)() for _ in range(4))
        deeper = Parallel(n_jobs=2)(delayed(joblib.effective_n_jobs)(2) for _ in range(2))
        return i, set(pids) == {os.getpid()}, joblib.effective_n_jobs(-1), joblib.effective_n_jobs(None), deeper

    with on(place):
        found = Parallel()(delayed(inner)(i) for i in range(4))
    share = max(1, jobspan.cpu_count() // 2)
    assert found == [(i, True, share, 1, [1, 1]) for i in range(4)]
    assert place.opened == 1


# Results, in order and in time


def test_results_come_in_order_and_in_every_way(place: Watched) -> None:
    tasks = [delayed(pow)(i, 2) for i in range(500)]
    expected = [i * i for i in range(500)]
    with on(place):
        assert Parallel()(tasks) == expected
        assert list(Parallel(return_as="generator")(tasks)) == expected
        assert sorted(Parallel(return_as="generator_unordered")(tasks)) == expected
        assert Parallel(pre_dispatch="all", batch_size=7)(iter(tasks)) == expected
        assert Parallel()([]) == []


def test_a_batch_that_takes_long_is_taken_up_again_where_it_stopped(place: Watched) -> None:
    def slow(i: int) -> int:
        threading.Event().wait(0.03)
        return i

    with on(place):
        assert Parallel(batch_size=6, pre_dispatch="all")(delayed(slow)(i) for i in range(12)) == list(range(12))
    assert place.tasks > 12


def test_one_object_serves_several_calls(place: Watched) -> None:
    with on(place), Parallel() as parallel:
        for n in (3, 0, 40):
            assert parallel(delayed(abs)(-i) for i in range(n)) == list(range(n))
        with pytest.raises(ZeroDivisionError):
            parallel(delayed(divmod)(1, i) for i in range(5))
        assert parallel([delayed(abs)(-1)] * 3) == [1, 1, 1]
    assert Parallel(n_jobs=2)([delayed(abs)(-1)]) == [1]
    assert place.closed == ["release", "release", "kill", "release"]


def test_one_backend_serves_several_threads() -> None:
    backend = JobspanBackend(on="threads")
    found: dict[int, Any] = {}

    def use(number: int) -> None:
        parallel = Parallel(n_jobs=2, backend=backend)
        found[number] = [parallel(delayed(pow)(i, number) for i in range(60)) for _ in range(5)]

    users = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert found == {number: [[i**number for i in range(60)]] * 5 for number in range(4)}


def test_a_slow_consumer_of_a_generator_stops_the_intake(threads: Watched) -> None:
    pulled_by: list[int] = []

    def tasks() -> Iterator[Any]:
        for i in range(1000):
            pulled_by.append(threading.get_ident())
            yield delayed(abs)(i)

    with on(threads):
        results = Parallel(return_as="generator", batch_size=1)(tasks())
        assert list(results) == list(range(1000))
    assert set(pulled_by) == {threading.get_ident()}  # so nothing is pulled while the consumer does something else


def test_unordered_results_come_as_they_are_finished(threads: Watched) -> None:
    others = threading.Event()

    def wait() -> str:
        assert others.wait(60)
        return "late"

    with on(threads):
        results = Parallel(return_as="generator_unordered")([delayed(wait)(), delayed(str)("early")])
        assert next(results) == "early"
        others.set()
        assert list(results) == ["late"]


@pytest.mark.parametrize("return_as", ["generator", "generator_unordered"])
def test_a_generator_that_is_dropped_gives_the_workers_back(threads: Watched, return_as: str) -> None:
    with on(threads):
        results = Parallel(return_as=return_as)(delayed(abs)(i) for i in itertools.count())
        next(results)
        with pytest.warns(UserWarning, match="not used|cancelled"):
            del results
        assert Parallel()([delayed(abs)(-1)]) == [1]
    assert threads.closed == ["kill", "release"]
    assert not [thread for thread in threading.enumerate() if thread.name == "jobspan-bridge"]


def test_progress_is_told_by_joblib(place: Watched, capsys: pytest.CaptureFixture[str]) -> None:
    with on(place):
        Parallel(verbose=10)(delayed(abs)(i) for i in range(5))
    told = capsys.readouterr().err
    assert "with 2 concurrent workers" in told
    assert "5 out of   5" in told


# Failure


@pytest.mark.parametrize("return_as", ["list", "generator", "generator_unordered"])
def test_the_error_of_a_task_arrives_as_itself_and_tells_which(place: Watched, return_as: str) -> None:
    class Broken(Exception):
        pass

    def fail(number: int) -> int:
        if number == 13:
            raise Broken(number)
        return number

    with on(place), pytest.raises(Broken) as caught:
        list(Parallel(return_as=return_as)(delayed(fail)(i) for i in range(40)))
    assert caught.value.args == (13,)
    assert any("raised by task 13: fail(13)" in note for note in caught.value.__notes__)
    assert place.closed == ["kill"]


def test_an_error_does_not_wait_for_the_tasks_before_it(threads: Watched) -> None:
    go_on, finished = threading.Event(), []

    def wait() -> None:
        assert go_on.wait(60)
        finished.append(True)

    with on(threads):
        with pytest.raises(ZeroDivisionError):
            Parallel()([delayed(wait)(), delayed(divmod)(1, 0)])
        assert finished == []
        go_on.set()


def test_the_error_of_the_input_arrives_as_itself(place: Watched) -> None:
    def tasks(good: int) -> Iterator[Any]:
        for i in range(good):
            yield delayed(abs)(i)
        raise LookupError("the input is broken")

    with on(place):
        for good in (0, 1, 50):
            with pytest.raises(LookupError, match="the input is broken"):
                Parallel()(tasks(good))
        with pytest.raises(TypeError):
            Parallel()(5)
        assert Parallel()([delayed(abs)(-1)]) == [1]


@pytest.mark.parametrize("return_as", ["list", "generator_unordered"])
def test_a_task_that_takes_too_long_ends_the_call(threads: Watched, return_as: str) -> None:
    go_on = threading.Event()
    with on(threads), pytest.raises(multiprocessing.TimeoutError):
        list(Parallel(timeout=0.05, return_as=return_as)(delayed(go_on.wait)(60) for _ in range(2)))
    go_on.set()


def test_an_interrupt_ends_the_call(threads: Watched) -> None:
    go_on = threading.Event()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with on(threads), pytest.raises(KeyboardInterrupt):
            Parallel()([delayed(_thread.interrupt_main)(), delayed(go_on.wait)(60)])
    finally:
        signal.signal(signal.SIGINT, before)
    go_on.set()
    assert threads.closed == ["kill"]


def test_a_backend_that_breaks_ends_the_call(threads: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise OSError("the line is dead")

    monkeypatch.setattr(WatchedSession, "poll", broken, raising=False)
    for return_as in ("list", "generator", "generator_unordered"):
        with on(threads), pytest.raises(OSError, match="the line is dead"):
            list(Parallel(return_as=return_as)(delayed(abs)(i) for i in range(9)))


def test_what_cannot_travel_is_named() -> None:
    def use(lock: Any) -> None:
        del lock

    with on("loky"), pytest.raises(jobspan.UnpicklableError, match="argument 'lock'"):
        Parallel()(delayed(use)(threading.Lock()) for _ in range(2))


def test_a_worker_that_dies_ends_the_call_and_not_the_next() -> None:
    with on("loky"):
        with pytest.raises(jobspan.WorkerLost):
            Parallel()(delayed(os._exit)(1) for _ in range(2))
        assert Parallel()([delayed(abs)(-1)]) == [1]
