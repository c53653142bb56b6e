"""What ``Parallel(on_event=...)`` is called with, and when.

Invariant: on every backend each attempt that ran tells ``started`` and then what became of it, but for those that went
down with a worker that did not say what it was on. The tasks that are finished are those ``done``, ``failed``, ``timed
out`` and ``lost``, less those ``retried``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import time
from typing import TypeAlias

from jobspan.follow.listener import Listener, ran_for
from jobspan.model import Batch, Completion, Event, Fact, Setback, Started
from jobspan.worker.describe import add_note
from jobspan.worker.run import size_of

OnEvent: TypeAlias = Callable[[Event], object]

_NAN = float("nan")


class EventListener(Listener):
    """Makes events of what happens.

    Parameters
    ----------
    on_event : callable
        Called with each `Event`.
    reports_start : bool
        Whether workers tell of a task's start when it begins; otherwise that is made up when its end is known.
    """

    def __init__(self, on_event: OnEvent, reports_start: bool) -> None:
        self._function = on_event
        self._reports_start = reports_start

    def known(self, first: int, count: int, /) -> None:
        """Tell of results that were in the checkpoint."""
        for index in range(first, first + count):
            self._on_event(Event("done", index, "", _NAN, _NAN))

    def hear(self, fact: Fact, batch: Batch | None, setbacks: Sequence[Setback], /) -> None:
        """Tell of starts, ends and setbacks."""
        if batch is None:
            return
        if isinstance(fact, Started):
            self._on_event(Event("started", fact.index, fact.worker, fact.at, _NAN, batch.attempt))
            return
        for position in range(max(len(fact.values), len(fact.spans))):
            index = batch.first + position
            start, end = _span(fact, position)
            if not self._reports_start:
                self._on_event(Event("started", index, fact.worker, start, _NAN, batch.attempt))
            if position < len(fact.values):
                nbytes = size_of(fact.values[position])
                self._on_event(Event("done", index, fact.worker, start, end, batch.attempt, nbytes))
        for setback in setbacks:
            self._tell_setback(setback, fact, batch)

    def _on_event(self, event: Event) -> None:
        try:
            self._function(event)
        except Exception as error:  # the user's own code, whatever it raises: told whose it is, and raised on
            add_note(error, f"raised by the function given as on_event=, at {event.kind!r} of task {event.index}")
            raise

    def _tell_setback(self, setback: Setback, completion: Completion, batch: Batch) -> None:
        index, kind, error, again = setback
        start, end = _span(completion, index - batch.first)
        if (spent_s := ran_for(setback, completion, batch)) is not None:
            end = time()
            start = end - spent_s
            if not self._reports_start:
                self._on_event(Event("started", index, completion.worker, start, _NAN, batch.attempt))
        self._on_event(Event(kind, index, completion.worker, start, end, batch.attempt, 0, error))
        if again:
            self._on_event(Event("retried", index, "", _NAN, _NAN, again))


def _span(completion: Completion, position: int) -> tuple[float, float]:
    """When a task began and ended; of a worker that did not come back itself, nobody knows."""
    return completion.spans[position] if position < len(completion.spans) else (_NAN, _NAN)
