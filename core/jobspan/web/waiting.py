"""Waiting for workers' messages from synchronous Python, in whichever way this place allows.

Invariant: the one place where code of this package blocks for a worker; all others ask here, or await.
"""

from __future__ import annotations

from typing import Any

from jobspan import host
from jobspan.errors import CannotBlock

_CANNOT_BLOCK = (
    "waiting for workers here would hang: Python was entered in a way that cannot wait for them (pyodide.runPython, a "
    "callback of JavaScript), or this browser has no JSPI. Write 'await Parallel(...).gather(tasks)' or 'async for "
    "result in Parallel(...).stream(tasks)', or enter Python by runPythonAsync."
)


def can_block() -> bool:
    """Whether `block` may be called at this moment; depends on how JavaScript entered Python."""
    return host.can_run_sync()


def block(signal: Any) -> None:
    """Wait until `signal`, which `Link.signal` made, is set or its time is over; the event loop turns meanwhile.

    Raises
    ------
    CannotBlock
        Where nothing can wait.
    """
    if not can_block():
        raise CannotBlock(_CANNOT_BLOCK)
    from pyodide.ffi import run_sync

    run_sync(signal.promise)
