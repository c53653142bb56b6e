"""Waiting for workers' messages from synchronous Python, in whichever way this place allows.

Invariant: the one place where code of this package blocks for a worker; all others ask here, or await.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from jobspan import host
from jobspan.errors import CannotBlock

if TYPE_CHECKING:
    from jobspan.web.worker import Worker

_CANNOT_BLOCK = (
    "waiting for workers here would hang: Python was entered in a way that cannot wait for them (pyodide.runPython, a "
    "callback of JavaScript), or this browser has no JSPI. Write 'await Parallel(...).gather(tasks)' or 'async for "
    "result in Parallel(...).stream(tasks)', or enter Python by runPythonAsync."
)
_NONE_RUNS = (
    "waiting for workers here would hang: none has started yet, and new ones start only when this code has returned to "
    "the event loop. Write 'await jobspan.web.warm()' once before, in code that can await; or 'await "
    "Parallel(...).gather(tasks)' here."
)


def can_block(workers: Iterable[Worker] | None = None) -> bool:
    """Whether `block` may be called at this moment, for one of these workers, or whichever there are.

    That depends on how JavaScript entered Python. By JSPI, while the event loop turns; else, where memory is shared
    with workers that run, by ``Atomics.wait``.
    """
    if host.can_run_sync():
        return True
    if not host.in_pyodide():
        return False
    from jobspan.web.link import link

    if not link().canBlock:
        return False
    return bool(link().allRun()) if workers is None else any(worker.runs for worker in workers)


def block(signal: Any, workers: Iterable[Worker] | None = None) -> None:
    """Wait until `signal`, which the link made, is set by news of these workers, or its time is over.

    Raises
    ------
    CannotBlock
        Where nothing can wait.
    """
    if host.can_run_sync():
        from pyodide.ffi import run_sync

        run_sync(signal.promise)
        return
    from jobspan.web.link import link

    if link().canBlock and (signal.isBrief or can_block(workers)):
        signal.block()
    else:
        raise CannotBlock(_NONE_RUNS if link().canBlock else _CANNOT_BLOCK)
