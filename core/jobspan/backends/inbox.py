"""Where facts arrive from other threads: put from anywhere, taken by one driver, blocking or awaiting.

Invariant: nothing is lost between a blocking and an awaiting take, and no take waits while something is there.
"""

from __future__ import annotations

from _queue import Empty, SimpleQueue
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")

_AT_ONCE_S = 1.0


class Inbox(Generic[T]):
    """An unbounded queue whose taker gets all that is there."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[T | None] = SimpleQueue()  # None: wake up
        self._awaiting: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def put(self, item: T) -> None:
        """Add an item; never blocks."""
        self._put(item)

    def wake(self) -> None:
        """Make a take that is waiting return, with nothing if nothing is there."""
        self._put(None)

    def _put(self, item: T | None) -> None:
        self._queue.put(item)
        awaiting = self._awaiting
        if awaiting is not None:
            loop, arrived = awaiting
            try:
                loop.call_soon_threadsafe(arrived.set)
            except RuntimeError:  # the loop has been closed: nobody awaits any more there
                return

    def take(self, timeout: float | None) -> list[T]:
        """Wait for at least one item, at most `timeout` seconds."""
        try:
            if timeout is not None and timeout <= _AT_ONCE_S:
                item = self._queue.get(timeout > 0, timeout)
            else:
                item = self._wait(timeout)
        except Empty:
            return []
        return self._drain(item)

    def _wait(self, timeout: float | None) -> T | None:
        """Wait for long, but never for long at once: a Ctrl-C that comes just before is only heard of at the end."""
        end = None if timeout is None else monotonic() + timeout
        while True:
            left = _AT_ONCE_S if end is None else min(_AT_ONCE_S, max(0.0, end - monotonic()))
            with suppress(Empty):
                return self._queue.get(left > 0, left)
            if end is not None and monotonic() >= end:
                raise Empty

    async def atake(self, timeout: float | None) -> list[T]:
        """Await at least one item, at most `timeout` seconds."""
        import asyncio

        loop, arrived = asyncio.get_running_loop(), asyncio.Event()
        self._awaiting = loop, arrived
        timer = None
        try:
            if self._queue.empty() and timeout != 0:
                timer = None if timeout is None else loop.call_later(timeout, arrived.set)  # cheaper than a Timeout
                await arrived.wait()
        finally:
            self._awaiting = None
            if timer is not None:
                timer.cancel()
        return self.take(0)

    def _drain(self, item: T | None) -> list[T]:
        items = [] if item is None else [item]
        try:
            while True:
                item = self._queue.get_nowait()
                if item is not None:
                    items.append(item)
        except Empty:
            return items
