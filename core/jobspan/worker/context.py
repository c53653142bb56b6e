"""What a task may know of its place.

Invariant: reading never changes anything; only what runs a batch sets these, and takes them back after it.
"""

from __future__ import annotations

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


EXECUTORS: ContextVar[frozenset[int]] = ContextVar("jobspan_executors", default=frozenset())
"""The ids of the users' thread pools whose threads the running code occupies: a call that waits for one would hang."""
