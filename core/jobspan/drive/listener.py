"""Those who follow a run: each hears every fact before the scheduler settles it, and when the run is over.

Invariant: for ``on_event``, every task that ran tells ``started`` and then ``done`` or ``failed``, on every backend.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from jobspan.model import Batch, Completion, Event, Fact, Started

OnEvent: TypeAlias = Callable[[Event], object]

_NAN = float("nan")


class Listener(Protocol):
    """Follows one run, in the thread that drives it."""

    def sent(self, batch: Batch, /) -> None:
        """Take note that a batch is on its way."""

    def hear(self, fact: Fact, batch: Batch | None, /) -> None:
        """Take note of one fact; `batch` is what its ticket stands for, None if that is no longer in flight."""

    def end(self, complete: bool, /) -> None:
        """Take note that the run is over; `complete` tells whether every task was done."""


class EventListener:
    """Calls `on_event` for each fact."""

    def __init__(self, on_event: OnEvent, reports_start: bool) -> None:
        self._on_event = on_event
        self._reports_start = reports_start

    def sent(self, _batch: Batch, /) -> None:
        """There is no event for it."""

    def hear(self, fact: Fact, batch: Batch | None, /) -> None:
        """Tell of one fact."""
        if batch is None:
            return
        match fact:
            case Started(_, index, worker, at):
                self._on_event(Event("started", index, worker, at, _NAN))
            case Completion(lost=None):
                self._hear_spans(fact, batch.first)
            case Completion():
                for index in range(batch.first + len(fact.values), batch.first + len(batch.tasks)):
                    self._on_event(Event("lost", index, fact.worker, _NAN, _NAN))

    def end(self, _complete: bool, /) -> None:
        """There is no event for it."""

    def _hear_spans(self, completion: Completion, first: int) -> None:
        done = first + len(completion.values)
        for index, (start, end) in enumerate(completion.spans, first):
            if not self._reports_start:
                self._on_event(Event("started", index, completion.worker, start, _NAN))
            self._on_event(Event("done" if index < done else "failed", index, completion.worker, start, end))
