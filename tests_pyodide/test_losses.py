"""Workers that die, refuse to start or are not wanted any more: an error that says so, never a hang."""

import pytest
from pytest_pyodide import run_in_pyodide

pytestmark = pytest.mark.parametrize("isolated", [False, True], indirect=True, scope="module")


@pytest.mark.parametrize("how", ["os._exit", "os.abort", "recursion"])
@run_in_pyodide(packages=["jobspan", "pytest"])
def test_an_interpreter_that_ends_is_a_lost_worker(selenium, how):
    import pytest

    from jobspan import Parallel, delayed
    from jobspan.errors import WorkerLost

    def die(how):
        import os
        import sys

        if how == "recursion":
            sys.setrecursionlimit(10**9)

            def down(depth):
                return sorted([depth], key=down)

            down(0)
        elif how == "os._exit":
            os._exit(3)
        else:
            os.abort()

    with pytest.raises(WorkerLost, match="worker web-"):
        Parallel(n_jobs=2, backend="web")(delayed(die if i == 1 else abs)(how if i == 1 else i) for i in range(4))
    assert Parallel(n_jobs=2, backend="web")(delayed(abs)(i) for i in range(4)) == [0, 1, 2, 3]


@run_in_pyodide(packages=["jobspan", "pytest"])
def test_a_worker_that_leaves_is_a_lost_worker(selenium):
    import pytest

    from jobspan import Parallel, delayed, host
    from jobspan.errors import WorkerLost

    def leave(script):
        import time

        import js

        js.eval(script)
        time.sleep(60)

    if host.in_node():
        ways = {"process.exit(7)": "exit code 7", "setTimeout(() => { throw Error('oh') })": "oh"}
    else:
        ways = {
            "self.close()": "a task closed it",
            "setTimeout(() => { throw Error('oh') })": "oh",
        }
    for script, reason in ways.items():
        events = []
        with pytest.raises(WorkerLost, match=reason):
            Parallel(n_jobs=1, backend="web", on_event=events.append)([delayed(leave)(script)])
        assert [event.kind for event in events] == ["started", "lost"]
    assert Parallel(n_jobs=1, backend="web")([delayed(abs)(-1)]) == [1]


@run_in_pyodide(packages=["jobspan", "pytest"])
def test_a_worker_that_ends_without_a_word_is_a_lost_worker(selenium):
    import time

    import js
    import pytest

    from jobspan import Parallel, delayed, host
    from jobspan.backends.web import WebBackend
    from jobspan.errors import WorkerLost

    if host.in_node():
        pytest.skip("node tells of every end")
    js.eval(
        "globalThis.PlainWorker ??= Worker;"
        "Worker = class extends PlainWorker { constructor(...a) { super(...a); globalThis.lastWorker = this; } }"
    )
    try:
        backend = WebBackend()
        call = Parallel(n_jobs=1, backend=backend)
        call([delayed(abs)(1)])
        js.setTimeout(js.eval("() => lastWorker.terminate()"), 200)
        with pytest.raises(WorkerLost, match="it ended without a word"):
            call([delayed(time.sleep)(60)])
        assert backend.pool.size == 0
    finally:
        js.eval("Worker = PlainWorker")


@run_in_pyodide(packages=["jobspan", "pytest"])
def test_a_worker_that_cannot_boot_says_why(selenium):
    import asyncio
    import time

    import pytest
    from pyodide.ffi import run_sync

    from jobspan import Parallel, delayed
    from jobspan.backends.web import WebBackend
    from jobspan.errors import WorkerBootError

    backend = WebBackend(index_url="http://127.0.0.1:9/nothing/")
    for _ in range(2):
        with pytest.raises(WorkerBootError, match=r"from http://127\.0\.0\.1:9/nothing/"):
            Parallel(n_jobs=2, backend=backend)(delayed(abs)(i) for i in range(4))
    never = WebBackend(index_url="data:text/javascript,await new Promise(() => {});//", boot_deadline_s=1.0)
    begun = time.monotonic()
    with pytest.raises(WorkerBootError, match=r"no sign of life for 1 s while loading pyodide\.mjs"):
        Parallel(n_jobs=2, backend=never)(delayed(abs)(i) for i in range(4))
    assert time.monotonic() - begun < 10
    run_sync(asyncio.sleep(1.5))  # the second worker waited for the first one's image, and its time begins only then
    assert backend.pool.size == never.pool.size == 0


@run_in_pyodide(packages=["jobspan", "pytest"])
def test_an_exception_ends_what_still_runs(selenium):
    import asyncio
    import time

    import pytest
    from pyodide.ffi import run_sync

    from jobspan import Parallel, delayed
    from jobspan.backends.web import WebBackend

    def wait_or_fail(seconds):
        time.sleep(seconds)
        return 1 / seconds

    backend = WebBackend()
    call = Parallel(n_jobs=2, backend=backend, batch_size=1)
    call(delayed(abs)(i) for i in range(4))  # warm
    begun = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        call(delayed(wait_or_fail)(seconds) for seconds in (30, 0))
    assert time.monotonic() - begun < 5
    run_sync(asyncio.sleep(1.5))
    assert backend.pool.size == 1
    # A short rest of work is waited for, and its late reply disturbs nobody.
    call(delayed(abs)(i) for i in range(4))
    assert backend.pool.size == 2
    with pytest.raises(ZeroDivisionError):
        call(delayed(wait_or_fail)(seconds) for seconds in (0.3, 0))
    run_sync(asyncio.sleep(1.5))
    assert backend.pool.size == 2
    assert call(delayed(pow)(i, 2) for i in range(4)) == [0, 1, 4, 9]
    backend.shutdown()
    assert backend.pool.size == 0


@run_in_pyodide(packages=["jobspan", "pytest"])
def test_closing_a_generator_ends_its_work(selenium):
    import asyncio
    import time

    from pyodide.ffi import run_sync

    from jobspan import Parallel, delayed
    from jobspan.backends.web import WebBackend

    backend = WebBackend()
    results = Parallel(n_jobs=1, backend=backend, batch_size=1, return_as="generator")(
        delayed(time.sleep)(seconds) for seconds in (0, 30)
    )
    next(results)
    results.close()
    run_sync(asyncio.sleep(1.5))
    assert backend.pool.size == 0


@run_in_pyodide(packages=["jobspan", "pytest"])
def test_shutting_down_loses_what_is_out(selenium):
    import time

    import pytest

    from jobspan import Parallel, delayed
    from jobspan.backends.web import WebBackend
    from jobspan.errors import WorkerLost

    backend = WebBackend()
    results = Parallel(n_jobs=2, backend=backend, batch_size=1, return_as="generator")(
        delayed(time.sleep)(30 * i) for i in range(3)
    )
    next(results)
    backend.shutdown()
    assert backend.pool.size == 0
    with pytest.raises(WorkerLost, match="shut down"):
        next(results)
    assert Parallel(n_jobs=1, backend=backend)([delayed(abs)(-1)]) == [1]
    backend.shutdown()


@run_in_pyodide(packages=["jobspan", "pytest"])
def test_keeps_warm_workers_and_no_more(selenium):
    from jobspan import Parallel, cpu_count, delayed
    from jobspan.backends.web import WebBackend

    backend = WebBackend()
    for _ in range(3):
        Parallel(n_jobs=1, backend=backend)([delayed(abs)(1)])
    assert backend.pool.size == 1
    many = cpu_count() + 1
    assert Parallel(n_jobs=many, backend=backend)(delayed(abs)(i) for i in range(9)) == list(range(9))
    assert backend.pool.size == many
    backend.shutdown()


@run_in_pyodide(packages=["jobspan"])
def test_a_run_goes_on_without_what_dies_and_hangs(selenium):
    from jobspan import Parallel, TaskTimeout, WorkerLost, attempt, delayed

    def task(index):
        import os
        import time

        if index == 3:
            os._exit(3)
        if index == 5:
            time.sleep(60)
        if index == 7 and attempt() == 1:
            raise OSError
        return index, attempt()

    results = Parallel(n_jobs=2, backend="web", errors="return", timeout=2, retries=1, retry_on=OSError, backoff=0)(
        delayed(task)(index) for index in range(12)
    )
    assert isinstance(results[3].error, WorkerLost)
    assert results[3].attempt == 2
    assert isinstance(results[5], TaskTimeout)  # a TimeoutError is an OSError, so it was tried twice
    assert results[5].attempt == 2
    good = [each for index, each in enumerate(results) if index not in (3, 5)]
    assert good == [(index, 2 if index == 7 else 1) for index in range(12) if index not in (3, 5)]


@run_in_pyodide(packages=["jobspan", "pytest"])
async def test_a_task_can_ask_whether_anybody_waits_for_it_and_so_its_worker_stays(selenium):
    import asyncio
    import time

    import pytest

    from jobspan import Parallel, cancelled, delayed
    from jobspan.web import warm, workers

    def fail_or_search(index):
        if index == 0:
            time.sleep(0.3)
            raise ValueError("not here")
        begun = time.monotonic()
        while not cancelled():
            assert time.monotonic() - begun < 20
        return index

    await warm(2)
    before = {worker.name for worker in workers()}
    for _ in range(2):
        with pytest.raises(ValueError, match="not here"):
            await Parallel(n_jobs=2, backend="web", batch_size=1).gather(delayed(fail_or_search)(i) for i in range(2))
        await asyncio.sleep(1.5)  # a task that does not end in a second is ended with its worker
        asked = await Parallel(n_jobs=2, backend="web", batch_size=1).gather(delayed(cancelled)() for _ in range(4))
        assert asked == [False] * 4
    assert {worker.name for worker in workers()} == before
