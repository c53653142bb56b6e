"""Futures of Web Workers, and ways to wait for futures that do not need another thread to end the wait.

The standard library waits for a `threading.Event`. Where messages of workers are read by the event loop of the thread
that waits, nobody would ever set it.

Invariant: what waits here lets the event loop turn, and takes its ear off every future again, however the wait ends.
"""

from __future__ import annotations

import concurrent.futures
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION, Future
from time import monotonic
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

from jobspan import host
from jobspan.errors import CannotBlock
from jobspan.web import waiting

T = TypeVar("T")

_CANNOT_BLOCK = (
    "waiting for a future here would hang: Python was entered in a way that cannot wait for workers "
    "(pyodide.runPython, a callback of JavaScript or of a future), or this browser has no JSPI. Write 'await future' "
    "or 'await asyncio.gather(*futures)', or enter Python by runPythonAsync."
)

_LONGEST_S = 86_400.0  # JavaScript's timers overflow after 24 days


class WebFuture(Future[T]):
    """What `WebWorkerExecutor.submit` returns: a `concurrent.futures.Future` that can be awaited, too.

    `result` and `exception` let the event loop turn while they wait; where that is impossible they raise `CannotBlock`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._ears: set[_Ear] = set()
        self._take_back: Callable[[WebFuture[T]], object] | None = None
        self.add_done_callback(_tell_ears)

    def result(self, timeout: float | None = None) -> T:
        """What the call returned, or raise what it raised.

        Raises
        ------
        TimeoutError
            If it is not there after `timeout` seconds; with 0, the event loop turns once.
        CancelledError
            If it was cancelled.
        CannotBlock
            If it is not there, and nothing can wait here.
        """
        self._wait(timeout)
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What the call raised, None if it returned; raises for itself what `result` does."""
        self._wait(timeout)
        return super().exception(0)

    def _wait(self, timeout: float | None) -> None:
        if not self.done():
            with _Ear([self], timeout) as ear:
                ear.listen()

    def cancel(self) -> bool:
        """Take the call back, if no worker has it yet."""
        was_cancelled = self.cancelled()
        if not super().cancel():
            return False
        if not was_cancelled:
            self.set_running_or_notify_cancel()  # nobody else has to come by before those who wait hear of it
            take_back, self._take_back = self._take_back, None
            if take_back is not None:
                take_back(self)
        return True

    def enqueued(self, take_back: Callable[[WebFuture[T]], object]) -> None:
        """Let `take_back` be called if it is cancelled; for the executor."""
        self._take_back = take_back

    def started(self) -> None:
        """A worker has the call; for the executor."""
        self._take_back = None
        self.set_running_or_notify_cancel()

    def listen(self, ear: _Ear) -> None:
        """Tell `ear` when it is done, or now."""
        if self.done():
            ear(self)
        else:
            self._ears.add(ear)

    def ignore(self, ear: _Ear) -> None:
        """Do not tell it any more."""
        self._ears.discard(ear)

    def __await__(self) -> Generator[Any, None, T]:
        import asyncio  # takes long

        return asyncio.wrap_future(self).__await__()


def _tell_ears(future: Future[Any]) -> None:
    assert isinstance(future, WebFuture)
    ears, future._ears = future._ears, set()  # noqa: SLF001  a function, so that the future does not hold itself
    for ear in ears:
        ear(future)


class _Ear:
    """Hears of futures as they become done, in that order."""

    def __init__(self, futures: Iterable[Future[Any]], timeout: float | None) -> None:
        self._end = None if timeout is None else monotonic() + timeout
        self.heard: deque[Future[Any]] = deque()
        self._wanted = 1
        self._signal: Any = None
        self._ours: set[WebFuture[Any]] = set()
        self._is_open = True
        for future in futures:
            if isinstance(future, WebFuture):
                self._ours.add(future)
                future.listen(self)
            else:
                future.add_done_callback(self)

    def __call__(self, future: Future[Any]) -> None:
        if self._is_open:
            self.heard.append(future)
            self._ours.discard(future)
            if self._signal is not None and len(self.heard) >= self._wanted:
                self._signal.set()

    def listen(self, wanted: int = 1) -> bool:
        """Wait until so many are among the `heard`; False when the time is over."""
        self._wanted = wanted
        while len(self.heard) < wanted:
            if self._is_over() or (self._left() <= 0 and not waiting.can_block()):
                return False
            if not waiting.can_block():
                raise CannotBlock(_CANNOT_BLOCK)
            waiting.block(self._expect())
        return True

    async def alisten(self, wanted: int) -> None:
        """Await them."""
        self._wanted = wanted
        while len(self.heard) < wanted:
            await self._expect().promise

    def _left(self) -> float:
        return _LONGEST_S if self._end is None else max(0.0, self._end - monotonic())

    def _is_over(self) -> bool:
        """Whether the time is over; not before the event loop has turned once, or with no time nothing could come."""
        return self._signal is not None and self._left() <= 0

    def _expect(self) -> Any:
        """A signal for when something is heard."""
        from jobspan.web.link import link

        self._signal = link().signal(1000 * min(self._left(), _LONGEST_S))
        return self._signal

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        for future in self._ours:
            future.ignore(self)
        self._ours.clear()


class DoneAndNotDone(NamedTuple):
    """What `wait` returns, as the standard library's does."""

    done: set[Future[Any]]
    not_done: set[Future[Any]]


def wait(fs: Iterable[Future[Any]], timeout: float | None = None, return_when: str = ALL_COMPLETED) -> DoneAndNotDone:
    """Wait for futures: `concurrent.futures.wait`, without a `threading.Event`, which hangs Pyodide for ever.

    Outside of Pyodide this is the standard library's.

    Parameters
    ----------
    fs : iterable of Future
        Futures, of any executor.
    timeout : float, optional
        Return after so many seconds, whatever is done.
    return_when : {"ALL_COMPLETED", "FIRST_COMPLETED", "FIRST_EXCEPTION"}
        When to return; `concurrent.futures` has these as constants.

    Returns
    -------
    done, not_done : sets of futures
        Those that are done, or cancelled, and the others.

    Raises
    ------
    CannotBlock
        If nothing can wait here.

    Examples
    --------
    >>> from concurrent.futures import Future
    >>> from jobspan.web import wait
    >>> ready, pending = Future(), Future()
    >>> ready.set_result(1)
    >>> done, not_done = wait([ready, pending], return_when="FIRST_COMPLETED")
    >>> done == {ready}, not_done == {pending}
    (True, True)
    """
    if not host.in_pyodide():
        return DoneAndNotDone(*concurrent.futures.wait(fs, timeout, return_when))
    if return_when not in (ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION):
        raise ValueError(
            f"return_when={return_when!r} is none of 'ALL_COMPLETED', 'FIRST_COMPLETED' and 'FIRST_EXCEPTION'."
        )
    futures = set(fs)
    done = {future for future in futures if future.done()}
    if not _is_enough(done, futures, return_when):
        with _Ear(futures - done, timeout) as ear:
            if return_when == ALL_COMPLETED:
                ear.listen(len(futures) - len(done))
            while return_when != ALL_COMPLETED and ear.listen():
                done.add(ear.heard.popleft())
                if _is_enough(done, futures, return_when):
                    break
    done = {future for future in futures if future.done()}  # several may have come at once
    return DoneAndNotDone(done, futures - done)


def _is_enough(done: Collection[Future[Any]], futures: Collection[Future[Any]], return_when: str) -> bool:
    if len(done) == len(futures):
        return True
    if return_when == FIRST_EXCEPTION:
        return any(not future.cancelled() and future.exception() is not None for future in done)
    return return_when == FIRST_COMPLETED and bool(done)


def as_completed(fs: Iterable[Future[Any]], timeout: float | None = None) -> Iterator[Future[Any]]:
    """Give futures as they become done: `concurrent.futures.as_completed`, without a `threading.Event`.

    That would hang Pyodide for ever. Outside of Pyodide this is the standard library's.

    Parameters
    ----------
    fs : iterable of Future
        Futures, of any executor; one that comes twice is given once.
    timeout : float, optional
        Seconds from this call until all have to be done.

    Yields
    ------
    Future
        One that is done, or cancelled.

    Raises
    ------
    TimeoutError
        If some are not done when the time is over.
    CannotBlock
        If nothing can wait here.

    Examples
    --------
    >>> from concurrent.futures import Future
    >>> from jobspan.web import as_completed
    >>> futures = [Future() for _ in range(3)]
    >>> for number, future in enumerate(futures):
    ...     future.set_result(number)
    >>> sorted(future.result() for future in as_completed(futures))
    [0, 1, 2]
    """
    if not host.in_pyodide():
        return concurrent.futures.as_completed(fs, timeout)
    return _as_completed(set(fs), None if timeout is None else monotonic() + timeout)


def _as_completed(futures: set[Future[Any]], end: float | None) -> Iterator[Future[Any]]:
    count = len(futures)
    with _Ear(futures, None if end is None else end - monotonic()) as ear:
        del futures  # what was given is not held any longer
        for number in range(count):
            if not ear.listen():
                raise TimeoutError(f"{count - number} of {count} futures are not done.")
            yield ear.heard.popleft()


async def all_done(futures: Iterable[Future[Any]]) -> None:
    """Await that all are done, whatever became of them."""
    left = {future for future in futures if not future.done()}
    with _Ear(left, None) as ear:
        await ear.alisten(len(left))
