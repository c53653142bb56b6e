"""Tasks that go again, each in a batch of its own: those that failed and have attempts left, and suspects of a loss.

Invariant: a task that was added comes back from `Chances.take` once, and not before its time; the earliest comes first.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from typing import NamedTuple

from jobspan.model import Batch, Task

_MOST_DOUBLINGS = 60


class Backoff(NamedTuple):
    """How long a task that failed waits before it goes again.

    Attributes
    ----------
    first_s : float
        Seconds before the second attempt; twice as long before each further one.
    most_s : float
        But never longer than this.
    """

    first_s: float = 0.1
    most_s: float = 30.0

    def delay_s(self, attempts: int, luck: float) -> float:
        """Seconds to wait after so many attempts; `luck`, from 0 to 1, keeps tasks from coming again all at once.

        >>> Backoff(1.0).delay_s(3, luck=1.0), Backoff(1.0).delay_s(3, luck=0.0), Backoff(1.0).delay_s(9, luck=1.0)
        (4.0, 2.0, 30.0)
        """
        most = min(self.most_s, self.first_s * 2.0 ** min(attempts - 1, _MOST_DOUBLINGS))
        return most * (1 + luck) / 2


class Chances:
    """The tasks of one run that wait to be sent again.

    Parameters
    ----------
    backoff : Backoff
        How long those wait that failed.
    luck : callable
        Returns random numbers from 0 to 1.
    """

    def __init__(self, backoff: Backoff, luck: Callable[[], float]) -> None:
        self._backoff = backoff
        self._luck = luck
        self._waiting: list[tuple[float, int, Task, int]] = []  # sorted: when, index, task, attempt

    def __len__(self) -> int:
        return len(self._waiting)

    def retry(self, index: int, task: Task, attempts: int, now: float) -> None:
        """Add a task that failed, after so many attempts."""
        due = now + self._backoff.delay_s(attempts, self._luck())
        insort(self._waiting, (due, index, task, attempts + 1))

    def repeat(self, batch: Batch) -> None:
        """Add the tasks of a batch one by one, without a delay and at the same attempt."""
        for index, task in enumerate(batch.tasks, batch.first):
            insort(self._waiting, (0.0, index, task, batch.attempt))

    def wait_s(self, now: float) -> float:
        """Seconds until the first of them is due; 0 or less if it is."""
        return self._waiting[0][0] - now

    def take(self, now: float) -> Batch | None:
        """The first of them, if it is due."""
        if not self._waiting or self._waiting[0][0] > now:
            return None
        _, index, task, attempt = self._waiting.pop(0)
        return Batch(index, [task], attempt=attempt)
