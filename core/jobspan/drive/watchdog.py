"""Says what a run waits for when nothing has come back for long, instead of silence.

Invariant: a wait costs a look at the clock more, and nothing else changes; each sentence comes after twice the silence
of the one before, so long tasks are told of ever more rarely.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from time import monotonic

from jobspan.backends.base import Session
from jobspan.errors import say_once
from jobspan.model import Batch, Fact
from jobspan.schedule.core import Scheduler
from jobspan.worker.describe import describe_task

PATIENCE_S = 60.0
VARIABLE = "JOBSPAN_WATCHDOG"
"""An environment variable: seconds of silence before the first sentence; 0 for none at all."""


class Watchdog:
    """Waits for a session, and says so if that takes long.

    Parameters
    ----------
    session : Session
        What is waited for.
    scheduler : Scheduler
        Knows what is under way.
    patience_s : float or None
        Seconds of silence before the first sentence; None for no sentence.
    clock : callable
        The time in seconds.
    say : callable
        Takes a sentence.
    """

    def __init__(
        self,
        session: Session,
        scheduler: Scheduler,
        patience_s: float | None,
        *,
        clock: Callable[[], float] = monotonic,
        say: Callable[[str], object] | None = None,
    ) -> None:
        self._session = session
        self._scheduler = scheduler
        self._patience_s = patience_s
        self._clock = clock
        self._say = say or _warn
        self._quiet_since: float | None = None

    def poll(self, timeout: float | None) -> Sequence[Fact]:
        """What `Session.poll` returns; maybe with nothing before the time-out, as after `Session.wake`."""
        facts = self._session.poll(self._shorten(timeout))
        self._take_note(facts)
        return facts

    async def apoll(self, timeout: float | None) -> Sequence[Fact]:
        """What `Session.apoll` returns."""
        facts = await self._session.apoll(self._shorten(timeout))
        self._take_note(facts)
        return facts

    def _shorten(self, timeout: float | None) -> float | None:
        if self._patience_s is None:
            return timeout
        now = self._clock()
        if self._quiet_since is None:
            self._quiet_since = now
        left = max(0.0, self._quiet_since + self._patience_s - now)
        return left if timeout is None or left < timeout else timeout

    def _take_note(self, facts: Sequence[Fact]) -> None:
        if facts:
            self._quiet_since = None
        elif self._patience_s is not None and self._quiet_since is not None:
            quiet_s = self._clock() - self._quiet_since
            if quiet_s >= self._patience_s and (under_way := self._find_under_way()):
                self._patience_s = 2 * quiet_s
                self._say(describe_wait(quiet_s, under_way, self._scheduler.pulled))

    def _find_under_way(self) -> list[Batch]:
        batches = map(self._scheduler.find_batch, self._scheduler.in_flight)
        return [batch for batch in batches if batch is not None]


def describe_wait(quiet_s: float, under_way: Sequence[Batch], pulled: int) -> str:
    """What a run waits for, in words.

    Parameters
    ----------
    quiet_s : float
        Seconds for which nothing has come back.
    under_way : sequence of Batch
        What was sent, the oldest first; at least one.
    pulled : int
        Number of tasks taken from the input.
    """
    oldest = under_way[0]
    held = f"task {oldest.first}"
    try:
        held += f": {describe_task(oldest.tasks[0])}"
    except Exception:  # noqa: BLE001  the arguments' own code; its index says enough
        held += ", which cannot be shown"
    count = sum(len(batch.tasks) for batch in under_way)
    if count > 1:
        held = f"{count} of the {pulled} tasks taken from the input so far, the longest {held}"
    return (
        f"nothing has come back for {quiet_s:.0f} s; workers have {held}. "
        f"The environment's {VARIABLE}=SECONDS says when to tell of it, 0 never."
    )


def watch(session: Session, scheduler: Scheduler) -> Watchdog:
    """A watchdog as patient as the environment says."""
    return Watchdog(session, scheduler, patience(os.environ))


def patience(environment: Mapping[str, str]) -> float | None:
    """The seconds that `VARIABLE` says; None if nothing is to be said."""
    text = environment.get(VARIABLE)
    if not text:
        return PATIENCE_S
    try:
        seconds = float(text)
    except ValueError:
        say_once(f"{VARIABLE}={text!r} is no number of seconds; it is taken as {PATIENCE_S:.0f}.")
        return PATIENCE_S
    return seconds if 0 < seconds < float("inf") else None


def _warn(sentence: str) -> None:
    import logging

    logging.getLogger("jobspan").warning("jobspan: %s", sentence)
