"""`Parallel`: settings in, driver out.

Invariant: a `Parallel` holds settings only; each call has a run of its own, so one object may be used several times
at once, also from within its own generator.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from time import perf_counter
from typing import TYPE_CHECKING, Any, Self

from jobspan import host, settle
from jobspan.available import cpu_count, effective_n_jobs, register_parallel_backend
from jobspan.captured import delayed
from jobspan.config import parallel_backend, parallel_config
from jobspan.drive import run as drivers
from jobspan.drive.flow import Run, begin
from jobspan.drive.straight import run_kept, run_straight
from jobspan.errors import JobspanError
from jobspan.follow.listener import Listener
from jobspan.follow.record import Recorder
from jobspan.model import Task
from jobspan.options import Options
from jobspan.worker.context import PLACE

if TYPE_CHECKING:
    from jobspan.drive.checkpoint import Resumption
    from jobspan.follow.report import Report

__all__ = [
    "Parallel",
    "TimeoutError",
    "cpu_count",
    "delayed",
    "effective_n_jobs",
    "parallel_backend",
    "parallel_config",
    "register_parallel_backend",
]

TimeoutError = TimeoutError  # noqa: A001, PLW0127  where joblib's scripts import it from


class Parallel(Options):
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
    verbose : int
        0 says nothing; 1 to 10 tell more and more often how far the run is, above 10 at every batch. On stderr, from
        50 on stdout.
    timeout : float or str, optional
        Seconds (or ``"30s"``, ``"2min"``) that a task may take, from when its worker begins with it. A task that takes
        longer has failed with a `TaskTimeout`: it is ended with its worker process, which is replaced, while the others
        go on; a thread cannot be ended, so it is left behind. Has no effect, which is said once, where tasks run in the
        caller's thread or on an executor that you brought.
    pre_dispatch : int or str
        Most tasks taken from the input and not yet handed out: a number, ``"all"``, or ``"3 * n_jobs"``. The default
        bounds the batches in flight instead.
    batch_size : int or "auto"
        Tasks sent at a time; ``"auto"`` goes by how long they take. A worker comes back with what is finished after
        50 ms at the latest, or at the end of the task it is on; the rest of its tasks are sent again.
    temp_folder : str, optional
        Where memory-mapped files lie; by default in memory (``/dev/shm``) where there is room.
    max_nbytes : int, str or None
        Arrays and other buffers of this size and more travel to processes by memory-mapped files; ``"1M"`` by default,
        None for never.
    mmap_mode : {"c", "r", "r+", "w+", None}
        How workers map them: ``"c"``, the default, lets a task write into its own private pages; ``"r"`` is read-only.
    prefer : {"threads", "processes", None}
        Which kind to choose where no backend is named.
    require : {"sharedmem", None}
        Only a backend whose tasks see the caller's objects themselves.
    deadline : float or str, optional
        Seconds that the whole call may take, until it is ended with a `TimeoutError`.
    checkpoint : path-like, Checkpoint or Memory, optional
        A file where each result is written as soon as it is there. When the same call is made again, after whatever
        ended it, the results that are in the file are taken from there and only the rest is run. A task is known again
        by its arguments and its function, with all functions of the user's own and plain globals that this uses. In a
        page, where files are gone at a reload, the browser keeps a copy (OPFS). A `Memory` has such a file.
    seed : int, optional
        Gives each task random numbers of its own, by `rng` and `numpy_rng` inside the task: the same on every backend,
        whatever the batches and attempts.
    errors : {"raise", "return", "skip", "group"} or callable
        What becomes of a task that failed for good. ``"raise"``, the default: its exception ends the call at once;
        results that were finished and not handed out are in the exception's ``partial``, by index. ``"return"``: a
        `TaskError` takes the place of the result. ``"skip"``: the result is left out. ``"group"``: all other tasks are
        run, then an `ExceptionGroup` of all failures is raised, with the good results in ``partial``. A function is
        called with the `TaskError`, in the thread that drives the run; what it returns takes the place.
    retries : int
        How often a task that failed is run again. Also without them, when a worker dies and the run goes on, tasks that
        it had been given with the deadly one are run again: each is run at least once, and should bear a second time.
    retry_on : exception type or tuple of them
        Exceptions after which it is, by default all that are an `Exception`. A `TaskTimeout` is an `OSError`, as every
        `TimeoutError` is. A worker that died under a task uses up an attempt whatever is said here.
    backoff : float, str or tuple
        Seconds (or ``"100ms"``) before the second attempt, doubled before each further one, up to half of it less by
        chance, and at most 30; a tuple says the first and the longest.
    progress : bool, str or callable
        True: shows on stderr how far the run is, as a bar in terminals and notebooks, as a line every ten seconds
        elsewhere. ``"tqdm"`` and ``"rich"``: the bars of these packages. A function is called with a `Progress`, ten
        times a second at most, in the thread that drives the run; what it raises ends the run. There is one bar at a
        time: a call made inside a task, or while another's bar is there, shows none.
    on_event : callable, optional
        Called with an `Event` of the kind ``"started"``, ``"done"``, ``"failed"``, ``"timed out"``, ``"lost"`` or
        ``"retried"``, in the thread that drives the run (a thread of jobspan's own for generators). What it raises
        ends the run. Worker processes tell of a start only with the end of its batch.
    **backend_kwargs
        ``initializer`` and ``initargs``: what each worker calls before its first task (without workers, the caller's
        thread at each call). Tasks see the globals that it sets, the script's own too. For processes:
        ``inner_max_num_threads``, ``idle_worker_timeout`` (seconds), ``max_tasks_per_worker``, ``max_worker_rss``
        (bytes, or text like ``"2G"``). For a registered backend, what its factory takes.

    Raises
    ------
    ValueError
        For ``n_jobs=0`` and for names and numbers that mean nothing.
    TypeError
        For a parameter that nothing takes.

    Notes
    -----
    The exception of a task is raised as itself, with a note of the task's index, arguments and worker.

    In a ``with`` block the object has workers of its own, which all its calls use and which end with the block.

    Examples
    --------
    >>> from jobspan import Parallel, delayed
    >>> Parallel(n_jobs=2)(delayed(pow)(i, 2) for i in range(4))
    [0, 1, 4, 9]
    """

    def __enter__(self) -> Self:
        """Give the object workers of its own, for all its calls."""
        fresh = getattr(settle.find_backend(self._settings), "fresh", None)
        if fresh is not None:
            self._own = fresh()
        return self

    def __exit__(self, *_: object) -> None:
        own, self._own = self._own, None
        if own is not None:
            own.shutdown()

    def print_progress(self) -> None:
        """Called after each batch, in the thread that drives the run; for subclasses that show progress of their own.

        `n_completed_tasks` and `n_dispatched_tasks` say how far the latest call is, `n_tasks` how long its input, if
        it tells.
        """
        if self._narrator is not None:
            self._narrator.tell()

    def _is_watched(self) -> bool:
        """Whether `print_progress` is somebody else's: a subclass's, or put in its place."""
        return type(self).print_progress is not _PRINT_PROGRESS or "print_progress" in vars(self)

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
        if self._straight and PLACE.get().attempt == 1 and not self._is_watched():
            self._record = self._plain_s = None
            resumption = self._find_resumption()
            if resumption is None:
                begun = perf_counter()
                results = run_straight(iterable)
                self._plain_s = perf_counter() - begun
            else:
                self._record = Recorder(1)
                results = run_kept(iterable, resumption, self._record)
            self.n_dispatched_tasks = self.n_completed_tasks = len(results)
            return results
        as_list = self._settings.return_as == "list"
        plan = settle.settle(self._settings, streams=not as_list, blocks=True, watch=self._on_event is not None)
        run = self._begin(plan, iterable, self._find_resumption())
        if as_list:
            results = drivers.run_list(run)
            self.n_dispatched_tasks = self.n_completed_tasks = len(results)
            return results
        if not plan.backend.traits.inline and host.has_threads():
            from jobspan.drive.background import iterate_in_background  # imports threading

            return iterate_in_background(run)
        return drivers.iterate(run, lazy=plan.backend.traits.inline)

    async def gather(self, iterable: Iterable[Task]) -> list[Any]:
        """Await all results, as a list in the order of the input.

        Without workers (``n_jobs=1``, the default) the event loop gets its turn after each task, not within one.

        Works everywhere, also where a page cannot block.

        Examples
        --------
        >>> import asyncio
        >>> asyncio.run(Parallel(n_jobs=2).gather(delayed(abs)(i) for i in (-1, -2)))
        [1, 2]
        """
        ordered = self._settings._replace(return_as="list")
        plan = settle.settle(ordered, streams=False, blocks=False, watch=self._on_event is not None)
        return await drivers.gather(lambda: self._begin_later(plan, iterable))

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
        return drivers.stream(lambda: self._begin_later(plan, iterable))

    def report(self) -> Report:
        """How the latest call spent its workers' time: print it, or let a notebook show it.

        Also while the call goes on, and after it has failed.

        Raises
        ------
        JobspanError
            If no call was made, or it failed where nobody watched: in a plain loop of one task after the other.

        Examples
        --------
        >>> parallel = Parallel(n_jobs=2)
        >>> parallel(delayed(abs)(-i) for i in range(4))
        [0, 1, 2, 3]
        >>> parallel.report().done
        4
        """
        from jobspan.follow.report import make_report, report_plain  # imports statistics

        if self._record is not None:
            return make_report(self._record)
        if self._plain_s is None:
            raise JobspanError(
                "there is nothing to report: no call was made, or it failed in a plain loop, which nobody watches. "
                "Give progress=True or on_event=, and that loop is watched, too."
            )
        return report_plain(self.n_completed_tasks, self._plain_s)

    def _find_resumption(self) -> Resumption | None:
        """What the run takes up, and leaves for the next, if that was asked for."""
        wanted, seed = self._settings.checkpoint, self._settings.seed
        if wanted is None:
            return None
        from jobspan.drive.checkpoint import Resumption, find_mirror  # imports pickle

        return Resumption(wanted, seed, find_mirror(wanted))

    async def _begin_later(self, plan: settle.Plan, iterable: Iterable[Task]) -> Run:
        wanted, seed = self._settings.checkpoint, self._settings.seed
        if wanted is None:
            return self._begin(plan, iterable, None)
        from jobspan.drive.checkpoint import Resumption, open_mirror  # imports pickle

        return self._begin(plan, iterable, Resumption(wanted, seed, await open_mirror(wanted)))

    def _begin(self, plan: settle.Plan, iterable: Iterable[Task], resumption: Resumption | None) -> Run:
        try:
            return self._put_together(plan, iterable, resumption)
        except BaseException:
            if resumption is not None:
                resumption.end(False)
            raise

    def _put_together(self, plan: settle.Plan, iterable: Iterable[Task], resumption: Resumption | None) -> Run:
        backend, request, policy = plan
        self.n_tasks = _length_of(iterable)
        if self._own is not None and type(self._own) is type(backend):
            backend = self._own
        display = None
        if self._progress is not None:
            from jobspan.follow.displays import find_display  # imports threading

            display = find_display(self._progress)
        session = backend.open(request)
        self._record = Recorder(session.width)
        listeners: list[Listener] = [self._record]
        if display is not None:
            from jobspan.follow.progress import Meter

            listeners.append(Meter(display, self._record, self.n_tasks))
        if backend.traits.memory == "copied":
            from jobspan.follow.echo import WarningEcho

            listeners.append(WarningEcho())
        if self._on_event is not None:
            from jobspan.follow.events import EventListener

            listeners.append(EventListener(self._on_event, backend.traits.reports_start))
        if self._settings.verbose or self._is_watched():
            if not backend.traits.inline:
                self._print(f"Using backend {_name_of(backend)} with {session.width} concurrent workers.")
            from jobspan.follow.narrator import Narrator

            self._narrator = Narrator(self._settings.verbose, self.n_tasks, self._print, self._progressed)
            listeners.append(self._narrator)
        return begin(policy, session, iterable, listeners, errors=self._settings.errors, resumption=resumption)

    def _progressed(self, dispatched: int, done: int) -> None:
        self.n_dispatched_tasks, self.n_completed_tasks = dispatched, done
        self.print_progress()


def _length_of(calls: Any) -> int | None:
    """Number of tasks, where the input tells without being iterated."""
    try:
        return len(calls)
    except TypeError:
        return None


def _name_of(backend: Any) -> str:
    return type(getattr(backend, "instance", backend)).__name__  # of one in joblib's shape, the user's own class


_PRINT_PROGRESS = Parallel.print_progress

_ELSEWHERE = {"ParallelBackendBase": "jobspan", "AutoBatchingMixin": "jobspan"}


def __getattr__(name: str) -> Any:
    if name in _ELSEWHERE:
        from importlib import import_module

        return getattr(import_module(_ELSEWHERE[name]), name)
    hint = ""
    if name == "BatchCompletionCallBack":
        hint = "; to show progress give Parallel(on_event=...), or override print_progress in a subclass"
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")
