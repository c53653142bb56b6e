"""Sessions on a lent pool whose workers take batches from a line.

Invariant: the pool is given back once, however the session ends; after that nothing of the run is at work in it, and
nothing of the run is on its line.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError
from time import monotonic

from jobspan.backends.base import Closing, OpenRequest
from jobspan.backends.copying import CopyingSession, ended_early
from jobspan.backends.crew import GRACE_S, Pool
from jobspan.backends.line import Line, Message
from jobspan.backends.pools import Lender
from jobspan.backends.relay import detach, listen
from jobspan.errors import WorkerLost
from jobspan.model import Batch, Completion, Fact, Ticket
from jobspan.worker.reply import discard_reply


class LentSession(CopyingSession):
    """Batches on the line of a pool that is this session's until it closes."""

    def __init__(self, lender: Lender, pool: Pool, line: Line, request: OpenRequest) -> None:
        super().__init__(pool.kind.width, request, is_local=True)
        self._lender = lender
        self._pool = pool
        self._line = line
        self._tickets: dict[int, Ticket] = {}  # of the batches that are on the line or at work, by number
        self._lost: list[Completion] = []  # to be told at the next poll
        self._is_closed = False
        self._taking = threading.Lock()  # by whoever takes from the line, which is another session's after `close`

    def submit(self, ticket: Ticket, batch: Batch, /) -> None:
        """Put the batch on the line; what cannot be encoded comes back as lost."""
        self._under_way[ticket] = batch
        number = self._pool.next_number()
        self._tickets[number] = ticket
        try:
            self._line.post(number, self._encoder.encode(batch, ticket=ticket))
        except Exception as error:  # noqa: BLE001  pickling runs users' code, and a long batch may find no room
            self._lose(number, error)
        listen(self._frame)

    def poll(self, timeout: float | None, /) -> Sequence[Fact]:
        """Wait for replies."""
        with self._taking:
            if self._is_closed:
                return ()
            arrived = self._known(self._line.take(self._limited(timeout)))
            facts: list[Fact] = [self._settle(message) for message in arrived]
            if self._line.broken is not None and self._tickets:
                error = self._explain_loss(self._line.broken)
                for number in list(self._tickets):
                    self._lose(number, error)
        facts += self._lost
        self._lost = []
        return facts

    async def apoll(self, timeout: float | None, /) -> Sequence[Fact]:
        """Await replies."""
        if (limited := self._limited(timeout)) != 0 and not self._is_closed:
            await self._line.arrival(limited)
        return self.poll(0.0)

    def _limited(self, timeout: float | None) -> float | None:
        return 0.0 if self._lost or self._line.broken is not None else timeout

    def _known(self, messages: Sequence[Message]) -> list[Message]:
        """Those that were not given up: what a worker sends as its pool breaks may come after that."""
        return [message for message in messages if message.number in self._tickets]

    def _settle(self, message: Message) -> Completion:
        ticket = self._tickets.pop(message.number)
        self._encoder.done(ticket)
        try:
            completion = self._decode(ticket, message.reply())
        except Exception as error:  # noqa: BLE001  a result whose unpickling fails
            completion = Completion(ticket, [], lost=error)
        self._under_way.pop(ticket, None)
        return completion

    def _lose(self, number: int, error: BaseException) -> None:
        ticket = self._tickets.pop(number)
        self._encoder.done(ticket)
        self._under_way.pop(ticket, None)
        self._lost.append(Completion(ticket, [], lost=error))

    def _explain_loss(self, error: BaseException) -> WorkerLost:
        return ended_early(error) if self._pool.has_ended else super()._explain_loss(error)

    def _death(self) -> str:
        return f"{self._pool.describe_ends()}. The next call gets fresh workers."

    def wake(self) -> None:
        """End a wait in another thread."""
        self._line.wake()

    def cancel(self, tickets: Sequence[Ticket], /) -> None:
        """Take batches that no worker has begun off the line."""
        with self._taking:
            if self._is_closed:
                return
            for message in self._known(self._line.withdraw()):
                if self._tickets[message.number] in tickets:
                    self._lose(message.number, CancelledError())
                else:
                    self._line.post(message.number, message.payload)

    def close(self, _how: Closing, /) -> None:
        """Give the pool back; what still runs in it is stopped, or its workers are ended."""
        self._line.wake()  # whoever waits for it
        with self._taking:
            if self._is_closed:
                return
            self._is_closed = True
            usable = False
            try:
                usable = self._line.broken is None and self._stop()
            finally:
                self._lender.give_back(self._pool, usable=usable, idle_s=self._request.staff.idle_worker_timeout)
                detach(self._frame)
                self._encoder.close()

    def _stop(self) -> bool:
        """Make the workers leave off what they have of this run; whether they do so soon."""
        if not self._tickets:
            return True
        self._forget(self._line.withdraw())
        if not self._tickets:
            return True
        if not self._pool.recall():
            return False
        deadline = monotonic() + GRACE_S
        while self._tickets and self._line.broken is None and (left := deadline - monotonic()) > 0:
            self._forget(self._line.take(left))
        return not self._tickets

    def _forget(self, messages: Sequence[Message]) -> None:
        for message in self._known(messages):
            del self._tickets[message.number]
            discard_reply(message.reply() if message.error is None else None)
