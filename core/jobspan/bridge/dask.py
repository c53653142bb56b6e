"""Dask's local scheduler on Web Workers: importing this module lets it wait in Pyodide.

::

    import dask
    import jobspan.bridge.dask
    from jobspan.web import WebWorkerExecutor

    with WebWorkerExecutor() as pool:
        total.compute(scheduler=pool)

Dask submits the tasks of a graph to any executor, and waits for the next that is done in a `queue.Queue`, which only
another thread could fill. So in Pyodide, where there is none, it has its synchronous schedulers alone, and with an
executor it would hang. Here it gets a queue that lets the event loop turn. Outside of Pyodide nothing is changed.

Invariant: Dask keeps its scheduler; only the queue in which it waits is another.
"""

from __future__ import annotations

from queue import Queue
from typing import Any

import dask.local

from jobspan import host
from jobspan.errors import CannotBlock
from jobspan.web import waiting

__all__ = ["TurningQueue"]

_CANNOT_BLOCK = (
    "Dask would have to wait for workers here, which would hang: Python was entered in a way that cannot wait for them "
    "(pyodide.runPython, a callback of JavaScript), or this browser has no JSPI. Use scheduler='synchronous', or enter "
    "Python by runPythonAsync."
)


class TurningQueue(Queue[Any]):
    """A queue whose `get` lets the event loop turn until something is put."""

    _signal: Any = None

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Put an item, and wake who waits for it."""
        super().put(item, block, timeout)
        if self._signal is not None:
            self._signal.set()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """The next item; with `block` and without a timeout it is waited for."""
        while block and timeout is None and self.empty():
            if not waiting.can_block():
                raise CannotBlock(_CANNOT_BLOCK)
            from jobspan.web.link import link

            self._signal = link().signal()
            waiting.block(self._signal)
        return super().get(block, timeout)


if host.in_pyodide():
    scheduler: Any = dask.local
    scheduler.Queue = TurningQueue  # where it looks for it
