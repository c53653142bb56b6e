"""What the caller wants of one run, settled and frozen.

Invariant: nothing after the settling of a `Policy` reads configuration.
"""

from __future__ import annotations

from typing import NamedTuple

from jobspan.schedule.chances import Backoff

HELD_BYTES = 8_000_000
"""Bytes of results that may wait for a slow consumer, by default."""

BUDGET_S = 0.05
"""A batch comes back after this time, finished or not, so that results flow and mistakes of size are mended."""


class Policy(NamedTuple):
    """The rules of one run.

    Attributes
    ----------
    ordered : bool
        Results are handed out in the order of the input; otherwise as they are finished.
    batch_size : int or None
        Tasks per batch; None lets the measured durations decide.
    window : int or None
        Most tasks pulled from the input and not yet handed out; None bounds the batches in flight instead.
    held_bytes : int or None
        Most bytes of results waiting for the consumer; None where all are kept anyway.
    round_trip_s : float
        What sending one batch costs.
    inline : bool
        One task at a time, and only when the consumer wants it.
    timeout_s : float or None
        A task that a worker has been on for so long is ended, and has failed.
    deadline_s : float or None
        The run fails after this time.
    tolerant : bool
        The run goes on when a task has failed for good; something else takes the place of its result.
    groups : bool
        The failures of a tolerant run are raised together at its end.
    retries : int
        How often a task that failed is run again.
    retry_on : tuple of types
        The exceptions after which it is.
    backoff : Backoff
        How long it waits before that.
    """

    ordered: bool = True
    batch_size: int | None = None
    window: int | None = None
    held_bytes: int | None = None
    round_trip_s: float = 1e-4
    inline: bool = False
    timeout_s: float | None = None
    deadline_s: float | None = None
    tolerant: bool = False
    groups: bool = False
    retries: int = 0
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    backoff: Backoff = Backoff()

    @property
    def outlives_workers(self) -> bool:
        """Whether the run may go on when a worker has ended."""
        return self.tolerant or self.retries > 0
