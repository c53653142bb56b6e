"""Blocking without JSPI, by Atomics.wait: in node, and in workers of pages that are isolated."""

import subprocess
from pathlib import Path

import pytest
from pytest_pyodide import run_in_pyodide


@pytest.fixture(scope="module")
def isolated():
    """Memory is shared with workers only where a page is isolated."""
    return True


@pytest.fixture
def selenium_thread(request, runtime):
    """A thread that may block: node's, or a worker of an isolated page."""
    return request.getfixturevalue("selenium" if runtime == "node" else "selenium_worker")


@run_in_pyodide(packages=["jobspan"])
async def test_blocks_where_stacks_cannot_be_switched(selenium_thread):
    import pyodide_js

    from jobspan import web

    await web.warm(2)
    found = pyodide_js.runPython("""
import contextlib, io, os
from pyodide.ffi import can_run_sync
from jobspan import Parallel, delayed, host

def work(i):
    print("at", i)
    return i * i, bytes(i)

assert not can_run_sync()
out = io.StringIO()
with contextlib.redirect_stdout(out):
    rows = Parallel(n_jobs=2, backend="web", batch_size=1)(delayed(work)(i) for i in range(20))
assert rows == [(i * i, bytes(i)) for i in range(20)]
assert sorted(out.getvalue().split()) == sorted(word for i in range(20) for word in ("at", str(i)))
stream = Parallel(n_jobs=2, backend="web", return_as="generator")(delayed(pow)(i, 2) for i in range(300))
list(stream) == [i * i for i in range(300)]
""")
    assert found is True


@run_in_pyodide(packages=["jobspan"])
async def test_results_larger_than_the_shared_memory_arrive_whole(selenium_thread):
    import pyodide_js

    from jobspan import Parallel, web

    await web.warm(2)
    code = """
import random
from hashlib import sha256
from jobspan import Parallel, delayed

def make(seed, size):
    data = bytearray(random.Random(seed).randbytes(size))
    return data, sha256(data).digest()

sizes = [0, 1, 7, 1 << 18, (1 << 20) - 9, 1 << 20, (1 << 20) + 1, 5_000_001]
calls = [delayed(make)(i, size) for i, size in enumerate(sizes)]
def check(rows):
    return all(len(data) == size and sha256(data).digest() == told for size, (data, told) in zip(sizes, rows))
"""
    namespace = {}
    exec(code, namespace)
    call = Parallel(n_jobs=2, backend="web", batch_size=1)
    assert namespace["check"](await call.gather(namespace["calls"]))  # read at events
    pyodide_js.runPython(code)
    assert pyodide_js.runPython('check(Parallel(n_jobs=2, backend="web", batch_size=1)(calls))')  # while blocked


@run_in_pyodide(packages=["jobspan"])
async def test_a_task_that_had_its_time_is_ended_while_the_caller_blocks(selenium_thread):
    import pyodide_js

    from jobspan import web

    await web.warm(2)
    found = pyodide_js.runPython("""
import time
from jobspan import Parallel, TaskTimeout, delayed

begun = time.monotonic()
call = Parallel(n_jobs=2, backend="web", timeout=0.5, errors="return")
rows = call(delayed(time.sleep)(seconds) for seconds in (0, 60, 0, 0))
assert time.monotonic() - begun < 20
[isinstance(getattr(row, "error", None), TaskTimeout) for row in rows]
""")
    assert list(found) == [False, True, False, False]


@pytest.mark.parametrize("how", ["self.close", "os._exit", "process.exit", "throw", "recursion"])
@run_in_pyodide(packages=["jobspan", "pytest"])
async def test_a_worker_that_dies_is_noticed_while_the_caller_blocks(selenium_thread, how):
    import pyodide_js
    import pytest

    from jobspan import host, web

    if how == ("self.close" if host.in_node() else "process.exit"):
        pytest.skip(f"there is no {how} here")
    await web.warm(1)
    pyodide_js.globals["how"] = how
    found = pyodide_js.runPython("""
from jobspan import Parallel, delayed
from jobspan.errors import WorkerLost

def die(how):
    import os, sys, time
    import js
    if how == "os._exit":
        os._exit(3)
    elif how == "recursion":
        sys.setrecursionlimit(10**9)
        def down(depth):
            return sorted([depth], key=down)
        down(0)
    elif how == "throw":
        js.eval("setTimeout(() => { throw Error('oh') })")
    else:
        js.eval({"self.close": "self.close()", "process.exit": "process.exit(7)"}[how])
    time.sleep(60)

try:
    Parallel(n_jobs=1, backend="web")([delayed(die)(how)])
    message = "nothing"
except WorkerLost as error:
    message = str(error)
message
""")
    assert "worker web-" in found
    assert " died (" in found


@run_in_pyodide(packages=["jobspan", "pytest"])
async def test_what_came_before_is_taken_in_by_whoever_waits_next(selenium_thread):
    """A run is begun where stacks can be switched, gone on with where they cannot, and ended by awaiting."""
    import pyodide_js

    from jobspan import Parallel, delayed, web

    await web.warm(2)
    results = Parallel(n_jobs=2, backend="web", batch_size=1, return_as="generator")(
        delayed(pow)(i, 2) for i in range(60)
    )
    found = [next(results) for _ in range(20)]
    pyodide_js.globals["results"] = results
    pyodide_js.globals["found"] = found
    pyodide_js.runPython("found.extend(next(results) for _ in range(20))")
    found.extend(results)
    assert found == [i * i for i in range(60)]


@run_in_pyodide(packages=["jobspan", "pytest"])
async def test_where_no_worker_runs_yet_it_says_how_to_start_one(selenium_thread):
    import pyodide_js

    from jobspan.web.pool import shared_pool

    shared_pool().shutdown()
    text = pyodide_js.runPython("""
import warnings
from jobspan import Parallel, delayed

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    assert Parallel(n_jobs=2, backend="web")(delayed(abs)(-i) for i in range(3)) == [0, 1, 2]
str(caught[0].message)
""")
    assert "jobspan.web.warm" in text


@run_in_pyodide(packages=["jobspan"])
async def test_futures_are_waited_for_and_callbacks_may_wait_too(selenium_thread):
    import pyodide_js

    from jobspan.web import WebWorkerExecutor

    async with WebWorkerExecutor(1) as pool:
        assert await pool.submit(abs, -1) == 1  # so that its worker runs
        pyodide_js.globals["pool"] = pool
        found = pyodide_js.runPython("""
from jobspan.web import as_completed, wait

heard = []

def hear(future):
    # While the message of one future is taken in, others of the same worker are waited for; large ones, too.
    heard.append((len(future.result()), len(pool.submit(bytes, 3_000_000).result())))

first = pool.submit(bytes, 2_000_000)
first.add_done_callback(hear)
assert len(first.result()) == 2_000_000
futures = [pool.submit(abs, -n) for n in range(5)]
assert wait(futures).not_done == set()
assert sorted(future.result() for future in as_completed(futures)) == [0, 1, 2, 3, 4]
[list(pool.map(abs, [-1, 2])), heard]
""")
    assert found == [[1, 2], [(2_000_000, 3_000_000)]]


@pytest.mark.parametrize("kind", ["with-yard", "without-yard"])
def test_a_mailbox_loses_and_mixes_nothing(runtime, kind):
    if runtime != "node":
        pytest.skip("the same JavaScript as in node")
    here = Path(__file__).resolve().parent
    source = here.parent / "core/jobspan/web/mailbox.js"
    command = ["node", here / "mailbox_stress.mjs", source, kind]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "800\n"
