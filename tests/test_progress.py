"""How far a run is, and who shows it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobspan import Parallel, Progress, attempt, delayed, host, parallel_config
from jobspan.follow import displays
from jobspan.follow.displays import Bar, Lines, in_words, render
from jobspan.follow.progress import Meter, Pace
from jobspan.follow.record import Recorder
from jobspan.model import Batch, Completion, Setback

Run = Callable[..., list[Any]]

needs_terminals = pytest.mark.skipif(not host.has_processes(), reason="there are no terminals to open here")
needs_threads = pytest.mark.skipif(not host.has_threads(), reason="starts threads; there are none here")


def fail_at_first() -> int:
    if attempt() == 1:
        raise OSError
    return 1


def nested(i: int) -> int:
    return sum(Parallel(progress=True)([delayed(abs)(-i)] * 3))


def test_a_function_is_told_how_far_it_is(backend: Any, run: Run) -> None:
    told: list[Progress] = []
    assert run([delayed(time.sleep)(0.02)] * 30, n_jobs=2, backend=backend, progress=told.append) == [None] * 30
    last = told[-1]
    assert (last.finished, last.total, last.failed, last.retried, last.known) == (30, 30, 0, 0, 0)
    assert last.left_s == 0.0
    counts = [progress.finished for progress in told]
    assert counts == sorted(counts)
    assert 2 <= len(told) <= 2 + last.elapsed_s / displays.OFTEN_S
    assert all(progress.total == 30 for progress in told)


def test_the_total_of_a_generator_is_known_in_the_end(backend: Any, run: Run) -> None:
    told: list[Progress] = []
    run((delayed(time.sleep)(0.02) for _ in range(25)), n_jobs=2, backend=backend, progress=told.append)
    assert told[0].total is None
    assert told[0].left_s is None
    assert (told[-1].finished, told[-1].total) == (25, 25)


def test_failures_and_attempts_are_counted(backend: Any) -> None:
    told: list[Progress] = []
    calls = [delayed(int)("x"), delayed(fail_at_first)(), *[delayed(abs)(-1)] * 8]
    Parallel(2, backend, errors="return", retries=1, backoff=0, progress=told.append)(calls)
    assert (told[-1].finished, told[-1].total, told[-1].failed, told[-1].retried) == (10, 10, 1, 2)


def test_what_was_in_the_checkpoint_is_counted_apart(backend: Any, tmp_path: Path) -> None:
    told: list[Progress] = []
    Parallel(checkpoint=tmp_path / "run.ckpt")(delayed(abs)(-i) for i in range(6))
    calls = [delayed(abs)(-i) for i in range(10)]
    assert Parallel(2, backend, checkpoint=tmp_path / "run.ckpt", progress=told.append)(calls) == list(range(10))
    assert (told[-1].finished, told[-1].known) == (10, 6)


def test_a_function_that_raises_ends_the_run(backend: Any, run: Run) -> None:
    def complain(progress: Progress) -> None:
        raise RuntimeError(f"at {progress.total}")

    with pytest.raises(RuntimeError, match="at 1"):
        run([delayed(abs)(-1)], backend=backend, n_jobs=2, progress=complain)


def test_what_it_raises_says_so_and_brings_the_results(backend: Any) -> None:
    def complain(progress: Progress) -> None:
        if progress.finished == 3:
            raise RuntimeError

    with pytest.raises(RuntimeError) as caught:
        Parallel(2, backend, progress=complain)(delayed(abs)(-i) for i in range(3))
    assert "raised by the function given as progress=, at 3 finished tasks" in caught.value.__notes__[0]
    assert caught.value.partial == {0: 0, 1: 1, 2: 2}  # type: ignore[attr-defined]  # set by the run


def test_a_call_that_is_cancelled_while_awaited_brings_its_results(parallel_backend_: Any) -> None:
    import asyncio

    async def main() -> BaseException:
        arrived = asyncio.Event()

        def tell(progress: Progress) -> None:
            if progress.finished >= 2:
                arrived.set()

        calls = [delayed(abs)(-1), delayed(abs)(-2), delayed(time.sleep)(1), delayed(time.sleep)(1)]
        run = Parallel(2, parallel_backend_, batch_size=1, progress=tell)
        task = asyncio.ensure_future(run.gather(calls))
        await arrived.wait()
        task.cancel()
        try:
            await task
        except asyncio.CancelledError as error:
            return error
        raise AssertionError("it was not cancelled")

    assert asyncio.run(main()).partial == {0: 1, 1: 2}  # type: ignore[attr-defined]  # set by the run


def test_it_does_not_hide_what_the_run_has_failed_with() -> None:
    def complain(progress: Progress) -> None:
        raise RuntimeError

    with pytest.raises(ValueError, match="invalid literal"):
        Parallel(progress=complain)([delayed(int)("x")])


@pytest.mark.parametrize("wanted", ["tqmd", 3, ["tqdm"]])
def test_what_is_no_progress_is_refused(wanted: Any) -> None:
    with pytest.raises(ValueError, match=r"is none of True, False, 'bar', 'tqdm', 'rich'"):
        Parallel(progress=wanted)


def test_what_is_no_terminal_gets_a_last_line(backend: Any, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run([delayed(abs)(-i) for i in range(40)], n_jobs=2, backend=backend, progress=True)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("jobspan: 40/40, ")
    assert line.endswith("0:00")


def test_surroundings_can_ask_for_it_and_a_call_can_refuse(capsys: pytest.CaptureFixture[str]) -> None:
    with parallel_config(progress=True):
        Parallel()([delayed(abs)(-1)])
        Parallel(progress=False)([delayed(abs)(-1)])
    Parallel()([delayed(abs)(-1)])
    assert capsys.readouterr().err.count("1/1") == 1


@pytest.mark.parametrize("wanted", ["bar", "tqdm", "rich"])
@pytest.mark.parametrize("terminal", [False, True])
def test_a_stream_that_takes_nothing_ends_no_run(monkeypatch: pytest.MonkeyPatch, wanted: str, terminal: bool) -> None:
    if wanted != "bar":
        pytest.importorskip(wanted)

    class Full(io.StringIO):
        def isatty(self) -> bool:
            return terminal

        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    closed = io.StringIO()
    closed.close()
    for stream in (closed, Full(), None):
        monkeypatch.setattr(sys, "stderr", stream)
        assert Parallel(progress=wanted)(delayed(abs)(-i) for i in range(3)) == [0, 1, 2]


def test_tqdm_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    tqdm = pytest.importorskip("tqdm.auto").tqdm
    monkeypatch.setattr("tqdm.auto.tqdm", lambda **options: tqdm(disable=True, **options))
    assert Parallel(progress="tqdm")(delayed(abs)(-i) for i in range(3)) == [0, 1, 2]


def test_a_bar_that_waits_for_the_place_takes_it_when_it_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Notebook()
    monkeypatch.setattr(sys, "stderr", stream)
    other, ours = Bar(stream), Bar(stream)
    half = Progress(1, 2, 0, 0, 0, 1.0, None, None)
    other.open(2)
    ours.open(7)
    ours.show(half._replace(total=7))
    assert "1/7" not in stream.getvalue()
    other.close(half, True)
    ours.show(half._replace(total=7))
    assert "1/7" in stream.getvalue()
    ours.close(half, True)


def test_calls_inside_tasks_show_no_bar_of_their_own(backend: Any, capfd: pytest.CaptureFixture[str]) -> None:
    Parallel(2, backend, progress=True)([delayed(nested)(i) for i in range(4)])
    assert [line for line in capfd.readouterr().err.splitlines() if line.startswith("jobspan:")][-1][
        :12
    ] == "jobspan: 4/4"
    with parallel_config(progress=True):
        Parallel(2, backend)([delayed(nested)(i) for i in range(4)])
    lines = capfd.readouterr().err.splitlines()
    assert [line[:12] for line in lines] == ["jobspan: 4/4"]


class Notebook(io.StringIO):
    """As the stream of a notebook's kernel."""


Notebook.__module__ = "ipykernel.iostream"


def test_a_notebook_gets_one_line_written_over_and_over(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Notebook()
    monkeypatch.setattr(sys, "stderr", stream)
    Parallel(progress=True)([delayed(time.sleep)(0.06)] * 8)
    written = stream.getvalue()
    assert written.count("\n") == 1
    *earlier, last = written.rstrip("\n").split("\r")
    assert len(earlier) >= 3
    assert last.startswith("100% |█")
    assert "8/8" in last


def test_there_is_one_bar_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Notebook()
    monkeypatch.setattr(sys, "stderr", stream)
    outer = Parallel(return_as="generator", progress=True)([delayed(time.sleep)(0.11)] * 3)
    for _ in outer:
        Parallel(progress=True)([delayed(time.sleep)(0.11)] * 2)
    assert "/2" not in stream.getvalue()
    assert stream.getvalue().count("\n") == 1
    Parallel(progress=True)([delayed(abs)(-1)] * 2)
    assert "2/2" in stream.getvalue()


# Terminals

SCRIPT = """
import sys, time
from jobspan import Parallel, delayed
Parallel(2, 'threads', progress=sys.argv[1])(delayed(time.sleep)(0.03) for _ in range(30))
print("afterwards")
"""


def run_in_terminal(*arguments: str, columns: int = 60, **environment: str) -> list[str]:
    """What a terminal of this width shows in the end, line by line, after `SCRIPT`."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [sys.executable, "-c", SCRIPT, *arguments]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm", **environment}
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 65536):
                shown += chunk
        except OSError:  # the other end is closed
            pass
        assert process.wait() == 0, shown
    os.close(ours)
    screen = [""]
    at = 0
    for character in shown.decode():
        if character == "\r":
            at = 0
        elif character == "\n":
            screen.append("")
            at = 0
        else:
            assert at < columns, "the line is wrapped"
            screen[-1] = screen[-1][:at].ljust(at) + character + screen[-1][at + 1 :]
            at += 1
    return [line.rstrip() for line in screen]


@needs_terminals
@pytest.mark.parametrize("columns", [100, 60, 40, 12])
def test_a_terminal_shows_one_line_in_the_end(columns: int) -> None:
    bar, afterwards, _ = run_in_terminal("bar", columns=columns)
    assert afterwards == "afterwards"
    assert bar.startswith("100%")
    assert "30/30" in bar
    assert ("██████" in bar) == (columns > 30)


@needs_terminals
def test_a_terminal_that_knows_no_blocks_gets_signs() -> None:
    bar, *_ = run_in_terminal("bar", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert "|#####" in bar


@needs_terminals
def test_a_dumb_terminal_gets_lines() -> None:
    line, *_ = run_in_terminal("bar", TERM="dumb")
    assert line.startswith("jobspan: 30/30, ")


# Packages

LIBRARIES = ["tqdm", "rich"]


@pytest.mark.parametrize("library", LIBRARIES)
def test_bars_of_packages_show_the_same(library: str, backend: Any, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip(library)
    calls = (delayed(time.sleep)(0.02) for _ in range(12))
    Parallel(2, backend, progress=library, errors="return")([*calls, delayed(int)("x")])
    shown = capfd.readouterr().err
    assert "13/13" in shown
    assert "1 failed" in shown
    Parallel(2, backend, progress=library)(delayed(time.sleep)(0.02) for _ in range(12))
    assert "12/12" in capfd.readouterr().err


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_package_that_is_missing_is_said_before_anything_runs(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tqdm.auto", "rich.console", "rich.progress"):
        monkeypatch.setitem(sys.modules, name, None)
    ran: list[int] = []
    with pytest.raises(ImportError, match=f"'pip install {library}', or write progress=True"):
        Parallel(progress=library)([delayed(ran.append)(1)])
    assert ran == []


# What is written

progresses = st.builds(
    Progress,
    finished=st.integers(0, 10**9),
    total=st.none() | st.integers(0, 10**9),
    known=st.integers(0, 10**6),
    failed=st.integers(0, 10**6),
    retried=st.integers(0, 10**6),
    elapsed_s=st.floats(0, 1e7),
    rate=st.none() | st.floats(1e-6, 1e7),
    left_s=st.none() | st.floats(0, 1e8),
).map(lambda each: each if each.total is None else each._replace(finished=min(each.finished, each.total)))


@given(progresses, st.integers(1, 300), st.booleans())
def test_a_bar_is_never_too_long(progress: Progress, columns: int, blocks: bool) -> None:
    line = render(progress, columns, blocks=blocks)
    assert len(line) <= columns
    assert "\n" not in line
    assert line.isascii() or blocks
    if line and line.strip()[-1] != "%":
        assert in_words(progress)[0] in line, "a number that is cut is another number"


def test_what_matters_least_is_left_out_first() -> None:
    progress = Progress(5, 100, 3, 2, 1, 75.0, 120.0, 9.0)
    assert render(progress, 90, blocks=False).endswith("left, 3 from checkpoint, 2 failed, 1 retried")
    assert render(progress, 42, blocks=False) == "  5% 5/100, 1:15, 0:09 left, 2 failed"
    assert render(progress, 20, blocks=False) == "  5% 5/100, 2 failed"
    assert render(progress, 10, blocks=False) == "  5% 5/100"
    assert render(progress, 8, blocks=False) == "  5%"


# When it is shown, and what is made of it: without a clock


class Spy:
    """A display that remembers."""

    often_s = 0.1
    seldom_s = 1.0

    def __init__(self) -> None:
        self.shown: list[Progress] = []

    def open(self, total: int | None) -> None:
        self.total = total

    def show(self, progress: Progress) -> None:
        self.shown.append(progress)

    def close(self, progress: Progress, complete: bool) -> None:
        self.shown.append(progress)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("jobspan.follow.progress.monotonic", lambda: now[0])
    return now


class Scripted:
    """A run of batches of one task, whose times are told."""

    def __init__(self, clock: list[float], total: int | None, width: int = 1) -> None:
        self.clock = clock
        self.record = Recorder(width)
        self.spy = Spy()
        self.meter = Meter(self.spy, self.record, total)
        self.ticket = 0

    def send(self, count: int = 1) -> None:
        self.ticket += 1
        for listener in (self.record, self.meter):
            listener.sent(self.ticket, Batch(self.ticket, [(abs, (1,), {})] * count))
        self.meter.tick(self.clock[0])

    def finish(self, after_s: float, count: int = 1) -> None:
        self.clock[0] += after_s
        completion = Completion(self.ticket, [0] * count, seconds=after_s, worker="w", begin=1.0)
        for listener in (self.record, self.meter):
            listener.hear(completion, Batch(self.ticket, [(abs, (1,), {})] * count), ())

    def look(self) -> Progress:
        self.clock[0] += 0.1
        self.meter.tick(self.clock[0])
        return self.spy.shown[-1]


def test_it_is_shown_ten_times_a_second_at_most_and_each_second_at_least(clock: list[float]) -> None:
    run = Scripted(clock, 100)
    run.send()
    for _ in range(300):
        run.finish(0.01)
        run.meter.tick(clock[0])
    assert 25 <= len(run.spy.shown) <= 30
    before = len(run.spy.shown)
    wait_s = run.meter.tick(clock[0])
    for _ in range(5):
        clock[0] += wait_s
        wait_s = run.meter.tick(clock[0])
        assert 0 < wait_s <= 1.0
    assert before + 4 <= len(run.spy.shown) <= before + 6


def test_a_log_gets_a_line_every_ten_seconds(clock: list[float]) -> None:
    stream = io.StringIO()
    meter = Meter(Lines(stream), Recorder(1), 5)
    for _ in range(350):
        clock[0] += 0.1
        meter.tick(clock[0])
    assert len(stream.getvalue().splitlines()) == 3
    meter.end(True)
    assert len(stream.getvalue().splitlines()) == 4


def test_the_last_word_on_the_speed_is_the_average(clock: list[float]) -> None:
    run = Scripted(clock, 10)
    for _ in range(10):
        run.send()
        run.finish(2.0)
    run.meter.end(True)
    assert run.spy.shown[-1].rate == pytest.approx(0.5)


def test_the_time_left_of_equal_tasks_is_right(clock: list[float]) -> None:
    run = Scripted(clock, 50)
    for done in range(1, 50):
        run.send()
        run.finish(2.0)
        found = run.look()
        assert found.finished == done
        assert found.left_s == pytest.approx(2.1 * (50 - done), rel=0.11)


def test_nothing_is_said_of_the_time_left_before_each_worker_has_done_something(clock: list[float]) -> None:
    run = Scripted(clock, 50, width=3)
    for done in (1, 2, 3):
        run.send()
        run.finish(1.0)
        assert (run.look().left_s is None) == (done < 3)


def test_the_time_left_follows_when_tasks_become_slower(clock: list[float]) -> None:
    run = Scripted(clock, 200)
    for _ in range(100):
        run.send()
        run.finish(0.2)
        run.look()
    for _ in range(50):
        run.send()
        run.finish(2.0)
        run.look()
    assert run.look().left_s == pytest.approx(50 * 2.1, rel=0.15)


def test_the_last_task_is_given_the_time_that_tasks_take(clock: list[float]) -> None:
    """With ten workers a rate of one a second says nothing of the last task, which takes ten seconds."""
    run = Scripted(clock, 11, width=10)
    run.send(10)
    run.finish(10.0, 10)
    run.record.spent_s = 100.0  # ten workers had ten seconds each
    run.send(1)
    assert run.look().left_s == pytest.approx(9.9, abs=0.2)


def test_what_was_known_does_not_count_as_speed(clock: list[float]) -> None:
    run = Scripted(clock, 1000)
    for listener in (run.record, run.meter):
        listener.known(0, 900)
    run.send()
    run.finish(1.0)
    found = run.look()
    assert (found.finished, found.known) == (901, 900)
    assert found.rate == pytest.approx(1 / 1.1)
    assert found.left_s == pytest.approx(99 * 1.1)


def test_what_goes_again_is_not_finished(clock: list[float]) -> None:
    run = Scripted(clock, 2)
    run.send()
    lost = [Setback(1, "lost", OSError(), 1)]
    for listener in (run.record, run.meter):
        listener.hear(Completion(1, [], lost=OSError()), Batch(1, [(abs, (1,), {})]), lost)
    found = run.look()
    assert (found.finished, found.failed, found.retried) == (0, 0, 1)


def test_a_pace_keeps_few_samples() -> None:
    pace = Pace(0.0)
    for step in range(100_000):
        pace.note(step, step * 0.1)
    assert len(pace._samples) < 60
    assert pace.rate(10_000.0) == pytest.approx(10.0, rel=0.05)


@needs_threads
def test_two_threads_with_bars_get_on(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    stream = Notebook()
    monkeypatch.setattr(sys, "stderr", stream)
    results: list[list[int]] = []
    threads = [
        threading.Thread(target=lambda: results.append(Parallel(progress=True)([delayed(abs)(-1)] * 500)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[1] * 500] * 4
    bar = Bar(stream)
    bar.open(2)
    bar.show(Progress(1, 2, 0, 0, 0, 1.0, None, None))
    assert "1/2" in stream.getvalue(), "the place for a bar was not given back"
    bar.close(Progress(2, 2, 0, 0, 0, 1.0, None, None), True)
