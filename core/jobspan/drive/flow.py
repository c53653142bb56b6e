"""One run as a generator that never waits: it carries out the scheduler's orders and yields what needs a driver.

Invariant: the only code that touches the scheduler, the session's `submit` and the user's iterator; whoever
resumes it does so from one thread at a time. Closing it, at any point, closes the session.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

from jobspan.backends.base import Closing, ExpellingSession, Session
from jobspan.drive.failures import Errors, replacement
from jobspan.follow.listener import Listener
from jobspan.model import Batch, Completion, Fact, Task, Ticket
from jobspan.schedule.core import Emit, Fail, Finish, Look, Pull, Scheduler, Send
from jobspan.schedule.policy import Policy
from jobspan.worker.describe import add_note

if TYPE_CHECKING:
    from jobspan.drive.checkpoint import Resumption

_SLOW_PULL_S = 0.01
_PATIENCE = 0.1


class Wait(NamedTuple):
    """Resume with what the session's ``poll`` returns.

    `hungry`: workers are idle because the consumer holds too much; resume early when it takes something.
    """

    timeout: float | None
    hungry: bool


class Stall(NamedTuple):
    """Nothing happens before the consumer takes results: resume when it has."""


Offer: TypeAlias = Callable[..., None]
"""As `Scheduler.offer`."""

Step: TypeAlias = Wait | Stall | Emit | Fail | Finish
Flow: TypeAlias = Generator[Step, Sequence[Fact] | None, None]


class Run(NamedTuple):
    """A run that has begun, for its driver: step through `flow`, wait with `session`, report to `scheduler`.

    `leaves_out`: some of the values that it emits may be `SKIPPED`.
    """

    flow: Flow
    session: Session
    scheduler: Scheduler
    leaves_out: bool = False


def begin(
    policy: Policy,
    session: Session,
    calls: Iterable[Task],
    listeners: Sequence[Listener] = (),
    *,
    errors: Errors = "raise",
    resumption: Resumption | None = None,
) -> Run:
    """Put together one run of `calls` on `session`, which it closes at its end."""
    scheduler = Scheduler(policy, session.width, monotonic(), replace=replacement(errors), luck=_luck)
    leaves_out = policy.groups or errors == "skip"
    offer: Offer = scheduler.offer
    if resumption is not None:
        listeners = (*listeners, resumption)
        offer = partial(resumption.offer, scheduler, listeners)
    return Run(_flow(scheduler, session, calls, listeners, offer), session, scheduler, leaves_out)


def _luck() -> float:
    from random import random  # takes long to import

    return random()  # noqa: S311  nobody gains by guessing it


def _flow(
    scheduler: Scheduler,
    session: Session,
    calls: Iterable[Task],
    listeners: Sequence[Listener],
    offer: Offer,
) -> Flow:
    closing: Closing = "kill"
    patience_s = 0.0
    looked = False
    try:
        source = _iterate(calls)
        ran_code = type(calls) not in (list, tuple)
        if _rereads(session):
            scheduler.pull_ahead()
        while True:
            now = monotonic()
            match scheduler.next_order(now):
                case Send(ticket, batch):
                    _send(scheduler, session, ticket, batch, listeners)
                case Look():
                    _end_late(scheduler, cast("ExpellingSession", session), now)
                case Pull() if patience_s and scheduler.in_flight:
                    _settle(scheduler, (yield Wait(patience_s, hungry=False)), listeners)
                    patience_s = 0.0
                case Pull(limit):
                    patience_s = _pull(scheduler, source, limit, partial(offer, ran_code=ran_code))
                    _tell_end(scheduler, listeners)
                case Fail() if not looked:  # what has arrived meanwhile is handed out first
                    looked = True
                    _settle(scheduler, (yield Wait(0.0, hungry=False)), listeners)
                case Emit() | Fail() as step:
                    yield step
                case Finish() as finish:
                    closing = "release"
                    yield finish
                case None if scheduler.is_stalled(now):
                    yield Stall()
                case None:
                    _settle(scheduler, (yield Wait(_patience(scheduler, listeners, now), scheduler.hungry)), listeners)
    finally:
        _end(scheduler, session, closing, listeners)


def _tell_end(scheduler: Scheduler, listeners: Sequence[Listener]) -> None:
    if (total := scheduler.total) is not None:
        for listener in listeners:
            listener.ended(total)


def _patience(scheduler: Scheduler, listeners: Sequence[Listener], now: float) -> float | None:
    """Seconds until the scheduler or one of those who follow the run wants to be asked again."""
    patience_s = scheduler.patience(now)
    for listener in listeners:
        asked_s = listener.tick(now)
        if asked_s is not None and (patience_s is None or asked_s < patience_s):
            patience_s = asked_s
    return patience_s


def _end_late(scheduler: Scheduler, session: ExpellingSession, now: float) -> None:
    for running in scheduler.find_late(session.find_running(), now):
        session.expel(running)


def _end(scheduler: Scheduler, session: Session, closing: Closing, listeners: Sequence[Listener]) -> None:
    if closing == "kill":
        session.cancel(scheduler.in_flight)
    with ExitStack() as ending:  # whatever one of them raises, the others are told
        for listener in reversed(listeners):
            ending.callback(listener.end, closing == "release")
        session.close(closing)


def _iterate(calls: Iterable[Task]) -> Iterator[Task]:
    try:
        return iter(calls)
    except TypeError as error:
        add_note(error, "the input must be an iterable of delayed(function)(arguments)")
        raise


def _pull(scheduler: Scheduler, source: Iterator[Task], limit: int, offer: Callable[[list[Task]], None]) -> float:
    """Take up to `limit` tasks, fewer where the input is slow.

    Returns the seconds that waiting for workers may take before the next pull: a tenth of what a slow input took, so
    that results do not lie about while it is asked for more.
    """
    begun = monotonic()
    tasks: list[Task] = []
    step = 1
    try:
        while len(tasks) < limit:
            aim = min(len(tasks) + step, limit)
            tasks.extend(islice(source, aim - len(tasks)))  # keeps what came before an exception
            if len(tasks) < aim:
                scheduler.close_source()
                break
            spent_s = monotonic() - begun
            if spent_s > _SLOW_PULL_S:
                return _PATIENCE * spent_s
            step *= 2
    except Exception as error:  # noqa: BLE001  whatever the input raises ends the run
        add_note(error, f"raised by the input of tasks, after {scheduler.pulled + len(tasks)} of them")
        scheduler.close_source(error)
    finally:
        if tasks:
            offer(tasks)
    return 0.0


def _send(scheduler: Scheduler, session: Session, ticket: Ticket, batch: Batch, listeners: Sequence[Listener]) -> None:
    session.submit(ticket, batch)
    if _rereads(session):
        scheduler.pull_ahead()
    for listener in listeners:
        listener.sent(ticket, batch)


def _rereads(session: Session) -> bool:
    asked: bool = getattr(session, "rereads", bool)()
    return asked


def _settle(scheduler: Scheduler, facts: Sequence[Fact] | None, listeners: Sequence[Listener]) -> None:
    for fact in facts or ():
        batch = scheduler.find_batch(fact.ticket)
        setbacks = scheduler.complete(fact, monotonic()) if isinstance(fact, Completion) else ()
        for listener in listeners:
            listener.hear(fact, batch, setbacks)
