"""The scheduler: facts in, orders out.

A run is a conversation. The flow asks `Scheduler.next_order` until there is none, carries each order out, and
reports what happened: `Scheduler.offer` and `close_source` answer a `Pull`, `complete` a `Send`, `consumed` an
`Emit`. Nothing here waits, starts a thread or looks at a clock; time is an argument.

Invariants:

- Every task that was offered is emitted exactly once, as its result or as what takes its place, in order where the
  policy says so, or the run fails.
- No more than ``policy.window`` tasks are pulled and not yet consumed, and no more than ``2 * width`` batches are
  in flight, or ``8 * width`` very short ones of a size that the user gave. Results held for the consumer stay below
  ``policy.held_bytes``, as far as their sizes are foreseen.
- Unless the run is over, something is always in flight, waiting to be consumed, waiting for its next attempt, or
  ordered next: it cannot get stuck.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from jobspan.errors import TaskError
from jobspan.model import SKIPPED, Batch, Completion, Running, Setback, Task, Ticket
from jobspan.schedule.backlog import Backlog
from jobspan.schedule.batching import BatchSizer
from jobspan.schedule.chances import Chances
from jobspan.schedule.policy import Policy
from jobspan.schedule.setbacks import Outcome, Setbacks, Substitute, keep
from jobspan.schedule.timers import Timers

_AHEAD = 16  # tasks per worker


class Pull(NamedTuple):
    """Take up to `limit` tasks from the input; fewer are fine."""

    limit: int


class Send(NamedTuple):
    """Submit this batch."""

    ticket: Ticket
    batch: Batch


class Look(NamedTuple):
    """Ask the session what its workers are on, and end the tasks that are late, says `Scheduler.find_late`."""


class Emit(NamedTuple):
    """Hand these results to the consumer, without those that are `SKIPPED`.

    `nbytes` is their size as far as it was measured.
    """

    values: list[Any]
    nbytes: int


class Fail(NamedTuple):
    """End the run by raising this; `partial` has the results, by index, that were finished and not emitted."""

    error: BaseException
    partial: dict[int, Any]


class Finish(NamedTuple):
    """The run is complete."""


Order: TypeAlias = Pull | Send | Look | Emit | Fail | Finish


def _no_luck() -> float:
    return 1.0


class Scheduler:
    """One run's bookkeeping, by batches.

    Parameters
    ----------
    policy : Policy
        The rules of the run.
    width : int
        How many tasks can run at the same time.
    now : float
        The time, in seconds, of the clock whose readings `next_order` will be given.
    replace : callable
        Takes a `TaskError` and returns what takes the place of the result, where the policy is tolerant.
    luck : callable
        Returns random numbers from 0 to 1.
    """

    def __init__(
        self,
        policy: Policy,
        width: int,
        now: float,
        *,
        replace: Callable[[TaskError], Any] = keep,
        luck: Callable[[], float] = _no_luck,
    ) -> None:
        self._policy = policy
        self._width = width
        self._begun = now
        self._sizer = BatchSizer(policy.round_trip_s)
        self._max_in_flight = 1 if policy.inline else 2 * width
        self._deepens = bool(policy.batch_size and policy.window is None and not policy.inline)
        self._timers = Timers(policy, now)

        self._source_open = True
        self._offered = False  # since the last Send: keeps a slow input from holding back what it gave
        self._backlog = Backlog()
        self._chances = Chances(policy.backoff, luck)
        self._setbacks = Setbacks(policy, self._chances, replace)
        self._in_flight: dict[Ticket, Batch] = {}
        self._in_flight_tasks = 0
        self._tickets = 0

        self._finished: dict[int, tuple[list[Any], int]] = {}  # values and bytes by first index, not yet emitted
        self._next_emitted = 0
        self._epoch = 0
        self._ahead = 0  # tasks to pull at once, at least
        self._pulled = self._emitted = self._consumed = 0  # numbers of tasks
        self._held_bytes = 0  # finished and not consumed
        self._error: BaseException | None = None

    # Facts

    def offer(self, tasks: list[Task], *, ran_code: bool = True) -> None:
        """The input gave these tasks, and may have run code of the user's to make them.

        The list is the scheduler's from now on.
        """
        self._backlog.append(self._pulled, tasks)
        self._pulled += len(tasks)
        self._epoch += ran_code
        self._offered = True

    def know(self, values: list[Any], nbytes: int) -> None:
        """The input gave tasks whose results, of this size, are there already."""
        self._finished[self._pulled] = values, nbytes
        self._pulled += len(values)
        self._held_bytes += nbytes

    def pull_ahead(self) -> None:
        """Take more from the input at a time from now on: code of the input that ran makes the next batch dear."""
        self._ahead = _AHEAD * self._width

    def close_source(self, error: BaseException | None = None) -> None:
        """The input has ended, or raised `error`."""
        self._source_open = False
        if error is not None:
            self._fail(error)

    def complete(self, completion: Completion, now: float) -> Sequence[Setback]:
        """A batch came back; late and repeated completions are ignored.

        Returns the attempts that have thereby come to nothing.
        """
        batch = self._in_flight.pop(completion.ticket, None)
        if batch is None:
            return ()
        first, tasks = batch.first, batch.tasks
        self._in_flight_tasks -= len(tasks)
        completion = self._timers.judge(batch, completion)
        values, nbytes = completion.values, completion.nbytes
        done = len(values)
        if done:
            self._finished[first] = values, nbytes
            self._held_bytes += nbytes
            self._sizer.learn(done, completion.seconds, nbytes)
            if self._deepens:
                self._max_in_flight = self._width * self._sizer.depth(len(tasks))
        if completion.lost is not None:
            for outcome in self._setbacks.lose(batch, completion, now):
                self._accept(outcome)
            return self._setbacks.take_news()
        if completion.error is not None:
            self._accept(self._setbacks.fail(batch, done, completion.error, completion.worker, now))
            done += 1
        if done < len(tasks):
            self._backlog.put_back(first + done, tasks[done:])
        return self._setbacks.take_news()

    def _accept(self, outcome: Outcome | None) -> None:
        match outcome:
            case Substitute(index, value):
                self._finished[index] = [value], 0
            case Batch(first, tasks):
                self._backlog.put_back(first, tasks)
            case BaseException():
                self._fail(outcome)

    def consumed(self, count: int, nbytes: int) -> None:
        """The consumer took `count` results of `nbytes`, which `Emit` had handed out."""
        self._consumed += count
        self._held_bytes -= nbytes

    def _fail(self, error: BaseException) -> None:
        if self._error is None:
            self._error = error

    # Questions

    @property
    def pulled(self) -> int:
        """Number of tasks taken from the input."""
        return self._pulled

    @property
    def total(self) -> int | None:
        """Number of tasks of the input; None while it may have more."""
        return None if self._source_open else self._pulled

    def is_stalled(self, now: float) -> bool:
        """Whether only the consumer can get the run going again: waiting for the session would hang."""
        return not self._in_flight and self.patience(now) is None

    @property
    def hungry(self) -> bool:
        """Whether more would be sent if the consumer took something."""
        has_more = self._source_open or bool(self._backlog) or bool(self._chances)
        return has_more and len(self._in_flight) < self._max_in_flight

    def patience(self, now: float) -> float | None:
        """Seconds to wait for the session at most; None: as long as it takes."""
        waits = self._timers.waits_s(now) if self._in_flight or self._policy.deadline_s else []
        if self._chances and (wait_s := self._chances.wait_s(now)) > 0.0:  # else it waits for something else
            waits.append(wait_s)
        return min(waits, default=None)

    def find_late(self, running: Sequence[Running], now: float) -> list[Running]:
        """Which of the tasks that workers are on have to be ended; each is named once."""
        return self._timers.find_late(running, now)

    def find_batch(self, ticket: Ticket) -> Batch | None:
        """The batch in flight under this ticket."""
        return self._in_flight.get(ticket)

    @property
    def in_flight(self) -> Sequence[Ticket]:
        """Tickets of the batches that were sent and did not come back."""
        return list(self._in_flight)

    # Orders

    def next_order(self, now: float) -> Order | None:
        """What to do next; None: wait for the session, or for the consumer where it `is_stalled`."""
        if (urgent := self._next_urgent(now)) is not None:
            return urgent
        size = self._batch_size(now)
        if len(self._in_flight) >= self._max_in_flight:
            if pull := self._next_pull(self._reserve(size)):
                return pull
        elif size:
            if (again := self._chances.take(now)) is not None:
                return self._send(again)
            if not self._offered and (pull := self._next_pull(size)):
                return pull
            if self._backlog:
                return self._next_send(size)
        if not (self._source_open or self._backlog or self._in_flight or self._chances):
            return self._end()
        self._offered = False
        return None

    def _next_urgent(self, now: float) -> Emit | Fail | Look | None:
        """What comes before all work."""
        if self._finished and (emit := self._next_emit()) is not None:
            return emit
        if self._timers.is_over(now):
            self._fail(self._timers.explain(self._emitted, self._pulled))
        if self._error is not None:
            return Fail(self._error, self.find_partial())
        return Look() if self._in_flight and self._timers.is_time_to_look(now) else None

    def _next_emit(self) -> Emit | None:
        first = self._next_emitted if self._policy.ordered else next(iter(self._finished))
        found = self._finished.pop(first, None)
        if found is None:
            return None
        self._next_emitted = first + len(found[0])
        self._emitted += len(found[0])
        return Emit(*found)

    def _next_pull(self, at_hand: int) -> Pull | None:
        """Order what is missing until `at_hand` tasks lie in the backlog."""
        count = at_hand - len(self._backlog)
        if count > 0:
            count = max(count, self._ahead)
        window = self._policy.window
        if window is not None:
            count = min(count, window - (self._pulled - self._consumed))
        return Pull(count) if self._source_open and count > 0 else None

    def _next_send(self, size: int) -> Send:
        if not self._source_open and self._policy.batch_size is None:
            # Towards the end ever smaller batches, so that no last one keeps a single worker busy.
            size = min(size, max(-(-len(self._backlog) // (2 * self._width)), self._sizer.smallest))
        return self._send(self._backlog.take(size))

    def _send(self, batch: Batch) -> Send:
        batch = batch._replace(epoch=self._epoch)
        self._in_flight_tasks += len(batch.tasks)
        self._tickets += 1
        self._in_flight[self._tickets] = batch
        self._offered = False
        return Send(self._tickets, batch)

    def _end(self) -> Fail | Finish:
        failures = self._setbacks.failures
        if not failures:
            return Finish()
        return Fail(
            BaseExceptionGroup(f"{len(failures)} of {self._pulled} tasks failed", failures), self.find_partial()
        )

    def find_partial(self) -> dict[int, Any]:
        """The results, by index, that are finished and were not emitted."""
        found: dict[int, Any] = {}
        for first, (values, _) in self._finished.items():
            found.update(enumerate(values, first))
        return {index: value for index, value in found.items() if value is not SKIPPED}

    def _batch_size(self, now: float) -> int:
        """Tasks that the next batch may have; 0: none may be sent now."""
        if self._policy.inline:
            return 1
        size = self._policy.batch_size or self._sizer.size(now - self._begun)
        window = self._policy.window
        if window is not None:
            size = min(size, max(1, window // self._max_in_flight))
        limit, task_nbytes = self._policy.held_bytes, self._sizer.task_nbytes
        if limit is None or (not task_nbytes and self._held_bytes < limit):
            return size
        expected = self._held_bytes + self._in_flight_tasks * task_nbytes
        if task_nbytes and (room := max(0, int((limit - expected) / task_nbytes))):
            share = int(limit / task_nbytes / self._max_in_flight)
            return min(size, room, max(1, share))
        # Full. Where neither a worker nor the consumer can make room, the one task that everything else
        # waits for is still unsent: it must go.
        return 1 if not self._in_flight and self._emitted == self._consumed else 0

    def _reserve(self, size: int) -> int:
        """Tasks to have at hand while all workers are busy.

        An input of unknown length shows its end early that way, while there is still something to divide.
        """
        if self._policy.window is not None:
            return self._policy.window
        if self._policy.inline or not self._sizer.measured or self._policy.batch_size is not None:
            return 0
        return self._width * size
