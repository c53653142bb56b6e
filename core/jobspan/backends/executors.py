"""Any `concurrent.futures.Executor` as a backend: given by the user, who owns it, or lent by another backend.

Invariant: futures' done-callbacks only put into the session's inbox; an executor that was given is never shut down.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from typing import Any, Literal

from jobspan import host
from jobspan.backends.base import Closing, OpenRequest, Session, Traits
from jobspan.backends.inbox import Inbox
from jobspan.errors import WorkerLost
from jobspan.model import Batch, Completion, Fact, Ticket
from jobspan.worker.context import LEVEL
from jobspan.worker.run import run_tasks
from jobspan.worker.wire import BatchEncoder, decode_reply, run_encoded


class ExecutorBackend:
    """Runs tasks on an executor that somebody else owns."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.traits = Traits(memory=memory_of(executor), lone_worker=True, round_trip_s=3e-4)

    def cpu_count(self) -> int:
        """The executor's workers where it tells their number, else this machine's CPUs."""
        workers = getattr(self._executor, "_max_workers", None)
        return workers if isinstance(workers, int) and workers > 0 else host.cpu_count()

    def open(self, request: OpenRequest, /) -> Session:
        """A session on the executor."""
        workers = self.cpu_count()
        width = workers if request.n_jobs is None else min(workers, request.n_jobs)
        return ExecutorSession(self._executor, width, request, self.traits.memory)


def memory_of(executor: Executor) -> Literal["shared", "copied"]:
    """Shared for plain thread pools; unknown kinds are taken to copy, which is right for all."""
    shared = isinstance(executor, ThreadPoolExecutor) and type(executor).__name__ != "InterpreterPoolExecutor"
    return "shared" if shared else "copied"


class ExecutorSession:
    """Batches as futures."""

    def __init__(
        self,
        executor: Executor,
        width: int,
        request: OpenRequest,
        memory: Literal["shared", "copied"],
        on_close: Callable[[bool, bool], object] | None = None,
    ) -> None:
        """`on_close` is called once with (whether work is still running, whether the executor broke)."""
        self.width = width
        self._executor = executor
        self._request = request
        self._copies = memory == "copied"
        self._on_close = on_close
        self._level = LEVEL.get() + 1
        self._encoder = BatchEncoder(level=self._level, budget_s=request.budget_s, watch=request.watch)
        self._inbox: Inbox[tuple[Ticket, Future[Any]]] = Inbox()
        self._futures: dict[Ticket, Future[Any]] = {}
        self._broken = False

    def submit(self, ticket: Ticket, batch: Batch, /) -> None:
        """Hand the batch to the executor; what it refuses comes back as lost."""
        future: Future[Any]
        try:
            future = self._encode_and_submit(batch) if self._copies else self._submit(ticket, batch)
        except Exception as error:  # noqa: BLE001  an executor that is broken or shut down, or a batch that cannot be pickled
            future = Future()
            future.set_exception(error)
        self._futures[ticket] = future
        inbox = self._inbox  # not self: a future may outlive the session
        future.add_done_callback(lambda done: inbox.put((ticket, done)))

    def _encode_and_submit(self, batch: Batch) -> Future[Any]:
        return self._executor.submit(run_encoded, self._encoder.encode(batch))

    def _submit(self, ticket: Ticket, batch: Batch) -> Future[Any]:
        request = self._request
        return self._executor.submit(
            _run_here,
            batch.tasks,
            ticket=ticket,
            first=batch.first,
            level=self._level,
            budget_s=request.budget_s,
            watch=request.watch,
            measure=request.measure,
        )

    def poll(self, timeout: float | None, /) -> Sequence[Fact]:
        """Wait for futures."""
        return [self._settle(ticket, future) for ticket, future in self._inbox.take(timeout)]

    async def apoll(self, timeout: float | None, /) -> Sequence[Fact]:
        """Await futures."""
        return [self._settle(ticket, future) for ticket, future in await self._inbox.atake(timeout)]

    def _settle(self, ticket: Ticket, future: Future[Any]) -> Completion:
        self._futures.pop(ticket, None)
        try:
            result: Any = future.result()
            return decode_reply(ticket, result) if self._copies else result
        except CancelledError as error:
            return Completion(ticket, [], lost=error)
        except Exception as error:  # noqa: BLE001  whatever the executor reports
            return Completion(ticket, [], lost=self._explain_loss(error))

    def _explain_loss(self, error: Exception) -> Exception:
        from concurrent.futures import BrokenExecutor

        if not isinstance(error, BrokenExecutor):
            return error
        self._broken = True
        lost = WorkerLost(
            "a worker died while it held tasks, or could not start: it was killed (perhaps for want of memory), "
            f"crashed, or a task ended it with os._exit. The pool says: {error}"
        )
        lost.__cause__ = error
        return lost

    def wake(self) -> None:
        """End a wait in another thread."""
        self._inbox.wake()

    def cancel(self, tickets: Sequence[Ticket], /) -> None:
        """Cancel futures that have not begun."""
        for ticket in tickets:
            if (future := self._futures.get(ticket)) is not None:
                future.cancel()

    def close(self, _how: Closing, /) -> None:
        """Give the executor back to its owner."""
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close(not all(future.done() for future in self._futures.values()), self._broken)


def _run_here(tasks: Any, **options: Any) -> Completion:
    """`run_tasks` in a thread pool's thread, which alone knows its name."""
    import threading

    return run_tasks(tasks, worker=threading.current_thread().name, **options)
