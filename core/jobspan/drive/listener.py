"""Turns facts into the events that ``on_event`` is called with.

Invariant: every task that ran tells ``started`` and then ``done`` or ``failed``, on every backend.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from jobspan.model import Batch, Completion, Event, Fact, Started

OnEvent: TypeAlias = Callable[[Event], object]

_NAN = float("nan")


class Listener:
    """Calls `on_event` for each fact, before the scheduler settles it."""

    def __init__(self, on_event: OnEvent, reports_start: bool) -> None:
        self._on_event = on_event
        self._reports_start = reports_start

    def hear(self, fact: Fact, batch: Batch | None) -> None:
        """Tell of one fact; `batch` is what its ticket stands for, None if that is no longer in flight."""
        if batch is None:
            return
        match fact:
            case Started(_, index, worker, at):
                self._on_event(Event("started", index, worker, at, _NAN))
            case Completion(lost=None):
                self._hear_spans(fact, batch.first)
            case Completion():
                for index in range(batch.first, batch.first + len(batch.tasks)):
                    self._on_event(Event("lost", index, fact.worker, _NAN, _NAN))

    def _hear_spans(self, completion: Completion, first: int) -> None:
        done = first + len(completion.values)
        for index, (start, end) in enumerate(completion.spans, first):
            if not self._reports_start:
                self._on_event(Event("started", index, completion.worker, start, _NAN))
            self._on_event(Event("done" if index < done else "failed", index, completion.worker, start, end))
