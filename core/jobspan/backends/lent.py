"""Sessions on a lent pool whose workers take batches from a line.

Invariant: the pool is given back once, however the session ends; after that nothing of the run is at work in it, and
nothing of the run is on its line.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError
from time import monotonic, perf_counter
from typing import Any

from jobspan.backends.base import Closing, OpenRequest
from jobspan.backends.copying import MOST_ENDS_WITHOUT_WORK, CopyingSession, ended_early
from jobspan.backends.crew import GRACE_S, Pool
from jobspan.backends.isolated import IsolatedPool
from jobspan.backends.line import Line, Message
from jobspan.backends.pools import Lender
from jobspan.backends.relay import detach, listen
from jobspan.errors import JobspanError, WorkerLost
from jobspan.model import Batch, Completion, Fact, Running, Ticket
from jobspan.worker.reply import discard_reply

_ON_ITS_WAY_S = 0.1  # a batch that a worker has taken shows on the board after this time at most, or never will


class LentSession(CopyingSession):
    """Batches on the line of a pool that is this session's until it closes."""

    def __init__(self, lender: Lender, pool: Pool, line: Line, request: OpenRequest) -> None:
        super().__init__(pool.kind.width, request, is_local=True)
        self._lender = lender
        self._pool = pool
        self._line = line
        self._tickets: dict[int, Ticket] = {}  # of the batches that are on the line or at work, by number
        self._lost: list[Completion] = []  # to be told at the next poll
        self._missing: set[int] = set()  # numbers of batches that no worker seemed to have when one ended
        self._look_again = 0.0
        self._ends_without_work = 0
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
            arrived = self._line.take(self._limited(timeout))
            ended = self._pool.take_ended()
            if ended:  # what they have answered is there by now
                arrived += self._line.take(0.0)
            facts: list[Fact] = [self._settle(message) for message in self._known(arrived)]
            if isinstance(self._pool, IsolatedPool) and (ended or self._missing):
                self._attend(self._pool, ended)
            if self._line.broken is not None and self._tickets:
                self._lose_all(self._explain_loss(self._line.broken))
        facts += self._lost
        self._lost = []
        return facts

    async def apoll(self, timeout: float | None, /) -> Sequence[Fact]:
        """Await replies."""
        if (limited := self._limited(timeout)) != 0 and not self._is_closed:
            await self._line.arrival(limited)
        return self.poll(0.0)

    def _attend(self, pool: IsolatedPool, ended: Sequence[int]) -> None:
        """Let new workers take the places of those that have ended, and tell what was lost with them."""
        line = self._line
        if pool.has_ended:
            line.broken = JobspanError("the workers were ended")
            return
        if self._missing and monotonic() >= self._look_again:
            for number in self._missing & self._find_missing():
                self._lose(number, WorkerLost("a worker died before it began with the batch"), begun=0)
            self._missing = set()
        for place in ended if line.broken is None else ():
            lost = WorkerLost(f"a worker died: {pool.describe_end(place)}.")
            begun = self._lose_at(place, lost)
            if begun == 0:
                self._missing |= self._find_missing()  # or it is on its way to the place on the board
                self._look_again = monotonic() + _ON_ITS_WAY_S
            self._ends_without_work += begun == 0
            try:
                pool.replace(place)
            except Exception as error:  # noqa: BLE001  the system refuses more processes, in whatever words
                line.broken = error
            if self._ends_without_work > MOST_ENDS_WITHOUT_WORK:
                line.broken = lost

    def _find_missing(self) -> set[int]:
        """Numbers of batches that are neither on the line nor with a worker: taken by one that died before it began."""
        waiting = self._line.withdraw()
        for message in waiting:
            self._line.post(message.number, message.payload)
        places = map(self._pool.read, range(self.width))
        at_work = {at.number for at in places if at is not None}
        return self._tickets.keys() - {message.number for message in waiting} - at_work

    def find_running(self) -> list[Running]:
        """The tasks that workers are on."""
        now = perf_counter()
        found = []
        for place in range(self.width):
            at = self._pool.read(place)
            if at is not None and (ticket := self._tickets.get(at.number)) is not None and at.since <= now:
                found.append(Running(ticket, at.finished, now - at.since, place))
        return found

    def expel(self, running: Running, /) -> None:
        """End the worker that is on this task; its batch comes back as lost."""
        at = self._pool.read(running.place)
        if at is not None and (self._tickets.get(at.number), at.finished) == running[:2]:
            self._pool.expel(running.place)

    def _limited(self, timeout: float | None) -> float | None:
        if self._lost or self._line.broken is not None:
            return 0.0
        if self._missing and (timeout is None or timeout > _ON_ITS_WAY_S):
            return _ON_ITS_WAY_S
        return timeout

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

    def _lose(self, number: int, error: BaseException, **details: Any) -> None:
        ticket = self._tickets.pop(number)
        self._encoder.done(ticket)
        self._under_way.pop(ticket, None)
        self._lost.append(Completion(ticket, [], lost=error, **details))

    def _lose_all(self, error: BaseException) -> None:
        """The pool is broken; the task whose worker broke it is told first, where that is known."""
        culprit = None if self._pool.has_ended else self._pool.find_culprit()
        if culprit is not None:
            self._lose_at(culprit, error)
        for place in range(self.width):
            self._lose_at(place, error, ends_run=True)
        on_the_line = {message.number for message in self._line.withdraw()}
        for number in list(self._tickets):
            self._lose(number, error, ends_run=True, begun=0 if number in on_the_line else None)

    def _lose_at(self, place: int, error: BaseException, *, ends_run: bool = False) -> int | None:
        """Lose what the worker of this place was on, if it was on anything; how many tasks of that had begun."""
        at = self._pool.read(place)
        if at is None or at.number not in self._tickets:
            return 0
        begun = at.count_begun(at.number, len(self._under_way[self._tickets[at.number]].tasks))
        spent_s, name = max(0.0, perf_counter() - at.since), self._pool.name_of(place)
        self._lose(at.number, error, worker=name, begun=begun, seconds=spent_s, ends_run=ends_run)
        return begun

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
