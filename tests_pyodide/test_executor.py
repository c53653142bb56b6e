"""`WebWorkerExecutor` as the standard library's tests know executors: futures, map, waiting, shutdown, what dies.

Workers take seconds to boot, so most tests share one pool of two.
"""

import re
from pathlib import Path

import pytest
from pytest_pyodide import run_in_pyodide

PAGE = Path(__file__).parents[1] / "docs/web_workers.md"
everywhere = pytest.mark.parametrize("isolated", [False, True], indirect=True, scope="module")
# How one waits does not matter to these, which have pools of their own.
once = pytest.mark.parametrize("isolated", [False], indirect=True, scope="module")

PACKAGES = ["jobspan", "pytest"]


@pytest.fixture
def selenium_pool(selenium):
    """A page in which ``import pooled`` gives one pool for all tests, and ``pooled.warm()`` has both workers run."""
    selenium.load_package(PACKAGES)
    selenium.run(
        """
import sys, time, types
from jobspan.web import WebWorkerExecutor, wait

if "pooled" not in sys.modules:
    pooled = sys.modules["pooled"] = types.ModuleType("pooled")
    pooled.pool = WebWorkerExecutor(2)

    def warm():
        states = []
        while sorted(states) != ["idle", "idle"]:
            wait([pooled.pool.submit(time.sleep, 0.02) for _ in range(2)])
            states = [worker.state for worker in pooled.pool.pool._workers]

    pooled.warm = warm
"""
    )
    return selenium


@everywhere
@run_in_pyodide(packages=PACKAGES)
def test_workers_are_started_when_there_is_work_for_them(selenium_pool):
    import time

    from pooled import pool as executor

    assert executor.pool.size == 0
    first = executor.submit(pow, 2, exp=10)
    assert executor.pool.size == 1
    assert first.result() == 1024
    for _ in range(3):
        assert executor.submit(abs, -1).result() == 1
    assert executor.pool.size == 1
    sleepers = [executor.submit(time.sleep, 0.1) for _ in range(5)]
    assert executor.pool.size == 2
    assert [future.result() for future in sleepers] == [None] * 5
    assert executor.pool.size == 2


@once
@run_in_pyodide(packages=PACKAGES)
def test_exceptions_are_the_calls_own(selenium_pool):
    import threading

    import pytest
    from pooled import pool as executor

    from jobspan import UnpicklableError

    class Mine(Exception):
        __module__ = "mine"  # where tests run in Pyodide it would be builtins

        def __init__(self, one, two):
            super().__init__(f"{one} and {two}")
            self.two = two

    def fail(two):
        raise Mine(1, two)

    future = executor.submit(fail, "b")
    error = future.exception()
    assert type(error) is Mine
    assert (str(error), error.two) == ("1 and b", "b")
    notes = "\n".join(error.__notes__)
    assert "fail('b'), on web-" in notes
    assert "traceback on the worker" in notes
    with pytest.raises(Mine):
        future.result()
    with pytest.raises(UnpicklableError, match="argument"):
        executor.submit(abs, threading.Lock()).result()
    with pytest.raises(UnpicklableError, match="the result"):
        executor.submit(threading.Lock).result()
    with pytest.raises(SystemExit):
        executor.submit(exit, 3).result()
    assert executor.submit(abs, -1).result() == 1


@everywhere
@run_in_pyodide(packages=PACKAGES)
def test_what_waits_can_be_cancelled_and_what_runs_cannot(selenium_pool):
    import time
    from concurrent.futures import CancelledError

    import pytest
    from pooled import pool as executor
    from pooled import warm

    from jobspan.web import wait

    def stamp(seconds=0.0):
        time.sleep(seconds)
        return time.time()

    warm()
    running = [executor.submit(stamp, 0.5) for _ in range(2)]
    waiting = [executor.submit(stamp) for _ in range(3)]
    assert [future.running() for future in running + waiting] == [True, True, False, False, False]
    assert [future.cancel() for future in running] == [False, False]
    heard = []
    waiting[0].add_done_callback(heard.append)
    assert waiting[0].cancel()
    assert heard == [waiting[0]]
    assert wait(waiting, return_when="FIRST_COMPLETED").done == {waiting[0]}
    with pytest.raises(TimeoutError):
        running[0].result(timeout=0.05)
    with pytest.raises(TimeoutError):
        waiting[1].exception(timeout=0)
    with pytest.raises(CancelledError):
        waiting[0].result()
    assert not any(future.done() for future in running)
    assert waiting[1].result() >= running[0].result() - 0.5
    assert waiting[2].result() > 0
    assert not waiting[2].cancelled()


@everywhere
@run_in_pyodide(packages=PACKAGES)
def test_wait_and_as_completed_follow_workers(selenium_pool):
    import time

    import pytest
    from pooled import pool as executor
    from pooled import warm

    from jobspan.web import as_completed, wait

    def nap(seconds):
        time.sleep(seconds)
        return 1 / seconds if seconds < 0.3 else seconds

    warm()
    slow = executor.submit(nap, 0.4)
    quick = [executor.submit(nap, 0.05) for _ in range(3)]
    assert wait([slow, *quick], return_when="FIRST_COMPLETED").not_done >= {slow}
    assert wait([slow, *quick], timeout=0.01).not_done >= {slow}
    assert [future.result() for future in as_completed([slow, *quick])] == [20.0, 20.0, 20.0, 0.4]
    slow, bad = executor.submit(nap, 0.5), executor.submit(nap, 0)
    assert wait([slow, bad], return_when="FIRST_EXCEPTION") == ({bad}, {slow})
    with pytest.raises(TimeoutError, match="1 of 2"):
        list(as_completed([slow, bad], timeout=0.05))
    assert wait([slow, bad]).not_done == set()


@everywhere
@run_in_pyodide(packages=PACKAGES)
def test_maps_in_order(selenium_pool):
    import time
    from itertools import count

    import pytest
    from pooled import pool as executor
    from pooled import warm

    warm()
    assert list(executor.map(pow, range(10), range(10))) == [n**n for n in range(10)]
    assert list(executor.map(abs, range(25), chunksize=10)) == list(range(25))
    assert list(executor.map(abs, [])) == []
    some = executor.map(divmod, [9, 8, 7, 6], [3, 2, 0, 1], chunksize=4)
    assert [next(some), next(some)] == [(3, 0), (4, 0)]  # before the failure, of the same chunk
    with pytest.raises(ZeroDivisionError):
        next(some)
    numbers = count()
    few = executor.map(abs, numbers, buffersize=3)
    assert next(numbers) == 3
    assert [next(few) for _ in range(4)] == [0, 1, 2, 4]
    assert next(numbers) == 8
    few.close()
    with pytest.raises(TimeoutError):
        list(executor.map(time.sleep, [0, 0.3], timeout=0.1))
    for wrong in ({"chunksize": 0}, {"buffersize": 0}):
        with pytest.raises(ValueError, match="size=0"):
            executor.map(abs, [1], **wrong)


@once
@run_in_pyodide(packages=PACKAGES)
def test_what_a_function_captures_is_as_it_is_when_it_is_submitted(selenium_pool):
    import time

    from pooled import pool as executor

    offset = [1]
    rows = [1]

    def shifted(x):
        time.sleep(0.02)
        return x + offset[0]

    futures = [executor.submit(shifted, 1)]
    offset[0] = 10
    futures.append(executor.submit(shifted, 1))
    futures.append(executor.submit(sum, rows))
    rows.append(5)
    futures.append(executor.submit(sum, rows))
    results = executor.map(shifted, [1, 2, 3])
    offset[0] = 100
    assert [future.result() for future in futures] == [2, 11, 1, 6]
    assert list(results) == [11, 12, 13]


@everywhere
@run_in_pyodide(packages=PACKAGES)
def test_large_arguments_are_sent_once_and_seen_as_they_were(selenium_pool):
    from pooled import pool as executor
    from pooled import warm

    from jobspan.web import wait

    warm()
    large = bytearray(1_000_000)
    futures = []
    for byte in (0, 0, 0, 1, 1, 1):
        large[-1] = byte
        futures.append(executor.submit(bytearray.count, large, 1))
    sender = executor._calls._sender
    assert 0 < sum(map(len, sender.encoder.messages.values())) < 2_500_000
    wait(futures)
    assert [future.result() for future in futures] == [0, 0, 0, 1, 1, 1]
    assert executor._calls._sender is None  # nothing to do: nothing is held
    assert bytes(executor.submit(bytes, large).result()) == bytes(large)


@once
@run_in_pyodide(packages=PACKAGES)
async def test_pickling_may_let_the_event_loop_turn(selenium_pool):
    import asyncio

    from pooled import pool as executor
    from pooled import warm
    from pyodide.ffi import run_sync

    class Slow:
        def __reduce__(self):
            run_sync(asyncio.sleep(0.2))
            return int, ()

    def measure(data, _):
        return len(data)

    warm()
    first, second = bytearray(100_000), bytearray(200_000)
    futures = [executor.submit(len, data) for data in (first, second, first, second)]  # large and shared from here on
    inner = []
    for delay in (0.05, 0.1):  # those are done by then, and nothing else runs
        asyncio.get_running_loop().call_later(delay, lambda: inner.append(executor.submit(len, second)))
    outer = executor.submit(measure, first, Slow())
    assert len(inner) == 2
    assert outer.result() == 100_000
    assert [future.result() for future in inner] == [200_000, 200_000]
    assert [future.result() for future in futures] == [100_000, 200_000] * 2


@everywhere
@run_in_pyodide(packages=PACKAGES)
async def test_asyncio_takes_it_for_an_executor(selenium_pool):
    import asyncio
    import time

    import pytest
    from pooled import pool as executor

    from jobspan.web.futures import WebFuture

    loop = asyncio.get_running_loop()
    squares = [executor.submit(pow, n, 2) for n in range(5)]
    assert await asyncio.gather(*squares) == [0, 1, 4, 9, 16]
    assert await asyncio.wrap_future(squares[3]) == 9
    assert {await future for future in asyncio.as_completed([executor.submit(abs, n) for n in range(3)])} == {0, 1, 2}
    with pytest.raises(ZeroDivisionError):
        await executor.submit(divmod, 1, 0)

    def where():
        from jobspan.worker.context import PLACE

        return PLACE.get().level

    assert await loop.run_in_executor(executor, where) == 1
    assert await loop.run_in_executor(None, where) == 0  # Pyodide's own way, as before
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(loop.run_in_executor(executor, time.sleep, 0.5), 0.05)

    async def block(n):
        return executor.submit(pow, n, 3).result()

    assert await asyncio.gather(block(2), block(3), executor.submit(pow, 4, 3)) == [8, 27, 64]
    assert isinstance(executor.submit(abs, 1), WebFuture)


@everywhere
@run_in_pyodide(packages=PACKAGES)
async def test_callbacks_run_in_the_callers_event_loop(selenium_pool):
    from pooled import pool as executor

    from jobspan import CannotBlock, host
    from jobspan.web import wait

    heard, submitted = [], []

    def hear(future):
        heard.append(future.result())
        submitted.append(executor.submit(abs, -2))
        try:
            submitted[0].result()
        except CannotBlock as error:
            heard.append("await future" in str(error))
        submitted[0].add_done_callback(lambda done: heard.append(done.result()))

    future = executor.submit(abs, -1)
    future.add_done_callback(hear)
    assert heard == []
    wait([future])
    assert heard[:1] == [1]
    assert await submitted[0] == 2
    assert heard == ([1, 2] if host.in_node() else [1, True, 2])  # a page's own thread cannot block in a callback


@everywhere
@run_in_pyodide(packages=PACKAGES)
def test_a_dead_worker_costs_the_future_that_it_was_on(selenium_pool):
    import os
    import time
    from concurrent.futures import BrokenExecutor

    import pytest
    from pooled import pool as executor
    from pooled import warm

    from jobspan import WorkerLost

    warm()
    futures = [executor.submit(time.sleep, 0.3), executor.submit(os._exit, 3)]
    futures += [executor.submit(abs, -n) for n in range(4)]
    with pytest.raises(WorkerLost, match="worker web-"):
        futures[1].result()
    assert issubclass(WorkerLost, BrokenExecutor)
    assert [future.result() for future in futures[2:]] == [0, 1, 2, 3]
    assert futures[0].result() is None
    sleepers = [executor.submit(time.sleep, 0.1) for _ in range(4)]
    assert executor.pool.size == 2
    assert [future.result() for future in sleepers] == [None] * 4


@once
@run_in_pyodide(packages=PACKAGES)
def test_nothing_is_held_that_is_done(selenium_pool):
    import gc
    import weakref

    from pooled import pool as executor

    class Thing:
        def own(self, _=None):
            return Thing()

    gc.collect()
    gc.disable()
    try:
        thing = Thing()
        gone = weakref.ref(thing)
        future = executor.submit(thing.own, thing)
        result = weakref.ref(future.result())
        del thing
        assert gone() is None
        del future
        assert result() is None
        for one in executor.map(Thing.own, [Thing(), Thing(), Thing()], chunksize=2):
            gone = weakref.ref(one)
            del one
            assert gone() is None
    finally:
        gc.enable()


@everywhere
@run_in_pyodide(packages=PACKAGES)
def test_parallel_runs_on_its_workers(selenium_pool):
    from pooled import pool as executor

    from jobspan import Parallel, delayed, parallel_config

    assert Parallel(backend=executor)(delayed(pow)(n, 2) for n in range(9)) == [n * n for n in range(9)]
    with parallel_config(backend=executor, n_jobs=1):
        assert Parallel()(delayed(abs)(-n) for n in range(3)) == [0, 1, 2]
    report = Parallel(backend=executor, n_jobs=-1, batch_size=1)
    report(delayed(abs)(-n) for n in range(20))
    assert executor.pool.size == 2


@everywhere
def test_where_nothing_can_wait_it_says_so_and_awaiting_works(selenium_pool):
    """Python is entered by ``runPython``, which cannot wait in a page's own thread."""
    if selenium_pool.browser == "node":
        pytest.skip("node can block: see test_blocking.py")
    told = selenium_pool.run(
        """
from jobspan import CannotBlock
from jobspan.web import WebWorkerExecutor, as_completed, wait

def tell(ask):
    try:
        ask()
    except CannotBlock as error:
        return str(error)

import pooled
future = pooled.pool.submit(abs, -5)
[tell(future.result), tell(lambda: wait([future])), tell(lambda: next(as_completed([future]))),
 tell(lambda: next(pooled.pool.map(abs, [1])))]
"""
    )
    assert ["await future" in text for text in told] == [True] * 4
    assert selenium_pool.run_async("await future") == 5
    told = selenium_pool.run(
        """
def use():
    global last
    with WebWorkerExecutor(1) as other:
        last = other.submit(abs, -6)
told = tell(use)
told
"""
    )
    assert "async with" in told
    assert selenium_pool.run_async("await last") == 6


@once
@run_in_pyodide(packages=PACKAGES)
async def test_the_end_of_an_asynchronous_block_awaits_all(selenium_pool):
    from jobspan.web import WebWorkerExecutor

    async with WebWorkerExecutor(1) as executor:
        futures = [executor.submit(pow, 0, n) for n in range(3)]
        futures.append(executor.submit(divmod, 1, 0))
        workers = executor.pool
    assert all(future.done() for future in futures)
    assert workers.size == 0


@once
@run_in_pyodide(packages=PACKAGES)
def test_an_initializer_runs_once_on_each_worker_and_shutdown_waits(selenium_pool):
    import builtins
    import time

    import pytest

    from jobspan import Parallel, delayed
    from jobspan.web import WebWorkerExecutor

    def count_up(step):
        import builtins

        builtins.counted = getattr(builtins, "counted", 0) + step

    def look(seconds=0.0):
        import builtins

        time.sleep(seconds)
        return builtins.counted

    with WebWorkerExecutor(1, initializer=count_up, initargs=(2,)) as executor:
        futures = [executor.submit(look, 0.05) for _ in range(3)]
        assert Parallel(backend=executor)(delayed(look)() for _ in range(3)) == [2, 2, 2]
        with pytest.raises(ValueError, match="both"):
            Parallel(backend=executor, initializer=count_up, initargs=(1,))([delayed(look)()])
        workers = executor.pool
        futures += [executor.submit(look, 0.05) for _ in range(3)]
    assert [future.done() for future in futures] == [True] * 6  # the end of the block has waited
    assert [future.result() for future in futures] == [2] * 6
    assert workers.size == 0
    for use in (lambda: executor.submit(abs, 1), lambda: executor.map(abs, [1]), lambda: executor.pool):
        with pytest.raises(RuntimeError, match="after shutdown"):
            use()
    with pytest.raises(RuntimeError, match="after shutdown"):
        Parallel(backend=executor)([delayed(abs)(1)])
    executor.shutdown()
    assert not hasattr(builtins, "counted")


@once
@run_in_pyodide(packages=PACKAGES)
def test_a_failing_initializer_breaks_the_pool(selenium_pool):
    import pytest

    from jobspan import InitializerError, WorkerLost
    from jobspan.web import WebWorkerExecutor

    with WebWorkerExecutor(1, initializer=divmod, initargs=(1, 0)) as executor:
        futures = [executor.submit(abs, n) for n in range(3)]
        for future in futures:
            with pytest.raises(WorkerLost, match="division by zero") as caught:
                future.result()
            assert isinstance(caught.value.__cause__, InitializerError)
        with pytest.raises(WorkerLost, match="runs nothing any more"):
            executor.submit(abs, 1)


@once
@run_in_pyodide(packages=PACKAGES)
def test_a_pool_whose_workers_cannot_start_is_broken(selenium_pool):
    import pytest

    from jobspan import WorkerBootError, WorkerLost
    from jobspan.web import WebWorkerExecutor

    with WebWorkerExecutor(2, index_url="http://127.0.0.1:9/nothing/") as executor:
        futures = [executor.submit(abs, n) for n in range(5)]
        for future in futures:
            error = future.exception()
            assert isinstance(error, WorkerLost)
            assert isinstance(error.__cause__, WorkerBootError)
        with pytest.raises(WorkerLost, match=r"127\.0\.0\.1:9/nothing"):
            executor.submit(abs, 1)


@once
@run_in_pyodide(packages=PACKAGES)
def test_a_pool_goes_on_with_the_workers_that_could_start_and_says_so(selenium_pool):
    import time

    import pytest

    from jobspan import FallbackWarning
    from jobspan.web import WebWorkerExecutor, wait

    with WebWorkerExecutor(2) as executor:
        executor.submit(abs, 1).result()
        executor.pool.index_url = "http://127.0.0.1:9/nothing/"

        def submit_until_one_has_failed():
            while executor._calls.width == 2:
                wait([executor.submit(time.sleep, 0.1) for _ in range(3)])
            return executor.submit(abs, -2)

        with pytest.warns(FallbackWarning, match="goes on with 1 of the workers"):
            future = submit_until_one_has_failed()
        assert future.result() == 2
        assert executor.pool.size == 1


@once
@run_in_pyodide(packages=PACKAGES)
def test_shutdown_may_cancel_what_waits_or_end_what_runs(selenium_pool):
    import time

    import pytest

    from jobspan import WorkerLost
    from jobspan.web import WebWorkerExecutor, wait

    executor = WebWorkerExecutor(1)
    executor.submit(abs, 1).result()
    workers = executor.pool
    running, waiting = executor.submit(time.sleep, 0.3), executor.submit(abs, 1)
    executor.shutdown(wait=False, cancel_futures=True)
    assert waiting.cancelled()
    assert not running.done()
    assert running.result() is None
    assert workers.size == 0

    executor = WebWorkerExecutor(1)
    executor.submit(abs, 1).result()
    workers = executor.pool
    running, waiting = executor.submit(time.sleep, 60), executor.submit(abs, 1)
    with pytest.raises(TimeoutError):
        running.result(timeout=0.1)
    executor.terminate_workers()
    assert wait([running, waiting], timeout=5).not_done == set()
    assert isinstance(running.exception(), WorkerLost)
    assert waiting.cancelled()
    assert workers.size == 0


@once
@run_in_pyodide(packages=PACKAGES)
def test_an_executor_that_nobody_has_finishes_and_ends(selenium_pool):
    import gc

    from jobspan.web import WebWorkerExecutor, wait

    executor = WebWorkerExecutor(1)
    futures = [executor.submit(abs, -n) for n in range(3)]
    workers = executor.pool
    gc.collect()
    gc.disable()
    try:
        del executor
        assert wait(futures).not_done == set()
        assert workers.size == 0
    finally:
        gc.enable()
    assert [future.result() for future in futures] == [0, 1, 2]


@once
@pytest.mark.parametrize("flags", [[], ["--no-experimental-wasm-jspi"]], ids=["jspi", "plain"])
def test_a_finished_script_ends_without_shutdown(run_script, runtime, flags, isolated):
    if runtime != "node":
        pytest.skip("a browser's page does not end by itself")
    python = """
from jobspan.web import WebWorkerExecutor
pool = WebWorkerExecutor(1)
print(await pool.submit(abs, -3))
late = pool.submit(print, "late")
"""
    assert run_script(python, *flags) == "3\nlate\n"


@once
def test_the_examples_of_the_documentation_run(selenium_pool):
    if selenium_pool.browser != "node":
        pytest.skip("one of the two is enough")
    warm, first, second = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    said = "import contextlib, io\nsaid = io.StringIO()\nwith contextlib.redirect_stdout(said):\n{}\nsaid.getvalue()"
    indented = ["".join(f"    {line}\n" for line in each.splitlines()) for each in (first, second, warm)]
    lines = selenium_pool.run_async(said.format(indented[0])).splitlines()
    assert lines[:2] == ["1024", "[1024, 59049, 1048576]"]
    assert sorted(lines[2:]) == ["(11, 1)", "(12, 4)", "(14, 2)"]
    assert selenium_pool.run_async(said.format(indented[1])).splitlines() == ["1024", "[0, 1, 4, 9, 16]", "27"]
    count, *workers = selenium_pool.run_async(said.format(indented[2])).splitlines()
    assert count == "2"
    assert len([line for line in workers if line.startswith("web-") and " idle " in line]) >= 2
