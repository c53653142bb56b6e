"""What a joblib-style backend gets as ``parallel``: it can be asked what joblib's object could tell.

Invariant: a backend can read it and print through it, but change nothing; what it tells of a run is counted by the
session.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn

_LOUD = 50  # from this verbosity on, joblib's messages go to stdout


class LegacyOptions(NamedTuple):
    """The arguments of a `Parallel` that a joblib-style backend may ask for, under joblib's names.

    Attributes
    ----------
    verbose, timeout, return_as, pre_dispatch, batch_size, prefer, require
        As given to `Parallel`.
    params : mapping
        What else was given: passed on to the backend's ``configure``.
    """

    verbose: int = 0
    timeout: float | None = None
    return_as: str = "list"
    pre_dispatch: Any = "2 * n_jobs"
    batch_size: Any = "auto"
    prefer: str | None = None
    require: str | None = None
    params: Mapping[str, Any] = MappingProxyType({})


class Tally:
    """How far a run is."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """A new run begins."""
        self.batches_sent = self.tasks_sent = self.tasks_done = 0
        self.aborting = False


class LegacyParallel:
    """The stand-in for joblib's `Parallel`.

    Parameters
    ----------
    backend : object
        The joblib-style backend.
    n_jobs : int
        The number asked for.
    options : LegacyOptions
        The other arguments.
    kwargs : dict
        What the backend's ``configure`` is called with, apart from ``n_jobs`` and ``parallel``.
    tally : Tally
        How far the run is.
    """

    __slots__ = ("_tally", "_values")

    _tally: Tally
    _values: dict[str, Any]

    def __init__(
        self, backend: Any, n_jobs: int, options: LegacyOptions, kwargs: Mapping[str, Any], tally: Tally
    ) -> None:
        frozen = MappingProxyType(dict(kwargs))
        values = {
            "n_jobs": n_jobs,
            "verbose": options.verbose,
            "timeout": options.timeout,
            "pre_dispatch": options.pre_dispatch,
            "batch_size": options.batch_size,
            "return_as": options.return_as,
            "return_generator": options.return_as != "list",
            "return_ordered": options.return_as != "generator_unordered",
            "n_tasks": None,  # not known: the input may be a generator
            "_backend": backend,
            "_backend_kwargs": frozen,
            "_backend_args": frozen,  # its name in joblib before 1.5
            "_id": os.urandom(16).hex(),
            "_call_id": os.urandom(16).hex(),
            "_cached_effective_n_jobs": n_jobs,
            "_calling": True,
            "_running": True,
            "_managed_backend": False,
            "_temp_folder": kwargs.get("temp_folder"),
            "_original_iterator": None,
            "_start_time": time.time(),
            "_lock": threading.RLock(),
        }
        object.__setattr__(self, "_values", values)
        object.__setattr__(self, "_tally", tally)

    def __getattr__(self, name: str) -> Any:
        if name in LegacyParallel.__slots__:  # copying makes an object without them, and asks it
            raise AttributeError(name)
        if name in self._values:
            return self._values[name]
        raise AttributeError(
            f"a joblib-style backend asked its 'parallel' for {name!r}, which means nothing under jobspan: there it is "
            f"a read-only stand-in that knows {', '.join(key for key in self._values if key[0] != '_')}."
        )

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(
            f"a joblib-style backend set {name!r} of its 'parallel', which under jobspan is a read-only stand-in. Let "
            f"the backend keep on itself what it wants to remember; to follow the tasks, give Parallel(on_event=...)."
        )

    def __delattr__(self, name: str) -> NoReturn:
        self.__setattr__(name, None)

    def __repr__(self) -> str:
        return f"Parallel(n_jobs={self.n_jobs})"

    @property
    def n_dispatched_batches(self) -> int:
        """Batches given to the backend so far."""
        return self._tally.batches_sent

    @property
    def n_dispatched_tasks(self) -> int:
        """Tasks in them; a task whose batch came back before it had begun is counted again."""
        return self._tally.tasks_sent

    @property
    def n_completed_tasks(self) -> int:
        """Tasks whose results are there."""
        return self._tally.tasks_done

    @property
    def _aborting(self) -> bool:
        return self._tally.aborting

    _aborted = _exception = _aborting

    def _print(self, message: str) -> None:
        """Print as joblib does: on stderr where ``verbose`` is set, from 50 on on stdout."""
        if self.verbose:
            stream = sys.stderr if self.verbose < _LOUD else sys.stdout
            stream.write(f"[{self}]: {message}\n")

    def print_progress(self) -> None:
        """Do nothing: jobspan itself tells how far a run is."""
