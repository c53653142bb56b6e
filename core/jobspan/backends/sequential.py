"""Tasks in the caller's own thread, one after the other.

Invariant: a task runs only inside a poll, so never before the consumer asks for its result.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter, sleep

from jobspan.backends.base import Closing, OpenRequest, Session, Traits
from jobspan.errors import InitializerError
from jobspan.model import Batch, Completion, Fact, Ticket
from jobspan.worker.describe import CALLER
from jobspan.worker.prepare import initialize
from jobspan.worker.run import run_tasks

_TURN_S = 0.01  # an event loop gets its turn this often


class SequentialBackend:
    """Runs everything where it is called."""

    traits = Traits(memory="shared", inline=True)

    def cpu_count(self) -> int:
        """One task at a time."""
        return 1

    def open(self, request: OpenRequest, /) -> Session:
        """A session without workers."""
        return SequentialSession(request)


class SequentialSession:
    """Holds the batches until they are polled for."""

    width = 1

    def __init__(self, request: OpenRequest) -> None:
        self._request = request
        self._place = request.frame.place
        self._initializer = request.frame.initializer
        self._waiting: dict[Ticket, Batch] = {}
        self._last_turn = perf_counter()

    def submit(self, ticket: Ticket, batch: Batch, /) -> None:
        """Put the batch aside."""
        self._waiting[ticket] = batch

    def poll(self, timeout: float | None, /) -> Sequence[Fact]:
        """Run one batch; where there is none, only time can bring one."""
        if not self._waiting or timeout == 0:
            if timeout:
                sleep(timeout)
            return ()
        ticket = next(iter(self._waiting))
        batch = self._waiting.pop(ticket)
        if self._initializer is not None:
            try:
                initialize(self._initializer, self._place)
            except InitializerError as error:
                return (Completion(ticket, [], lost=error, worker=CALLER),)
            self._initializer = None
        return (run_tasks(batch.tasks, worker=CALLER, **self._request.options(ticket, batch, self._place)),)

    async def apoll(self, timeout: float | None, /) -> Sequence[Fact]:
        """Run one batch; the event loop gets a turn every few milliseconds."""
        import asyncio

        if perf_counter() - self._last_turn > _TURN_S:
            for _ in range(2):  # in the first turn timers that are due are only put behind this task
                await asyncio.sleep(0)
            self._last_turn = perf_counter()
        if timeout and not self._waiting:
            await asyncio.sleep(timeout)
            return ()
        return self.poll(timeout)

    def wake(self) -> None:
        """Nothing waits here."""

    def cancel(self, tickets: Sequence[Ticket], /) -> None:
        """Forget batches that have not been polled for."""
        for ticket in tickets:
            self._waiting.pop(ticket, None)

    def close(self, _how: Closing, /) -> None:
        """Forget what is left."""
        self._waiting.clear()
