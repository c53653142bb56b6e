"""What a run keeps of itself for `Parallel.report`: when which worker was on what.

Invariant: costs a microsecond or two a batch, and memory for the latest 10 000 stretches of work; the sums are exact
however long the run is.
"""

from __future__ import annotations

from _thread import allocate_lock
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic, time
from typing import NamedTuple, TypeVar

from jobspan.follow.listener import Listener, ran_for
from jobspan.model import Batch, Completion, Fact, Setback, Ticket

T = TypeVar("T")

KEPT = 10_000
SLOWEST = 3
_NOBODY = "a worker unknown"
_UNREAD = 256


class Stretch(NamedTuple):
    """A time in which a worker was on one task, or on short ones one after the other.

    Attributes
    ----------
    worker : str
        Its name.
    begin, end : float
        Seconds since the epoch, by the worker's clock.
    first : int
        Index of the first of the tasks.
    count : int
        Number of tasks.
    kind : {"done", "failed", "timed out", "lost"}
        What became of them.
    """

    worker: str
    begin: float
    end: float
    first: int
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody needs here
    kind: str = "done"

    @property
    def seconds(self) -> float:
        """How long it was."""
        return self.end - self.begin


class UnderWay(NamedTuple):
    """Tasks that were sent together and have not come back, and how many seconds ago that was."""

    first: int
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody needs here
    seconds: float


class Returned(NamedTuple):
    """A batch that came back: who had it, what became of it, and when."""

    worker: str
    first: int
    done: int
    has_failed: bool
    spans: Sequence[tuple[float, float]]
    ends: Sequence[Stretch]
    sent: float
    begin: float
    seconds: float
    heard: float


class Lane:
    """One worker's part in a run, in sums."""

    __slots__ = ("busy_s", "end", "gone_at", "heard", "start_s", "tasks", "transfer_s")

    def __init__(self) -> None:
        self.tasks = 0
        self.busy_s = self.transfer_s = 0.0
        self.start_s: float | None = None
        self.gone_at: float | None = None  # when it ended, in the middle of a task
        self.end = self.heard = 0.0  # of its latest batch: when it had finished it, and when that was known

    def leave(self, last: Stretch, run_begin: float) -> None:
        """The worker has ended, with the task that it was on."""
        if self.start_s is None:
            self.start_s = max(0.0, last.begin - run_begin)
        self.busy_s += max(0.0, last.seconds)
        self.gone_at = last.end

    def add(self, sent: float, begin: float, end: float, heard: float, run_begin: float) -> None:
        """A batch: when it was sent, begun, finished, and heard of."""
        if self.start_s is None:
            self.start_s = max(0.0, begin - run_begin)
        else:
            gap = max(0.0, begin - self.end)
            idle = min(gap, max(0.0, sent - self.heard))  # when nothing was under way to it or from it
            self.transfer_s += gap - idle
        self.busy_s += end - begin
        self.end, self.heard = end, heard


class Sums:
    """What is made of the batches of one run."""

    def __init__(self, begin: float) -> None:
        self.lanes: dict[str, Lane] = {}
        self.stretches: deque[Stretch] = deque(maxlen=KEPT)
        self.slowest: list[Stretch] = []
        self.untimed = 0  # tasks that were timed with others only
        self._begin = begin

    def add(self, batch: Returned) -> None:
        """Take in one that came back."""
        worker = batch.worker or _NOBODY
        if not (batch.done or batch.begin or batch.ends):  # it came to nothing, nobody knows where
            return
        lane = self.lanes.get(worker)
        if lane is None:
            lane = self.lanes[worker] = Lane()
        for last in batch.ends:
            lane.leave(last, self._begin)
            self._add(last)
        lane.tasks += batch.done
        if not batch.begin:
            return
        end = batch.begin + batch.seconds
        lane.add(batch.sent, batch.begin, end, batch.heard, self._begin)
        if not batch.spans:
            count = batch.done + batch.has_failed
            self.untimed += count
            kind = "failed" if batch.has_failed else "done"
            self.stretches.append(Stretch(worker, batch.begin, end, batch.first, count, kind))
        for position, (start, stop) in enumerate(batch.spans):
            kind = "done" if position < batch.done else "failed"
            self._add(Stretch(worker, start, stop, batch.first + position, 1, kind))

    def _add(self, stretch: Stretch) -> None:
        self.stretches.append(stretch)
        slowest = self.slowest
        if len(slowest) < SLOWEST or stretch.seconds > slowest[-1].seconds:
            slowest.append(stretch)
            slowest.sort(key=_seconds, reverse=True)
            del slowest[SLOWEST:]


def _seconds(stretch: Stretch) -> float:
    return stretch.seconds


class Recorder(Listener):
    """Keeps the record of one run.

    Parameters
    ----------
    width : int
        Number of workers.

    Attributes
    ----------
    done, failed, retried, found : int
        Tasks that were done, those that failed for good, how often one went again, and results from the checkpoint.
    spent_s : float
        Seconds that workers spent in tasks.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self.begin = time()  # by the clock that workers go by
        self._begun = monotonic()
        self._elapsed_s: float | None = None  # once it is over
        self.done = self.failed = self.retried = self.found = 0
        self.spent_s = 0.0
        self._sent: dict[Ticket, tuple[float, Batch]] = {}
        self._unread: deque[Returned] = deque()
        self._lock = allocate_lock()
        self._sums = Sums(self.begin)

    @property
    def elapsed_s(self) -> float:
        """Seconds from the beginning of the run to its end, or until now."""
        return monotonic() - self._begun if self._elapsed_s is None else self._elapsed_s

    def known(self, _first: int, count: int, /) -> None:
        """Count what was in the checkpoint."""
        self.found += count

    def sent(self, ticket: Ticket, batch: Batch, /) -> None:
        """Note when."""
        self._sent[ticket] = time(), batch

    def find_under_way(self) -> list[UnderWay]:
        """What was sent and has not come back, the oldest first."""
        if self._elapsed_s is not None:
            return []
        now = time()
        return [UnderWay(batch.first, len(batch.tasks), now - sent) for sent, batch in self._sent.copy().values()]

    def hear(self, fact: Fact, batch: Batch | None, setbacks: Sequence[Setback], /) -> None:
        """Note what a worker did, and when; what is to be made of it can wait."""
        if batch is None or not isinstance(fact, Completion):
            return
        heard = time()
        done = len(fact.values)
        self.done += done
        self.spent_s += fact.seconds
        ends = self._count(setbacks, fact, batch, heard) if setbacks else ()
        sent, _ = self._sent.pop(fact.ticket, (heard, None))
        self._unread.append(
            Returned(
                *(fact.worker, batch.first, done, fact.error is not None, fact.spans, ends),
                *(sent, fact.begin, fact.seconds, heard),
            )
        )
        if len(self._unread) > _UNREAD:
            self.read(id)

    def end(self, _complete: bool, /) -> None:
        """Note how long it took."""
        self._elapsed_s = monotonic() - self._begun
        self._sent.clear()

    def _count(self, setbacks: Sequence[Setback], fact: Completion, batch: Batch, now: float) -> list[Stretch]:
        """Count what came to nothing; returns the tasks that ended with their worker."""
        ends = []
        for setback in setbacks:
            if setback.again:
                self.retried += 1
            else:
                self.failed += 1
            if (spent_s := ran_for(setback, fact, batch)) is not None:
                worker = fact.worker or _NOBODY
                ends.append(Stretch(worker, now - spent_s, now, setback.index, 1, setback.kind))
        return ends

    def read(self, reader: Callable[[Sums], T]) -> T:
        """What `reader` makes of all that was noted so far; also while another thread drives the run."""
        with self._lock:
            while self._unread:
                self._sums.add(self._unread.popleft())
            return reader(self._sums)
