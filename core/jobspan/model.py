"""The nouns that travel between the layers: tasks and batches going out, facts coming back.

Invariant: immutable, and free of behaviour. They are tuples rather than dataclasses because they lie on
the hot path, and because importing ``dataclasses`` costs more than the rest of jobspan together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

Task: TypeAlias = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
"""What ``delayed(f)(*args, **kwargs)`` returns: the function, its arguments, its keywords."""

Ticket: TypeAlias = int
"""Names one batch that was sent; never used twice within a run."""


class Batch(NamedTuple):
    """Tasks of neighbouring indices that travel together; ``first`` is the index of the first of them."""

    first: int
    tasks: Sequence[Task]


class Started(NamedTuple):
    """A worker has begun the task of this index (only where `Traits.reports_start`, and when asked)."""

    ticket: Ticket
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    worker: str
    at: float


class Completion(NamedTuple):
    """What became of one batch: each ticket yields exactly one.

    A worker may come back before the end of its batch, when its time budget is used up or a task has
    failed. Then ``values`` covers the first tasks only, ``error`` belongs to the task after them, and
    the scheduler sends the rest again.
    """

    ticket: Ticket
    values: list[Any]
    error: BaseException | None = None
    """The exception of the task after ``values``, if it failed."""
    lost: BaseException | None = None
    """Why the batch did not come back at all: worker dead, or batch not deliverable."""
    worker: str = ""
    seconds: float = 0.0
    """Time spent in the tasks, measured by the worker."""
    nbytes: int = 0
    """Size of the values, in bytes, as far as it was measured; 0 where nobody asked."""
    spans: Sequence[tuple[float, float]] = ()
    """Start and end of each task on the worker, in seconds since the epoch, when asked for."""


Fact: TypeAlias = Started | Completion


class Event(NamedTuple):
    """What ``Parallel(on_event=...)`` is called with.

    Attributes
    ----------
    kind : {"started", "done", "failed", "lost"}
    index : int
        Position of the task in the input.
    worker : str
        Name of the worker, stable within a run; empty for a lost task that no worker had.
    start, end : float
        Seconds since the epoch by the worker's clock; ``end`` is NaN for ``"started"``, and both are
        NaN for ``"lost"`` when the start is unknown.
    """

    kind: Literal["started", "done", "failed", "lost"]
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    worker: str
    start: float
    end: float
