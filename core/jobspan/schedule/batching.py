"""How many tasks to send at once.

A batch should last long enough to be worth its round trip, and short enough that no worker is left alone with
a long one at the end: at most a small share of the time the run has taken so far.

Invariant: sizes depend only on what was measured; the first batches are one task each.
"""

from __future__ import annotations

from math import ceil

from jobspan.schedule.policy import BUDGET_S

_WORTH = 20.0  # a batch lasts this many round trips: 5 % overhead at most
_SHARE = 1 / 50  # ... or this share of the time so far: the uneven end costs 2 % at most
_GROWTH = 8  # from one measured batch to the next
_NEVER = float("inf")
_EPSILON = 1e-9
_MEMORY = 0.5  # weight of the past in the running means
_FEWEST, _MOST = 2, 8  # batches that a worker has ahead


class BatchSizer:
    """Learns from finished batches how large the next ones should be."""

    def __init__(self, round_trip_s: float) -> None:
        self._round_trip_s = round_trip_s
        self._task_s: float | None = None
        self._task_nbytes = 0.0
        self._largest = 1

    @property
    def task_nbytes(self) -> float:
        """Mean size of a result so far, in bytes; 0 before any was measured."""
        return self._task_nbytes

    @property
    def measured(self) -> bool:
        """Whether a batch has been finished."""
        return self._task_s is not None

    @property
    def smallest(self) -> int:
        """Tasks that last one round trip: a smaller batch would cost more than it spreads."""
        return max(1, int(self._round_trip_s / max(self._task_s or _NEVER, _EPSILON)))

    def depth(self, size: int) -> int:
        """Batches of `size` tasks to send ahead for each worker: they should last until the next ones come."""
        batch_s = size * (self._task_s or _NEVER)
        return max(_FEWEST, min(1 + ceil(self._round_trip_s / max(batch_s, _EPSILON)), _MOST))

    def learn(self, count: int, seconds: float, nbytes: int) -> None:
        """A batch of `count` tasks took `seconds`, and its results have `nbytes`."""
        task_s, task_nbytes = seconds / count, nbytes / count
        if self._task_s is None:
            self._task_s, self._task_nbytes = task_s, task_nbytes
        else:
            self._task_s += (1 - _MEMORY) * (task_s - self._task_s)
            # Growing results count at once, shrinking ones with time: memory is the harder limit.
            shrunk = self._task_nbytes + (1 - _MEMORY) * (task_nbytes - self._task_nbytes)
            self._task_nbytes = max(task_nbytes, shrunk)
        self._largest = max(self._largest, count)

    def size(self, elapsed_s: float) -> int:
        """Tasks that the next batch should have, `elapsed_s` seconds into the run."""
        if self._task_s is None:
            return 1
        target_s = max(_WORTH * self._round_trip_s, min(elapsed_s * _SHARE, BUDGET_S))
        return max(1, min(int(target_s / max(self._task_s, _EPSILON)), _GROWTH * self._largest))
