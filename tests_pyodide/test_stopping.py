"""Runs that are ended from outside while they wait: by `stop`, and by a message of the page."""

import pytest
from pytest_pyodide import run_in_pyodide


@run_in_pyodide(packages=["jobspan", "pytest"])
async def test_stop_ends_a_call_that_blocks_and_brings_what_was_finished(selenium):
    import js
    import pytest
    from pyodide.ffi import create_once_callable

    import jobspan.web
    from jobspan import Parallel, delayed

    done = []

    def note(event):
        if event.kind == "done":
            done.append(event.index)
            if len(done) == 4:
                js.setTimeout(create_once_callable(jobspan.web.stop), 0)

    call = Parallel(n_jobs=2, backend="web", batch_size=1, on_event=note)
    with pytest.raises(KeyboardInterrupt) as caught:
        call(delayed(pow)(i, 2) for i in range(100_000))
    assert {0, 1} <= set(caught.value.partial) < set(range(100_000))
    assert all(value == i * i for i, value in caught.value.partial.items())
    assert jobspan.web.stop() == 0
    assert Parallel(n_jobs=2, backend="web")(delayed(abs)(-i) for i in range(4)) == [0, 1, 2, 3]


@run_in_pyodide(packages=["jobspan", "pytest"])
async def test_stop_ends_calls_that_are_awaited_all_of_them(selenium):
    import asyncio

    import pytest

    import jobspan.web
    from jobspan import Parallel, delayed

    begun = [asyncio.Event(), asyncio.Event()]

    async def endless(number):
        call = Parallel(n_jobs=1, backend="web", batch_size=1, on_event=lambda event: begun[number].set())
        with pytest.raises(KeyboardInterrupt) as caught:
            await call.gather(delayed(abs)(i) for i in range(1_000_000))
        return len(caught.value.partial) < 1_000_000

    async def stop():
        for each in begun:
            await each.wait()
        return jobspan.web.stop()

    assert await asyncio.gather(endless(0), endless(1), stop()) == [True, True, 2]


@pytest.fixture
def page(request, runtime):
    if runtime == "node":
        pytest.skip("node has no page that would send messages")
    return request.getfixturevalue("selenium")


def test_a_message_on_the_channel_of_a_display_ends_the_run(page):
    page.load_package("jobspan")
    page.run_js(
        """
        globalThis.found = null;
        globalThis.ended = pyodide.runPythonAsync(`
            import time
            import js
            from jobspan import Parallel, delayed
            from jobspan.web.stopping import find_channel

            assert find_channel() is None  # as there is nothing to stop

            def show(progress):
                global channel
                if channel is None:
                    channel = find_channel()
                    js.found = channel.name

            channel = None
            try:
                Parallel(n_jobs=2, backend="web", progress=show)(delayed(time.sleep)(0.1) for _ in range(10_000))
            except KeyboardInterrupt as error:
                told = len(error.partial) < 10_000
            channel.close()
            told
        `);
        """
    )
    assert page.run_js(
        """
        while (!found) await new Promise((resolve) => setTimeout(resolve, 50));
        const channel = new BroadcastChannel(found);
        channel.postMessage("stop");
        channel.close();
        return await ended;
        """
    )
