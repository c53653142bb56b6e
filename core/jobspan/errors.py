"""Every exception and warning of jobspan, in one tree.

::

    JobspanError
    ├── CannotBlock (RuntimeError)      waiting here would hang: use the awaiting form
    ├── RemoteError (RuntimeError)      stands for a task's exception that could not travel
    ├── UnpicklableError (TypeError)    a task or result cannot be sent, and where the culprit is
    ├── WorkerBootError (RuntimeError)  a worker never became ready
    └── WorkerLost (RuntimeError)       a worker died, or its pool broke, while it held tasks
    UserWarning
    └── FallbackWarning                 something else than asked was chosen, and why

Invariant: a user's own exception is never wrapped in one of these; it is raised as itself with a note.
"""

from __future__ import annotations

import sys
import warnings

__all__ = [
    "CannotBlock",
    "FallbackWarning",
    "JobspanError",
    "RemoteError",
    "UnpicklableError",
    "WorkerBootError",
    "WorkerLost",
    "say_once",
]


class JobspanError(Exception):
    """Base of all that jobspan raises of its own accord."""


class CannotBlock(JobspanError, RuntimeError):
    """Waiting would hang this interpreter: there is no thread, JSPI or Atomics to wait with."""


class RemoteError(JobspanError, RuntimeError):
    """Stands for a task's exception that cannot be pickled; the message holds its type, text and traceback."""


class UnpicklableError(JobspanError, TypeError):
    """A task or a result cannot be sent to or from a worker; the message names the culprit and the path to it."""


class WorkerBootError(JobspanError, RuntimeError):
    """A worker did not become ready: its script, its runtime or its packages failed to load."""


class WorkerLost(JobspanError, RuntimeError):
    """A worker died, or its whole pool broke, while it held tasks."""


class FallbackWarning(UserWarning):
    """Something else than what was asked for runs; says once what was chosen and why."""


_said: set[str] = set()


def say_once(message: str) -> None:
    """Warn of a fallback, as of the caller's line outside jobspan; the same words are said only once."""
    if message in _said:
        return
    _said.add(message)
    level, frame = 1, sys._getframe(0)  # noqa: SLF001  warnings has this from 3.12 on, as skip_file_prefixes
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("jobspan."):
        level, frame = level + 1, frame.f_back
    warnings.warn(FallbackWarning(f"jobspan: {message}"), stacklevel=level)
