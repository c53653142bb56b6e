"""jobspan as a backend of joblib: importing this module registers it there, under the name ``"jobspan"``.

::

    import joblib
    import jobspan.bridge.joblib

    with joblib.parallel_config("jobspan"):
        GridSearchCV(...).fit(X, y)

joblib asks `JobspanBackend` for a backend when a `joblib.Parallel` is called, and gets one of its own for that object.
Its batches are taken apart into their tasks, so that notes on exceptions, early return and shared arguments are as
with `jobspan.Parallel`. Waiting is done where joblib retrieves a result, in the caller's thread, so it works wherever
jobspan can wait. Only ``return_as="generator_unordered"`` needs a thread: there joblib waits to be called back.

Invariant: a run's session is opened by the first batch, touched by one thread only, and closed however the call ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import joblib
from joblib.parallel import FallbackToBackend, ParallelBackendBase, SequentialBackend

from jobspan import config, host, settings, settle
from jobspan.backends.base import Closing
from jobspan.bridge.batches import Job, Run, ThreadedRun
from jobspan.errors import say_once
from jobspan.model import Task
from jobspan.worker.context import PLACE
from jobspan.worker.describe import name_of

__all__ = ["JobspanBackend"]


class JobspanBackend(ParallelBackendBase):  # type: ignore[misc]  # joblib has no types
    """What ``joblib.parallel_config("jobspan")`` and ``joblib.Parallel(backend="jobspan")`` make.

    Parameters
    ----------
    on : str, Executor or Backend, optional
        What the tasks run on, as ``backend=`` of `jobspan.Parallel`: ``"threads"``, ``"loky"``, an executor such as
        Dask's ``client.get_executor()``. By default what `jobspan.parallel_config` says, or what jobspan chooses.
    **params
        Parameters of `jobspan.Parallel` for the workers: ``initializer``, ``max_tasks_per_worker`` and so on.

    Notes
    -----
    Where nobody says ``n_jobs``, neither to joblib nor to `jobspan.parallel_config`, all CPUs are used, or all workers
    of the executor. With ``n_jobs=1`` joblib itself runs the tasks, in the caller's thread.

    ``prefer`` and ``require="sharedmem"`` choose as in `jobspan.Parallel`. ``mmap_mode="r"``, joblib's default, is
    taken for ``"c"``: a task may write to its argument, and nobody else sees it. Code inside tasks runs on this backend
    too, on its share of the CPUs.

    ``return_as="generator"`` waits, and sends new batches, when a result is asked for: while the consumer is busy with
    one, no more than what is under way, at most ``pre_dispatch`` batches, is added to those that are ready.

    Examples
    --------
    >>> import joblib, jobspan.bridge.joblib
    >>> with joblib.parallel_config("jobspan", on="threads", n_jobs=2):
    ...     joblib.Parallel()(joblib.delayed(pow)(i, 2) for i in range(4))
    [0, 1, 4, 9]
    """

    supports_return_generator = True
    supports_timeout = True
    supports_inner_max_num_threads = True
    supports_sharedmem = True  # require="sharedmem" makes it choose threads
    uses_threads = True  # where this is joblib's default backend, prefer="threads" comes here too

    def __init__(
        self,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        on: Any = None,
        **params: Any,
    ) -> None:
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads)
        config.check_backend(on)
        self.on = on
        self.params = params

    @property
    def default_n_jobs(self) -> int:
        """The number where nobody says one; inside tasks 1, as everywhere in joblib."""
        return self._settings(n_jobs=None).n_jobs or (1 if self.nesting_level else -1)

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many tasks would run at the same time, here and now."""
        found = self._settings(n_jobs=self.default_n_jobs if n_jobs is None else n_jobs)
        backend = settle.find_backend(found)
        return settle.workers_wanted(backend, found.n_jobs) or backend.cpu_count()

    def configure(self, n_jobs: int = 1, parallel: Any = None, **options: Any) -> int:  # noqa: ARG002  the call's own
        """Give `parallel` a backend of its own: this one may serve many, also at the same time."""
        kind: type[JobspanCall] = JobspanCall
        if getattr(parallel, "return_as", "list") == "generator_unordered":
            if not host.has_threads():
                say_once(
                    "return_as='generator_unordered' needs a thread behind joblib, and there is none here, so the "
                    "tasks run one after the other. return_as='generator' uses the workers."
                )
                raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
            kind = JobspanUnorderedCall
        raise FallbackToBackend(kind(self.nesting_level, self.inner_max_num_threads, self.on, **self.params))

    def apply_async(self, func: Any, callback: Callable[[Any], object] | None = None) -> Any:
        """What joblib before 1.5 calls ``submit``."""
        return self.submit(func, callback)

    def get_nested_backend(self) -> tuple[ParallelBackendBase, None]:
        """What code inside a task finds; jobspan knows there that the CPUs are shared."""
        return JobspanBackend(nesting_level=self._inner_level), None

    @property
    def _inner_level(self) -> int:
        return (self.nesting_level or 0) + 1

    def _settings(self, params: dict[str, Any] | None = None, **given: Any) -> settings.Settings:
        surroundings = config.CONFIG.get().inherited(PLACE.get().level)
        if self.on is not None:
            surroundings = surroundings._replace(backend=self.on, params=())
        return settings.check(params={**self.params, **(params or {})}, surroundings=surroundings, **given)


class JobspanCall(JobspanBackend):
    """The backend of one `joblib.Parallel`: it waits in the thread that retrieves results."""

    supports_retrieve_callback = False

    _run: Run | None = None
    _last: _InTask | None = None

    def configure(
        self,
        n_jobs: int = 1,
        parallel: Any = None,
        *,
        on: Any = None,
        prefer: str | None = None,
        require: str | None = None,
        mmap_mode: str | None = "r",
        max_nbytes: int | None = None,
        temp_folder: str | None = None,
        verbose: int = 0,  # noqa: ARG002  joblib itself tells of progress
        context: Any = None,  # noqa: ARG002  of joblib's own pools
        **params: Any,
    ) -> int:
        """Settle what this call runs on; the number of workers."""
        self.parallel = parallel
        if on is not None:
            config.check_backend(on)
            self.on = on
        if self.inner_max_num_threads is not None:
            params.setdefault("inner_max_num_threads", self.inner_max_num_threads)
        found = self._settings(
            params,
            n_jobs=n_jobs,
            prefer=prefer or config.PREFER,
            require=require or config.REQUIRE,
            mmap_mode="c" if mmap_mode == "r" else mmap_mode,
            max_nbytes=max_nbytes,
            temp_folder=temp_folder or config.TEMP_FOLDER,
        )
        plan = settle.settle(found, streams=False, blocks=True, watch=False)
        if plan.backend.traits.inline:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self._plan = plan
        return plan.request.n_jobs or plan.backend.cpu_count()

    def start_call(self) -> None:
        """A call begins."""
        self._run = Run(self._plan)

    def submit(self, func: Any, callback: Callable[[Job], object]) -> Job:
        """Send one of joblib's batches; joblib's own Dask backend, too, takes its tasks from ``func.items``."""
        assert self._run is not None, "joblib announces each call"
        return self._run.submit(self._at_home(func.items), callback)

    def _at_home(self, tasks: Sequence[Task]) -> list[Task]:
        """The tasks, so that they find joblib set up as joblib's own batch would do it."""
        level = self._inner_level
        wrapped: list[Task] = []
        for function, args, kwargs in tasks:
            if self._last is None or self._last.__func__ is not function or self._last.level != level:
                self._last = _InTask(function, level)  # one object for a function that is given again and again
            wrapped.append((self._last, args, kwargs))
        return wrapped

    def retrieve_result(self, out: Job | None, timeout: float | None = None) -> list[Any]:
        """Wait for one batch. There is none where the input raised; joblib then has the error already."""
        return [] if out is None else out.get(timeout)

    def compute_batch_size(self) -> int:
        """Tasks that the next batch should have."""
        return 1 if self._run is None else self._run.batch_size()

    def abort_everything(self, ensure_ready: bool = True) -> None:  # noqa: ARG002  the next call begins anew anyway
        """End what still runs, as far as the workers can."""
        self._close("kill")

    def stop_call(self) -> None:
        """The call is over: give the workers back."""
        self._close("release")

    def terminate(self) -> None:
        """Nothing is left to give back, unless a call was broken off."""
        self._close("release")

    def _close(self, how: Closing) -> None:
        run, self._run = self._run, None
        if run is not None:
            run.close(how)


class JobspanUnorderedCall(JobspanCall):
    """The same for ``return_as="generator_unordered"``: a thread hands each batch to joblib when it is done."""

    supports_retrieve_callback = True

    def start_call(self) -> None:
        """A call begins."""
        self._run = ThreadedRun(self._plan)

    def retrieve_result_callback(self, out: Job) -> list[Any]:
        """What became of a batch."""
        if out.error is not None:
            raise out.error
        return out.values


class _InTask:
    """A task's function, called where joblib finds this backend, one level further in."""

    __slots__ = ("__func__", "level")

    def __init__(self, function: Callable[..., Any], level: int) -> None:
        self.__func__ = function  # the name that a method has for it, so that errors can tell its arguments' names
        self.level = level

    @property
    def __name__(self) -> str:
        """What errors call the task."""
        return name_of(self.__func__)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with joblib.parallel_config(backend=JobspanBackend(nesting_level=self.level), n_jobs=None):
            return self.__func__(*args, **kwargs)


joblib.register_parallel_backend("jobspan", JobspanBackend)
