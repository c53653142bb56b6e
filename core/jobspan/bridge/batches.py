"""Batches that another library makes, on a session of jobspan's.

The other library decides which tasks travel together and when the next batch is made; here a batch is sent, sent again
from where a worker came back early, and handed back when its last task is done.

Invariant: a session is opened by the first batch, touched by one thread only, and closed however the call ends. A
callback runs once for a batch, in the thread that waits, and never for one that came after the end.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from contextvars import copy_context
from time import monotonic
from typing import Any

from jobspan.backends.base import Closing, Session
from jobspan.follow.echo import WarningEcho
from jobspan.model import Batch, Completion, Task, Ticket
from jobspan.schedule.batching import BatchSizer
from jobspan.settle import Plan
from jobspan.worker.describe import span

_JOIN_S = 1.0  # the thread of a run ends at once, unless the user's own input keeps it


class Job:
    """One batch: its tasks, and what they have given so far."""

    __slots__ = ("_callback", "_run", "error", "first", "is_over", "tasks", "values")

    def __init__(self, run: Run, first: int, tasks: Sequence[Task], callback: Callable[[Job], object]) -> None:
        self._run = run
        self.first = first
        self.tasks = tasks
        self.values: list[Any] = []
        self.error: BaseException | None = None
        self.is_over = False
        self._callback = callback

    def take(self, completion: Completion) -> None:
        """Add what came back."""
        self.values += completion.values
        self.error = completion.error if completion.lost is None else completion.lost
        self.is_over = self.error is not None or len(self.values) == len(self.tasks)
        if self.is_over:
            self.tasks = ()  # their arguments are not needed while the result waits for its turn

    def call_back(self) -> None:
        """Tell the other library, which may submit the next batch now."""
        self._callback(self)

    def get(self, timeout: float | None = None) -> list[Any]:
        """Wait for the values."""
        self._run.wait_for(self, timeout)
        return self.values


class Run:
    """One call: its session, and the batches under way there."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._session: Session | None = None
        self._is_closed = False
        self._begun = monotonic()
        self._sizer = BatchSizer(plan.policy.round_trip_s)
        self._echo = WarningEcho()
        self._under_way: dict[Ticket, Job] = {}
        self._tickets = 0
        self._submitted = 0  # tasks

    def submit(self, tasks: Sequence[Task], callback: Callable[[Job], object]) -> Job:
        """Send a batch; after the end it is only taken down."""
        job = Job(self, self._submitted, tasks, callback)
        self._submitted += len(tasks)
        if not self._is_closed:
            self._begin(job)
        return job

    def _begin(self, job: Job) -> None:
        self._send(job, self._open())

    def _open(self) -> Session:
        if self._session is None:
            self._session = self._plan.backend.open(self._plan.request)
        return self._session

    def _send(self, job: Job, session: Session) -> None:
        done = len(job.values)
        self._tickets += 1
        self._under_way[self._tickets] = job
        session.submit(self._tickets, Batch(job.first + done, job.tasks[done:]))

    def wait_for(self, job: Job, timeout: float | None) -> None:
        """Wait for one batch, and call back for those that are over meanwhile; the first error ends it."""
        deadline = None if timeout is None else monotonic() + timeout
        while not job.is_over:
            left = None if deadline is None else deadline - monotonic()
            if left is not None and left <= 0:
                raise _time_out(job, timeout)
            for over in self._advance(self._open(), left):
                if over.error is not None:
                    raise over.error
                over.call_back()

    def _advance(self, session: Session, timeout: float | None) -> list[Job]:
        """Wait for news of the session; the batches that are over."""
        over = []
        for fact in session.poll(timeout):
            self._echo.hear(fact)
            if isinstance(fact, Completion):
                job = self._under_way.pop(fact.ticket)
                if fact.values:
                    self._sizer.learn(len(fact.values), fact.seconds, 0)
                job.take(fact)
                if job.is_over:
                    over.append(job)
                else:
                    self._send(job, session)
        return over

    def batch_size(self) -> int:
        """Tasks that the next batch should have."""
        return self._sizer.size(monotonic() - self._begun)

    def close(self, how: Closing) -> None:
        """Give the workers back, or end them; then repeat the tasks' warnings here."""
        self._is_closed = True
        self._close_session(how)
        self._warn(how)

    def _warn(self, how: Closing) -> None:
        with suppress(Warning) if how == "kill" else nullcontext():  # where warnings are errors, the task's comes first
            self._echo.end(how == "release")

    def _close_session(self, how: Closing) -> None:
        session, self._session = self._session, None
        if session is not None:
            if how == "kill":
                session.cancel(list(self._under_way))
            session.close(how)


def _time_out(job: Job, timeout: float | None) -> Exception:
    from multiprocessing import TimeoutError as JoblibTimeoutError  # which is not the built-in one

    return JoblibTimeoutError(
        f"after waiting {timeout} seconds for {span(job.first, len(job.tasks))} the call ends. Give it more time, or "
        f"leave timeout out."
    )


class ThreadedRun(Run):
    """A run whose session belongs to a thread of its own, which also calls back."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._waiting: deque[Job] = deque()
        self._thread: threading.Thread | None = None
        self._how: Closing = "release"

    def _begin(self, job: Job) -> None:
        """Leave it to the thread, which the first batch starts."""
        self._waiting.append(job)
        if self._thread is None:
            run, arguments = copy_context().run, (self._drive, self._open())
            self._thread = threading.Thread(target=run, args=arguments, name="jobspan-bridge", daemon=True)
            self._thread.start()
        elif (session := self._session) is not None:
            session.wake()

    def _drive(self, session: Session) -> None:
        try:
            while not self._is_closed:
                while self._waiting:
                    self._send(self._waiting.popleft(), session)
                for job in self._advance(session, None):
                    job.call_back()
        except BaseException as error:  # noqa: BLE001  the consumer's to see, whatever it is
            for job in [*self._under_way.values(), *self._waiting]:
                job.error = error
                job.call_back()
        finally:
            self._close_session(self._how)

    def close(self, how: Closing) -> None:
        """Let the thread end, which closes the session."""
        self._how = how
        self._is_closed = True
        if (session := self._session) is not None:
            session.wake()
        if self._thread is not None:
            self._thread.join(_JOIN_S)
        self._warn(how)
