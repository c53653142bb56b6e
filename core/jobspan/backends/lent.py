"""Sessions on lent pools of worker processes.

Invariant: a pool is given back once, however the session ends; after that nothing of the run is at work in it.
"""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future
from time import monotonic
from typing import TYPE_CHECKING, Any

from jobspan.backends.base import Closing, OpenRequest
from jobspan.backends.crew import Kind, Pool, stop
from jobspan.backends.executors import UNKNOWN_DEATH, ExecutorSession
from jobspan.backends.life import run_wanted
from jobspan.errors import WorkerLost
from jobspan.model import Batch, Completion, Staff, Task, Ticket

if TYPE_CHECKING:
    from jobspan.backends.pools import Lender

_RSS_CHECK_S = 0.1


class _PoolSession(ExecutorSession):
    """What both kinds of session have in common."""

    def __init__(self, lender: Lender, pool: Pool, width: int, request: OpenRequest) -> None:
        super().__init__(pool.executor, width, request, "copied")
        self._lender = lender
        self._pool: Pool | None = pool  # where the next batch goes

    def _encoded(self, ticket: Ticket, batch: Batch) -> Task:
        """The call, with a number that the pool's workers know it by."""
        assert self._pool is not None
        _, args, _ = super()._encoded(ticket, batch)
        self._pool.batches_given += 1
        return run_wanted, (self._pool.batches_given, *args), {}

    def _settle(self, ticket: Ticket, future: Future[Any]) -> Completion:
        completion = super()._settle(ticket, future)
        if completion.lost is not None and self._pool is not None and self._pool.has_ended:
            lost = WorkerLost(
                "the workers were ended while the call went on, as they are at the end of a with block. Take a "
                "generator's results inside of the block."
            )
            lost.__cause__ = completion.lost
            completion = completion._replace(lost=lost)
        return completion

    def _death(self) -> str:
        how = self._pool.describe_ends() if self._pool is not None else ""
        return f"{how or UNKNOWN_DEATH}. The next call gets fresh workers."

    @property
    def _idle_s(self) -> float | None:
        return self._request.staff.idle_worker_timeout


class LentSession(_PoolSession):
    """Batches in a pool that is this session's until it closes."""

    def __init__(self, lender: Lender, pool: Pool, request: OpenRequest) -> None:
        super().__init__(lender, pool, pool.kind.width, request)

    def close(self, how: Closing, /) -> None:
        """Give the pool back; what still runs in it is stopped, or its workers are ended."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        usable = False
        try:
            futures = [future for future in self._futures.values() if not future.done()]
            usable = not self._broken and (not futures or stop([(pool, futures)])[0])
        finally:
            self._lender.give_back(pool, usable=usable, idle_s=self._idle_s)
            super().close(how)


class RationedSession(_PoolSession):
    """Batches in pools of one worker each, so that a worker can be replaced when it has done or taken its share.

    A batch waits here until a worker is free.
    """

    def __init__(self, lender: Lender, kind: Kind, request: OpenRequest) -> None:
        self._kind = kind._replace(width=1)
        first = lender.lend(self._kind)
        super().__init__(lender, first, kind.width, request)
        self._waiting: deque[tuple[Ticket, Batch]] = deque()
        self._busy: dict[Ticket, Pool] = {}
        self._free = [first]

    def submit(self, ticket: Ticket, batch: Batch, /) -> None:
        """Send the batch to a free worker, or let it wait for one."""
        self._waiting.append((ticket, batch))
        self._dispatch()

    def _dispatch(self) -> None:
        most = self._request.staff.max_tasks_per_worker
        while self._waiting and len(self._busy) < self.width:
            worker = self._find_worker()
            ticket, batch = self._waiting.popleft()
            if most is not None:  # the rest is sent again, as where a time budget is used up
                batch = batch._replace(tasks=batch.tasks[: most - worker.tasks_given])
            worker.tasks_given += len(batch.tasks)
            self._busy[ticket] = worker
            self._pool, self._executor = worker, worker.executor
            super().submit(ticket, batch)

    def _find_worker(self) -> Pool:
        while True:
            worker = self._free.pop() if self._free else self._lender.lend(self._kind)
            if not worker.crew:  # started with its first batch
                worker.muster()
            reason = _reason_to_go(worker, self._request.staff)
            if not reason:
                return worker
            _tell(f"worker process {worker.crew[0].pid} is replaced by a new one: {reason}")
            self._lender.dismiss(worker)

    def _settle(self, ticket: Ticket, future: Future[Any]) -> Completion:
        if (worker := self._busy.pop(ticket, None)) is not None:
            self._free.append(worker)
        completion = super()._settle(ticket, future)
        self._dispatch()
        return completion

    def close(self, how: Closing, /) -> None:
        """Give all workers back; those that are at work stop it, or are ended."""
        self._waiting.clear()
        at_work = [(worker, [self._futures[ticket]]) for ticket, worker in self._busy.items()]
        usable = [(worker, True) for worker in self._free]
        self._busy, self._free = {}, []
        stopped = [False] * len(at_work)
        try:
            stopped = stop(at_work)
        finally:
            usable += [(worker, done) for (worker, _), done in zip(at_work, stopped, strict=True)]
            for worker, is_usable in usable:
                self._lender.give_back(worker, usable=is_usable and worker.is_sound(), idle_s=self._idle_s)
            super().close(how)


def _reason_to_go(worker: Pool, staff: Staff) -> str:
    """Why this worker should be given nothing more; empty if it may go on."""
    tasks, rss = staff.max_tasks_per_worker, staff.max_worker_rss
    if tasks is not None and worker.tasks_given >= tasks:
        return f"it had {worker.tasks_given} tasks (max_tasks_per_worker={tasks})"
    now = monotonic()
    if rss is not None and worker.tasks_given and now - worker.weighed > _RSS_CHECK_S:
        worker.weighed = now
        used = max((resident_bytes(process.pid) for process in worker.crew), default=0)
        if used > rss:
            return f"it holds {used >> 20} MB (max_worker_rss={rss >> 20} MB)"
    return ""


def resident_bytes(pid: int) -> int:
    """Memory that a process holds; 0 where nothing tells it."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        pass
    try:
        import psutil  # type: ignore[import-untyped]

        return int(psutil.Process(pid).memory_info().rss)
    except Exception:  # noqa: BLE001  not installed, or the process has gone
        return 0


def _tell(line: str) -> None:
    import logging

    logging.getLogger("jobspan").info(line)
