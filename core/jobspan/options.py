"""What a `Parallel` was given: checked once, remembered, and shown as joblib shows it.

Invariant: nothing here runs a task; what is wrong with an argument is raised by the constructor.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jobspan import config, registry, settings
from jobspan.available import workers_of
from jobspan.logger import Logger
from jobspan.model import Event
from jobspan.settings import Settings
from jobspan.worker.context import PLACE

if TYPE_CHECKING:
    from jobspan.follow.narrator import Narrator
    from jobspan.follow.record import Recorder

_MAX_REMEMBERED = 256
_LOUD = 50  # from this verbosity on, messages go to stdout

_remembered: dict[Any, Settings] = {}


class Options(Logger):
    """The arguments of a `Parallel`, whose documentation explains them."""

    # Here rather than set by the constructor, which is a good part of what a call of one task costs.
    n_tasks: int | None = None
    n_dispatched_tasks = n_completed_tasks = 0
    _own: Any = None  # the backend of a with block
    _narrator: Narrator | None = None
    _record: Recorder | None = None  # of the latest call
    _plain_s: float | None = None  # what the latest call in a plain loop took

    def __init__(
        self,
        n_jobs: Any = config.N_JOBS,
        backend: Any = config.BACKEND,
        return_as: str = "list",
        verbose: Any = config.VERBOSE,
        timeout: Any = None,
        pre_dispatch: Any = settings.PRE_DISPATCH,
        batch_size: Any = "auto",
        temp_folder: Any = config.TEMP_FOLDER,
        max_nbytes: Any = config.MAX_NBYTES,
        mmap_mode: Any = config.MMAP_MODE,
        prefer: Any = config.PREFER,
        require: Any = config.REQUIRE,
        *,
        deadline: Any = None,
        checkpoint: Any = None,
        seed: Any = None,
        errors: Any = "raise",
        retries: Any = 0,
        retry_on: Any = Exception,
        backoff: Any = settings.BACKOFF,
        progress: Any = config.PROGRESS,
        on_event: Callable[[Event], object] | None = None,
        **backend_kwargs: Any,
    ) -> None:
        level = PLACE.get().level
        surroundings = config.CONFIG.get().inherited(level)
        key = (  # listed twice: one dict for both would cost a call of one task a fifth of its time
            *(n_jobs, backend, return_as, verbose, timeout, pre_dispatch, batch_size),
            *(temp_folder, max_nbytes, mmap_mode, prefer, require, surroundings, registry.default_name()),
            *(deadline, checkpoint, seed, errors, retries, retry_on, backoff),
        )
        try:
            found = _remembered.get(key) if not backend_kwargs else None
        except TypeError:  # a backend or parameter that cannot be hashed
            found = None
        if found is None:
            found = settings.check(
                n_jobs=n_jobs,
                backend=backend,
                return_as=return_as,
                verbose=verbose,
                timeout=timeout,
                pre_dispatch=pre_dispatch,
                batch_size=batch_size,
                temp_folder=temp_folder,
                max_nbytes=max_nbytes,
                mmap_mode=mmap_mode,
                prefer=prefer,
                require=require,
                deadline=deadline,
                checkpoint=checkpoint,
                seed=seed,
                errors=errors,
                retries=retries,
                retry_on=retry_on,
                backoff=backoff,
                params=backend_kwargs,
                surroundings=surroundings,
            )
            is_common = isinstance(found.backend, str) and isinstance(found.errors, str)
            is_common = is_common and not backend_kwargs and not surroundings.params
            if is_common and len(_remembered) < _MAX_REMEMBERED:
                _remembered[key] = found
        if on_event is not None and not callable(on_event):
            raise TypeError(f"on_event={on_event!r} cannot be called; give a function that takes an Event.")
        if progress is config.PROGRESS:
            progress = surroundings.progress
        if progress and progress is not config.PROGRESS:
            from jobspan.follow.displays import check  # imports threading

            check(progress)
        self._settings: Settings = found
        self._on_event = on_event
        self._progress = None if progress is config.PROGRESS else progress or None
        self._straight = found.is_plain and on_event is None and self._progress is None

    def __repr__(self) -> str:
        return f"{type(self).__name__}(n_jobs={self.n_jobs})"

    @property
    def n_jobs(self) -> int | None:
        """The number asked for, by argument or configuration; None for all workers of a given executor."""
        found = self._settings
        return 1 if found.n_jobs is None and isinstance(found.backend, str) else found.n_jobs

    @property
    def verbose(self) -> int:
        """How much is printed."""
        return self._settings.verbose

    @property
    def timeout(self) -> float | None:
        """Seconds that a task may take."""
        return self._settings.timeout_s

    @property
    def batch_size(self) -> int | str:
        """Tasks sent at a time."""
        return self._settings.batch_size or "auto"

    @property
    def pre_dispatch(self) -> int | str:
        """Most tasks taken from the input and not yet handed out."""
        return self._settings.pre_dispatch or settings.PRE_DISPATCH

    @property
    def return_as(self) -> str:
        """How results are handed out."""
        return self._settings.return_as

    def _print(self, message: str) -> None:
        if self.verbose:
            stream = sys.stderr if self.verbose < _LOUD else sys.stdout
            stream.write(f"[{self}]: {message}\n")

    def _effective_n_jobs(self) -> int:
        return workers_of(self._settings)  # joblib has no public name for this, and many scripts call it
