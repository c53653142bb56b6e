"""Any `concurrent.futures.Executor` as a backend: given by the user, who owns it, or lent by another backend.

Invariant: futures' done-callbacks only put into the session's inbox; an executor that was given is never shut down.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ThreadPoolExecutor
from typing import Any, Literal

from jobspan import host
from jobspan.backends.base import Closing, OpenRequest, Session, Traits
from jobspan.backends.inbox import Inbox
from jobspan.errors import WorkerLost
from jobspan.model import Batch, Completion, Fact, Task, Ticket
from jobspan.worker.context import EXECUTORS, LEVEL
from jobspan.worker.describe import add_note
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
    # InterpreterPoolExecutor, from Python 3.14 on, is a thread pool that copies.
    copies = any(kind.__name__ == "InterpreterPoolExecutor" for kind in type(executor).__mro__)
    return "shared" if isinstance(executor, ThreadPoolExecutor) and not copies else "copied"


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
        """A pool that is only lent has `on_close`, called once: whether work still runs, whether the pool broke."""
        self.width = width
        self._executor = executor
        self._request = request
        self._copies = memory == "copied"
        self._on_close = on_close
        self._level = LEVEL.get() + 1
        self._encoder = BatchEncoder(level=self._level, budget_s=request.budget_s, watch=request.watch)
        self._inbox: Inbox[tuple[Ticket, Future[Any]]] = Inbox()
        self._futures: dict[Ticket, Future[Any]] = {}
        self._under_way: dict[Ticket, Batch] = {}
        self._broken = False

    def submit(self, ticket: Ticket, batch: Batch, /) -> None:
        """Hand the batch to the executor; what it refuses comes back as lost."""
        self._under_way[ticket] = batch
        future: Future[Any] = Future()
        try:
            function, args, kwargs = self._encoded(batch) if self._copies else self._plain(ticket, batch)
        except Exception as error:  # noqa: BLE001  pickling runs users' code
            future.set_exception(error)
        else:
            try:
                future = self._executor.submit(function, *args, **kwargs)
            except Exception as error:  # noqa: BLE001  an executor that is broken or shut down, in its own words
                add_note(
                    error, f"raised by {self._executor!r} when it was given {self._tasks()}; is it still in order?"
                )
                future.set_exception(error)
        self._futures[ticket] = future
        inbox = self._inbox  # not self: a future may outlive the session
        future.add_done_callback(lambda done: inbox.put((ticket, done)))

    def _encoded(self, batch: Batch) -> Task:
        return run_encoded, (self._encoder.encode(batch),), {}

    def _plain(self, ticket: Ticket, batch: Batch) -> Task:
        request = self._request
        options = {
            "ticket": ticket,
            "first": batch.first,
            "level": self._level,
            "budget_s": request.budget_s,
            "watch": request.watch,
            "measure": request.measure,
        }
        return _run_here, (id(self._executor), batch.tasks, options), {}

    def _tasks(self) -> str:
        """The tasks under way, in words."""
        first = min(batch.first for batch in self._under_way.values())
        last = max(batch.first + len(batch.tasks) for batch in self._under_way.values()) - 1
        return f"task {first}" if first == last else f"tasks {first} to {last}"

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
            completion = decode_reply(ticket, result) if self._copies else result
        except CancelledError as error:
            completion = Completion(ticket, [], lost=error)
        except BrokenExecutor as error:
            completion = Completion(ticket, [], lost=self._explain_loss(error))
        except Exception as error:  # noqa: BLE001  what the executor reports, or a result whose unpickling fails
            completion = Completion(ticket, [], lost=error)
        self._under_way.pop(ticket, None)
        return completion

    def _explain_loss(self, error: BrokenExecutor) -> WorkerLost:
        self._broken = True
        lost = WorkerLost(
            f"a worker died, or could not start, and broke its pool, with {self._tasks()} under way: it was killed "
            f"(perhaps for want of memory), crashed, or a task ended it with os._exit. Make a pool of your own anew; "
            f"jobspan's own is, with the next call."
        )
        lost.__cause__ = error
        return lost

    def wake(self) -> None:
        """End a wait in another thread."""
        self._inbox.wake()

    def cancel(self, tickets: Sequence[Ticket], /) -> None:
        """Cancel futures that have not begun; a pool that is only lent is ended as a whole instead."""
        for ticket in tickets if self._on_close is None else ():
            if (future := self._futures.get(ticket)) is not None:
                future.cancel()

    def close(self, _how: Closing, /) -> None:
        """Give the executor back to its owner."""
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            busy = not all(future.done() for future in self._futures.values())
            on_close(busy, self._broken or any(map(_is_broken, self._futures.values())))


def _is_broken(future: Future[Any]) -> bool:
    return future.done() and not future.cancelled() and isinstance(future.exception(), BrokenExecutor)


def _run_here(executor: int, tasks: Sequence[Task], options: dict[str, Any]) -> Completion:
    """`run_tasks` in a thread pool's thread, which alone knows its name."""
    import threading

    token = EXECUTORS.set(EXECUTORS.get() | {executor})
    try:
        return run_tasks(tasks, worker=threading.current_thread().name, **options)
    finally:
        EXECUTORS.reset(token)
