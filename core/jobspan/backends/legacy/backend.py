"""Backends written for joblib, as subclasses of its `ParallelBackendBase` or in their shape, run under jobspan.

joblib's life cycle is kept: ``configure``, ``start_call``, ``submit`` or ``apply_async`` for each batch, the retrieval
methods, ``abort_everything`` if the run fails, ``stop_call``, ``terminate``; all of it around ``retrieval_context``.
jobspan sizes the batches and says where nested calls run, so ``compute_batch_size``, ``batch_completed`` and
``get_nested_backend`` are never called. As in joblib, a width of 1 means that the tasks run in the caller's thread.
Workers that are elsewhere need jobspan, as they needed joblib.

Such a backend keeps the rules of `jobspan.backends.base`, except what depends on its own code:

- Rule 2: its ``submit`` may block, or run the batch in the caller, and what it does not report nobody learns.
- Rule 6: it does see a ``parallel``. That is a stand-in which can only be read.

Invariant: joblib is never imported; an instance runs one call at a time, and is configured and terminated by the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple

from jobspan.backends.base import OpenRequest, Session, Traits
from jobspan.backends.legacy.parallel import LegacyOptions, LegacyParallel, Tally
from jobspan.backends.legacy.session import WORTH, LegacySession
from jobspan.backends.legacy.traits import default_to, is_legacy, memory_of, settle_level
from jobspan.backends.sequential import SequentialBackend
from jobspan.errors import say_once
from jobspan.worker.context import PLACE
from jobspan.worker.frame import Frame

_ROUND_TRIP_S = 3e-4
_LOUD = 50  # what joblib takes from the verbosity before it gives it to the backend

_claims = threading.Lock()
_claimed: set[int] = set()


class _Engagement(NamedTuple):
    """An instance that was configured."""

    instance: Any
    width: int
    tally: Tally


class _Hold:
    """What the calls of a ``with`` block share."""

    def __init__(self) -> None:
        self.in_use = threading.Lock()
        self.engagement: _Engagement | None = None
        self.ending = ExitStack()


class LegacyBackend:
    """Runs tasks on a joblib-style backend.

    Parameters
    ----------
    instance : object
        The backend.
    options : LegacyOptions
        Arguments of the `Parallel` that the instance may ask for; ``params`` go to its ``configure``.
    another : callable, optional
        Makes another instance, for a call that comes while this one is in use.

    Examples
    --------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> from jobspan.backends.base import OpenRequest
    >>> from jobspan.backends.legacy.base import ParallelBackendBase
    >>> class Mine(ParallelBackendBase):
    ...     supports_retrieve_callback = True
    ...     uses_threads = True
    ...     pool = ThreadPoolExecutor(2)
    ...     def effective_n_jobs(self, n_jobs):
    ...         return 2
    ...     def submit(self, func, callback=None):
    ...         future = self.pool.submit(func)
    ...         future.add_done_callback(callback)
    ...         return future
    ...     def retrieve_result_callback(self, out):
    ...         return out.result()
    >>> session = LegacyBackend(Mine()).open(OpenRequest(n_jobs=2))
    >>> session.width
    2
    >>> session.close("release")
    """

    def __init__(
        self, instance: Any, *, options: LegacyOptions | None = None, another: Callable[[], Any] | None = None
    ) -> None:
        settle_level(instance)
        self.instance = instance
        self.traits = Traits(
            memory=memory_of(instance),
            lone_worker=True,  # a width of 1 is dealt with in `open`: only `configure` can tell
            # `AutoBatchingMixin` says how long a batch should last, not what sending it costs.
            round_trip_s=getattr(instance, "MIN_IDEAL_BATCH_DURATION", 0.0) / WORTH or _ROUND_TRIP_S,
            staffs=frozenset(
                {"idle_worker_timeout", "inner_max_num_threads"}
                if getattr(instance, "supports_inner_max_num_threads", False)
                else {"idle_worker_timeout"}
            ),
        )
        self._options = options or LegacyOptions()
        self._another = another
        self._hold: _Hold | None = None

    def cpu_count(self) -> int:
        """How many tasks the instance would run at the same time if it were asked for all it can."""
        return self.effective_n_jobs(-1)

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many tasks the instance would run at the same time."""
        return max(1, int(self.instance.effective_n_jobs(default_to(self.instance, n_jobs))))

    def fresh(self) -> LegacyBackend:
        """A backend whose instance is configured once, for all its calls, and terminated by `shutdown`."""
        held = LegacyBackend(self.instance, options=self._options, another=self._another)
        held._hold = _Hold()
        return held

    def shutdown(self) -> None:
        """End what `fresh` began."""
        if self._hold is not None:
            self._hold.engagement = None
            self._hold.ending.close()

    def open(self, request: OpenRequest, /) -> Session:
        """Configure the instance, and start a call on it."""
        with ExitStack() as ending:
            engagement = self._engage(request, ending)
            if engagement is None:
                say_once(
                    f"a {type(self.instance).__name__} that runs tasks is given more by another call; a joblib-style "
                    f"backend runs one call at a time, so the tasks of the second run one after the other."
                )
            if engagement is None or engagement.width == 1:
                return _sequential(request)
            instance, width, tally = engagement
            tally.reset()
            _call(instance, "start_call")
            ending.callback(_call, instance, "stop_call")
            ending.callback(_abort, instance, tally, ensure_ready=self._hold is not None)
            if hasattr(instance, "retrieval_context"):  # it is about the caller's thread, whichever drives the run
                ending.enter_context(instance.retrieval_context())
            return LegacySession(
                instance,
                width,
                request,
                _frame(instance, width, request),
                memory=memory_of(instance) if self.traits.memory == "shared" else "copied",
                round_trip_s=self.traits.round_trip_s,
                tally=tally,
                ending=ending.pop_all(),
            )

    def _engage(self, request: OpenRequest, ending: ExitStack) -> _Engagement | None:
        """An instance for one call, or for the first of several; None if it is in use."""
        hold = self._hold
        if hold is None:
            return self._configure(request, ending)
        if not hold.in_use.acquire(blocking=False):
            return None
        ending.callback(hold.in_use.release)
        if hold.engagement is None:
            hold.engagement = self._configure(request, hold.ending)
        return hold.engagement

    def _configure(self, request: OpenRequest, ending: ExitStack) -> _Engagement | None:
        instance = self._claim(ending)
        if instance is None:
            return None
        options, kwargs, tally = self._options, self._kwargs(request), Tally()
        if request.staff.inner_max_num_threads is not None:
            instance.inner_max_num_threads = request.staff.inner_max_num_threads
        n_jobs = default_to(instance, request.n_jobs)
        while True:
            parallel = LegacyParallel(instance, n_jobs, options, kwargs, tally)
            try:
                width = _call(instance, "configure", n_jobs=n_jobs, parallel=parallel, **kwargs)
                break
            except Exception as raised:  # joblib's FallbackToBackend, which cannot be named without importing joblib
                other = getattr(raised, "backend", None)
                if type(raised).__name__ != "FallbackToBackend" or not is_legacy(other):
                    raise
                instance = other
                settle_level(instance)
        ending.callback(_call, instance, "terminate")
        width = instance.effective_n_jobs(n_jobs) if width is None else width
        if width < 1:
            raise RuntimeError(f"the joblib-style backend {type(instance).__name__} has no workers now.")
        return _Engagement(instance, int(width), tally)

    def _claim(self, ending: ExitStack) -> Any:
        """The instance, or where it is in use another one, or None."""
        key = id(self.instance)
        with _claims:
            free = key not in _claimed
            _claimed.add(key)
        if free:
            ending.callback(_claimed.discard, key)
            return self.instance
        if self._another is None:
            return None
        instance = self._another()
        settle_level(instance)
        return instance

    def _kwargs(self, request: OpenRequest) -> dict[str, Any]:
        """What joblib would give to ``configure``."""
        options, transfer = self._options, request.transfer
        kwargs = {
            **options.params,
            "max_nbytes": transfer.max_nbytes,
            "temp_folder": transfer.temp_folder,
            "mmap_mode": transfer.mmap_mode,
            "prefer": options.prefer,
            "require": options.require,
            "verbose": max(0, options.verbose - _LOUD),
        }
        if request.staff.idle_worker_timeout is not None:
            kwargs["idle_worker_timeout"] = request.staff.idle_worker_timeout
        if request.frame.initializer is not None:
            kwargs["initializer"], kwargs["initargs"] = request.frame.initializer
        return kwargs


def _call(instance: Any, name: str, **kwargs: Any) -> Any:
    """Call a method that a backend in joblib's shape need not have."""
    method = getattr(instance, name, None)
    return None if method is None else method(**kwargs)


def _abort(instance: Any, tally: Tally, *, ensure_ready: bool) -> None:
    if tally.aborting:
        _call(instance, "abort_everything", ensure_ready=ensure_ready)


def _frame(instance: Any, width: int, request: OpenRequest) -> Frame:
    """What the tasks find around them: at least one level below the instance's own."""
    frame = request.frame.within(width)
    level = max(frame.place.level, int(instance.nesting_level or 0) + 1)
    return frame._replace(place=frame.place._replace(level=level), initializer=None)  # `configure` was given it


def _sequential(request: OpenRequest) -> Session:
    return SequentialBackend().open(request._replace(frame=request.frame._replace(place=PLACE.get())))
