"""Checkpoints that outlive their page: reloaded, in use twice, removed, refused by the browser."""

import re
import textwrap
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TIME_LIMIT_S = 240


class Page:
    """A page with Pyodide and jobspan, that can be reloaded."""

    def __init__(self, selenium):
        self.selenium = selenium
        selenium.load_package(["jobspan"])

    def reload(self):
        self.selenium.refresh()
        self.selenium.javascript_setup()
        self.selenium.load_pyodide()
        self.selenium.initialize_pyodide()
        self.selenium.load_package(["jobspan"])

    def run(self, *parts):
        return self.selenium.run_async("\n".join(map(textwrap.dedent, parts)))

    def start(self, code):
        """Run it while the page goes on; what it prints, and at last what it raises, is gathered."""
        self.selenium.run_js(
            f"""
            self.said = [];
            self.over = false;
            pyodide.setStdout({{ batched: (text) => self.said.push(text) }});
            pyodide.runPythonAsync({textwrap.dedent(code)!r})
                .catch((error) => self.said.push(String(error)))
                .finally(() => (self.over = true));
            """
        )

    def said(self):
        over, lines = self.selenium.run_js("return [self.over, self.said];")
        return over, "\n".join(lines)


@pytest.fixture
def page(request, runtime):
    if runtime == "node":
        pytest.skip("in node, files outlive the interpreter by themselves")
    return Page(request.getfixturevalue("selenium_standalone"))


COUNTED = """
    from jobspan import Checkpoint, Parallel, delayed
    ran = []
    def work(i):
        ran.append(i)
        return i * i
    def call(count, **options):
        ran.clear()
        results = Parallel(checkpoint="run.ckpt", **options)(delayed(work)(i) for i in range(count))
        assert results == [i * i for i in range(count)], results
        return list(ran)
"""


def test_what_is_done_is_not_done_again_after_a_reload(page):
    assert page.run(COUNTED, "call(5)") == [0, 1, 2, 3, 4]
    page.reload()
    assert page.run(COUNTED, "call(8)") == [5, 6, 7]
    assert page.run("call(9)") == [8]
    page.reload()
    assert page.run(COUNTED, "sorted(Checkpoint('run.ckpt').results())") == list(range(9))


def test_waiting_without_blocking_keeps_it_too(page):
    gathered = """
        results = await Parallel(n_jobs=2, backend="web", checkpoint="run.ckpt").gather(
            delayed(pow)(i, 2) for i in range(12)
        )
        assert results == [i * i for i in range(12)]
        len(Checkpoint("run.ckpt").results())
    """
    assert page.run(COUNTED, gathered) == 12
    page.reload()
    streamed = """
        events = []
        parallel = Parallel(n_jobs=2, backend="web", checkpoint="run.ckpt", on_event=events.append)
        found = [value async for value in parallel.stream(delayed(pow)(i, 2) for i in range(14))]
        assert found == [i * i for i in range(14)]
        sum(event.kind == "started" for event in events)
    """
    assert page.run(COUNTED, streamed) == 2


def test_what_is_removed_is_gone(page):
    removed = """
        import os
        call(3)
        os.remove("run.ckpt")
        assert call(3) == [0, 1, 2]
        Checkpoint("run.ckpt").remove()
        Checkpoint("run.ckpt").remove()
        os.path.exists("run.ckpt")
    """
    assert page.run(COUNTED, removed) is False
    page.reload()
    assert page.run(COUNTED, "call(3)") == [0, 1, 2]
    page.reload()
    assert page.run(COUNTED, "Checkpoint('run.ckpt').remove()", "call(2)") == [0, 1]


def test_a_checkpoint_in_use_is_refused(page):
    twice = """
        from jobspan import JobspanError
        import time
        results = Parallel(return_as="generator", checkpoint="run.ckpt")(delayed(work)(i) for i in range(3))
        next(results)
        try:
            call(3)
        except JobspanError as error:
            told = str(error)
        assert list(results) == [1, 4]
        assert call(3) == []
        told
    """
    assert "run.ckpt is in use by another run, maybe of another tab" in page.run(COUNTED, twice)


def test_a_call_that_never_begins_leaves_it_free(page):
    unbegun = """
        import gc
        class Broken:
            def __iter__(self):
                raise OSError("no tasks today")
        for tasks in (Broken(), []):
            try:
                Parallel(checkpoint="run.ckpt")(tasks)
            except OSError:
                pass
        call(2)
    """
    assert page.run(COUNTED, unbegun) == [0, 1]


def test_an_interpreter_that_cannot_wait_says_what_to_write(page):
    told = page.selenium.run(
        textwrap.dedent(COUNTED)
        + textwrap.dedent(
            """
            import warnings
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                assert call(2) == [0, 1]
                assert call(3) == [2]
            [str(each.message) for each in caught]
            """
        )
    )
    assert len(told) == 1
    assert "'await Parallel(...).gather(tasks)' keeps it" in told[0]


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
            assert call(2) == [0, 1]
            assert call(3) == [2]
        [str(each.message) for each in caught]
    """
    (told,) = page.run(COUNTED, refused)
    assert "run.ckpt lasts until the page is reloaded: this browser does not keep it" in told


def test_a_night_in_a_page_that_is_reloaded_twice(page):
    """As tests/test_overnight.py, with reloads in the place of kills."""
    source = (ROOT / "docs" / "examples" / "overnight.py").read_text()
    page_writes = f"""
        import sys
        with open("overnight.py", "w") as file:
            file.write({source!r})
        sys.path.insert(0, "")
    """
    for least in (500, 4000):
        page.run(page_writes)
        page.start("import overnight; overnight.main('overnight.ckpt')")
        deadline = time.monotonic() + TIME_LIMIT_S
        kept = 0
        while kept < least:
            assert time.monotonic() < deadline, f"the run makes no progress: {kept}"
            over, said = page.said()
            assert not over, said
            time.sleep(0.05)
            kept = page.run(
                """
                from os.path import exists
                from jobspan.persist.journal import read_journal
                sum(1 for _ in read_journal("overnight.ckpt")) if exists("overnight.ckpt") else 0
                """
            )
        page.reload()
    page.run(page_writes)
    page.start("import overnight; overnight.main('overnight.ckpt')")
    deadline = time.monotonic() + TIME_LIMIT_S
    while not (told := page.said())[0]:
        assert time.monotonic() < deadline, told[1]
        time.sleep(0.2)
    said = told[1]
    bad = {
        "ValueError": [i for i in range(10_000) if i % 1000 == 17],
        "TaskTimeout": [i for i in range(10_000) if i % 2500 == 33],
        "WorkerLost": [i for i in range(10_000) if i % 3000 == 51],
    }
    unlucky = {index for indices in bad.values() for index in indices}
    good = [index**0.5 for index in range(10_000) if index not in unlucky]
    assert f"{len(good)} results, their sum {sum(good):.3f}" in said
    for kind, indices in bad.items():
        assert f"{len(indices)} x {kind}" in said
        for index in indices:
            assert re.search(rf"task {index}: weigh\({index}\)", said), index
    now = page.run("from jobspan.persist.journal import read_journal\nlen(list(read_journal('overnight.ckpt')))")
    assert now == len(good), "what was kept was run again"
