"""Blocking and awaiting, at the same time and inside each other, and where blocking is impossible."""

import pytest
from pytest_pyodide import run_in_pyodide

pytestmark = pytest.mark.parametrize("isolated", [False, True], indirect=True, scope="module")


@run_in_pyodide(packages=["jobspan", "pytest"])
async def test_awaits_lists_and_streams(selenium):
    import pytest

    from jobspan import Parallel, delayed

    call = Parallel(n_jobs=2, backend="web")
    assert await call.gather(delayed(pow)(i, 2) for i in range(50)) == [i * i for i in range(50)]
    assert [value async for value in call.stream(delayed(abs)(i) for i in range(50))] == list(range(50))
    unordered = Parallel(n_jobs=2, backend="web", return_as="generator_unordered")
    assert sorted([value async for value in unordered.stream(delayed(abs)(i) for i in range(9))]) == [*range(9)]
    with pytest.raises(ZeroDivisionError):
        await call.gather(delayed(divmod)(1, i) for i in range(9))


@run_in_pyodide(packages=["jobspan", "pytest"])
async def test_the_loop_turns_while_tasks_run(selenium):
    import asyncio
    import time

    from jobspan import Parallel, delayed

    call = Parallel(n_jobs=2, backend="web")
    await call.gather(delayed(abs)(i) for i in range(4))  # warm
    ticks = []

    async def tick():
        while True:
            ticks.append(time.monotonic())
            await asyncio.sleep(0.05)

    ticker = asyncio.create_task(tick())
    await call.gather(delayed(time.sleep)(0.5) for _ in range(2))
    ticker.cancel()
    assert len(ticks) >= 5


@run_in_pyodide(packages=["jobspan", "pytest"])
async def test_blocks_inside_an_asyncio_task(selenium):
    import asyncio

    from jobspan import Parallel, delayed

    async def block():
        return Parallel(n_jobs=2, backend="web")(delayed(pow)(i, 2) for i in range(5))

    assert await asyncio.create_task(block()) == [0, 1, 4, 9, 16]


@run_in_pyodide(packages=["jobspan", "pytest"])
async def test_several_calls_at_the_same_time(selenium):
    import asyncio
    import time

    from jobspan import Parallel, delayed

    def slow_power(i, k):
        time.sleep(0.1)
        return i**k

    async def block(k):
        return Parallel(n_jobs=1, backend="web")(delayed(slow_power)(i, k) for i in range(5))

    async def wait(k):
        return await Parallel(n_jobs=1, backend="web").gather(delayed(slow_power)(i, k) for i in range(5))

    results = await asyncio.gather(block(1), wait(2), block(3))
    assert results == [[i**k for i in range(5)] for k in (1, 2, 3)]


@run_in_pyodide(packages=["jobspan", "pytest"])
def test_a_call_while_its_own_generator_is_open(selenium):
    from jobspan import Parallel, delayed

    call = Parallel(n_jobs=1, backend="web", return_as="generator")
    results = call(delayed(abs)(i) for i in range(5))
    assert next(results) == 0
    assert list(call(delayed(pow)(i, 2) for i in range(5))) == [0, 1, 4, 9, 16]
    assert list(results) == [1, 2, 3, 4]


@run_in_pyodide(packages=["jobspan", "pytest"])
def test_the_input_may_be_slow(selenium):
    import time

    from jobspan import Parallel, delayed

    def slow_input():
        for i in range(4):
            time.sleep(0.1)
            yield delayed(abs)(i)

    assert Parallel(n_jobs=2, backend="web")(slow_input()) == [0, 1, 2, 3]


@run_in_pyodide(packages=["jobspan", "pytest"])
async def test_six_workers_are_at_work_at_the_same_time(selenium):
    import time

    from jobspan import Parallel, delayed, web
    from jobspan.web.pool import shared_pool

    shared_pool().shutdown()
    assert await web.warm(6) == 6
    events = []
    call = Parallel(n_jobs=6, backend="web", batch_size=1, on_event=events.append)
    assert await call.gather(delayed(time.sleep)(0.1) for _ in range(12)) == [None] * 12
    assert len({event.worker for event in events if event.kind == "done"}) == 6
    assert call(delayed(pow)(i, 2) for i in range(50)) == [i * i for i in range(50)]
    shared_pool().shutdown()


def test_runs_in_sequence_where_it_cannot_block(selenium, runtime):
    if runtime == "node":
        pytest.skip("node can block: see test_blocking.py")
    selenium.load_package("jobspan")
    texts = selenium.run(
        """
import warnings

from jobspan import Parallel, delayed

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(2):
        assert Parallel(n_jobs=2, backend="web")(delayed(pow)(i, 2) for i in range(3)) == [0, 1, 4]
[f"{warning.category.__name__}: {warning.message}" for warning in caught]
"""
    )
    assert len(texts) == 1
    assert texts[0].startswith("FallbackWarning: ")
    assert "await Parallel(...).gather(tasks)" in texts[0]


def test_says_what_to_write_where_a_generator_cannot_block_any_more(selenium, runtime):
    if runtime == "node":
        pytest.skip("node can block: see test_blocking.py")
    selenium.load_package("jobspan")
    selenium.run_async(
        """
import time

from jobspan import Parallel, delayed

results = Parallel(n_jobs=1, backend="web", return_as="generator")([delayed(time.sleep)(2)])
None
"""
    )
    message = selenium.run(
        """
from jobspan.errors import CannotBlock

try:
    next(results)
except CannotBlock as error:
    message = str(error)
message
"""
    )
    assert "await Parallel(...).gather(tasks)" in message


@pytest.mark.parametrize("flags", [[], ["--no-experimental-wasm-jspi"]], ids=["jspi", "plain"])
def test_a_finished_script_ends(run_script, runtime, flags, isolated):
    if runtime != "node":
        pytest.skip("a browser's page does not end by itself")
    python = """
from jobspan import Parallel, delayed
print(await Parallel(n_jobs=2, backend="web").gather(delayed(abs)(i) for i in range(3)))
"""
    assert run_script(python, *flags) == "[0, 1, 2]\n"
