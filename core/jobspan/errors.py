"""Every exception and warning of jobspan, in one tree.

::

    JobspanError
    ├── CannotBlock (RuntimeError)      waiting here would hang: use the awaiting form
    ├── CheckpointMismatch              what was saved is of other code or arguments than the loop that would go on
    ├── DamagedFileError (ValueError)   a file is not as `dump` has written it
    ├── InitializerError (RuntimeError) what each worker is to run first failed there
    ├── RemoteError (RuntimeError)      stands for a task's exception that could not travel
    ├── TaskError                       stands for the result of a task that failed, where the run goes on
    │   └── TaskTimeout (TimeoutError)  a task that was ended because it took too long
    ├── UnhashableError (TypeError)     an object has no content that a digest could be made of
    ├── UnpicklableError (TypeError)    a task or result cannot be sent, and where the culprit is
    ├── UntrustedError                  a file names something that is not trusted
    ├── WorkerBootError (RuntimeError)  a worker never became ready
    └── WorkerLost (BrokenExecutor)     a worker died, or its pool broke, while it held tasks
    UserWarning
    └── FallbackWarning                 something else than asked was chosen, and why

Invariant: a user's own exception is raised as itself with a note, never wrapped; where a run goes on without raising,
a `TaskError` holds it.
"""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any

__all__ = [
    "CacheWarning",
    "CannotBlock",
    "CheckpointMismatch",
    "DamagedFileError",
    "FallbackWarning",
    "InitializerError",
    "JobspanError",
    "RemoteError",
    "TaskError",
    "TaskTimeout",
    "UnhashableError",
    "UnpicklableError",
    "UntrustedError",
    "WorkerBootError",
    "WorkerLost",
    "say_once",
    "task_timeout",
    "time_out",
    "warn_of_cache",
]


class JobspanError(Exception):
    """Base of all that jobspan raises of its own accord."""


class CannotBlock(JobspanError, RuntimeError):
    """Waiting would hang this interpreter: there is no thread, JSPI or Atomics to wait with."""


class CheckpointMismatch(JobspanError):
    """What was saved is of another loop than the one that would go on from it; the message says what differs."""


class DamagedFileError(JobspanError, ValueError):
    """A file is truncated, or is not as it was written; the message says where."""


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
        return f"{self._which()}: {type(self.error).__name__}: {self.error}"

    def _which(self) -> str:
        attempt = f", attempt {self.attempt}" if self.attempt > 1 else ""
        return f"task {self.index}: {self.call}{attempt}" + (f", on {self.worker}" if self.worker else "")


class TaskTimeout(TaskError, TimeoutError):
    """A task that was ended because it took longer than ``Parallel(timeout=...)`` gives it.

    Attributes
    ----------
    index : int
        Position of the task in the input.
    elapsed : float
        Seconds for which it had been running.
    error : TaskTimeout
        This object itself.
    call, attempt, worker
        As for `TaskError`.
    traceback : str
        Empty: nobody can say where the task was.
    """

    def __init__(self, index: int, elapsed: float, call: str, attempt: int, worker: str, limit: float) -> None:
        JobspanError.__init__(self, index, elapsed, call, attempt, worker, limit)
        self.index = index
        self.elapsed = elapsed
        self.error = self
        self.call = call
        self.attempt = attempt
        self.worker = worker
        self.limit = limit
        self.traceback = ""

    def __str__(self) -> str:
        return (
            f"{self._which()} was not done after {self.elapsed:.3g} s, with timeout={self.limit:g} seconds. Give it "
            f"more time, or leave timeout out."
        )


class UnhashableError(JobspanError, TypeError):
    """An object has no content that a digest could be made of; the message names the part that is to blame."""


class UnpicklableError(JobspanError, TypeError):
    """A task or a result cannot be sent to or from a worker; the message names the culprit and the path to it."""


class UntrustedError(JobspanError):
    """A file names something that is not trusted; nothing of it was run."""


class WorkerBootError(JobspanError, RuntimeError):
    """A worker did not become ready: its script, its runtime or its packages failed to load."""


class CacheWarning(UserWarning):
    """A cached result could not be kept, or not be read; the call was computed, and its result is right."""


class FallbackWarning(UserWarning):
    """Something else than what was asked for runs; says once what was chosen and why."""


if TYPE_CHECKING:
    from concurrent.futures import BrokenExecutor

    class WorkerLost(JobspanError, BrokenExecutor):
        """A worker died, or its whole pool broke, while it held tasks."""


def __getattr__(name: str) -> Any:
    """`WorkerLost`, when it is first named: its base comes with ``concurrent.futures``, which takes long to import."""
    if name != "WorkerLost":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from concurrent.futures import BrokenExecutor

    namespace = {"__module__": __name__, "__doc__": "A worker died, or its whole pool broke, while it held tasks."}
    return globals().setdefault(name, type(name, (JobspanError, BrokenExecutor), namespace))  # one for all threads


def time_out(message: str) -> TimeoutError:
    """The `TimeoutError` that both ``except TimeoutError`` and joblib's ``multiprocessing.TimeoutError`` catch."""
    error: TimeoutError = _also_theirs(TimeoutError, time_out)(message)
    return error


def task_timeout(index: int, elapsed: float, call: str, attempt: int, worker: str, limit: float) -> TaskTimeout:
    """The `TaskTimeout` that both catch."""
    error: TaskTimeout = _also_theirs(TaskTimeout, task_timeout)(index, elapsed, call, attempt, worker, limit)
    return error


def _also_theirs(kind: Any, make: Any) -> Any:
    """A subclass of multiprocessing's `TimeoutError` as well, if somebody may have named that."""
    loaded = sys.modules.get("multiprocessing.context")
    if loaded is None:
        return kind
    namespace = {"__reduce__": lambda self: (make, self.args), "__module__": kind.__module__}
    return type(kind.__name__, (kind, loaded.TimeoutError), namespace)


_said: dict[str, object] = {}


def say_once(message: str) -> None:
    """Warn of a fallback, as of the caller's line outside jobspan; the same words are said only once."""
    mine = object()
    if _said.setdefault(message, mine) is not mine:  # by this call, or in another thread at the same time
        return
    _warn(FallbackWarning(f"jobspan: {message}"))


def warn_of_cache(message: str) -> None:
    """Warn that a cache does not do what it is there for, as of the caller's line outside jobspan."""
    _warn(CacheWarning(f"jobspan: {message}"))


def _warn(warning: Warning) -> None:
    level, frame = 1, sys._getframe(0)  # noqa: SLF001  warnings has this from 3.12 on, as skip_file_prefixes
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("jobspan."):
        level, frame = level + 1, frame.f_back
    warnings.warn(warning, stacklevel=level)
