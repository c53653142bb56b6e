"""Every exception and warning of jobspan, in one tree.

::

    JobspanError
    ├── CannotBlock (RuntimeError)      waiting here would hang: use the awaiting form
    ├── InitializerError (RuntimeError) what each worker is to run first failed there
    ├── RemoteError (RuntimeError)      stands for a task's exception that could not travel
    ├── TaskError                       stands for the result of a task that failed, where the run goes on
    ├── UnpicklableError (TypeError)    a task or result cannot be sent, and where the culprit is
    ├── WorkerBootError (RuntimeError)  a worker never became ready
    └── WorkerLost (RuntimeError)       a worker died, or its pool broke, while it held tasks
    UserWarning
    └── FallbackWarning                 something else than asked was chosen, and why

Invariant: a user's own exception is raised as itself with a note, never wrapped; where a run goes on without raising,
a `TaskError` holds it.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

__all__ = [
    "CannotBlock",
    "FallbackWarning",
    "InitializerError",
    "JobspanError",
    "RemoteError",
    "TaskError",
    "UnpicklableError",
    "WorkerBootError",
    "WorkerLost",
    "say_once",
    "time_out",
]


class JobspanError(Exception):
    """Base of all that jobspan raises of its own accord."""


class CannotBlock(JobspanError, RuntimeError):
    """Waiting would hang this interpreter: there is no thread, JSPI or Atomics to wait with."""


class InitializerError(JobspanError, RuntimeError):
    """An initializer failed on a worker, which therefore runs no task; the cause is what it raised."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _initializer_error, (self.args, self.__cause__), self.__dict__


def _initializer_error(args: tuple[Any, ...], cause: BaseException | None) -> InitializerError:
    error = InitializerError(*args)
    error.__cause__ = cause
    return error


class RemoteError(JobspanError, RuntimeError):
    """Stands for a task's exception that cannot be pickled; the message holds its type, text and traceback."""


class TaskError(JobspanError):
    """Stands for the result of a task that failed, with ``Parallel(errors="return")``.

    Attributes
    ----------
    index : int
        Position of the task in the input.
    error : BaseException
        What it raised, without its frames; also the `__cause__`.
    call : str
        The call in short: ``"census('ast.py', depth=3)"``.
    attempt : int
        Which attempt this was, from 1 on.
    worker : str
        The worker's name.
    traceback : str
        Where it was raised, as text, from whichever process.

    Examples
    --------
    >>> from jobspan import Parallel, delayed
    >>> _, failed = Parallel(errors="return")(delayed(int)(text) for text in ("1", "x"))
    >>> failed.index, failed.error
    (1, ValueError("invalid literal for int() with base 10: 'x'"))
    """

    def __init__(self, index: int, error: BaseException, call: str, attempt: int, worker: str, traceback: str) -> None:
        super().__init__(index, error, call, attempt, worker, traceback)
        self.index = index
        self.error = self.__cause__ = error
        self.call = call
        self.attempt = attempt
        self.worker = worker
        self.traceback = traceback

    def __str__(self) -> str:
        where = f", on {self.worker}" if self.worker else ""
        attempt = f", attempt {self.attempt}" if self.attempt > 1 else ""
        return f"task {self.index}: {self.call}{attempt}{where}: {type(self.error).__name__}: {self.error}"


class UnpicklableError(JobspanError, TypeError):
    """A task or a result cannot be sent to or from a worker; the message names the culprit and the path to it."""


class WorkerBootError(JobspanError, RuntimeError):
    """A worker did not become ready: its script, its runtime or its packages failed to load."""


class WorkerLost(JobspanError, RuntimeError):
    """A worker died, or its whole pool broke, while it held tasks."""


class FallbackWarning(UserWarning):
    """Something else than what was asked for runs; says once what was chosen and why."""


def time_out(message: str) -> TimeoutError:
    """The `TimeoutError` that both ``except TimeoutError`` and joblib's ``multiprocessing.TimeoutError`` catch."""
    loaded = sys.modules.get("multiprocessing.context")
    if loaded is None:  # then nobody can have named it
        return TimeoutError(message)
    both = type("TimeoutError", (TimeoutError, loaded.TimeoutError), {"__reduce__": lambda self: (time_out, self.args)})
    error: TimeoutError = both(message)
    return error


_said: dict[str, object] = {}


def say_once(message: str) -> None:
    """Warn of a fallback, as of the caller's line outside jobspan; the same words are said only once."""
    mine = object()
    if _said.setdefault(message, mine) is not mine:  # by this call, or in another thread at the same time
        return
    level, frame = 1, sys._getframe(0)  # noqa: SLF001  warnings has this from 3.12 on, as skip_file_prefixes
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("jobspan."):
        level, frame = level + 1, frame.f_back
    warnings.warn(FallbackWarning(f"jobspan: {message}"), stacklevel=level)
