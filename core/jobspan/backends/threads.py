"""Tasks in daemon threads of our own, which pull batches from one queue.

Our own, because a `concurrent.futures.ThreadPoolExecutor` joins its threads at exit: one stuck task would keep
the interpreter for ever. Threads are lent to one session at a time and kept for the next.

Invariant: a thread serves one session until that closes, and is idle, lent or gone otherwise.
"""

from __future__ import annotations

import os
import threading
from _queue import Empty, SimpleQueue
from collections.abc import Sequence

from jobspan import host
from jobspan.backends.base import Closing, OpenRequest, Session, Traits
from jobspan.backends.inbox import Inbox
from jobspan.model import Batch, Completion, Fact, Started, Ticket
from jobspan.worker.beside import Beside
from jobspan.worker.run import run_tasks

IDLE_S = 30.0
"""An unused thread ends after this many seconds."""


class ThreadsBackend:
    """Runs tasks in threads of this interpreter."""

    traits = Traits(memory="shared", reports_start=True, round_trip_s=5e-5)

    def cpu_count(self) -> int:
        """The CPUs this process may use."""
        return host.cpu_count()

    def open(self, request: OpenRequest, /) -> Session:
        """Borrow threads; they are started with the first batches."""
        return ThreadsSession(request)


class ThreadsSession:
    """A queue of batches and the threads that serve it."""

    def __init__(self, request: OpenRequest) -> None:
        self.width = request.n_jobs or host.cpu_count()
        self._request = request
        frame = request.frame.within(self.width)
        self._beside = Beside(frame)
        self._place = frame.place
        self._batches: SimpleQueue[tuple[Ticket, Batch] | None] = SimpleQueue()
        self._inbox: Inbox[Fact] = Inbox()
        self._threads = 0
        self._open = 0  # batches submitted and not completed, as far as the driver knows
        self._cancelled: set[Ticket] = set()
        self._closed = False

    def submit(self, ticket: Ticket, batch: Batch, /) -> None:
        """Queue the batch, and bring in another thread while there are more batches than threads."""
        self._batches.put((ticket, batch))
        self._open += 1
        if self._threads < min(self.width, self._open):
            self._threads += 1
            lend_thread(self)

    def poll(self, timeout: float | None, /) -> Sequence[Fact]:
        """Wait for a thread to report."""
        return self._count(self._inbox.take(timeout))

    async def apoll(self, timeout: float | None, /) -> Sequence[Fact]:
        """Await a report."""
        return self._count(await self._inbox.atake(timeout))

    def _count(self, facts: list[Fact]) -> list[Fact]:
        self._open -= sum(isinstance(fact, Completion) for fact in facts)
        return facts

    def wake(self) -> None:
        """End a wait in another thread."""
        self._inbox.wake()

    def cancel(self, tickets: Sequence[Ticket], /) -> None:
        """Keep queued batches from being run; they come back without outcome."""
        self._cancelled.update(tickets)

    def close(self, _how: Closing, /) -> None:
        """Send the threads home; a running batch goes on to the end of its time budget, or of its present task."""
        if not self._closed:
            self._closed = True
            for _ in range(self._threads):
                self._batches.put(None)

    def serve(self, worker: str) -> None:
        """What a lent thread does: run batches until the session closes."""
        while (item := self._batches.get()) is not None:
            if not self._closed:
                try:
                    self._beside.run(self._serve_one, worker, *item)
                except BaseException as error:  # noqa: BLE001  whatever it is, the caller must not wait for ever
                    self._inbox.put(Completion(item[0], [], lost=error, worker=worker))

    def _serve_one(self, worker: str, ticket: Ticket, batch: Batch) -> None:
        if ticket in self._cancelled:
            self._inbox.put(Completion(ticket, [], lost=RuntimeError("the batch was cancelled")))
            return
        request, report = self._request, self._inbox.put
        completion = run_tasks(
            batch.tasks,
            worker=worker,
            started=(lambda index, at: report(Started(ticket, index, worker, at))) if request.watch else None,
            **request.options(ticket, batch, self._place),
        )
        report(completion)


class _Lender:
    """The idle threads of this process, the last used first."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.idle: list[_LentThread] = []
        self.born = 0

    def lend(self, session: ThreadsSession) -> None:
        with self.lock:
            thread = self.idle.pop() if self.idle else None
            if thread is None:
                self.born += 1
                name = f"jobspan-thread-{self.born}"
        if thread is None:
            thread = _LentThread(self, name)
            thread.start()
        thread.sessions.put(session)


class _LentThread(threading.Thread):
    def __init__(self, lender: _Lender, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.sessions: SimpleQueue[ThreadsSession] = SimpleQueue()
        self._lender = lender

    def run(self) -> None:
        while (session := self._next_session()) is not None:
            session.serve(self.name)
            del session  # an idle thread keeps nothing alive
            with self._lender.lock:
                self._lender.idle.append(self)

    def _next_session(self) -> ThreadsSession | None:
        try:
            return self.sessions.get(timeout=IDLE_S)
        except Empty:
            pass
        with self._lender.lock:
            if self in self._lender.idle:
                self._lender.idle.remove(self)
                return None
        return self.sessions.get()  # lent in this very moment


_lender = _Lender()


def lend_thread(session: ThreadsSession) -> None:
    """Let one more thread serve `session`."""
    _lender.lend(session)


def _forget_threads() -> None:
    global _lender  # noqa: PLW0603  one per process
    _lender = _Lender()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)  # threads do not survive a fork
