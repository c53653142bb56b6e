"""Tasks in loky's worker processes.

The pool is loky's; here is only who may use which, and until when. A pool serves one session at a time, so calls
from several threads never meet in one, and is kept warm for the next call. loky ends unused workers by itself.

Invariant: a pool is idle, lent to one session, or shut down; a broken or still busy one is never lent again.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from loky.process_executor import ProcessPoolExecutor

from jobspan import host
from jobspan.backends.base import OpenRequest, Session, Traits
from jobspan.backends.executors import ExecutorSession

IDLE_S = 300.0
"""loky ends a worker that had nothing to do for this many seconds."""


class LokyBackend:
    """Runs tasks in processes."""

    traits = Traits(memory="copied", can_kill=True, round_trip_s=3e-4)

    def cpu_count(self) -> int:
        """The CPUs this process may use."""
        return host.cpu_count()

    def open(self, request: OpenRequest, /) -> Session:
        """Take up a warm pool, or start one."""
        width = request.n_jobs or host.cpu_count()
        pools = _pools
        pool = pools.lend(width)

        def give_back(busy: bool, broken: bool) -> None:
            pools.give_back(width, pool, usable=not (busy or broken))

        return ExecutorSession(pool, width, request, self.traits.memory, give_back)


class _Pools:
    """The idle pools of this process, the last used at the end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[tuple[int, Any]] = []

    def lend(self, width: int) -> Any:
        with self._lock:
            for position in reversed(range(len(self._idle))):
                if self._idle[position][0] == width:
                    return self._idle.pop(position)[1]
        return ProcessPoolExecutor(max_workers=width, timeout=IDLE_S)

    def give_back(self, width: int, pool: Any, *, usable: bool) -> None:
        if not usable:
            pool.shutdown(wait=True, kill_workers=True)
            return
        with self._lock:
            self._idle.append((width, pool))
            spare = self._spare()
        for unused in spare:
            unused.shutdown(wait=False)

    def _spare(self) -> list[Any]:
        """The longest unused pools, beyond twice the workers that the machine has CPUs for."""
        spare = []
        while len(self._idle) > 1 and sum(width for width, _ in self._idle) > 2 * host.cpu_count():
            spare.append(self._idle.pop(0)[1])
        return spare


_pools = _Pools()


def _forget_pools() -> None:
    global _pools  # noqa: PLW0603  one per process
    _pools = _Pools()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pools)  # the workers are the parent's
