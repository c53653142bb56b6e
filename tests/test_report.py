"""What `Parallel.report` says of a run."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from jobspan import Event, JobspanError, Parallel, attempt, delayed
from jobspan.follow.record import KEPT, Recorder
from jobspan.follow.report import make_report
from jobspan.model import Batch, Completion, Setback

Run = Callable[..., list[Any]]


def work(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def stumble(i: int) -> int:
    if i % 3 == 0 and attempt() == 1:
        raise OSError
    return i


def hang(i: int) -> int:
    if i == 1:
        time.sleep(60)  # the time-out ends it
    return i


def die(i: int) -> int:
    if i == 2 and attempt() == 1:
        os._exit(3)
    return i


TIMES = [0.02] * 12 + [0.2, 0.02, 0.15] + [0.02] * 5 + [0.1]


def test_a_report_tells_where_the_time_went(backend: Any) -> None:
    parallel = Parallel(2, backend, on_event=lambda event: None)
    began = time.perf_counter()
    parallel(delayed(work)(seconds) for seconds in TIMES)
    took = time.perf_counter() - began
    report = parallel.report()
    assert (report.done, report.failed, report.retried, report.known) == (len(TIMES), 0, 0, 0)
    assert sum(worker.tasks for worker in report.workers) == len(TIMES)
    assert sum(worker.busy_s for worker in report.workers) >= sum(TIMES)
    assert 1 <= len(report.workers) <= report.width
    assert 0.2 <= report.elapsed_s <= took + 0.01
    for worker in report.workers:
        parts = worker[2:]
        assert all(part >= 0 for part in parts)
        assert sum(parts) == pytest.approx(report.elapsed_s, abs=0.05)
    assert [slow.first for slow in report.slowest] == [12, 14, 20]
    assert [round(slow.seconds, 1) for slow in report.slowest] == pytest.approx([0.2, 0.15, 0.1], abs=0.06)
    assert report.untimed == 0
    assert 0 < report.efficiency <= 1


def test_nothing_has_to_be_asked_for_beforehand(parallel_backend_: Any) -> None:
    parallel = Parallel(2, parallel_backend_)
    parallel(delayed(work)(seconds) for seconds in TIMES)
    assert [slow.first for slow in parallel.report().slowest] == [12, 14, 20]


def test_a_report_reads_well(parallel_backend_: Any) -> None:
    parallel = Parallel(2, parallel_backend_)
    parallel(delayed(work)(seconds) for seconds in TIMES)
    summary, _, head, *rows = str(parallel.report()).splitlines()
    assert summary.startswith("21 tasks done in ")
    assert head.split()[:6] == ["worker", "tasks", "start", "busy", "transfer", "idle"]
    assert "█" in rows[0]
    assert rows[-3].startswith("  task 12: 0.2")


def test_a_report_is_a_drawing_too(parallel_backend_: Any) -> None:
    parallel = Parallel(2, parallel_backend_)
    parallel(delayed(work)(seconds) for seconds in TIMES)
    report = parallel.report()
    drawing = ET.fromstring(report.svg())
    titles = [title.text or "" for title in drawing.iter("{http://www.w3.org/2000/svg}title")]
    assert sum(title.startswith("task 12: 0.2") for title in titles) == 1
    assert sum(title.startswith("task") for title in titles) == len(TIMES)
    page = ET.fromstring(report.html())
    rows = [[cell.text for cell in row] for row in page.iter("tr")]
    assert rows[0][:2] == ["worker", "tasks"]
    assert [row[0] for row in rows[1:]] == [worker.name for worker in report.workers]
    assert report._repr_html_() == report.html()
    assert repr(report) == f"<Report: {report.summary()}>"


def test_names_of_workers_cannot_break_the_page() -> None:
    record = Recorder(1)
    record.hear(Completion(1, [0], worker="<b>&", seconds=0.1, begin=record.begin), Batch(0, [(abs, (1,), {})]), ())
    ET.fromstring(make_report(record).html())


def test_an_empty_run_has_a_report(backend: Any) -> None:
    parallel = Parallel(2, backend, on_event=print)
    assert parallel([]) == []
    report = parallel.report()
    assert str(report).startswith("0 tasks done")
    ET.fromstring(report.html())


def test_a_run_that_goes_on_has_a_report(backend: Any) -> None:
    parallel = Parallel(2, backend, return_as="generator")
    results = parallel(delayed(work)(0.02) for _ in range(10))
    next(results)
    early = parallel.report()
    assert all(each.seconds >= 0 for each in early.under_way)
    assert 1 <= early.done <= 10
    assert len(list(results)) == 9
    assert parallel.report().done == 10
    assert early.done <= 10
    assert parallel.report().under_way == ()


def test_a_report_tells_what_is_under_way(parallel_backend_: Any) -> None:
    parallel = Parallel(2, parallel_backend_, return_as="generator", batch_size=1)
    results = parallel(delayed(work)(seconds) for seconds in (0.01, 1.5))
    next(results)
    time.sleep(0.1)  # the age that is asked for below; the other task takes much longer
    ((first, count, ago),) = parallel.report().under_way
    assert (first, count) == (1, 1)
    assert ago >= 0.1
    assert "under way\n  task 1, sent " in str(parallel.report())
    list(results)


def test_a_worker_that_died_is_drawn_to_its_end(replacing_backend: str) -> None:
    def long_and_deadly(i: int) -> int:
        time.sleep(0.3)  # what is to be drawn of the worker that dies
        if i == 1 and attempt() == 1:
            os._exit(3)
        return i

    events: list[Event] = []
    parallel = Parallel(2, replacing_backend, retries=1, backoff=0, batch_size=1, on_event=events.append)
    assert parallel(delayed(long_and_deadly)(i) for i in range(4)) == list(range(4))
    (told,) = [event for event in events if event.kind == "lost"]
    assert told.end - told.start >= 0.25
    assert told.worker
    report = parallel.report()
    (lost,) = [stretch for stretch in report.stretches if stretch.kind == "lost"]
    assert (lost.first, lost.count) == (1, 1)
    assert lost.seconds == pytest.approx(told.end - told.start, abs=0.05)
    (dead,) = [worker for worker in report.workers if worker.name == lost.worker]
    assert dead.idle_s < 0.3
    assert "#" in str(report)
    assert "lost" in report.svg()


def test_a_drawing_has_so_many_pixels_whatever_the_number_of_tasks() -> None:
    record = Recorder(1)
    for ticket in range(KEPT):
        begin = record.begin + ticket * 1e-3
        kind = OSError() if ticket == 5000 else None
        spans = [(begin, begin + 1e-3)]
        completion = Completion(ticket, [] if kind else [0], kind, worker="w", seconds=1e-3, spans=spans, begin=begin)
        setbacks = [Setback(ticket, "failed", kind, 0)] if kind else []
        record.hear(completion, Batch(ticket, [(abs, (1,), {})]), setbacks)
    drawing = make_report(record)._replace(elapsed_s=10.0).svg()
    assert len(drawing) < 400_000
    assert "task 5000: 1 ms, failed" in drawing


def test_workers_are_in_the_order_of_their_numbers() -> None:
    record = Recorder(12)
    for ticket in range(12):
        completion = Completion(ticket, [0], worker=f"thread-{ticket}", seconds=1.0, begin=record.begin)
        record.hear(completion, Batch(ticket, [(abs, (1,), {})]), ())
    assert [worker.name for worker in make_report(record).workers] == [f"thread-{number}" for number in range(12)]


def test_a_run_that_failed_has_a_report(parallel_backend_: Any) -> None:
    parallel = Parallel(2, parallel_backend_)
    with pytest.raises(ValueError, match="invalid literal"):
        parallel([delayed(int)("x")])
    assert parallel.report().failed == 1


def test_a_plain_loop_has_a_report_of_what_is_known() -> None:
    parallel = Parallel()
    with pytest.raises(JobspanError, match="Give progress=True or on_event="):
        parallel.report()
    parallel([delayed(time.sleep)(0.01)] * 3)
    report = parallel.report()
    assert (report.done, report.untimed, report.width) == (3, 3, 1)
    assert report.workers[0].busy_s == report.elapsed_s >= 0.03
    assert str(report).startswith("3 tasks done")
    ET.fromstring(report.html())
    with pytest.raises(ValueError, match="invalid literal"):
        parallel([delayed(int)("x")])
    with pytest.raises(JobspanError, match="Give progress=True or on_event="):
        parallel.report()


@pytest.mark.filterwarnings("ignore:jobspan. a task in a thread")  # which is said once
def test_setbacks_are_counted_and_drawn(expelling_backend: str) -> None:
    parallel = Parallel(2, expelling_backend, timeout=0.3, errors="skip")
    assert parallel(delayed(hang)(i) for i in range(4)) == [0, 2, 3]
    report = parallel.report()
    assert (report.done, report.failed) == (3, 1)
    (late,) = [stretch for stretch in report.stretches if stretch.kind == "timed out"]
    assert (late.first, late.count) == (1, 1)
    assert late.seconds >= 0.3
    assert report.slowest[0] == late
    assert "!" in str(report)


def test_a_long_run_is_kept_in_part_and_summed_in_full() -> None:
    record = Recorder(1)
    for ticket in range(KEPT + 500):
        record.sent(ticket, Batch(ticket, [(abs, (1,), {})]))
        begin = record.begin + ticket
        spans = [(begin, begin + (0.9 if ticket == 7 else 0.5))]
        completion = Completion(ticket, [0], worker="w", seconds=0.5, spans=spans, begin=begin)
        record.hear(completion, Batch(ticket, [(abs, (1,), {})]), ())
    report = make_report(record)
    assert len(report.stretches) == KEPT
    assert report.done == report.workers[0].tasks == KEPT + 500
    assert report.workers[0].busy_s == pytest.approx(0.5 * (KEPT + 500))
    assert report.slowest[0].first == 7
    assert not record._sent


def test_a_slow_task_among_short_ones_is_found(parallel_backend_: Any) -> None:
    def mostly_quick(i: int) -> int:
        if i == 1234:
            time.sleep(0.4)
        return i

    parallel = Parallel(2, parallel_backend_, batch_size=100)
    parallel(delayed(mostly_quick)(i) for i in range(2000))
    report = parallel.report()
    assert report.untimed == 2000
    slow = report.slowest[0]
    assert slow.first <= 1234 < slow.first + slow.count
    assert "one or more of tasks 12" in str(report)
    assert "with on_event= each is timed by itself" in str(report)


# Events


def count(events: list[Event]) -> Counter[str]:
    return Counter(event.kind for event in events)


def finished(events: list[Event]) -> int:
    kinds = count(events)
    return kinds["done"] + kinds["failed"] + kinds["timed out"] + kinds["lost"] - kinds["retried"]


def test_what_goes_again_is_told_of(backend: Any, run: Run) -> None:
    events: list[Event] = []
    calls = [delayed(stumble)(i) for i in range(9)]
    assert run(calls, n_jobs=2, backend=backend, retries=1, backoff=0, on_event=events.append) == list(range(9))
    assert count(events) == {"started": 12, "done": 9, "failed": 3, "retried": 3}
    assert finished(events) == 9
    for kind, told_attempt in {"failed": 1, "retried": 2}.items():
        found = [event for event in events if event.kind == kind]
        assert sorted(event.index for event in found) == [0, 3, 6]
        assert {event.attempt for event in found} == {told_attempt}
    failed = [event for event in events if event.kind == "failed"]
    assert all(isinstance(event.error, OSError) and event.start <= event.end for event in failed)
    assert {event.attempt for event in events if event.kind == "done" and event.index % 3 == 0} == {2}


def test_sizes_of_results_are_told(backend: Any) -> None:
    events: list[Event] = []
    Parallel(2, backend, on_event=events.append)([delayed(bytes)(100_000), delayed(abs)(-1)])
    sizes = {event.index: event.nbytes for event in events if event.kind == "done"}
    assert sizes[0] >= 100_000
    assert sizes[1] < 100


@pytest.mark.filterwarnings("ignore:jobspan. a task in a thread")
def test_what_was_done_before_a_task_that_hangs_is_told_of(expelling_backend: str) -> None:
    events: list[Event] = []
    parallel = Parallel(2, expelling_backend, timeout=0.4, errors="skip", batch_size=5, on_event=events.append)
    parallel(delayed(hang)(i - 2) for i in range(10))
    assert finished(events) == 10
    assert sum(worker.tasks for worker in parallel.report().workers) == 9


@pytest.mark.filterwarnings("ignore:jobspan. a task in a thread")
def test_time_outs_are_told_of(expelling_backend: str) -> None:
    events: list[Event] = []
    parallel = Parallel(2, expelling_backend, timeout=0.3, errors="skip", batch_size=1, on_event=events.append)
    parallel(delayed(hang)(i) for i in range(4))
    (late,) = [event for event in events if event.kind == "timed out"]
    assert late.index == 1
    assert late.end - late.start >= 0.3
    assert isinstance(late.error, TimeoutError)
    assert count(events)["done"] == 3
    assert finished(events) == 4


def test_losses_are_told_of_task_by_task(replacing_backend: str) -> None:
    events: list[Event] = []
    parallel = Parallel(1, replacing_backend, retries=1, backoff=0, errors="return", on_event=events.append)
    if replacing_backend != "web":
        parallel = Parallel(2, replacing_backend, retries=1, backoff=0, batch_size=5, on_event=events.append)
    assert parallel(delayed(die)(i) for i in range(5)) == list(range(5))
    kinds = count(events)
    assert kinds["lost"] == kinds["retried"] >= 1
    assert finished(events) == 5
    assert 2 in {event.index for event in events if event.kind == "lost"}
    assert max(event.index for event in events if event.kind == "lost") == 2, "3 and 4 had not begun"


def test_results_of_a_checkpoint_are_told_of(backend: Any, tmp_path: Path) -> None:
    Parallel(checkpoint=tmp_path / "run.ckpt")(delayed(abs)(-i) for i in range(3))
    events: list[Event] = []
    calls = [delayed(abs)(-i) for i in range(5)]
    Parallel(2, backend, checkpoint=tmp_path / "run.ckpt", on_event=events.append)(calls)
    done = [(event.index, event.worker != "") for event in events if event.kind == "done"]
    assert sorted(done) == [(0, False), (1, False), (2, False), (3, True), (4, True)]
