"""Workers started before there is work for them, and a look at those that there are.

Invariant: code that warms workers runs anywhere; where there are no Web Workers there is nothing to warm.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, NamedTuple

from jobspan import host
from jobspan.errors import JobspanError
from jobspan.units import parse_count

if TYPE_CHECKING:
    from jobspan.web.worker import Worker


class WorkerState(NamedTuple):
    """A Web Worker as it is at this moment.

    Attributes
    ----------
    name : str
        As in tasks' errors and events.
    state : {"booting", "idle", "busy", "finishing"}
        ``finishing``: it is at work for a run that has ended.
    tasks : int
        How many tasks it was sent.
    memory_bytes : int
        The memory of its interpreter after its last batch. It never shrinks; a worker that has more than 512 MB is
        ended with its run.
    """

    name: str
    state: str
    tasks: int
    memory_bytes: int


def workers() -> list[WorkerState]:
    """The Web Workers of this interpreter that live or boot; none outside Pyodide.

    Returns
    -------
    list of WorkerState
        The oldest first.

    Examples
    --------
    >>> from jobspan.web import workers
    >>> sum(worker.memory_bytes for worker in workers()) < 2**30
    True
    """
    if not host.has_web_workers():
        return []
    from jobspan.web.pool import shared_pool

    found = shared_pool().workers
    return [WorkerState(worker.name, worker.state, worker.tasks, worker.memory_bytes) for worker in found]


class Warming:
    """Workers that start; may be awaited."""

    def __init__(self, booting: list[Worker]) -> None:
        self._count = len(booting)
        self._left = sum(worker.state == "booting" for worker in booting)
        self._error: JobspanError | None = None
        self._signal: Any = None
        if self._left:
            from jobspan.web.link import link

            self._signal = link().signal()
            for worker in booting:
                worker.when_booted(self._note)

    def _note(self, error: JobspanError | None) -> None:
        self._error = self._error or error
        self._left -= 1
        if error is not None or not self._left:
            self._signal.set()

    def __await__(self) -> Generator[Any, None, int]:
        """Wait until all are ready; their number."""
        if self._signal is not None:
            yield from self._signal.promise.__await__()
        if self._error is not None:
            raise self._error
        return self._count


def warm(n_jobs: int | None = None) -> Warming:
    """Start Web Workers now, so that a later call finds them ready.

    Parameters
    ----------
    n_jobs : int, optional
        How many there should be; by default as many as the browser tells of CPUs.

    Returns
    -------
    awaitable of int
        Gives the number of workers when they are ready; it need not be awaited. 0 where there are no Web Workers.

    Raises
    ------
    WorkerBootError
        On awaiting it, if a worker could not start.

    Examples
    --------
    In a page, as early as there is time for it, and once more before the call if that may come too soon:

    >>> from jobspan import web
    >>> async def prepare():
    ...     await web.warm(2)
    """
    count = parse_count(n_jobs, "n_jobs") or host.cpu_count()
    if not host.has_web_workers():
        return Warming([])
    from jobspan.web.pool import shared_pool

    return Warming(shared_pool().warm(count))
