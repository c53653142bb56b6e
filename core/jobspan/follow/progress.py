"""How far a run is, and an honest guess at how long it will take.

Invariant: a display is shown ten times a second at most, in the thread that drives the run; every task counts once,
when it is finished for good.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import NamedTuple, Protocol

from jobspan.follow.listener import Listener
from jobspan.follow.record import Recorder
from jobspan.model import Batch, Fact, Setback, Ticket

OFTEN_S = 0.1
_SAMPLES = 50
_LATELY = 1 / 3  # of the time since the first task was sent


class Progress(NamedTuple):
    """How far a run is: what ``Parallel(progress=function)`` calls the function with.

    Attributes
    ----------
    finished : int
        Tasks that are done or have failed for good.
    total : int or None
        Tasks of the input; None while that cannot be known.
    known : int
        Of those finished, how many were found in the checkpoint.
    failed : int
        Of those finished, how many have no result.
    retried : int
        How often a task went again.
    elapsed_s : float
        Seconds since the run began.
    rate : float or None
        Tasks that finish in a second: lately, and at the end on the average; None before one has.
    left_s : float or None
        Seconds until all are finished, if those to come are like those that were; None before each worker has
        finished a task, and while `total` is unknown.
    """

    finished: int
    total: int | None
    known: int
    failed: int
    retried: int
    elapsed_s: float
    rate: float | None
    left_s: float | None


class Display(Protocol):
    """Shows progress to somebody."""

    often_s: float
    """Seconds between two showings, at least."""
    seldom_s: float
    """Seconds between two showings if nothing was finished in between."""

    def open(self, total: int | None, /) -> None:
        """The run of so many tasks begins; None where nobody knows yet."""

    def show(self, progress: Progress, /) -> None:
        """Show it."""

    def close(self, progress: Progress, complete: bool, /) -> None:
        """Show it for the last time; `complete` tells whether every task was done."""


class Pace:
    """How fast tasks finish, the last third of the time counting.

    >>> pace = Pace(0.0)
    >>> pace.rate(1.0)
    >>> for second in range(1, 10):
    ...     pace.note(finished=2 * second, now=float(second))
    >>> pace.rate(9.0)
    2.0
    """

    def __init__(self, begun: float) -> None:
        self.begun = begun
        self._samples: deque[tuple[float, int]] = deque([(begun, 0)])

    def note(self, finished: int, now: float) -> None:
        """So many tasks were finished by now."""
        samples = self._samples
        elapsed_s = now - self.begun
        if now - samples[-1][0] >= elapsed_s / _SAMPLES:
            samples.append((now, finished))
        while len(samples) > 2 and samples[1][0] <= now - elapsed_s * _LATELY:
            samples.popleft()

    def rate(self, now: float) -> float | None:
        """Tasks in a second; None before one has finished."""
        (since, before), (_, finished) = self._samples[0], self._samples[-1]
        if finished == before:  # nothing lately: all that there was counts
            since, before = self.begun, 0
        return (finished - before) / (now - since) if finished and now > since else None


class Meter(Listener):
    """Lets a display show what a record counts.

    Parameters
    ----------
    display : Display
        Who shows it.
    record : Recorder
        Of the run; hears of everything first.
    total : int or None
        Number of tasks, where the input tells.
    """

    def __init__(self, display: Display, record: Recorder, total: int | None) -> None:
        now = monotonic()
        self._display = display
        self._record = record
        self._total = total
        self._begun = now
        self._is_open = False
        self._pace: Pace | None = None  # made when the first batch is sent
        self._sent = 0  # tasks of the latest batch, if it was sent since the last tick
        self._busy_until = now  # as far as the latest batch tells
        self._shown = now
        self._is_changed = False

    def known(self, _first: int, _count: int, /) -> None:
        """There is more to show."""
        self._is_changed = True

    def ended(self, total: int, /) -> None:
        """Now the total is known."""
        self._total = total
        self._is_changed = True

    def sent(self, _ticket: Ticket, batch: Batch, /) -> None:
        """Remember how much was sent last."""
        self._sent = len(batch.tasks)

    def hear(self, _fact: Fact, _batch: Batch | None, _setbacks: Sequence[Setback], /) -> None:
        """There may be more to show."""
        self._is_changed = True

    def tick(self, now: float, /) -> float:
        """Show it if it is time to."""
        if not self._is_open:
            self._is_open = True
            self._display.open(self._total)
        if self._sent:
            self._pace = self._pace or Pace(now)
            self._busy_until = now + self._sent * self._mean_s()
            self._sent = 0
        if self._pace is not None:
            self._pace.note(self._record.done + self._record.failed, now)
        due = self._shown + (self._display.often_s if self._is_changed else self._display.seldom_s)
        if now < due:
            return due - now
        self._display.show(self._measure(now))
        self._shown, self._is_changed = now, False
        return self._display.seldom_s

    def end(self, complete: bool, /) -> None:
        """Show it for the last time."""
        last = self._measure(monotonic())
        if self._pace is not None:
            ran = last.finished - last.known
            last = last._replace(rate=ran / max(1e-9, monotonic() - self._pace.begun) if ran else None)
        self._display.close(last, complete)

    def _mean_s(self) -> float:
        record = self._record
        ran = record.done + record.failed
        return record.spent_s / ran if ran else 0.0

    def _measure(self, now: float) -> Progress:
        record = self._record
        ran = record.done + record.failed
        finished = ran + record.found
        rate = left_s = None
        if self._pace is not None:
            self._pace.note(ran, now)
            rate = self._pace.rate(now)
        if self._total is not None and finished >= self._total:
            left_s = 0.0
        elif self._total is not None and rate and ran >= record.width:
            left_s = max((self._total - finished) / rate, self._busy_until - now)
        elapsed_s = now - self._begun
        return Progress(finished, self._total, record.found, record.failed, record.retried, elapsed_s, rate, left_s)
