"""Tasks in daemon threads of our own, which pull batches from one queue.

Our own, because a `concurrent.futures.ThreadPoolExecutor` joins its threads at exit: one stuck task would keep
the interpreter for ever. Threads are lent to one session at a time and kept for the next.

A task that has had its time is left behind with its thread, which serves no session until the task is done.

Invariant: a thread serves one session until that closes, and is idle, lent or gone otherwise.
"""

from __future__ import annotations

import os
import threading
from _queue import Empty, SimpleQueue
from collections.abc import Sequence
from time import perf_counter
from typing import Any

from jobspan import host
from jobspan.backends.base import Closing, OpenRequest, Session, Traits
from jobspan.backends.inbox import Inbox
from jobspan.errors import JobspanError, say_once
from jobspan.model import Batch, Completion, Fact, Running, Started, Ticket
from jobspan.worker.beside import Beside
from jobspan.worker.context import PROBE
from jobspan.worker.run import FINISHED, LEFT, NUMBER, SINCE, Slot, run_tasks

_NEVER = float("inf")
IDLE_S = 30.0
"""An unused thread ends after this many seconds."""


class ThreadsBackend:
    """Runs tasks in threads of this interpreter."""

    traits = Traits(memory="shared", reports_start=True, can_expel=True, round_trip_s=5e-5)

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
        self._open: set[Ticket] = set()  # submitted and not completed, as far as the driver knows
        self._posts: list[_Post] = []
        self._cancelled: set[Ticket] = set()
        self._closed = False
        self._is_outer_cancelled = PROBE.get()

    def submit(self, ticket: Ticket, batch: Batch, /) -> None:
        """Queue the batch, and bring in another thread while there are more batches than threads."""
        self._batches.put((ticket, batch))
        self._open.add(ticket)
        if self._threads < min(self.width, len(self._open)):
            self._threads += 1
            lend_thread(self)

    def poll(self, timeout: float | None, /) -> Sequence[Fact]:
        """Wait for a thread to report."""
        return self._count(self._inbox.take(timeout))

    async def apoll(self, timeout: float | None, /) -> Sequence[Fact]:
        """Await a report."""
        return self._count(await self._inbox.atake(timeout))

    def _count(self, facts: list[Fact]) -> list[Fact]:
        """Drop what comes from threads that were left, and take note of the rest."""
        known = [fact for fact in facts if fact.ticket in self._open]
        self._open.difference_update(fact.ticket for fact in known if isinstance(fact, Completion))
        return known

    def wake(self) -> None:
        """End a wait in another thread."""
        self._inbox.wake()

    def find_running(self) -> list[Running]:
        """The tasks that threads are on."""
        now = perf_counter()
        found = []
        for place, post in enumerate(self._posts):
            ticket, finished, since = post.slot[NUMBER], post.slot[FINISHED], post.slot[SINCE]
            if ticket in self._open and since <= now and not post.is_left:
                found.append(Running(int(ticket), int(finished), now - since, place))
        return found

    def expel(self, running: Running, /) -> None:
        """Leave the thread that is on this task to itself, and let another take its place."""
        post = self._posts[running.place]
        if (post.slot[NUMBER], post.slot[FINISHED]) != running[:2] or running.ticket not in self._open:
            return
        post.is_left = True
        post.slot[NUMBER] = LEFT
        if self._request.isolate:  # or the call is over, and nothing takes its place
            say_once(
                "a task in a thread has had its time; a thread cannot be ended, so it is left to itself, and a new one "
                "takes its place. backend='loky' ends such a task with its process."
            )
        left = JobspanError("the thread was left to itself")
        values = post.values[: running.finished]
        self._inbox.put(Completion(running.ticket, values, lost=left, begun=len(values) + 1, worker=post.worker))
        lend_thread(self)

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
        post = _Post(worker)
        self._posts.append(post)
        while not post.is_left and (item := self._batches.get()) is not None:
            if not self._closed:
                try:
                    self._beside.run(self._serve_one, post, *item)
                except BaseException as error:  # noqa: BLE001  whatever it is, the caller must not wait for ever
                    self._inbox.put(Completion(item[0], [], lost=error, worker=worker))

    def _serve_one(self, post: _Post, ticket: Ticket, batch: Batch) -> None:
        worker = post.worker
        PROBE.set(lambda: self._closed or post.is_left or self._is_outer_cancelled())
        if ticket in self._cancelled:
            self._inbox.put(Completion(ticket, [], lost=RuntimeError("the batch was cancelled")))
            return
        request, report = self._request, self._inbox.put
        completion = run_tasks(
            batch.tasks,
            worker=worker,
            started=(lambda index, at: report(Started(ticket, index, worker, at))) if request.watch else None,
            **(post.begin(ticket) if request.timed else {}),
            **request.options(ticket, batch, self._place),
        )
        report(completion)


class _Post:
    """A thread's place in a session, and what it is on."""

    def __init__(self, worker: str) -> None:
        self.worker = worker
        self.slot: Slot = [0.0, 0.0, _NEVER]
        self.values: list[Any] = []
        self.is_left = False

    def begin(self, ticket: Ticket) -> dict[str, Any]:
        """A batch is being run; what `run_tasks` needs to tell of it."""
        self.slot, self.values = [ticket, 0.0, _NEVER], []
        return {"slot": self.slot, "values": self.values}


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
