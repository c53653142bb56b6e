"""What users rely on, on every backend and in every way to get results."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import warnings
from typing import Any

import pytest

import jobspan
from jobspan import Event, Parallel, RemoteError, UnpicklableError, WorkerLost, delayed

needs_threads = pytest.mark.skipif(not jobspan.host.has_threads(), reason="there are no threads here")
needs_processes = pytest.mark.skipif(
    not jobspan.host.has_processes(), reason="there are no processes here; tests_pyodide has the case of web workers"
)

# Functions inside functions travel by value, so these tests need no importable module on the far side.


def test_results_come_in_the_order_of_the_input(backend: Any, run: Any) -> None:
    assert run((delayed(pow)(i, 2) for i in range(300)), backend=backend, n_jobs=2) == [i * i for i in range(300)]


def test_no_tasks_give_no_results(backend: Any, run: Any) -> None:
    assert run([], backend=backend, n_jobs=2) == []


def test_closures_lambdas_and_keywords_work(backend: Any, run: Any) -> None:
    offset = 10

    def shifted(x: int, *, scale: int = 1) -> int:
        return scale * x + offset

    tasks = [delayed(shifted)(1), delayed(shifted)(2, scale=3), delayed(lambda: offset)()]
    assert run(tasks, backend=backend, n_jobs=2) == [11, 16, 10]


def test_classes_of_the_script_travel_both_ways(backend: Any, run: Any) -> None:
    class Point:
        def __init__(self, x: int) -> None:
            self.x = x

        def moved(self) -> Point:
            return Point(self.x + 1)

    results = run((delayed(Point.moved)(Point(i)) for i in range(5)), backend=backend, n_jobs=2)
    assert [type(point) for point in results] == [Point] * 5
    assert [point.x for point in results] == [1, 2, 3, 4, 5]


def test_unordered_results_are_complete(backend: Any) -> None:
    tasks = (delayed(abs)(-i) for i in range(200))
    results = list(Parallel(n_jobs=2, backend=backend, return_as="generator_unordered")(tasks))
    assert sorted(results) == list(range(200))


@pytest.mark.thread_unsafe(reason="the two workers of a given executor would be busy with others' tasks")
def test_unordered_results_come_as_they_are_finished(parallel_backend_: Any) -> None:
    def slow(index: int, seconds: float) -> int:
        time.sleep(seconds)
        return index

    names: set[str] = set()
    while len(names) < 2:  # workers are up
        events: list[Event] = []
        Parallel(n_jobs=2, backend=parallel_backend_, on_event=events.append)([delayed(time.sleep)(0.05)] * 4)
        names = {event.worker for event in events}
    tasks = [delayed(slow)(0, 0.5), delayed(slow)(1, 0.0), delayed(slow)(2, 0.0)]
    results = Parallel(n_jobs=2, backend=parallel_backend_, return_as="generator_unordered")(tasks)
    assert list(results) == [1, 2, 0]


def test_large_buffers_travel_both_ways(backend: Any) -> None:
    def double(data: bytes) -> bytearray:
        return bytearray(data) * 2

    results = Parallel(n_jobs=2, backend=backend)(delayed(double)(bytes([i]) * 1_000_000) for i in range(3))
    assert [bytes(data) for data in results] == [bytes([i]) * 2_000_000 for i in range(3)]


# Errors


class CustomError(Exception):
    """Needs two arguments, so that pickle could not make it anew."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")
        self.a = a


class KeywordError(ValueError):
    def __init__(self, *, code: int) -> None:
        super().__init__("code", code)
        self.lock = threading.Lock()


class DoublingError(OSError):
    """Made anew by pickle, its text would grow."""

    def __init__(self, text: str) -> None:
        super().__init__(5, f"told: {text}")


def test_the_tasks_own_exception_is_raised_with_a_note(backend: Any, run: Any) -> None:
    def fail(x: int, *, key: str) -> None:
        if x == 5:
            raise LookupError(key)

    with pytest.raises(LookupError, match="the key") as info:
        run((delayed(fail)(i, key="the key") for i in range(10)), backend=backend, n_jobs=2)
    (note,) = [note for note in info.value.__notes__ if "raised by task" in note]
    assert "task 5: fail(5, key='the key'), on " in note


def test_an_exception_keeps_its_class_even_if_that_is_local(backend: Any) -> None:
    class Local(Exception):
        pass

    def fail() -> None:
        raise Local("here")

    with pytest.raises(Local, match="here"):
        Parallel(n_jobs=2, backend=backend)([delayed(fail)()])


def test_the_remote_traceback_is_told(copying_backend: Any) -> None:
    def inner() -> None:
        raise KeyError("deep")

    def outer() -> None:
        inner()

    with pytest.raises(KeyError) as info:
        Parallel(n_jobs=2, backend=copying_backend)([delayed(outer)()])
    assert any("in outer" in note and "in inner" in note for note in info.value.__notes__)


@pytest.mark.parametrize(
    ("kind", "values", "keywords", "text"),
    [
        (CustomError, (1, 2), {}, "1 and 2"),
        (KeywordError, (), {"code": 3}, "('code', 3)"),
        (DoublingError, ("once",), {}, "[Errno 5] told: once"),
    ],
)
def test_an_exception_arrives_as_itself_whatever_its_init_wants(
    backend: Any, kind: Any, values: Any, keywords: Any, text: str
) -> None:
    def fail() -> None:
        raise kind(*values, **keywords)

    with pytest.raises(kind) as info:
        Parallel(2, backend)([delayed(fail)()])
    assert str(info.value) == text
    assert getattr(info.value, "a", 1) == 1
    assert getattr(info.value, "errno", 5) == 5
    assert "task 0: fail()" in "".join(info.value.__notes__)


def test_an_exception_arrives_with_what_it_was_raised_from(backend: Any) -> None:
    def fail() -> None:
        try:
            try:
                {}["key"]
            except KeyError as error:
                raise KeywordError(code=3) from error
        except KeywordError as error:
            raise ValueError("config is bad") from error

    with pytest.raises(ValueError, match="config is bad") as info:
        Parallel(2, backend)([delayed(fail)()])
    assert type(info.value.__cause__) is KeywordError
    assert repr(info.value.__cause__.__cause__) == "KeyError('key')"


def test_what_of_an_exception_cannot_be_sent_is_named(copying_backend: Any) -> None:
    def fail() -> None:
        raise KeywordError(code=3)

    with pytest.raises(KeywordError) as info:
        Parallel(2, copying_backend)([delayed(fail)()])
    assert any("without its lock" in note for note in info.value.__notes__)


def test_an_exception_that_cannot_be_sent_is_told_and_breaks_nothing(copying_backend: Any, run: Any) -> None:
    class Unfit(Exception):
        def __reduce__(self) -> Any:
            raise RuntimeError("no pickle")

        def __init__(self) -> None:
            super().__init__("1 and 2")
            self.__class__.lock = threading.Lock()  # type: ignore[attr-defined]  # nor can its class be sent

    def fail() -> None:
        raise Unfit

    with pytest.raises(RemoteError, match="1 and 2") as info:
        run([delayed(fail)()], backend=copying_backend, n_jobs=2)
    assert "task 0: fail()" in "".join(info.value.__notes__)
    backend = copying_backend
    assert run([delayed(abs)(-1)], backend=backend, n_jobs=2) == [1]


def test_a_result_that_cannot_be_unpickled_is_told_as_such(copying_backend: Any) -> None:
    class Broken:
        def __reduce__(self) -> Any:
            return int, ("no number",)

    with pytest.raises(ValueError, match="no number") as info:
        Parallel(2, copying_backend)(delayed(Broken)() for _ in range(2))
    assert "unpickled by the caller" in "".join(info.value.__notes__)


@needs_processes
def test_a_task_that_closes_a_stream_spoils_no_later_one() -> None:
    def close() -> None:
        import sys

        sys.stdout.close()
        sys.stderr.close()

    def write() -> bool:
        import sys

        print(end="")
        print(end="", file=sys.stderr)
        return sys.stdout.closed

    Parallel(2, "loky", batch_size=1)([delayed(close)()] * 4)
    assert Parallel(2, "loky", batch_size=1)([delayed(write)()] * 4) == [False] * 4


def test_an_unpicklable_argument_is_named_with_the_path_to_the_culprit(copying_backend: Any, run: Any) -> None:
    def use(number: int, settings: Any) -> int:
        return number

    settings = {"deep": [1, {"lock": threading.Lock()}]}
    with pytest.raises(UnpicklableError) as info:
        run([delayed(use)(1, settings)], backend=copying_backend, n_jobs=2)
    message = str(info.value)
    assert "argument 'settings'['deep'][1]['lock']" in message
    assert "lock" in message
    assert "threads" in message
    assert run([delayed(abs)(-1)], backend=copying_backend, n_jobs=2) == [1]


def test_an_unpicklable_capture_is_named(copying_backend: Any) -> None:
    lock = threading.Lock()

    def use() -> None:
        lock.acquire()

    with pytest.raises(UnpicklableError, match=r"function use\.<captured lock>"):
        Parallel(n_jobs=2, backend=copying_backend)([delayed(use)()])


def test_an_unpicklable_result_is_named(copying_backend: Any, run: Any) -> None:
    def give(x: int) -> Any:
        return {"generator": iter(())} if x < 3 else {"bad": [threading.Lock()]}

    with pytest.raises(UnpicklableError, match=r"the result of task [345]\['bad'\]\[0\]"):
        run((delayed(give)(i) for i in range(6)), backend=copying_backend, n_jobs=2)


@pytest.mark.parametrize("item", [7, abs, (1, 2), (abs, 1, {}), (3, (), {}), None])
def test_an_item_that_is_no_task_is_refused(backend: Any, run: Any, item: Any) -> None:
    with pytest.raises(TypeError, match=r"item 2 of the input .* delayed\(function\)"):
        run([delayed(abs)(0), delayed(abs)(1), item, delayed(abs)(3)], backend=backend, n_jobs=2)


def test_an_input_that_raises_ends_the_run(backend: Any, run: Any) -> None:
    def tasks() -> Any:
        for i in range(3):
            yield delayed(abs)(i)
        raise OSError("no more")

    with pytest.raises(OSError, match="no more") as info:
        run(tasks(), backend=backend, n_jobs=2)
    assert "after 3 of them" in "".join(info.value.__notes__)


def test_an_input_that_is_not_iterable_is_refused(backend: Any, run: Any) -> None:
    with pytest.raises(TypeError, match="not iterable"):
        run(3, backend=backend, n_jobs=2)


class Stubborn(Exception):
    def add_note(self, note: str) -> None:
        raise RuntimeError("no notes")


def test_an_exception_that_refuses_notes_is_raised_all_the_same(backend: Any, run: Any) -> None:
    def fail() -> None:
        raise Stubborn("itself")

    with pytest.raises(Stubborn, match="itself"):
        run([delayed(fail)()] * 3, backend=backend, n_jobs=2)


def test_what_was_finished_is_handed_out_before_the_input_fails(backend: Any) -> None:
    def tasks() -> Any:
        yield delayed(abs)(-1)
        yield delayed(abs)(-2)
        time.sleep(0.5)
        raise OSError("the input")

    Parallel(n_jobs=2, backend=backend)([delayed(abs)(0)] * 4)  # workers are up
    results = Parallel(n_jobs=2, backend=backend, return_as="generator")(tasks())
    assert [next(results), next(results)] == [1, 2]
    with pytest.raises(OSError, match="the input"):
        next(results)


def test_results_do_not_wait_for_a_slow_input(backend: Any) -> None:
    events: list[str] = []

    def tasks() -> Any:
        for i in range(3):
            time.sleep(0.8)  # a tenth of it is the workers', far more than a round trip takes
            events.append(f"asked for {i}")
            yield delayed(abs)(-i)

    Parallel(n_jobs=2, backend=backend)([delayed(abs)(0)] * 4)  # workers are up
    results = Parallel(n_jobs=2, backend=backend, return_as="generator")(tasks())
    events.extend(f"got {result}" for result in results)
    assert events.index("got 0") < events.index("asked for 2")


def test_system_exit_of_a_task_reaches_the_caller(backend: Any) -> None:
    def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        Parallel(n_jobs=2, backend=backend)([delayed(leave)()] * 3)


@needs_processes
def test_a_worker_that_exits_is_reported_and_the_next_call_works() -> None:
    with pytest.raises(WorkerLost, match=r"with tasks? 0.* under way: it ended with exit code 3"):
        Parallel(n_jobs=2, backend="loky")(delayed(os._exit)(3) for _ in range(4))
    assert Parallel(n_jobs=2, backend="loky")(delayed(abs)(-i) for i in range(4)) == [0, 1, 2, 3]


@needs_processes
def test_a_broken_executor_is_reported() -> None:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        parallel = Parallel(backend=pool)
        for _ in range(2):  # the second time, submitting fails
            with pytest.raises(WorkerLost):
                parallel([delayed(os._exit)(1)])


# Settings


@pytest.mark.parametrize("bad", [0, "0", 0.5])
def test_n_jobs_0_is_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match="n_jobs == 0"):
        Parallel(n_jobs=bad)


@pytest.mark.parametrize("bad", ["many", "2.5", object()])
def test_n_jobs_must_be_a_number(bad: Any) -> None:
    with pytest.raises(ValueError, match="could not be converted to int"):
        Parallel(n_jobs=bad)


@pytest.mark.parametrize("good", [2, 2.9, "2", True + 1])
def test_n_jobs_is_read_as_joblib_reads_it(good: Any) -> None:
    assert Parallel(n_jobs=good, backend="threads").n_jobs == 2


def test_on_event_must_be_callable() -> None:
    with pytest.raises(TypeError, match="on_event=3 cannot be called"):
        Parallel(on_event=3)  # type: ignore[arg-type]


def test_an_unknown_backend_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ValueError, match=r"no backend is called 'lokky'; there are .*loky.*sequential.*threads"):
        Parallel(backend="lokky")


def test_an_object_that_is_no_backend_is_refused() -> None:
    with pytest.raises(TypeError, match="is no backend"):
        Parallel(backend=3)


def test_joblibs_default_values_are_accepted() -> None:
    Parallel(
        n_jobs=None,
        backend=None,
        return_as="list",
        verbose=0,
        timeout=None,
        pre_dispatch="2 * n_jobs",
        batch_size="auto",
        temp_folder=None,
        max_nbytes="1M",
        mmap_mode="r",
        prefer=None,
        require=None,
    )


@pytest.mark.parametrize("option", [{"return_as": "tuple"}, {"batch_size": 0}, {"pre_dispatch": "exit()"}])
def test_a_value_that_means_nothing_is_refused(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        Parallel(**option)


@needs_threads
@pytest.mark.parametrize("name", ["threads", "threading"])
def test_both_names_mean_threads(name: str) -> None:
    (worker,) = Parallel(n_jobs=2, backend=name)([delayed(lambda: threading.current_thread().name)()])
    assert worker.startswith("jobspan-thread")


@pytest.mark.parametrize("size", [1, 3, 50])
def test_a_fixed_batch_size_gives_the_same_results(size: int, backend: Any) -> None:
    results = Parallel(n_jobs=2, backend=backend, batch_size=size)(delayed(abs)(-i) for i in range(40))
    assert results == list(range(40))


@pytest.mark.parametrize(("size", "sent"), [(1, [1] * 7), (3, [3, 3, 1]), (50, [7])])
def test_a_fixed_batch_size_is_kept(size: int, sent: list[int]) -> None:
    from jobspan.testing import ScriptedBackend, ScriptedSession

    sizes: list[int] = []

    def note_and_finish(session: ScriptedSession) -> Any:
        sizes.append(len(session.waiting[0][1].tasks))
        return session.finish_oldest()

    backend = ScriptedBackend(note_and_finish)
    assert Parallel(backend=backend, batch_size=size)(delayed(abs)(-i) for i in range(7)) == list(range(7))
    assert sizes == sent


@needs_threads
def test_after_a_failure_threads_soon_begin_nothing_more() -> None:
    begun: list[int] = []  # by which thread

    def work() -> None:
        begun.append(threading.get_ident())
        time.sleep(0.02)
        if begun[0] != threading.get_ident():
            raise ValueError("the first of the second batch")

    with pytest.raises(ValueError, match="second batch"):
        Parallel(n_jobs=2, backend="threads", batch_size=1000)(delayed(work)() for _ in range(2000))
    time.sleep(0.3)  # more than the time budget and a task
    count = len(begun)
    time.sleep(0.3)
    assert len(begun) == count < 100


@pytest.mark.parametrize("window", [1, 3, "all", "n_jobs", "3 * n_jobs"])
def test_pre_dispatch_bounds_what_is_taken_ahead(window: Any, backend: Any) -> None:
    taken = 0
    most = 0

    def tasks() -> Any:
        nonlocal taken
        for i in range(40):
            taken += 1
            yield delayed(abs)(-i)

    results = Parallel(n_jobs=2, backend=backend, pre_dispatch=window, return_as="generator")(tasks())
    for count, value in enumerate(results):
        assert value == count
        most = max(most, taken - count)
    bound = {"all": 40, "n_jobs": 2, "3 * n_jobs": 6}.get(window, window)
    assert most <= bound + 1  # the one in the consumer's hands


@needs_threads
def test_parallel_config_sets_the_defaults_inside_its_block() -> None:
    with jobspan.parallel_config(backend="threads", n_jobs=3):
        assert Parallel().n_jobs == 3
        assert jobspan.effective_n_jobs(None) == 3
        with jobspan.parallel_config(n_jobs=2):
            assert Parallel().n_jobs == 2
            assert Parallel(n_jobs=None).n_jobs == 2
            assert Parallel(n_jobs=5).n_jobs == 5
    assert Parallel().n_jobs == 1


@needs_threads
def test_parallel_backend_means_all_cpus() -> None:
    with jobspan.parallel_backend("threading"):
        assert Parallel().n_jobs == -1
        assert jobspan.effective_n_jobs(None) == jobspan.cpu_count()


@pytest.mark.thread_unsafe(reason="the name is the process's")
def test_a_registered_backend_is_found_by_name() -> None:
    from jobspan.testing import ScriptedBackend

    made = []

    def factory() -> ScriptedBackend:
        made.append(ScriptedBackend())
        return made[-1]

    jobspan.register_parallel_backend("scripted", factory)
    assert Parallel(backend="scripted", n_jobs=2)(delayed(abs)(-i) for i in range(10)) == list(range(10))
    assert made[0].sessions[0].closings == ["release"]


@pytest.mark.parametrize(("n_jobs", "cpus"), [(-1, None), (-1000, 1), (1, 1), (4, 4), (None, 1)])
def test_effective_n_jobs_counts_workers(n_jobs: Any, cpus: Any) -> None:
    expected = jobspan.cpu_count() if cpus is None else cpus
    assert jobspan.effective_n_jobs(n_jobs) == expected


# Life of a run


def test_work_begins_at_the_call(parallel_backend_: Any) -> None:
    pulled = threading.Event()

    def tasks() -> Any:
        pulled.set()
        yield delayed(abs)(-1)

    results = Parallel(n_jobs=2, backend=parallel_backend_, return_as="generator")(tasks())
    assert pulled.wait(10)
    assert list(results) == [1]


def test_sequential_runs_a_task_only_when_asked() -> None:
    ran: list[int] = []
    results = Parallel(return_as="generator")(delayed(ran.append)(i) for i in range(3))
    assert ran == []
    next(results)
    assert ran == [0]
    next(results)
    assert ran == [0, 1]


def test_closing_a_generator_early_ends_the_run(backend: Any) -> None:
    pulled: list[int] = []

    def tasks() -> Any:
        for i in range(1_000_000):
            pulled.append(i)
            yield delayed(time.sleep)(0.001)

    results = Parallel(n_jobs=2, backend=backend, return_as="generator")(tasks())
    next(results)
    results.close()
    count = len(pulled)
    assert count < 100_000
    time.sleep(0.05)
    assert len(pulled) == count
    assert list(results) == []


def test_dropping_a_generator_ends_the_run(backend: Any) -> None:
    closed: list[bool] = []

    def tasks() -> Any:
        try:
            while True:
                yield delayed(time.sleep)(0.001)
        finally:
            closed.append(True)

    results = Parallel(n_jobs=2, backend=backend, return_as="generator")(tasks())
    next(results)
    del results
    gc.collect()
    assert closed == [True]


def test_parallel_may_be_called_again_from_within_its_own_generator(backend: Any) -> None:
    parallel = Parallel(n_jobs=2, backend=backend, return_as="generator")
    seen = [
        (value, list(parallel(delayed(pow)(value, e) for e in (1, 2))))
        for value in parallel(delayed(abs)(-i) for i in range(4))
    ]
    assert seen == [(i, [i, i * i]) for i in range(4)]


def test_a_call_inside_a_task_works(backend: Any) -> None:
    def outer(n: int) -> list[int]:
        return list(Parallel(n_jobs=2)(delayed(pow)(n, e) for e in range(3)))

    results = Parallel(n_jobs=2, backend=backend)(delayed(outer)(n) for n in range(3))
    assert results == [[n**e for e in range(3)] for n in range(3)]


def test_two_runs_may_be_interleaved(backend: Any) -> None:
    parallel = Parallel(n_jobs=2, backend=backend, return_as="generator")
    first = parallel(delayed(abs)(-i) for i in range(50))
    second = parallel(delayed(pow)(i, 2) for i in range(50))
    assert list(zip(first, second, strict=True)) == [(i, i * i) for i in range(50)]


def test_two_runs_may_be_awaited_together(backend: Any) -> None:
    async def both() -> Any:
        parallel = Parallel(n_jobs=2, backend=backend)
        first = parallel.gather(delayed(abs)(-i) for i in range(20))
        second = parallel.gather(delayed(pow)(i, 2) for i in range(20))
        return await asyncio.gather(first, second)

    assert asyncio.run(both()) == [list(range(20)), [i * i for i in range(20)]]


def test_the_event_loop_turns_while_tasks_run(backend: Any) -> None:
    async def main() -> int:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0.005)

        counting = asyncio.ensure_future(count())
        await Parallel(n_jobs=2, backend=backend).gather(delayed(time.sleep)(0.02) for _ in range(10))
        counting.cancel()
        return turns

    assert asyncio.run(main()) >= 3


def test_cancelling_an_awaited_run_ends_it(parallel_backend_: Any) -> None:
    pulled: list[int] = []

    def tasks() -> Any:
        for i in range(100_000):
            pulled.append(i)
            yield delayed(time.sleep)(0.01)

    async def main() -> None:
        await asyncio.wait_for(Parallel(n_jobs=2, backend=parallel_backend_).gather(tasks()), 0.2)

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    count = len(pulled)
    time.sleep(0.05)
    assert len(pulled) == count < 100_000


def test_a_slow_consumer_holds_back_the_workers(parallel_backend_: Any) -> None:
    pulled: list[int] = []

    def tasks() -> Any:
        for i in range(200):
            pulled.append(i)
            yield delayed(bytes)(1_000_000)

    results = Parallel(n_jobs=2, backend=parallel_backend_, return_as="generator")(tasks())
    next(results)
    time.sleep(0.5)
    assert len(pulled) <= 20  # 8 MB of results, and what was under way before their size was known
    assert sum(1 for _ in results) == 199


def test_events_tell_of_every_task(backend: Any, run: Any) -> None:
    events: list[Event] = []
    begin = time.time()
    run((delayed(abs)(-i) for i in range(30)), backend=backend, n_jobs=2, on_event=events.append)
    by_kind = {kind: [event for event in events if event.kind == kind] for kind in ("started", "done")}
    assert {kind: sorted(event.index for event in found) for kind, found in by_kind.items()} == {
        "started": list(range(30)),
        "done": list(range(30)),
    }
    for event in by_kind["done"]:
        assert begin - 1 <= event.start <= event.end <= time.time() + 1
        assert event.worker
    order = [(event.kind, event.index) for event in events]
    assert all(order.index(("started", i)) < order.index(("done", i)) for i in range(30))


def test_a_failed_task_is_told_of(backend: Any) -> None:
    events: list[Event] = []
    with pytest.raises(ValueError, match="invalid literal"):
        Parallel(n_jobs=2, backend=backend, on_event=events.append)([delayed(int)("x")])
    assert [(event.kind, event.index) for event in events] == [("started", 0), ("failed", 0)]


def test_lost_tasks_are_told_of(copying_backend: Any) -> None:
    events: list[Event] = []
    with pytest.raises(UnpicklableError):
        Parallel(n_jobs=2, backend=copying_backend, on_event=events.append)([delayed(abs)(threading.Lock())])
    assert [(event.kind, event.index) for event in events] == [("lost", 0)]


def test_an_on_event_that_raises_ends_the_run(backend: Any, run: Any) -> None:
    def complain(event: Event) -> None:
        raise RuntimeError(f"at {event.index}")

    with pytest.raises(RuntimeError, match="at 0"):
        run([delayed(abs)(-1)], backend=backend, n_jobs=2, on_event=complain)


@needs_threads
def test_an_executor_is_used_and_left_alone() -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(3, thread_name_prefix="mine") as mine:
        names = Parallel(backend=mine)([delayed(lambda: (time.sleep(0.02), threading.current_thread().name)[1])()] * 12)
        assert set(names) == {"mine_0", "mine_1", "mine_2"}
        assert mine.submit(abs, -1).result() == 1


@needs_threads
@pytest.mark.filterwarnings("ignore::jobspan.FallbackWarning")
def test_a_call_inside_a_task_of_the_same_thread_pool_does_not_hang() -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:

        def outer(n: int) -> list[int]:
            return Parallel(backend=pool)(delayed(pow)(n, e) for e in range(3))

        assert Parallel(backend=pool)(delayed(outer)(n) for n in range(4)) == [
            [n**e for e in range(3)] for n in range(4)
        ]


@needs_threads
def test_contextvars_and_configuration_reach_tasks_in_threads() -> None:
    from contextvars import ContextVar

    variable: ContextVar[str] = ContextVar("variable", default="unset")
    variable.set("set")
    assert Parallel(n_jobs=2, backend="threads")([delayed(variable.get)()] * 3) == ["set"] * 3


@needs_threads
def test_many_threads_may_call_at_the_same_time(parallel_backend_: Any) -> None:
    failures: list[BaseException] = []

    def use(n_jobs: int) -> None:
        try:
            for _ in range(5):
                results = Parallel(n_jobs=n_jobs, backend=parallel_backend_)(delayed(abs)(-i) for i in range(20))
                assert results == list(range(20))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=use, args=(n,), daemon=True) for n in (2, 3, 4, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive(), "a call hangs"
    assert failures == []


def test_nothing_warns_in_ordinary_use(backend: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Parallel(n_jobs=2, backend=backend)(delayed(abs)(-i) for i in range(10))


def test_an_event_loop_gets_its_turn_after_each_task_of_a_sequential_run() -> None:
    begun: list[int] = []

    def work(i: int) -> None:
        begun.append(i)
        time.sleep(0.1)

    async def main() -> None:
        run = asyncio.ensure_future(Parallel(n_jobs=1).gather(delayed(work)(i) for i in range(20)))
        asyncio.get_running_loop().call_later(0.05, run.cancel)
        with pytest.raises(asyncio.CancelledError):
            await run

    asyncio.run(main())
    assert len(begun) <= 2
