"""Sessions on lent pools of one worker process each.

So a worker can be replaced when it has done or taken its share, and where the system has no lines for a pool of many.

Invariant: a pool is given back once, however the session ends; after that nothing of the run is at work in it.
"""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any

from jobspan.backends.base import Closing, OpenRequest
from jobspan.backends.copying import MOST_ENDS_WITHOUT_WORK, ended_early
from jobspan.backends.crew import Kind, Pool, stop
from jobspan.backends.executors import ExecutorSession
from jobspan.backends.life import run_wanted
from jobspan.errors import WorkerLost
from jobspan.model import Batch, Completion, Running, Staff, Task, Ticket

if TYPE_CHECKING:
    from jobspan.backends.pools import Lender

_RSS_CHECK_S = 0.1


class RationedSession(ExecutorSession):
    """Batches as futures, each in a pool of its own while it runs; it waits here until one is free."""

    def __init__(self, lender: Lender, kind: Kind, request: OpenRequest) -> None:
        self._lender = lender
        self._kind = kind._replace(width=1, has_line=False)
        self._pool = lender.lend(self._kind)  # where the next batch goes
        super().__init__(self._pool.executor, kind.width, request, "copied")
        self._waiting: deque[tuple[Ticket, Batch]] = deque()
        self._busy: dict[Ticket, Pool] = {}
        self._free = [self._pool]
        self._ends_without_work = 0

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

    def _encoded(self, ticket: Ticket, batch: Batch) -> Task:
        """The call, with a number that the worker knows it by."""
        _, args, _ = super()._encoded(ticket, batch)
        return run_wanted, (self._pool.next_number(), *args), {}

    def _settle(self, ticket: Ticket, future: Future[Any]) -> Completion:
        worker = self._busy.pop(ticket, None)
        if worker is None:
            return super()._settle(ticket, future)
        self._pool = worker
        number, batch = worker.batches_given, self._under_way[ticket]
        completion = super()._settle(ticket, future)
        if completion.lost is not None and not worker.is_sound():
            completion = self._bury(worker, number, len(batch.tasks), completion)
        else:
            self._free.append(worker)
        self._dispatch()
        return completion

    def _bury(self, worker: Pool, number: int, count: int, completion: Completion) -> Completion:
        """Let go of a worker that ended, or was, and say which task it was on."""
        lost = completion.lost
        if lost is not None and not isinstance(lost, WorkerLost):
            lost = self._explain_loss(lost)
        self._lender.give_back(worker, usable=False)
        if worker.has_ended:
            return completion._replace(lost=ended_early(completion.lost), ends_run=True)
        at = worker.read(0)
        begun = None if at is None else at.count_begun(number, count)
        self._ends_without_work += begun == 0
        hopeless = self._ends_without_work > MOST_ENDS_WITHOUT_WORK
        spent_s = max(0.0, perf_counter() - at.since) if begun and at is not None else 0.0
        name = worker.name_of(0)
        return completion._replace(lost=lost, begun=begun, seconds=spent_s, worker=name, ends_run=hopeless)

    def find_running(self) -> list[Running]:
        """The tasks that workers are on."""
        now = perf_counter()
        found = []
        for ticket, worker in self._busy.items():
            at = worker.read(0)
            if at is not None and at.number == worker.batches_given and at.since <= now:
                found.append(Running(ticket, at.finished, now - at.since, 0))
        return found

    def expel(self, running: Running, /) -> None:
        """End the worker that is on this task; its batch comes back as lost."""
        worker = self._busy.get(running.ticket)
        at = None if worker is None else worker.read(0)
        if worker is not None and at is not None and at.finished == running.finished:
            worker.expel(0)

    def _death(self) -> str:
        return f"{self._pool.describe_ends()}. The next call gets fresh workers."

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
            idle_s = self._request.staff.idle_worker_timeout
            usable += [(worker, done) for (worker, _), done in zip(at_work, stopped, strict=True)]
            for worker, is_usable in usable:
                self._lender.give_back(worker, usable=is_usable and worker.is_sound(), idle_s=idle_s)
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
