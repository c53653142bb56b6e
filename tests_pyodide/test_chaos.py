"""Workers that end at random, run out of memory, or work for a page that is hidden: nothing is lost, nothing hangs."""

import textwrap

import pytest
from pytest_pyodide import run_in_pyodide

in_both = pytest.mark.parametrize("isolated", [False, True], indirect=True, scope="module")


@in_both
@run_in_pyodide(packages=["jobspan", "pytest"])
async def test_workers_that_are_terminated_at_random_cost_nothing_but_time(selenium):
    import asyncio
    import random
    import time

    import js

    from jobspan import Parallel, delayed, host
    from jobspan.backends.web import WebBackend

    def work(i):
        time.sleep(0.01)
        return i * i

    # Ends them as a browser does: without a word to anybody, at whatever they are.
    home = 'process.getBuiltinModule("node:worker_threads")' if host.in_node() else "globalThis"
    js.eval(f"""{{
        const home = {home};
        globalThis.plainWorker = home.Worker;
        globalThis.born = [];
        home.Worker = class extends home.Worker {{ constructor(...all) {{ super(...all); born.push(this); }} }};
    }}""")
    backend = WebBackend()
    dice = random.Random(5)
    killed = 0

    async def kill():
        nonlocal killed
        while killed < 8:
            await asyncio.sleep(dice.uniform(0.4, 1.2))
            if js.born.length:
                js.born.splice(dice.randrange(js.born.length), 1)[0].terminate()
                killed += 1

    call = Parallel(n_jobs=2, backend=backend, retries=20)
    await call.gather(delayed(work)(i) for i in range(4))  # from now on, workers begin with an image
    killer = asyncio.create_task(kill())
    begun = time.monotonic()
    rows = []
    try:
        while killed < 8:
            assert time.monotonic() - begun < 90
            rows += await call.gather(delayed(work)(i) for i in range(len(rows), len(rows) + 150))
        await killer
    finally:
        killer.cancel()
        js.eval(f"{home}.Worker = plainWorker")
    assert rows == [i * i for i in range(len(rows))]
    backend.shutdown()


@run_in_pyodide(packages=["jobspan", "pytest"])
async def test_a_worker_that_runs_out_of_memory_is_an_error_of_its_task(selenium):
    from jobspan import Parallel, TaskError, delayed
    from jobspan.backends.web import WebBackend

    def fill(megabytes):
        return len([bytearray(64 << 20) for _ in range(megabytes // 64)])

    backend = WebBackend()
    call = Parallel(n_jobs=2, backend=backend, errors="return", batch_size=1)
    small, large, other = await call.gather(delayed(fill)(megabytes) for megabytes in (64, 8192, 64))
    assert (small, other) == (1, 1)  # the other one on the same worker, maybe
    assert isinstance(large, TaskError)
    assert isinstance(large.error, MemoryError)
    assert await call.gather([delayed(abs)(-1)]) == [1]
    backend.shutdown()


def test_a_run_goes_on_while_its_page_is_hidden(request, runtime):
    if runtime == "node":
        pytest.skip("node has no pages")
    selenium = request.getfixturevalue("selenium")
    selenium.load_package("jobspan")
    driver = selenium.driver
    page = driver.current_window_handle
    start = """
        import time
        import js
        from jobspan import Parallel, delayed

        def work(i):
            time.sleep(0.05)
            return i

        async def run():
            hidden = 0
            results = Parallel(n_jobs=2, backend="web", batch_size=1).stream(delayed(work)(i) for i in range(60))
            found = []
            async for value in results:
                found.append(value)
                hidden += js.document.hidden
            return found == list(range(60)) and hidden
        """
    selenium.run_js(f"self.hidden = pyodide.runPythonAsync({textwrap.dedent(start)!r} + '\\nawait run()')")
    driver.switch_to.new_window("tab")
    try:
        driver.get("about:blank")
        driver.execute_async_script("setTimeout(arguments[0], 2500)")
    finally:
        driver.close()
        driver.switch_to.window(page)
    seen = selenium.run_js("return await self.hidden")
    assert seen >= 10  # of 60 results came while the page was hidden
