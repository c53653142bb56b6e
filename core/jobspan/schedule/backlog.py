"""Tasks that were pulled and not sent, in runs of neighbouring indices, lowest first.

Invariant: `take` hands out neighbouring indices only, always from the lowest; the cost is amortised O(1) a task.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from typing import Any

from jobspan.model import Batch, Task


class _Run:
    """Neighbouring tasks; those before `start` are gone."""

    __slots__ = ("first", "start", "tasks")

    def __init__(self, first: int, tasks: list[Task]) -> None:
        self.first = first
        self.tasks = tasks
        self.start = 0

    def __lt__(self, other: Any) -> bool:
        return bool(self.first < other.first)

    def __len__(self) -> int:
        return len(self.tasks) - self.start

    def take(self, count: int) -> Batch:
        end = self.start + count
        batch = Batch(self.first, self.tasks[self.start : end])
        self.first += count
        self.start = end
        if 2 * end > len(self.tasks):
            del self.tasks[:end]
            self.start = 0
        return batch


class Backlog:
    """The unsent tasks of one run."""

    def __init__(self) -> None:
        self._runs: list[_Run] = []
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def append(self, first: int, tasks: list[Task]) -> None:
        """Add newly pulled tasks; their indices follow all earlier ones."""
        self._size += len(tasks)
        if self._runs and self._runs[-1].first + len(self._runs[-1]) == first:
            self._runs[-1].tasks += tasks
        else:
            self._runs.append(_Run(first, tasks))

    def put_back(self, first: int, tasks: Sequence[Task]) -> None:
        """Add tasks that were sent and came back without having been run."""
        self._size += len(tasks)
        insort(self._runs, _Run(first, list(tasks)))

    def take(self, count: int) -> Batch:
        """Up to `count` neighbouring tasks, at least one."""
        run = self._runs[0]
        batch = run.take(min(count, len(run)))
        if not len(run):
            del self._runs[0]
        self._size -= len(batch.tasks)
        return batch
