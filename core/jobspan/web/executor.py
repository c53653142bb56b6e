"""`WebWorkerExecutor`: the standard library's interface for executors, on Web Workers.

Invariant: what waits does so in `jobspan.web.futures`; the executor itself holds its calls, and nothing holds it.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from itertools import islice
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from jobspan import host
from jobspan.errors import CannotBlock
from jobspan.web import waiting
from jobspan.web.calls import Calls, Part, Several
from jobspan.web.futures import WebFuture, all_done
from jobspan.web.futures import wait as wait_for
from jobspan.web.loops import let_loops_use
from jobspan.worker.prepare import Initializer

if TYPE_CHECKING:
    from jobspan.web.pool import Pool

T = TypeVar("T")
P = ParamSpec("P")

_NO_KEYWORDS: dict[str, Any] = {}

_CANNOT_WAIT = (
    "the end of a with block, or shutdown(), would have to wait for {} calls, and waiting here would hang: Python was "
    "entered in a way that cannot wait for workers, or this browser has no JSPI. Write 'async with', await the futures "
    "first, or call shutdown(wait=False). The calls go on, and the workers end after them."
)


class WebWorkerExecutor(Executor):
    """A `concurrent.futures.Executor` whose workers are Web Workers, where Python runs in Pyodide.

    Waiting for a future blocks by JSPI; ``await future`` works everywhere. For several futures use `jobspan.web.wait`
    and `jobspan.web.as_completed`: those of `concurrent.futures` hang in Pyodide.

    Parameters
    ----------
    max_workers : int, optional
        Workers that it may start, which it does when there are calls for them; by default as many as there are CPUs.
    initializer : callable, optional
        What each worker calls before its first call.
    initargs : tuple
        The arguments of that.
    index_url : str, optional
        The folder that workers load Pyodide from, with a slash at the end; by default where the caller's came from.
    boot_deadline_s : float
        A worker that gives no sign of life for this long while it boots is given up.

    Raises
    ------
    ValueError
        Outside Pyodide, or where it can start no workers; for a number of workers below 1.

    Examples
    --------
    In Pyodide::

        from jobspan.web import WebWorkerExecutor

        with WebWorkerExecutor(max_workers=2) as pool:
            future = pool.submit(pow, 2, 10)
            print(future.result())
            print(list(pool.map(abs, range(-3, 0))))
    """

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        index_url: str | None = None,
        boot_deadline_s: float = 60.0,
    ) -> None:
        if max_workers is not None and max_workers < 1:
            raise ValueError(f"max_workers={max_workers} is no number of workers; give 1 or more, or leave it out.")
        if initializer is not None and not callable(initializer):
            raise TypeError(f"initializer={initializer!r} is no function.")
        if not host.has_web_workers():
            why = "has no workers here" if host.in_pyodide() else "is not what runs this interpreter"
            raise ValueError(
                f"WebWorkerExecutor runs calls on Web Workers, by Pyodide in a browser or in node, and Pyodide {why}. "
                f"Elsewhere use concurrent.futures.ProcessPoolExecutor."
            )
        let_loops_use(WebWorkerExecutor)
        self._max_workers = max_workers or host.cpu_count()  # the standard library's name, which others look at
        self.initializer: Initializer | None = None if initializer is None else (initializer, tuple(initargs))
        self._calls = Calls(self._max_workers, self.initializer, index_url=index_url, boot_deadline_s=boot_deadline_s)
        weakref.finalize(self, self._calls.close).atexit = False

    @property
    def max_workers(self) -> int:
        """How many workers it may have."""
        return self._max_workers

    @property
    def pool(self) -> Pool:
        """The workers, for other uses of them; raises what `submit` would after `shutdown`."""
        self._calls.check_open()
        return self._calls.pool

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> WebFuture[T]:
        """Run ``fn(*args, **kwargs)`` on a worker.

        Returns
        -------
        WebFuture
            Its result to be. What cannot be pickled is its exception.

        Raises
        ------
        RuntimeError
            After `shutdown`.
        WorkerLost
            If the pool is broken: no worker can start, or the initializer failed.
        """
        if isinstance(fn, Several):
            return self._calls.add(fn.tasks, is_one=False, anew=False)
        return self._calls.add(((fn, args, kwargs),), is_one=True, anew=True)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Like ``map(fn, *iterables)``, on the workers; results come in order.

        Parameters
        ----------
        fn : callable
            What is called; pickled once, as it is now.
        timeout : float, optional
            Seconds from this call until a result that is asked for has to be there; else `TimeoutError`.
        chunksize : int
            How many calls travel together.
        buffersize : int, optional
            How many of these may be submitted and not yet taken; by default all of the input is submitted at once.
        """
        if chunksize < 1:
            raise ValueError(f"chunksize={chunksize} is no number of calls; give 1 or more.")
        if buffersize is not None and not isinstance(buffersize, int):
            raise TypeError(f"buffersize={buffersize!r} is no whole number.")
        if buffersize is not None and buffersize < 1:
            raise ValueError(f"buffersize={buffersize} would submit nothing; give 1 or more, or leave it out.")
        end = None if timeout is None else monotonic() + timeout
        self._calls.look_again()
        parts = _gather(fn, zip(*iterables, strict=False), chunksize)
        futures = deque(self.submit(part) for part in islice(parts, buffersize))
        return _results(futures, parts, None if buffersize is None else self, end)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls, and end the workers when those that were submitted are done.

        Parameters
        ----------
        wait : bool
            Return only then.
        cancel_futures : bool
            Cancel those that no worker has yet.

        Raises
        ------
        CannotBlock
            If calls are not done, and nothing can wait here; they go on, and the workers end after them.
        """
        self._calls.close(cancel=cancel_futures)
        left = self._calls.outstanding()
        if wait and left:
            if not waiting.can_block():
                raise CannotBlock(_CANNOT_WAIT.format(len(left)))
            wait_for(left)

    def terminate_workers(self) -> None:
        """Shut down, and end the workers now: what runs fails with `WorkerLost`, what waits is cancelled."""
        self._calls.terminate()

    kill_workers = terminate_workers

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._calls.close()
        await all_done(self._calls.outstanding())


def _gather(fn: Callable[..., Any], calls: Iterator[tuple[Any, ...]], size: int) -> Iterator[Any]:
    """The calls, so many together, as what `WebWorkerExecutor.submit` takes for them."""
    while chunk := tuple((fn, args, _NO_KEYWORDS) for args in islice(calls, size)):
        yield Several(chunk)


def _results(
    futures: deque[WebFuture[Part]], parts: Iterator[Any], executor: WebWorkerExecutor | None, end: float | None
) -> Iterator[Any]:
    """Values as they are asked for; for each future that is taken, one more is submitted if there is more."""
    try:
        while futures:
            if executor is not None:
                if (part := next(parts, None)) is None:
                    executor = None  # who only takes results does not keep it alive
                else:
                    futures.append(executor.submit(part))
            values, error = _take(futures.popleft(), end)
            values.reverse()
            while values:
                yield values.pop()  # which is held nowhere else
            if error is not None:
                raise error
    finally:
        for future in futures:
            future.cancel()


def _take(future: WebFuture[Part], end: float | None) -> Part:
    try:
        return future.result(None if end is None else end - monotonic())
    finally:
        future.cancel()  # where it came too late
