"""What a task may know of its place.

Invariant: reading never changes anything; only what runs a batch sets these, and takes them back after it.
"""

from __future__ import annotations

from contextvars import ContextVar

LEVEL: ContextVar[int] = ContextVar("jobspan_nesting_level", default=0)
"""How many parallel calls the running code is inside of: 0 in the user's own script."""

EXECUTORS: ContextVar[frozenset[int]] = ContextVar("jobspan_executors", default=frozenset())
"""The ids of the users' thread pools whose threads the running code occupies: a call that waits for one would hang."""
