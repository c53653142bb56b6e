"""Pools whose workers do not draw each other into their end: an executor of one worker each, all on one line.

loky, and `concurrent.futures` likewise, ends all workers of an executor when one of them dies. An executor for each
costs more when they start, and nothing afterwards, since batches travel on the line.

Invariant: a new worker takes the place of one that ended only when `IsolatedPool.replace` is called, by the session
that has the pool.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TypeAlias

from jobspan.backends.crew import Kind, Pool
from jobspan.backends.life import Board
from jobspan.backends.line import Line

StartOne: TypeAlias = Callable[[int, Callable[[Future[None]], object]], Pool]
"""Starts the worker of a place, as a pool of one without a line of its own; the callback is for when it ends."""


class IsolatedPool(Pool):
    """Several pools of one worker, as one.

    Parameters
    ----------
    kind, board, line
        As for `Pool`.
    start_one : callable
        Starts one of the workers.
    """

    board: Board
    line: Line

    def __init__(self, kind: Kind, board: Board, line: Line, start_one: StartOne) -> None:
        self._start_one = start_one
        self._members: list[Pool] = []
        self._ended: deque[int] = deque()
        super().__init__(None, kind, board, line)
        try:
            for place in range(kind.width):
                self._members.append(self._start(place))
        except BaseException:
            self.end(kill=True)
            self.close_line()
            raise
        self.muster()

    def _start(self, place: int) -> Pool:
        return self._start_one(place, partial(self._take_note, place))

    def _take_note(self, place: int, _served: Future[None]) -> None:
        self._ended.append(place)
        self.line.wake()

    def is_sound(self) -> bool:
        """Whether all workers are alive."""
        return not self._ended and len(self.crew) == self.kind.width and super().is_sound()

    def take_ended(self) -> list[int]:
        """The places whose worker has ended since this was asked last."""
        found = []
        while self._ended:
            found.append(self._ended.popleft())
        return found

    def describe_end(self, place: int) -> str:
        """How the worker of this place ended, in words."""
        return self._members[place].describe_ends()

    def name_of(self, place: int) -> str:
        """What tasks know the worker of this place as."""
        return self._members[place].name_of(0)

    def replace(self, place: int) -> None:
        """Start a new worker in this place, and let go of the one that ended.

        Raises
        ------
        OSError
            If the system refuses one.
        """
        self._members[place].end(kill=True)
        self._members[place] = self._start(place)
        self._members[place].hold()
        self.muster()

    def expel(self, place: int) -> None:
        """End the worker of this place, and what it has started, whatever it is at."""
        self._members[place].end(kill=True)

    def start(self, _ended: Callable[[Future[None]], object]) -> None:
        """They are started already."""

    def muster(self) -> None:
        """Take stock of the workers, those that have ended unnoticed included."""
        self._take_stock([worker for member in self._members for worker in member.crew])

    def hold(self) -> None:
        """From now on its work is somebody's."""
        for member in self._members:
            member.hold()

    def release(self) -> None:
        """Its workers are idle."""
        for member in self._members:
            member.release()
        self.muster()

    def end(self, *, kill: bool, wait: bool = False) -> None:
        """End the workers."""
        self.end_line()
        for member in self._members:
            member.end(kill=kill, wait=wait)
