"""Calls in, outcomes out: the only code that runs users' functions on the far side.

Invariant: never raises for what a task does; the outcomes cover the first tasks of the batch, at least
one, and an error belongs to the task after the values.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from time import perf_counter, time
from typing import Any, Protocol

from jobspan.model import Completion, Task, Ticket
from jobspan.worker.context import OUTSIDE, PLACE, Place
from jobspan.worker.describe import add_note, is_task, not_a_task, note_task


class Slot(Protocol):
    """Where a worker notes what it is on, for its caller to see: three numbers."""

    def __getitem__(self, index: int, /) -> float:
        """One of them."""

    def __setitem__(self, index: int, value: float, /) -> None:
        """Note one of them."""


NUMBER, FINISHED, SINCE = range(3)
"""In a `Slot`: which batch; how many of its tasks are finished; when the next one began, by `perf_counter`."""

LEFT = -1.0
"""As the number of a batch: nobody waits for its other tasks any more."""

_NEVER = float("inf")
_UNKNOWN_SIZE = 64
_FEW = 4
"""So many tasks or fewer are always timed one by one: a batch costs more than that."""


def run_tasks(
    tasks: Sequence[Task],
    *,
    ticket: Ticket = 0,
    first: int = 0,
    worker: str = "",
    place: Place = OUTSIDE,
    attempt: int = 1,
    seed: int | None = None,
    budget_s: float | None = None,
    watch: bool = False,
    measure: bool = False,
    started: Callable[[int, float], object] | None = None,
    slot: Slot | None = None,
    values: list[Any] | None = None,
) -> Completion:
    """Run tasks one after the other until the end, a failure, or the end of the time budget.

    Parameters
    ----------
    ticket : int
        What the batch is called.
    first : int
        Index of the first task, for notes and reports.
    worker : str
        Name of this worker, for notes.
    place : Place
        Where the tasks stand.
    attempt : int
        How often they have been begun, this time included.
    seed : int, optional
        What their random numbers are made of.
    budget_s : float, optional
        Come back after this many seconds with what is finished.
    watch : bool
        Record the start and end of each task, however many there are.
    measure : bool
        Add up the sizes of the values.
    started : callable, optional
        Called with ``(index, time)`` before each task; needs `watch`.
    slot : sequence of float, optional
        Where to note which task is being run, and since when.
    values : list, optional
        Where to put the results as they come; one that is empty.
    """
    values = [] if values is None else values
    spans: list[tuple[float, float]] = []
    error: BaseException | None = None
    streams = None
    if seed is not None:
        from jobspan.worker.streams import STREAMS, Streams

        streams = STREAMS.set(Streams(seed, first, values, place.level))
    token = PLACE.set(place if attempt == 1 else place._replace(attempt=attempt))
    at, begin = time(), perf_counter()
    deadline = _NEVER if budget_s is None else begin + budget_s
    if slot is not None:
        slot[FINISHED] = 0
        slot[SINCE] = begin
    try:
        if watch or len(tasks) <= _FEW:
            _run_watched(tasks, values, spans, deadline, first, started, slot)
        elif slot is not None:
            _run_noted(tasks, values, deadline, slot)
        else:
            append = values.append
            for function, args, kwargs in tasks:
                append(function(*args, **kwargs))
                if perf_counter() > deadline:
                    break
    except BaseException as raised:  # noqa: BLE001  whatever a task raises is its outcome, SystemExit too
        error = _blame(raised, tasks, len(values), first, worker, attempt)
    finally:
        PLACE.reset(token)
        if streams is not None:
            streams.var.reset(streams)
    seconds = perf_counter() - begin
    nbytes = sum(map(size_of, values)) if measure else 0
    return Completion(ticket, values, error, None, worker, seconds, nbytes, spans, begin=at)


def _run_watched(
    tasks: Sequence[Task],
    values: list[Any],
    spans: list[tuple[float, float]],
    deadline: float,
    first: int,
    started: Callable[[int, float], object] | None,
    slot: Slot | None,
) -> None:
    for task in tasks:
        begin = time()
        if started is not None:
            started(first + len(values), begin)
        try:
            function, args, kwargs = task
            value = function(*args, **kwargs)
        finally:
            spans.append((begin, time()))
        values.append(value)
        now = perf_counter()
        if slot is not None:
            _note(slot, len(values), now)
        if now > deadline or (slot is not None and slot[NUMBER] == LEFT):
            return


def _run_noted(tasks: Sequence[Task], values: list[Any], deadline: float, slot: Slot) -> None:
    for function, args, kwargs in tasks:
        values.append(function(*args, **kwargs))
        now = perf_counter()
        _note(slot, len(values), now)
        if now > deadline or slot[NUMBER] == LEFT:
            return


def _note(slot: Slot, finished: int, now: float) -> None:
    slot[SINCE] = now  # first: who reads in between takes the next task for younger than it is, never for older
    slot[FINISHED] = finished


def _blame(
    error: BaseException, tasks: Sequence[Task], position: int, first: int, worker: str, attempt: int
) -> BaseException:
    index = first + position
    try:
        task = tasks[position]
    except BaseException:  # noqa: BLE001  it cannot even be unpickled here, which is the error
        add_note(error, f"raised by task {index}, on {worker}")
        return error
    if not is_task(task):
        return not_a_task(task, index)
    note_task(error, index, task, worker, attempt)
    return error


def size_of(value: Any) -> int:
    """Bytes that a result holds, cheaply: ``nbytes`` where it has one, else ``sys.getsizeof``."""
    try:
        nbytes = getattr(value, "nbytes", None)
        return nbytes if isinstance(nbytes, int) else sys.getsizeof(value)
    except Exception:  # noqa: BLE001  the result's own code; its size is a hint, and the result is fine
        return _UNKNOWN_SIZE
