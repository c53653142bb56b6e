"""Checkpointed loops that outlive their page: reloaded at any moment, in use twice, cleared, refused by the browser."""

import textwrap
import time

import pytest
from test_keeping import Page

TIME_LIMIT_S = 120


@pytest.fixture
def page(request, runtime):
    if runtime == "node":
        pytest.skip("in node, files outlive the interpreter by themselves")
    return Page(request.getfixturevalue("selenium_standalone"))


LOOP = """
    import random
    from jobspan.memory.steps import Steps

    def walk(stop, leave_at=None, name="walk", **options):
        did = []
        steps = Steps("loops", name, of="a walk", **options)
        for step, state in steps.range(stop, total=0, rng=random.Random(7)):
            did.append(step)
            if step == leave_at:
                break
            state.total = (state.total + step) * 31 % 1_000_003 + state.rng.randrange(100)
        return did, steps.state.total
"""
KEPT = """
    import asyncio, js, os
    async def names(*path):
        folder = await js.navigator.storage.getDirectory()
        for each in path:
            folder = await folder.getDirectoryHandle(each)
        found = []
        keys = folder.keys()
        while not (each := await keys.next()).done:
            found.append(each.value)
        return sorted(found)
    async def kept(*wanted):
        for _ in range(200):  # what was written arrives there a little later
            found = await names("jobspan", *os.path.abspath("loops/walk").split("/")[1:])
            if found == [".lock", *wanted]:
                break
            await asyncio.sleep(0.02)
        return found
"""
COUNT = """
    let folder = await navigator.storage.getDirectory();
    for (const each of ["jobspan", "home", "pyodide", "loops", "walk"]) folder = await folder.getDirectoryHandle(each);
    let count = 0;
    for await (const name of folder.keys()) count += name.endsWith(".job");
    return count;
"""
EXPECTED = """
    import random
    total, rng = 0, random.Random(7)
    for step in range(40):
        total = (total + step) * 31 % 1_000_003 + rng.randrange(100)
    total
"""


def test_a_loop_goes_on_after_a_reload(page):
    expected = page.run(EXPECTED)
    assert page.run(LOOP, "walk(40, 5)[0]") == list(range(6))
    assert page.run(KEPT, "await kept('4.job', '5.job')") == [".lock", "4.job", "5.job"]
    page.reload()
    assert page.run(LOOP, "walk(40, 20)[0]") == list(range(5, 21))
    assert page.run("walk(40, 21)[0]") == [20, 21]
    assert page.run(KEPT, "await kept('20.job', '21.job')") == [".lock", "20.job", "21.job"]
    page.reload()
    assert page.run(LOOP, "walk(40)") == [list(range(21, 40)), expected]
    page.reload()
    assert page.run(LOOP, "walk(40)") == [[], expected]


def test_a_loop_that_awaits_goes_on_after_a_reload_in_its_midst(page):
    """The page goes away while steps are being saved, as fast as they can be."""
    expected = page.run(EXPECTED.replace("40", "1200"))
    awaiting = textwrap.dedent(LOOP) + textwrap.dedent(
        """
            async def go_on():
                steps = Steps("loops", "walk", of="a walk")
                async for step, state in steps.range(1200, total=0, rng=random.Random(7), filler=b""):
                    state.total = (state.total + step) * 31 % 1_000_003 + state.rng.randrange(100)
                    state.filler = state.rng.__class__(step).randbytes(50_000)
                    print(step)
                print("the end", steps.state.total)
            await go_on()
            """
    )
    last = 0
    for least in (50, 100, 150):
        page.start(awaiting)
        deadline = time.monotonic() + TIME_LIMIT_S
        steps = []
        # Of two copies the older one is whole; to write the first may take longer than many steps.
        while len(steps) < least or page.selenium.run_js(COUNT) < 2:
            assert time.monotonic() < deadline, f"the loop makes no progress: {steps}"
            over, said = page.said()
            assert not over, said
            steps = said.split()
            time.sleep(0.01)
        first = int(steps[0])
        assert first > 0 or not last, "nothing of the last page was kept"
        assert steps == [str(step) for step in range(first, first + len(steps))]
        last = int(steps[-1])
        page.reload()
    page.start(awaiting)
    deadline = time.monotonic() + TIME_LIMIT_S
    while not (told := page.said())[0]:
        assert time.monotonic() < deadline, told[1][-1000:]
        time.sleep(0.2)
    assert told[1].endswith(f"the end {expected}"), told[1][-1000:]


def test_only_what_is_kept_is_in_the_storage(page):
    assert page.run(LOOP, KEPT, "walk(40)", "await kept('39.job', '40.job')") == [".lock", "39.job", "40.job"]
    assert page.run("Steps('loops', 'walk').clear()", "await kept()") == [".lock"]


def test_what_is_cleared_is_gone(page):
    assert page.run(LOOP, "walk(3)[0]") == [0, 1, 2]
    assert page.run("Steps('loops', 'walk').clear()", "walk(3)[0]") == [0, 1, 2]
    page.reload()
    assert page.run(LOOP, "Steps('loops', 'walk').clear()", "walk(2)[0]") == [0, 1]
    assert page.run("Steps('loops', 'walk').clear()", "None") is None
    page.reload()
    assert page.run(LOOP, "walk(2)[0]") == [0, 1]
    page.reload()
    assert page.run(LOOP, "walk(4, resume=False)[0]") == [0, 1, 2, 3]


def test_other_arguments_are_refused_after_a_reload_too(page):
    refused = """
        from jobspan import CheckpointMismatch
        def fit(rate):
            return [step for step, _ in Steps("loops", "fit").range(3)]
        try:
            found = fit(RATE)
        except CheckpointMismatch as error:
            found = str(error)
        found
    """
    assert page.run(LOOP, refused.replace("RATE", "0.1")) == [0, 1, 2]
    page.reload()
    assert "of its arguments, rate is not as before" in page.run(LOOP, refused.replace("RATE", "0.2"))
    page.reload()
    assert page.run(LOOP, refused.replace("RATE", "0.1")) == []


def test_a_loop_in_use_is_refused(page):
    twice = """
        from jobspan import JobspanError
        for step, state in Steps("loops", "walk", of="a walk").range(3, total=0):
            if step == 1:
                try:
                    walk(3)
                except JobspanError as error:
                    told = str(error)
        told
    """
    assert "loops/walk is in use by another run, maybe of another tab" in page.run(LOOP, twice)


def test_an_interpreter_that_cannot_wait_says_what_to_write(page):
    told = page.selenium.run(
        textwrap.dedent(LOOP)
        + textwrap.dedent(
            """
            import warnings
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                assert walk(3, 1)[0] == [0, 1]
                assert walk(3)[0] == [1, 2]
            [str(each.message) for each in caught]
            """
        )
    )
    assert len(told) == 1
    assert "'async for' in the place of 'for' keeps it" in told[0]


def test_a_browser_that_keeps_nothing_is_said_once(page):
    page.selenium.run_js(
        """
        const Real = self.Worker;
        self.Worker = function () {
            return new Real(URL.createObjectURL(new Blob(["throw new Error('not here')"])));
        };
        """
    )
    refused = """
        import warnings
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert walk(3, 1)[0] == [0, 1]
            assert walk(3)[0] == [1, 2]
        [str(each.message) for each in caught]
    """
    (told,) = page.run(LOOP, refused)
    assert "loops/walk lasts until the page is reloaded: this browser does not keep it" in told
