"""Those who follow a run: what each of them is told, and when.

Invariant: a listener hears of a fact after the scheduler has settled it and before the consumer sees a result of it, in
the thread that drives the run; what it raises ends the run.
"""

from __future__ import annotations

from collections.abc import Sequence

from jobspan.errors import TaskTimeout
from jobspan.model import Batch, Completion, Fact, Setback, Ticket


class Listener:
    """Follows one run; a subclass has the methods for what it wants to know."""

    def known(self, first: int, count: int, /) -> None:
        """The results of so many tasks, from index `first` on, were there before the run."""

    def ended(self, total: int, /) -> None:
        """The input has ended; this is how many tasks it had."""

    def sent(self, ticket: Ticket, batch: Batch, /) -> None:
        """A batch is on its way."""

    def hear(self, fact: Fact, batch: Batch | None, setbacks: Sequence[Setback], /) -> None:
        """A fact has come.

        Parameters
        ----------
        fact : Fact
            What has come.
        batch : Batch or None
            What its ticket stands for; None if that is no longer in flight, and the fact of no consequence.
        setbacks : sequence of Setback
            The attempts that have thereby come to nothing.
        """

    def tick(self, now: float, /) -> float | None:  # noqa: ARG002  for subclasses
        """The run is about to wait; returns after how many seconds, at most, to be asked again."""
        return None

    def end(self, complete: bool, /) -> None:
        """The run is over; `complete` tells whether every task was done."""


def ran_for(setback: Setback, fact: Completion, batch: Batch) -> float | None:
    """Seconds for which a task had been running when it ended with its worker; None if it did not, or nobody knows."""
    if setback.kind == "timed out" and isinstance(setback.error, TaskTimeout):
        return setback.error.elapsed
    is_culprit = setback.kind == "lost" and fact.begun is not None and setback.index == batch.first + fact.begun - 1
    return fact.seconds or None if is_culprit else None
