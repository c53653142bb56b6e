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
    """Tasks of neighbouring indices that travel together.

    Attributes
    ----------
    first : int
        Index of the first of them.
    tasks : sequence of tasks
        The tasks.
    epoch : int
        Between two batches of the same epoch, no code of the input ran that could have changed an argument.
    attempt : int
        How often its tasks will have been begun, this time included.
    """

    first: int
    tasks: Sequence[Task]
    epoch: int = 0
    attempt: int = 1

    def part(self, start: int, end: int) -> Batch:
        """Those of its tasks from position `start` up to `end`."""
        return self._replace(first=self.first + start, tasks=self.tasks[start : max(start, end)])


SKIPPED: Any = object()
"""In place of a result that is left out."""


class Warned(NamedTuple):
    """A warning that tasks raised on a worker, and how often."""

    category: type[Warning]
    text: str
    filename: str
    lineno: int
    times: int
    module: str = ""


class Started(NamedTuple):
    """A worker has begun the task of this index (only where `Traits.reports_start`, and when asked)."""

    ticket: Ticket
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    worker: str
    at: float


class Running(NamedTuple):
    """A task that a worker is on: the one after the first `finished` of its batch, since so many seconds."""

    ticket: Ticket
    finished: int
    elapsed_s: float
    place: int
    """Which of its workers this is, for the session alone."""


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
    """Time spent in the tasks, measured by the worker; of a lost batch, in the task that it was on, as far as known."""
    nbytes: int = 0
    """Size of the values, in bytes, as far as it was measured; 0 where nobody asked."""
    spans: Sequence[tuple[float, float]] = ()
    """Start and end of each task on the worker, in seconds since the epoch, when asked for or where they are few."""
    warned: Sequence[Warned] = ()
    """Warnings that the tasks raised where the caller's interpreter could not see them."""
    begun: int | None = None
    """How many tasks of a lost batch had begun, the last of them not being finished; None where nobody knows."""
    ends_run: bool = False
    """Whether after this loss no batch at all could be run."""
    begin: float = 0.0
    """When the worker began with the batch, in seconds since the epoch; 0 where nobody knows."""


Fact: TypeAlias = Started | Completion


class Setback(NamedTuple):
    """An attempt at a task that came to nothing."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    kind: Literal["failed", "timed out", "lost"]
    error: BaseException
    again: int
    """The attempt with which the task goes again; 0 if it does not."""


class Event(NamedTuple):
    """What ``Parallel(on_event=...)`` is called with.

    Attributes
    ----------
    kind : {"started", "done", "failed", "timed out", "lost", "retried"}
        ``"failed"``: the task raised. ``"lost"``: its worker died before the result was handed over, or it could not be
        sent. After one of these and ``"timed out"``, ``"retried"`` tells that the task goes again. ``"done"`` without a
        worker: its result was in the checkpoint.
    index : int
        Position of the task in the input.
    worker : str
        Name of the worker, stable within a run; empty where no worker had the task.
    start, end : float
        Seconds since the epoch by the worker's clock, NaN where there is no such time or nobody knows it.
    attempt : int
        Which attempt at the task this is about; for ``"retried"``, the one that will be made.
    nbytes : int
        Size of the result of a task that is done, as far as that can be told cheaply.
    error : BaseException or None
        What the task failed with, or why it was lost.
    """

    kind: Literal["started", "done", "failed", "timed out", "lost", "retried"]
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    worker: str
    start: float
    end: float
    attempt: int = 1
    nbytes: int = 0
    error: BaseException | None = None


class Transfer(NamedTuple):
    """How large parts of tasks and results travel to workers that share no memory with the caller.

    Attributes
    ----------
    max_nbytes : int or None
        Buffers of this many bytes and more go through memory-mapped files where a backend can do that; None: never.
    mmap_mode : {"c", "r", "r+", "w+"} or None
        How a worker maps them: privately writable, read-only, or shared. None: never mapped.
    temp_folder : str or None
        Where those files lie; None for the best place there is.
    """

    max_nbytes: int | None = 1 << 20
    mmap_mode: str | None = "c"
    temp_folder: str | None = None


class Staff(NamedTuple):
    """What the user wants of the workers themselves; each backend says in its traits which of it it honours.

    Attributes
    ----------
    idle_worker_timeout : float or None
        Unused workers end after this many seconds.
    max_tasks_per_worker : int or None
        A worker is replaced after about so many tasks.
    max_worker_rss : int or None
        A worker whose resident memory exceeds so many bytes is replaced.
    inner_max_num_threads : int or None
        Threads that BLAS and OpenMP libraries may use in a worker.
    """

    idle_worker_timeout: float | None = None
    max_tasks_per_worker: int | None = None
    max_worker_rss: int | None = None
    inner_max_num_threads: int | None = None
