"""The base class for backends in joblib's shape, for those who write or port one without joblib.

Invariant: a class written against joblib's `ParallelBackendBase` finds here the same methods and attributes, with the
same meaning.
"""

from __future__ import annotations

import os
import threading
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from jobspan import host


class ParallelBackendBase(ABC):
    """What a backend in joblib's shape has; subclasses implement `effective_n_jobs`, `submit` and the retrieval.

    Use it as ``backend=Mine()``, or by name after ``register_parallel_backend("mine", Mine)``.

    Parameters
    ----------
    nesting_level : int, optional
        How many parallel calls this backend's calls are inside of; None: found out when it is used.
    inner_max_num_threads : int, optional
        Threads that BLAS and OpenMP libraries may use in each worker.
    **backend_kwargs
        Kept in `backend_kwargs` for the subclass.

    Attributes
    ----------
    default_n_jobs : int
        What ``n_jobs=None`` means: 1, unless a subclass says otherwise.
    supports_retrieve_callback : bool
        How results come back. True: the callback that `submit` is given has to be called with whatever
        `retrieve_result_callback` makes the result from. False (older): `retrieve_result` is asked for the result of
        what `submit` returned.
    supports_inner_max_num_threads : bool
        Whether `inner_max_num_threads` is minded.
    supports_sharedmem, uses_threads : bool
        Optional. True: workers are threads of this process, and tasks are handed over as they are.
    parallel : object
        What the present call says about itself, from `configure` on: ``n_jobs``, ``verbose``, ... Under jobspan it can
        only be read.

    Examples
    --------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> from jobspan import Parallel, delayed
    >>> class OnMyPool(ParallelBackendBase):
    ...     supports_retrieve_callback = True
    ...     supports_sharedmem = True
    ...     def effective_n_jobs(self, n_jobs):
    ...         return 2
    ...     def configure(self, n_jobs=1, parallel=None, **backend_kwargs):
    ...         self.parallel = parallel
    ...         self.pool = ThreadPoolExecutor(2)
    ...         return self.effective_n_jobs(n_jobs)
    ...     def submit(self, func, callback=None):
    ...         future = self.pool.submit(func)
    ...         future.add_done_callback(callback)
    ...         return future
    ...     def retrieve_result_callback(self, out):
    ...         return out.result()
    ...     def terminate(self):
    ...         self.pool.shutdown()
    >>> OnMyPool().supports_timeout
    True
    """

    default_n_jobs = 1
    supports_inner_max_num_threads = False
    supports_retrieve_callback = False
    nesting_level: int | None = None
    parallel: Any = None

    MAX_NUM_THREADS_VARS: ClassVar[list[str]] = list(host.THREAD_LIMITS)  # a list: subclasses extend it
    """Environment variables that limit the threads of numerical libraries."""

    TBB_ENABLE_IPC_VAR = "ENABLE_IPC"
    """Environment variable that lets the TBB schedulers of several processes agree on the CPUs."""

    def __init__(
        self, nesting_level: int | None = None, inner_max_num_threads: int | None = None, **backend_kwargs: Any
    ) -> None:
        super().__init__()
        self.nesting_level = nesting_level
        self.inner_max_num_threads = inner_max_num_threads
        self.backend_kwargs = backend_kwargs

    @property
    def supports_return_generator(self) -> bool:
        """Whether joblib can hand out this backend's results one by one; under jobspan every backend can."""
        return self.supports_retrieve_callback

    @property
    def supports_timeout(self) -> bool:
        """Whether joblib can give up on this backend's tasks after a time; also whether jobs' ``get`` takes one."""
        return self.supports_retrieve_callback

    @abstractmethod
    def effective_n_jobs(self, n_jobs: int) -> int:
        """How many tasks run at the same time if `n_jobs` are asked for.

        Parameters
        ----------
        n_jobs : int
            As the user gave it; negative numbers count from all there are.
        """

    def submit(self, func: Callable[[], Any], callback: Callable[..., Any] | None = None) -> Any:
        """Start running `func` on a worker, and do not wait for it.

        Parameters
        ----------
        func : callable
            Takes no arguments. It can be pickled, unless tasks share the caller's memory.
        callback : callable
            To be called with one argument when `func` is done, from any thread: see `supports_retrieve_callback`.

        Returns
        -------
        object
            The job, such as a future.
        """
        warnings.warn(
            f"{type(self).__name__} implements apply_async, joblib's old name for it; rename it to submit.",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.apply_async(func, callback)

    def apply_async(self, func: Callable[[], Any], callback: Callable[..., Any] | None = None) -> Any:
        """The name of `submit` in joblib before 1.5; used where a subclass has no `submit`."""
        # Not abstract: a subclass has this or `submit`, and each is right.
        raise NotImplementedError(f"{type(self).__name__} has to implement submit(func, callback).")

    def retrieve_result_callback(self, out: Any) -> Any:
        """What `func` returned, or raise what it raised, from what the callback was called with."""
        raise NotImplementedError(  # not abstract: only where `supports_retrieve_callback` is it needed
            f"{type(self).__name__} has supports_retrieve_callback, so it has to implement "
            f"retrieve_result_callback(out), for instance as 'return out.result()'."
        )

    def retrieve_result(self, out: Any, timeout: float | None = None) -> Any:
        """What `func` returned, or raise what it raised, from what `submit` returned; waits for it.

        Parameters
        ----------
        out : object
            The job; by default one with a method ``get``.
        timeout : float, optional
            Seconds to wait at most, where `supports_timeout`.
        """
        return out.get(timeout=timeout) if self.supports_timeout else out.get()

    def configure(
        self,
        n_jobs: int = 1,
        parallel: Any = None,
        prefer: str | None = None,  # noqa: ARG002  for subclasses
        require: str | None = None,  # noqa: ARG002  for subclasses
        **backend_kwargs: Any,  # noqa: ARG002  for subclasses
    ) -> int:
        """Get ready for a call, or in a ``with`` block for several; called again before the next.

        Parameters
        ----------
        n_jobs : int
            Tasks at the same time that are wanted.
        parallel : object
            Kept as `parallel`.
        prefer, require : str, optional
            What the user said about threads, processes and shared memory.
        **backend_kwargs
            ``max_nbytes``, ``mmap_mode``, ``temp_folder``, ``verbose``, and what `Parallel` was given for the backend.

        Returns
        -------
        int
            Tasks at the same time there will be; 1 lets the caller's thread run them.
        """
        self.parallel = parallel
        return self.effective_n_jobs(n_jobs)

    def start_call(self) -> None:  # noqa: B027  optional
        """Called when a call begins, after `configure`."""

    def stop_call(self) -> None:  # noqa: B027  optional
        """Called when a call ends."""

    def terminate(self) -> None:  # noqa: B027  optional
        """Release what `configure` has set up."""

    def abort_everything(self, ensure_ready: bool = True) -> None:  # noqa: B027  optional
        """End what still runs, since the call has failed or its results are not wanted any more.

        Parameters
        ----------
        ensure_ready : bool
            Whether more calls follow before the next `configure`.
        """

    def compute_batch_size(self) -> int:
        """How many tasks a batch should have; jobspan finds that out by itself and does not ask."""
        return 1

    def batch_completed(self, batch_size: int, duration: float) -> None:  # noqa: B027  optional
        """Hear how many seconds a batch took; never called by jobspan."""

    def get_nested_backend(self) -> tuple[Any, int | None]:
        """Backend and ``n_jobs`` for calls inside tasks: never asked by jobspan, which has rules of its own."""
        return "sequential", None

    @contextmanager
    def retrieval_context(self) -> Iterator[None]:
        """Entered by the caller's thread for the time in which it waits for results."""
        yield

    @staticmethod
    def in_main_thread() -> bool:
        """Whether this is the interpreter's main thread."""
        return threading.current_thread() is threading.main_thread()

    def _prepare_worker_env(self, n_jobs: int) -> dict[str, str]:
        """Environment variables for worker processes, so that numerical libraries do not use more threads than CPUs."""
        share = max(host.cpu_count() // n_jobs, 1)
        if self.inner_max_num_threads is None:
            env = {name: os.environ.get(name, str(share)) for name in self.MAX_NUM_THREADS_VARS}
        else:
            env = dict.fromkeys(self.MAX_NUM_THREADS_VARS, str(self.inner_max_num_threads))
        if self.TBB_ENABLE_IPC_VAR not in os.environ:
            env[self.TBB_ENABLE_IPC_VAR] = "1"
        return env
