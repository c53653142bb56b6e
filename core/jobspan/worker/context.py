"""What a task may know of its place.

Invariant: reading never changes anything; only `run_tasks` moves the level, around a batch.
"""

from __future__ import annotations

from contextvars import ContextVar

LEVEL: ContextVar[int] = ContextVar("jobspan_nesting_level", default=0)
"""How many parallel calls the running code is inside of: 0 in the user's own script."""
