"""What a task may know of its place.

Invariant: reading never changes anything; only what runs a batch sets these, and takes them back after it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import NamedTuple


class Place(NamedTuple):
    """Where running code stands among parallel calls.

    Attributes
    ----------
    level : int
        How many parallel calls the code is inside of: 0 in the user's own script.
    width : int
        How many tasks run at the same time beside each other, over all those calls: the CPUs are divided by it.
    attempt : int
        How often the task has been begun, this time included.
    """

    level: int = 0
    width: int = 1
    attempt: int = 1


OUTSIDE = Place()
"""The user's own script."""

PLACE: ContextVar[Place] = ContextVar("jobspan_place", default=OUTSIDE)
"""The place of the running code."""


def attempt() -> int:
    """Which attempt of the running task this is: 1, and more where `Parallel` was given ``retries``.

    Examples
    --------
    >>> from jobspan import Parallel, attempt, delayed
    >>> def fails_at_first():
    ...     if attempt() == 1:
    ...         raise OSError("the net is down")
    ...     return attempt()
    >>> Parallel(retries=1, backoff=0)([delayed(fails_at_first)()])
    [2]
    """
    return PLACE.get().attempt


PROBE: ContextVar[Callable[[], bool]] = ContextVar("jobspan_probe", default=bool)
"""Tells whether nobody waits any more for what the running code computes."""


def cancelled() -> bool:
    """Whether nobody waits any more for the running task: its call has ended, or the task has had its time.

    For long tasks in threads, which cannot be ended from outside, and in Web Workers, which are ended a second later.
    In worker processes a task is ended without asking, as Ctrl-C would end it, and this tells what it is cleaning up
    for. Always False on executors that you brought, outside of tasks, and in Web Workers of pages that neither are
    cross-origin isolated nor can switch stacks (JSPI).

    Examples
    --------
    >>> from jobspan import Parallel, cancelled, delayed
    >>> def search(start):
    ...     while not cancelled():
    ...         start += 1
    ...         if start % 1000 == 0:
    ...             return start
    >>> Parallel()(delayed(search)(start) for start in (1, 1500))
    [1000, 2000]
    """
    return PROBE.get()()


EXECUTORS: ContextVar[frozenset[int]] = ContextVar("jobspan_executors", default=frozenset())
"""The ids of the users' thread pools whose threads the running code occupies: a call that waits for one would hang."""
