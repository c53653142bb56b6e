"""`Parallel` and `delayed`: settings in, driver out.

Invariant: a `Parallel` holds settings only; each call has a run of its own, so one object may be used several times
at once, also from within its own generator.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Any

from jobspan import config, host, registry, settle, units
from jobspan.drive import run as drivers
from jobspan.drive.flow import Run, begin
from jobspan.drive.listener import OnEvent
from jobspan.drive.straight import run_straight
from jobspan.model import Task
from jobspan.settle import Settings

_RETURN_AS = ("list", "generator", "generator_unordered")
_PRE_DISPATCH = "2 * n_jobs"
_MAX_REMEMBERED = 256

_remembered: dict[Any, Settings] = {}


def delayed(function: Callable[..., Any]) -> Callable[..., Task]:
    """Capture a call instead of making it.

    Parameters
    ----------
    function : callable
        What a task will call.

    Returns
    -------
    callable
        Takes the arguments and returns the task ``(function, args, kwargs)``.

    Examples
    --------
    >>> delayed(pow)(2, 3)
    (<built-in function pow>, (2, 3), {})
    """

    def delayed_function(*args: Any, **kwargs: Any) -> Task:
        return function, args, kwargs

    return delayed_function


class Parallel:
    """Runs tasks on whatever this interpreter has: web workers, threads, processes, an executor.

    Parameters
    ----------
    n_jobs : int, optional
        Tasks at the same time: 1 or None for one after the other, -1 for all CPUs, -2 for all but one. With an
        executor as `backend`, None means all of its workers.
    backend : str, Executor or Backend, optional
        ``"auto"`` (the default): web workers in a browser or node, threads where the GIL is off, else loky
        processes. Or one of ``"sequential"``, ``"threads"``, ``"loky"``, ``"web"``, a registered name, or any
        `concurrent.futures.Executor`, which is used and never shut down.
    return_as : {"list", "generator", "generator_unordered"}
        Generators hand out each result when it is there, in the order of the input or as tasks finish. Work begins
        at the call; results that wait for the consumer are bounded to 8 MB (the sequential backend runs a task
        only when its result is asked for).
    verbose, timeout, temp_folder, max_nbytes, mmap_mode, prefer, require
        joblib's parameters; only their default values are accepted so far.
    pre_dispatch : int or str
        Most tasks taken from the input and not yet handed out: a number, ``"all"``, or ``"3 * n_jobs"``. The default
        bounds the batches in flight instead.
    batch_size : int or "auto"
        Tasks sent at a time; ``"auto"`` goes by how long they take. A worker comes back with what is finished after
        50 ms at the latest, or at the end of the task it is on; the rest of its tasks are sent again.
    on_event : callable, optional
        Called with an `Event` when a task has started, is done, failed or was lost; in the thread that drives
        the run (a thread of jobspan's own for generators). What it raises ends the run.
    **backend_kwargs
        Parameters for the backend; none are accepted so far.

    Raises
    ------
    ValueError
        For ``n_jobs=0`` and for names and numbers that mean nothing.
    NotImplementedError
        For a parameter of joblib that has no effect yet.

    Notes
    -----
    The exception of a task is raised as itself, with a note of the task's index, arguments and worker.

    Examples
    --------
    >>> from jobspan import Parallel, delayed
    >>> Parallel(n_jobs=2)(delayed(pow)(i, 2) for i in range(4))
    [0, 1, 4, 9]
    """

    def __init__(
        self,
        n_jobs: Any = config.N_JOBS,
        backend: Any = config.BACKEND,
        return_as: str = "list",
        verbose: Any = config.VERBOSE,
        timeout: Any = None,
        pre_dispatch: Any = _PRE_DISPATCH,
        batch_size: Any = "auto",
        temp_folder: Any = config.TEMP_FOLDER,
        max_nbytes: Any = config.MAX_NBYTES,
        mmap_mode: Any = config.MMAP_MODE,
        prefer: Any = config.PREFER,
        require: Any = config.REQUIRE,
        *,
        on_event: OnEvent | None = None,
        **backend_kwargs: Any,
    ) -> None:
        surroundings = config.CONFIG.get()
        key = (
            *(n_jobs, backend, return_as, verbose, timeout, pre_dispatch, batch_size),
            *(temp_folder, max_nbytes, mmap_mode, prefer, require, surroundings, registry.default_name()),
        )
        try:
            settings = _remembered.get(key) if not backend_kwargs else None
        except TypeError:  # a backend that cannot be hashed
            settings = None
        if settings is None:
            config.require_effective(
                {
                    "verbose": (verbose, 0),
                    "timeout": (timeout, None),
                    "temp_folder": (temp_folder, None),
                    "max_nbytes": (max_nbytes, "1M", None),
                    "mmap_mode": (mmap_mode, "r", None),
                    "prefer": (prefer, None),
                    "require": (require, None),
                },
                backend_kwargs,
            )
            settings = _check(n_jobs, backend, return_as, pre_dispatch, batch_size, surroundings)
            if isinstance(settings.backend, str) and len(_remembered) < _MAX_REMEMBERED:
                _remembered[key] = settings
        if on_event is not None and not callable(on_event):
            raise TypeError(f"on_event={on_event!r} cannot be called; give a function that takes an Event.")
        self._settings = settings
        self._on_event = on_event
        self._straight = settings.is_plain and on_event is None

    def __repr__(self) -> str:
        settings = self._settings
        return f"Parallel(n_jobs={settings.n_jobs}, backend={settings.backend!r}, return_as={settings.return_as!r})"

    @property
    def n_jobs(self) -> int | None:
        """The number asked for, by argument or configuration."""
        return self._settings.n_jobs

    @property
    def return_as(self) -> str:
        """How results are handed out."""
        return self._settings.return_as

    def __call__(self, iterable: Iterable[Task]) -> Any:
        """Run the tasks.

        Parameters
        ----------
        iterable : iterable of ``delayed(f)(...)``
            May be a generator; it is taken from as workers come free.

        Returns
        -------
        list or generator
            The results, as `return_as` says.
        """
        if self._straight:
            return run_straight(iterable)
        as_list = self._settings.return_as == "list"
        plan = settle.settle(self._settings, streams=not as_list, blocks=True, watch=self._on_event is not None)
        run = self._begin(plan, iterable)
        if as_list:
            return drivers.run_list(run)
        if not plan.backend.traits.inline and host.has_threads():
            from jobspan.drive.background import iterate_in_background  # imports threading

            return iterate_in_background(run)
        return drivers.iterate(run, lazy=plan.backend.traits.inline)

    async def gather(self, iterable: Iterable[Task]) -> list[Any]:
        """Await all results, as a list in the order of the input.

        Works everywhere, also where a page cannot block.

        Examples
        --------
        >>> import asyncio
        >>> asyncio.run(Parallel(n_jobs=2).gather(delayed(abs)(i) for i in (-1, -2)))
        [1, 2]
        """
        ordered = self._settings._replace(return_as="list")
        plan = settle.settle(ordered, streams=False, blocks=False, watch=self._on_event is not None)
        return await drivers.gather(lambda: self._begin(plan, iterable))

    def stream(self, iterable: Iterable[Task]) -> AsyncGenerator[Any, None]:
        """Results for ``async for``, each when it is there.

        In the order of the input, unless ``return_as="generator_unordered"``. Work begins with the first step
        and goes on while the caller awaits.

        Examples
        --------
        >>> import asyncio
        >>> async def main():
        ...     tasks = (delayed(abs)(i) for i in (-1, -2))
        ...     return [value async for value in Parallel(n_jobs=2).stream(tasks)]
        >>> asyncio.run(main())
        [1, 2]
        """
        plan = settle.settle(self._settings, streams=True, blocks=False, watch=self._on_event is not None)
        return drivers.stream(lambda: self._begin(plan, iterable))

    def _begin(self, plan: settle.Plan, iterable: Iterable[Task]) -> Run:
        backend, request, policy = plan
        session = backend.open(request)
        return begin(
            policy,
            session,
            iterable,
            on_event=self._on_event,
            reports_start=backend.traits.reports_start,
        )


def _check(
    n_jobs: Any, backend: Any, return_as: str, pre_dispatch: Any, batch_size: Any, surroundings: config.Config
) -> Settings:
    if return_as not in _RETURN_AS:
        raise ValueError(f"return_as={return_as!r} is none of {', '.join(map(repr, _RETURN_AS))}.")
    config.check_backend(backend)
    chosen = settle.value_of(backend, surroundings.backend)
    window = None if pre_dispatch in (_PRE_DISPATCH, "2*n_jobs") else pre_dispatch
    if window is not None:
        units.parse_window(window, 1)
    return Settings(
        units.parse_n_jobs(settle.value_of(n_jobs, surroundings.n_jobs)),
        registry.default_name() if chosen is None else chosen,
        return_as,
        window,
        units.parse_batch_size(batch_size),
    )


def effective_n_jobs(n_jobs: int | None = -1) -> int:
    """How many tasks a `Parallel` with this `n_jobs` would run at the same time, here and now.

    Examples
    --------
    >>> effective_n_jobs(1)
    1
    """
    settings = _check(n_jobs, None, "list", None, "auto", config.CONFIG.get())
    backend = settle.find_backend(settings.backend, settings.n_jobs)
    return settle.workers_wanted(backend, settings.n_jobs) or backend.cpu_count()


def cpu_count(only_physical_cores: bool = False) -> int:
    """The CPUs that this process may use, by affinity, cgroup limits, or what the browser says.

    Parameters
    ----------
    only_physical_cores : bool
        Count hyper-threads of one core once, as loky finds out.

    Examples
    --------
    >>> cpu_count() >= 1
    True
    """
    if only_physical_cores and not host.in_pyodide():
        import loky

        return min(host.cpu_count(), int(loky.cpu_count(only_physical_cores=True)))
    return host.cpu_count()


def register_parallel_backend(name: str, factory: Callable[..., Any], make_default: bool = False) -> None:
    """Make a backend available by name.

    Parameters
    ----------
    name : str
        What ``backend=`` will say.
    factory : callable
        Called without arguments when the backend is first used; returns a `jobspan.backends.base.Backend`.
    make_default : bool
        Use it wherever no backend is named.
    """
    registry.register(name, factory, make_default=make_default)
