"""Any `concurrent.futures.Executor` as a backend: given by the user, who owns it, or taken from a pool of ours.

Invariant: futures' done-callbacks only put into the session's inbox; an executor that was given is never shut down.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ThreadPoolExecutor
from typing import Any, Literal

from jobspan import host
from jobspan.backends.base import Closing, OpenRequest, Session, Traits
from jobspan.backends.copying import CopyingSession
from jobspan.backends.inbox import Inbox
from jobspan.backends.relay import detach, listen
from jobspan.model import Batch, Completion, Fact, Task, Ticket
from jobspan.worker.beside import Beside
from jobspan.worker.context import EXECUTORS
from jobspan.worker.describe import add_note
from jobspan.worker.reply import discard_reply
from jobspan.worker.run import run_tasks
from jobspan.worker.wire import run_encoded


class ExecutorBackend:
    """Runs tasks on an executor that somebody else owns."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        memory = memory_of(executor)
        staffs = frozenset({"inner_max_num_threads"} if memory == "copied" else ())
        self.traits = Traits(memory=memory, lone_worker=True, round_trip_s=3e-4, staffs=staffs)

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


def _has_local_processes(executor: Executor) -> bool:
    """Whether tasks run in other processes of this machine; the standard library's pool and loky's have this name."""
    return any(kind.__name__ == "ProcessPoolExecutor" for kind in type(executor).__mro__)


class ExecutorSession(CopyingSession):
    """Batches as futures; a thread pool's workers get the tasks as they are, others get bytes."""

    def __init__(
        self,
        executor: Executor,
        width: int,
        request: OpenRequest,
        memory: Literal["shared", "copied"],
    ) -> None:
        super().__init__(width, request, is_local=_has_local_processes(executor))
        self._executor = executor
        self._copies = memory == "copied"
        self._beside = Beside(self._frame)
        self._inbox: Inbox[tuple[Ticket, Future[Any]]] = Inbox()
        self._futures: dict[Ticket, Future[Any]] = {}
        self._is_refused = False

    def submit(self, ticket: Ticket, batch: Batch, /) -> None:
        """Hand the batch to the executor; what it refuses comes back as lost."""
        self._under_way[ticket] = batch
        future: Future[Any] = Future()
        try:
            function, args, kwargs = self._encoded(ticket, batch) if self._copies else self._plain(ticket, batch)
        except Exception as error:  # noqa: BLE001  pickling runs users' code
            future.set_exception(error)
        else:
            try:
                future = self._executor.submit(function, *args, **kwargs)
            except Exception as error:  # noqa: BLE001  an executor that is broken or shut down, in its own words
                self._is_refused = True
                add_note(
                    error, f"raised by {self._executor!r} when it was given {self._tasks()}; is it still in order?"
                )
                future.set_exception(error)
            listen(self._frame)
        self._futures[ticket] = future
        inbox = self._inbox  # not self: a future may outlive the session
        future.add_done_callback(lambda done: inbox.put((ticket, done)))

    def _encoded(self, ticket: Ticket, batch: Batch) -> Task:
        return run_encoded, (self._encoder.encode(batch, ticket=ticket),), {}

    def _plain(self, ticket: Ticket, batch: Batch) -> Task:
        options = self._request.options(ticket, batch, self._frame.place)
        return self._beside.run, (_run_here, id(self._executor), batch.tasks, options), {}

    def poll(self, timeout: float | None, /) -> Sequence[Fact]:
        """Wait for futures."""
        return [self._settle(ticket, future) for ticket, future in self._inbox.take(timeout)]

    async def apoll(self, timeout: float | None, /) -> Sequence[Fact]:
        """Await futures."""
        return [self._settle(ticket, future) for ticket, future in await self._inbox.atake(timeout)]

    def _settle(self, ticket: Ticket, future: Future[Any]) -> Completion:
        self._futures.pop(ticket, None)
        self._encoder.done(ticket)
        try:
            result: Any = future.result()
            completion = self._decode(ticket, result) if self._copies else result
        except CancelledError as error:
            completion = Completion(ticket, [], lost=error)
        except BrokenExecutor as error:
            completion = Completion(ticket, [], lost=self._explain_loss(error), ends_run=True)
        except Exception as error:  # noqa: BLE001  what the executor reports, or a result whose unpickling fails
            completion = Completion(ticket, [], lost=error, ends_run=self._is_refused)
        self._under_way.pop(ticket, None)
        return completion

    def wake(self) -> None:
        """End a wait in another thread."""
        self._inbox.wake()

    def cancel(self, tickets: Sequence[Ticket], /) -> None:
        """Cancel futures that have not begun."""
        for ticket in tickets:
            if (future := self._futures.get(ticket)) is not None:
                future.cancel()

    def close(self, _how: Closing, /) -> None:
        """End a wait; the executor stays its owner's."""
        detach(self._frame)
        self._let_go()
        self._inbox.wake()

    def _let_go(self) -> None:
        """Remove what lies in files for this run."""
        for future in self._futures.values():
            if future.done() and not future.cancelled() and future.exception() is None:
                discard_reply(future.result())
        self._futures = {}
        self._encoder.close()


def _run_here(executor: int, tasks: Sequence[Task], options: dict[str, Any]) -> Completion:
    """`run_tasks` in a thread pool's thread, which alone knows its name."""
    import threading

    token = EXECUTORS.set(EXECUTORS.get() | {executor})
    try:
        return run_tasks(tasks, worker=threading.current_thread().name, **options)
    finally:
        EXECUTORS.reset(token)
