"""What ``verbose`` prints, and the counts that users' progress displays read.

Invariant: prints in the thread that drives the run; how often depends on the verbosity and the number of tasks alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic

from jobspan.follow.listener import Listener
from jobspan.model import Batch, Completion, Fact, Setback, Ticket

_UNKNOWN = 3  # digits for a number of tasks that is not known yet
_ALL = 10
"""From a higher verbosity on, every batch is told of."""


class Narrator(Listener):
    """Tells how far a run is.

    Parameters
    ----------
    verbose : int
        0 says nothing; above 10 every batch is told of.
    total : int or None
        Number of tasks, where the input tells.
    say : callable
        Takes a line of text.
    progressed : callable
        Takes the numbers of tasks that were sent and that are finished, after each batch.
    """

    def __init__(
        self, verbose: int, total: int | None, say: Callable[[str], object], progressed: Callable[[int, int], object]
    ) -> None:
        self._verbose = verbose
        self._total = total
        self._say = say
        self._progressed = progressed
        self._begun = monotonic()
        self._reached = 0  # all tasks up to here were sent; some are sent again
        self._done = 0
        self._told = 0  # number of messages

    def sent(self, _ticket: Ticket, batch: Batch, /) -> None:
        """Count what is on its way."""
        self._reached = max(self._reached, batch.first + len(batch.tasks))

    def hear(self, fact: Fact, _batch: Batch | None, _setbacks: Sequence[Setback], /) -> None:
        """Count what was finished."""
        if isinstance(fact, Completion) and fact.values:
            self._done += len(fact.values)
            self._progressed(self._reached, self._done)

    def end(self, complete: bool, /) -> None:
        """Say the last word."""
        if complete and self._verbose:
            width = _UNKNOWN if self._total is None else len(str(self._total))
            self._say(f"Done {self._done:{width}} out of {self._done:{width}} | elapsed: {self._elapsed()} finished")

    def tell(self) -> None:
        """Say how far the run is, if it is time to."""
        if not self._verbose or not self._done or self._done == self._total or not self._is_time():
            return
        self._told += 1
        if self._total is None:
            self._say(f"Done {self._done:{_UNKNOWN}} tasks      | elapsed: {self._elapsed()}")
            return
        width = len(str(self._total))
        spent = monotonic() - self._begun
        remaining = format_seconds(spent / self._done * (self._total - self._done))
        self._say(
            f"Done {self._done:{width}} out of {self._total} | elapsed: {format_seconds(spent)} remaining: {remaining}"
        )

    def _is_time(self) -> bool:
        if self._verbose > _ALL:
            return True
        scale = (_ALL + 1 - self._verbose) ** 2 / 2  # the n-th message comes after n * n times as many tasks
        return self._done >= scale * self._told**2 + 1

    def _elapsed(self) -> str:
        return format_seconds(monotonic() - self._begun)


def format_seconds(seconds: float) -> str:
    """A duration in few characters.

    >>> format_seconds(2.31), format_seconds(75)
    ('   2.3s', ' 1.2min')
    """
    return f"{seconds / 60:4.1f}min" if seconds > 60 else f"{seconds:6.1f}s"
