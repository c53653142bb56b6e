"""The line by which batches reach a pool's workers; here its far end is in the same process."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from contextlib import closing
from pathlib import Path

import pytest

from jobspan import Parallel, delayed, host
from jobspan.backends.base import OpenRequest
from jobspan.errors import JobspanError
from jobspan.model import Batch, Completion
from jobspan.persist.segments import Segment

if not host.has_processes():
    pytest.skip("there are no processes here", allow_module_level=True)

from jobspan.backends.line import Line, has_lines
from jobspan.backends.loky import LokyBackend

if not has_lines():
    pytest.skip("this system has no lines", allow_module_level=True)

LONG = os.urandom(300_000)


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line()
    yield made
    made.close()


def echo(line: Line) -> None:
    """What a worker does."""
    while (message := line.far_end.take()) is not None:
        line.far_end.answer(message.number, message.payload)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("payload", [b"", b"short", LONG], ids=["empty", "short", "long"])
def test_messages_arrive_whole_both_ways(line: Line, payload: bytes) -> None:
    line.post(1, payload)
    message = line.far_end.take()
    assert message is not None
    assert (message.number, message.payload) == (1, payload)
    line.far_end.answer(1, payload)
    (reply,) = line.take(10)
    assert (reply.number, reply.reply()) == (1, payload)


def test_a_reply_says_that_there_is_nothing_or_where_the_rest_is(line: Line) -> None:
    segment = Segment("/nowhere", ((0, 5),))
    line.far_end.answer(1, None)
    line.far_end.answer(2, (b"payload", segment))
    assert [message.reply() for message in line.take(10)] == [None, (b"payload", segment)]


def test_posting_never_waits_and_all_is_delivered_in_order(line: Line) -> None:
    count = 200  # far more than fits into the socket
    for number in range(count):
        line.post(number, LONG[:50_000])
    worker = threading.Thread(target=echo, args=(line,))
    worker.start()
    arrived: list[int] = []
    while len(arrived) < count:
        arrived += [message.number for message in line.take(10)]
    line.end()
    worker.join(10)
    assert arrived == list(range(count))
    assert not worker.is_alive()


def test_posted_messages_go_out_while_the_caller_awaits(line: Line) -> None:
    count = 100
    for number in range(count):
        line.post(number, LONG[:50_000])
    worker = threading.Thread(target=echo, args=(line,))
    worker.start()

    async def collect() -> list[int]:
        arrived: list[int] = []
        while len(arrived) < count:
            await line.arrival(10)
            arrived += [message.number for message in line.take(0)]
        return arrived

    assert asyncio.run(collect()) == list(range(count))
    line.end()
    worker.join(10)


def test_what_nobody_has_taken_can_be_withdrawn(line: Line) -> None:
    for number in range(100):
        line.post(number, LONG[:50_000])
    taken = line.far_end.take()
    assert taken is not None
    assert taken.number == 0
    withdrawn = line.withdraw()
    assert sorted(message.number for message in withdrawn) == list(range(1, 100))
    assert {message.payload for message in withdrawn} == {LONG[:50_000]}
    line.post(100, b"goes on")
    again = line.far_end.take()
    assert again is not None
    assert again.number == 100


def test_long_messages_leave_no_descriptor(line: Line) -> None:
    before = descriptors()
    for number in range(5):
        line.post(number, LONG)
    line.withdraw()
    line.post(5, LONG)
    line.far_end.take()
    assert descriptors() == before


def test_a_wait_ends_at_its_time_or_when_woken(line: Line) -> None:
    assert line.take(0) == []
    assert line.take(0.01) == []
    threading.Timer(0.05, line.wake).start()
    assert line.take(None) == []
    for _ in range(1000):  # more than fit: nothing is lost, and nothing waits
        line.wake()
    assert line.take(10) == []


def test_a_worker_that_serves_no_more_ends_the_wait(line: Line) -> None:
    failed: Future[None] = Future()
    failed.add_done_callback(line.lose)
    failed.set_exception(OSError("it died"))
    assert line.take(None) == []
    assert isinstance(line.broken, OSError)
    ended: Future[None] = Future()
    ended.set_result(None)
    with closing(Line()) as other:
        other.lose(ended)
        assert isinstance(other.broken, JobspanError)


def test_the_end_reaches_workers_that_wait_and_comes_after_what_was_posted(line: Line) -> None:
    line.post(1, b"first")
    line.end()
    first = line.far_end.take()
    assert first is not None
    assert first.payload == b"first"
    assert line.far_end.take() is None


def test_a_closed_line_has_no_sockets_and_may_still_be_woken_and_ended() -> None:
    before = descriptors()
    line = Line()
    assert descriptors() == before + 4
    line.close()
    assert descriptors() == before
    line.wake()
    line.end()


def test_no_batch_waits_behind_a_long_one(tmp_path: Path) -> None:
    gate = str(tmp_path / "gate")

    def wait_for_gate() -> str:
        while not os.path.exists(gate):
            threading.Event().wait(0.01)
        return "long"

    def touch() -> str:
        open(gate, "w").close()
        return "last"

    # two workers: one is kept until the last task has run, so all others must go past it
    tasks = [delayed(wait_for_gate)(), *[delayed(str)(i) for i in range(20)], delayed(touch)()]
    found = Parallel(2, "loky", batch_size=1)(tasks)
    assert found == ["long", *map(str, range(20)), "last"]


def test_long_batches_and_results_travel() -> None:
    texts = ["x" * 100_000 + str(i) for i in range(20)]
    assert Parallel(2, "loky", batch_size=5)(delayed(str.upper)(text) for text in texts) == [t.upper() for t in texts]


def test_a_cancelled_batch_comes_back_and_what_was_behind_it_still_runs() -> None:
    backend = LokyBackend()
    session = backend.open(OpenRequest(n_jobs=2))
    try:
        for ticket in range(6):  # the first two keep the workers
            session.submit(ticket, Batch(ticket, [(time.sleep, (0.3 if ticket < 2 else 0.0,), {})]))
        session.cancel([3, 4])
        facts: dict[int, Completion] = {}
        while len(facts) < 6:
            facts |= {fact.ticket: fact for fact in session.poll(30) if isinstance(fact, Completion)}
        lost = [ticket for ticket, fact in sorted(facts.items()) if isinstance(fact.lost, CancelledError)]
        assert lost == [3, 4]
        assert all(fact.values == [None] for ticket, fact in facts.items() if ticket not in lost)
    finally:
        session.close("release")
        backend.shutdown()


@pytest.mark.parametrize("name", ["loky", "multiprocessing"])
def test_without_lines_batches_go_the_executors_way(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobspan.backends.crew.has_lines", lambda: False)
    with Parallel(2, name) as parallel:
        assert parallel(delayed(abs)(-i) for i in range(100)) == list(range(100))
        assert parallel(delayed(pow)(i, 2) for i in range(3)) == [0, 1, 4]
