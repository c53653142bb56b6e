"""What a run keeps of itself for `Parallel.report`: when which worker was on what.

Invariant: costs a microsecond or two a batch, and memory for the latest 10 000 stretches of work; the sums are exact
however long the run is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from time import time
from typing import NamedTuple

from jobspan.errors import TaskTimeout
from jobspan.follow.listener import Listener
from jobspan.model import Batch, Completion, Fact, Setback, Ticket

KEPT = 10_000
SLOWEST = 3
_NOBODY = "a worker unknown"


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
    kind : {"done", "failed", "timed out"}
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


class Lane:
    """One worker's part in a run, in sums."""

    __slots__ = ("busy_s", "end", "heard", "start_s", "tasks", "transfer_s")

    def __init__(self) -> None:
        self.tasks = 0
        self.busy_s = self.transfer_s = 0.0
        self.start_s: float | None = None
        self.end = self.heard = 0.0  # of its latest batch: when it had finished it, and when that was known

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


class Recorder(Listener):
    """Keeps the record of one run."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.begin = time()
        self.over_at: float | None = None
        self.lanes: dict[str, Lane] = {}
        self.stretches: deque[Stretch] = deque(maxlen=KEPT)
        self.slowest: list[Stretch] = []
        self.untimed = 0  # tasks that were timed with others only
        self.done = self.failed = self.retried = self.found = 0
        self._sent: dict[Ticket, float] = {}

    def known(self, _first: int, count: int, /) -> None:
        """Count what was in the checkpoint."""
        self.found += count

    def sent(self, ticket: Ticket, _batch: Batch, /) -> None:
        """Note when."""
        self._sent[ticket] = time()

    def hear(self, fact: Fact, batch: Batch | None, setbacks: Sequence[Setback], /) -> None:
        """Note what a worker did, and when."""
        if batch is None or not isinstance(fact, Completion):
            return
        heard = time()
        sent = self._sent.pop(fact.ticket, heard)
        done = len(fact.values)
        self.done += done
        if fact.begin:
            lane = self._find_lane(fact)
            lane.tasks += done
            lane.add(sent, fact.begin, fact.begin + fact.seconds, heard, self.begin)
            self._keep(fact, batch, done)
        for setback in setbacks:
            if setback.again:
                self.retried += 1
            else:
                self.failed += 1
            if setback.kind == "timed out" and isinstance(setback.error, TaskTimeout):
                self._add(Stretch(fact.worker, heard - setback.error.elapsed, heard, setback.index, 1, setback.kind))
                self._find_lane(fact).busy_s += setback.error.elapsed

    def end(self, _complete: bool, /) -> None:
        """Note when it was over."""
        self.over_at = time()

    def _find_lane(self, fact: Completion) -> Lane:
        worker = fact.worker or _NOBODY
        lane = self.lanes.get(worker)
        if lane is None:
            lane = self.lanes[worker] = Lane()
        return lane

    def _keep(self, fact: Completion, batch: Batch, done: int) -> None:
        worker, first = fact.worker or _NOBODY, batch.first
        if not fact.spans:
            count = done + (fact.error is not None)
            self.untimed += count
            kind = "done" if fact.error is None else "failed"
            self.stretches.append(Stretch(worker, fact.begin, fact.begin + fact.seconds, first, count, kind))
            return
        for position, (begin, end) in enumerate(fact.spans):
            kind = "done" if position < done else "failed"
            self._add(Stretch(worker, begin, end, first + position, 1, kind))

    def _add(self, stretch: Stretch) -> None:
        self.stretches.append(stretch)
        slowest = self.slowest
        if len(slowest) < SLOWEST or stretch.seconds > slowest[-1].seconds:
            slowest.append(stretch)
            slowest.sort(key=_seconds, reverse=True)
            del slowest[SLOWEST:]


def _seconds(stretch: Stretch) -> float:
    return stretch.seconds
