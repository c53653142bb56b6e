"""One run on a joblib-style backend: batches go out as callables, and come back by callback, by asking, or by waiting.

joblib gives a job's result back in one of two ways. With ``supports_retrieve_callback`` the callback brings it, through
``retrieve_result_callback``. Without, ``retrieve_result(job)`` fetches it, and the callback only tells of the end: some
backends call it late, never after an error, or never at all. So the job itself is asked too, as far as it can be.

Invariant: callbacks only put into the inbox; everything else happens in `submit`, `poll` and `close`, in the driver's
thread. A thread of our own waits for a job only where that job offers nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from contextvars import copy_context
from functools import partial
from time import monotonic
from typing import Any, Literal

from jobspan import host
from jobspan.backends.base import Closing, OpenRequest
from jobspan.backends.inbox import Inbox
from jobspan.backends.legacy.call import BatchCall, EitherWay, run_shared
from jobspan.backends.legacy.jobs import (
    Called,
    Ended,
    News,
    Raised,
    Retrieved,
    asker_of,
    failure_of,
    find_submit,
    is_over,
    retrieve,
    wait_for,
)
from jobspan.backends.legacy.parallel import Tally
from jobspan.errors import WorkerLost
from jobspan.model import Batch, Completion, Fact, Ticket
from jobspan.worker.describe import add_note, short, span
from jobspan.worker.frame import Frame
from jobspan.worker.reply import decode_reply
from jobspan.worker.wire import BatchEncoder

WORTH = 20.0
"""A batch may last this many round trips, as they were measured: some take minutes."""

_WATCH_S = 0.5  # how often jobs are asked that can only be asked
_LATER = object()


class LegacySession:
    """Batches as jobs of a joblib-style backend.

    Parameters
    ----------
    instance : object
        The backend, configured and started.
    width : int
        Tasks at the same time.
    frame : Frame
        What the tasks find around them.
    memory : {"shared", "copied"}
        Whether tasks are run as they are, or are sent as bytes wherever the backend pickles them.
    round_trip_s : float
        What a batch is assumed to cost until it is measured.
    tally : Tally
        Where the run is counted.
    ending : ExitStack
        What is to be undone at the end.
    """

    def __init__(
        self,
        instance: Any,
        width: int,
        request: OpenRequest,
        frame: Frame,
        *,
        memory: Literal["shared", "copied"],
        round_trip_s: float,
        tally: Tally,
        ending: ExitStack,
    ) -> None:
        self.width = width
        self._instance = instance
        self._submit = find_submit(instance)
        self._by_callback = bool(getattr(instance, "supports_retrieve_callback", False))
        self._request = request
        self._frame = frame
        self._context = copy_context()
        self._copies = memory == "copied"
        self._budget_s = self._least_budget_s = _longer(request.budget_s, WORTH * round_trip_s)
        self._encoder = self._new_encoder()
        self._round_trip_s = float("inf")
        self._tally = tally
        self._ending = ending
        self._inbox: Inbox[tuple[Ticket, News | Completion]] = Inbox()
        self._under_way: dict[Ticket, tuple[Batch, float]] = {}
        self._jobs: dict[Ticket, Any] = {}
        self._asked: set[Ticket] = set()  # jobs that have to be asked whether they are over
        self._awaited: set[Ticket] = set()  # jobs that a thread waits for
        self._cancelled: set[Ticket] = set()
        self._ran_here = False  # as far as known, batches do not leave this process
        self._refusals: dict[Ticket, Exception] = {}  # why a batch cannot be sent to another one
        self._woken = False

    def submit(self, ticket: Ticket, batch: Batch, /) -> None:
        """Give the batch to the backend; what it refuses comes back as lost."""
        self._under_way[ticket] = batch, monotonic()
        self._tally.batches_sent += 1
        self._tally.tasks_sent += len(batch.tasks)
        inbox = self._inbox  # not self: a backend may keep the callback for ever
        call = self._either(ticket, batch) if self._copies else self._shared(ticket, batch)

        def callback(out: Any = None, *_more: Any, **_named: Any) -> None:
            inbox.put((ticket, Called(out)))

        try:
            job = self._jobs[ticket] = self._submit(call, callback=callback)
        except Exception as error:  # noqa: BLE001  the backend's own code
            inbox.put((ticket, Raised(error)))
        else:
            self._follow(ticket, job)

    def _either(self, ticket: Ticket, batch: Batch) -> BatchCall:
        either = EitherWay(self._shared(ticket, batch).only, partial(self._encoder.encode, batch))
        if not self._ran_here:  # later the input may have changed the arguments
            either.encode()
            if either.refusal is not None:
                self._refusals[ticket] = either.refusal
        return BatchCall(either)

    def _shared(self, ticket: Ticket, batch: Batch) -> BatchCall:
        options = self._request._replace(budget_s=self._budget_s).options(ticket, batch, self._frame.place)
        return BatchCall(run_shared, self._context, self._cancelled, batch.tasks, options)

    def _follow(self, ticket: Ticket, job: Any) -> None:
        """See to it that the job's end becomes known even if its callback is not called."""
        inbox = self._inbox
        if callable(getattr(job, "add_done_callback", None)):
            job.add_done_callback(lambda _job: inbox.put((ticket, Ended())))
        elif asker_of(job) is not None:
            self._asked.add(ticket)
        elif not self._by_callback:
            if host.has_threads():
                self._awaited.add(ticket)
                wait_for(self._instance, job, lambda news: inbox.put((ticket, news)))
            else:
                inbox.put((ticket, Ended()))  # asking for its result is the only way to wait for it

    def poll(self, timeout: float | None, /) -> Sequence[Fact]:
        """Wait for the backend to say something, and now and then ask the jobs that say nothing."""
        end = None if timeout is None else monotonic() + timeout
        while True:
            facts = self._settle_all(self._inbox.take(self._wait_s(end)))
            if facts or self._is_enough(end):
                return facts

    async def apoll(self, timeout: float | None, /) -> Sequence[Fact]:
        """Await what `poll` waits for."""
        end = None if timeout is None else monotonic() + timeout
        while True:
            facts = self._settle_all(await self._inbox.atake(self._wait_s(end)))
            if facts or self._is_enough(end):
                return facts

    def _wait_s(self, end: float | None) -> float | None:
        left = None if end is None else max(0.0, end - monotonic())
        if not self._asked:
            return left
        return _WATCH_S if left is None else min(left, _WATCH_S)

    def _is_enough(self, end: float | None) -> bool:
        woken, self._woken = self._woken, False
        return woken or (end is not None and monotonic() >= end)

    def _settle_all(self, news: list[tuple[Ticket, News | Completion]]) -> list[Fact]:
        if not news:
            news = [(ticket, Ended()) for ticket in self._asked if is_over(self._jobs[ticket])]
        found = [self._settle(ticket, said) for ticket, said in news]
        return [fact for fact in found if fact is not None]

    def _settle(self, ticket: Ticket, news: News | Completion) -> Completion | None:
        """What became of the batch, or None if that is known already, or not yet."""
        if ticket not in self._under_way:
            return None
        if isinstance(news, Completion):
            return self._count(ticket, news)
        try:
            value = self._value(ticket, news)
        except Exception as error:  # noqa: BLE001  the backend's own code, in its own words
            value = Raised(error)
        if value is _LATER:
            return None
        if isinstance(value, Raised):
            lost = self._refusals.pop(ticket, None) or self._explain(value.error)
            return self._count(ticket, Completion(ticket, [], lost=lost))
        return self._count(ticket, self._decode(ticket, value))

    def _value(self, ticket: Ticket, news: News) -> Any:
        """What the batch returned, or `Raised`, or `_LATER` where the callback or a thread is yet to report."""
        match news:
            case Raised():
                return news
            case Retrieved(value):
                return value
            case Called(out) if self._by_callback:
                return self._instance.retrieve_result_callback(out)
            case Ended() if self._by_callback:
                failure = failure_of(self._jobs[ticket])
                return _LATER if failure is None else Raised(failure)
            case _ if ticket in self._jobs and ticket not in self._awaited:
                return retrieve(self._instance, self._jobs[ticket])
            case _:
                return _LATER

    def _decode(self, ticket: Ticket, value: Any) -> Completion:
        reply = value[0] if isinstance(value, list | tuple) and len(value) == 1 else value
        if isinstance(reply, Completion):
            self._ran_here = True
            return reply
        if self._copies and isinstance(reply, bytes):
            try:
                return decode_reply(ticket, reply)
            except Exception as error:  # noqa: BLE001  a result whose unpickling fails
                return Completion(ticket, [], lost=error)
        mistake = TypeError(
            f"{self._name} gave back {short(value)} for a batch, and not what calling the batch returned. Where it has "
            f"supports_retrieve_callback, its retrieve_result_callback(out) must return that, else its retrieve_result."
        )
        return Completion(ticket, [], lost=mistake)

    def _explain(self, error: BaseException) -> BaseException:
        from concurrent.futures import BrokenExecutor

        if isinstance(error, BrokenExecutor):
            lost = WorkerLost(
                f"a worker of {self._name} died, or could not start, and broke its pool, with {self._tasks()} under "
                f"way: it was killed (perhaps for want of memory), crashed, or a task ended it with os._exit."
            )
            lost.__cause__ = error
            return lost
        add_note(error, f"raised by {self._name} and not by a task, with {self._tasks()} under way")
        return error

    @property
    def _name(self) -> str:
        return f"the joblib-style backend {type(self._instance).__name__}"

    def _tasks(self) -> str:
        """The tasks under way, in words."""
        batches = [batch for batch, _ in self._under_way.values()]
        first = min(batch.first for batch in batches)
        return span(first, max(batch.first + len(batch.tasks) for batch in batches) - first)

    def _count(self, ticket: Ticket, completion: Completion) -> Completion:
        _, sent_at = self._under_way.pop(ticket)
        self._jobs.pop(ticket, None)
        self._asked.discard(ticket)
        self._awaited.discard(ticket)
        self._refusals.pop(ticket, None)
        self._tally.tasks_done += len(completion.values)
        if completion.lost is None:
            self._measure(monotonic() - sent_at - completion.seconds)
        return completion

    def _measure(self, round_trip_s: float) -> None:
        """Let batches last longer where a round trip costs more than was assumed: a job's start may take minutes."""
        self._round_trip_s = min(self._round_trip_s, round_trip_s)
        budget_s = _longer(self._least_budget_s, WORTH * self._round_trip_s)
        if budget_s != self._budget_s:
            self._budget_s = budget_s
            self._encoder = self._new_encoder()

    def _new_encoder(self) -> BatchEncoder:
        return BatchEncoder(self._frame, budget_s=self._budget_s, watch=self._request.watch)

    def wake(self) -> None:
        """End a wait in another thread."""
        self._woken = True
        self._inbox.wake()

    def cancel(self, tickets: Sequence[Ticket], /) -> None:
        """Keep batches that share memory from being run; what was copied is beyond reach until `close`."""
        self._cancelled.update(tickets)

    def close(self, how: Closing, /) -> None:
        """End the call as joblib does; where the run failed, what still runs is aborted first."""
        ending, self._ending = self._ending, ExitStack()
        if how == "kill" and not all(is_over(self._jobs.get(ticket)) for ticket in self._under_way):
            self._tally.aborting = True
        ending.close()


def _longer(budget_s: float | None, worth_s: float) -> float | None:
    return None if budget_s is None else max(budget_s, worth_s)
