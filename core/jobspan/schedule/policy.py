"""What the caller wants of one run, settled and frozen.

Invariant: nothing after the settling of a `Policy` reads configuration.
"""

from __future__ import annotations

from typing import NamedTuple

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
        The run fails when a task has not come back after this time. Tasks then go one by one, none behind another.
    """

    ordered: bool = True
    batch_size: int | None = None
    window: int | None = None
    held_bytes: int | None = None
    round_trip_s: float = 1e-4
    inline: bool = False
    timeout_s: float | None = None
