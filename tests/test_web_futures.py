"""Futures of Web Workers, and waiting for futures, natively and in Pyodide, as far as that takes no worker."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    CancelledError,
    Future,
    InvalidStateError,
)
from typing import Any

import pytest

import jobspan.web
from jobspan import CannotBlock, Parallel, host
from jobspan.web import WebFuture, WebWorkerExecutor, as_completed, wait

natively = pytest.mark.skipif(host.in_pyodide(), reason="what differs where Pyodide does not run this interpreter")


def soon(action: Callable[[], object], seconds: float = 0.02) -> None:
    """Let `action` be called later: by a thread, or where there is none by the event loop."""
    if host.has_threads():
        threading.Timer(seconds, action).start()
    else:
        asyncio.get_event_loop().call_later(seconds, action)


def finished(value: Any) -> WebFuture[Any]:
    future: WebFuture[Any] = WebFuture()
    future.set_result(value)
    return future


def failed(error: Exception) -> WebFuture[Any]:
    future: WebFuture[Any] = WebFuture()
    future.set_exception(error)
    return future


def cancelled() -> WebFuture[Any]:
    future: WebFuture[Any] = WebFuture()
    future.cancel()
    return future


def test_the_public_names_are_found_when_they_are_used() -> None:
    executors = {"WebFuture", "WebWorkerExecutor", "as_completed", "wait"}
    assert {*jobspan.web.__all__} == executors | {"WorkerState", "stop", "warm", "workers"}
    assert set(jobspan.web.__all__) <= set(dir(jobspan.web))
    assert all(getattr(jobspan.web, name).__doc__ for name in jobspan.web.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = jobspan.web.nothing


@natively
def test_outside_pyodide_an_executor_says_what_to_use() -> None:
    with pytest.raises(ValueError, match=r"Pyodide is not what runs this interpreter.*ProcessPoolExecutor"):
        WebWorkerExecutor(2)


@pytest.mark.parametrize("count", [0, -1])
def test_a_number_of_workers_is_at_least_one(count: int) -> None:
    with pytest.raises(ValueError, match=f"max_workers={count} is no number of workers"):
        WebWorkerExecutor(count)


def test_an_initializer_can_be_called() -> None:
    with pytest.raises(TypeError, match="initializer='x' is no function"):
        WebWorkerExecutor(initializer="x")  # type: ignore[arg-type]


# States


def test_a_future_is_pending_then_running_then_finished() -> None:
    future: WebFuture[int] = WebFuture()
    assert (future.running(), future.done(), future.cancelled()) == (False, False, False)
    future.started()
    assert (future.running(), future.done(), future.cancelled()) == (True, False, False)
    assert not future.cancel()
    future.set_result(3)
    assert (future.running(), future.done(), future.cancelled()) == (False, True, False)
    assert future.result() == future.result(timeout=0) == 3
    assert future.exception() is None
    assert not future.cancel()
    with pytest.raises(InvalidStateError):
        future.set_result(4)


def test_a_future_that_failed_raises_the_error_itself() -> None:
    error = OSError("no")
    future = failed(error)
    assert future.exception() is error
    with pytest.raises(OSError, match="no"):
        future.result()


def test_a_cancelled_future_is_taken_back_once_and_known_to_those_who_wait() -> None:
    future: WebFuture[int] = WebFuture()
    taken: list[Any] = []
    future.enqueued(taken.append)
    told: list[Any] = []
    future.add_done_callback(lambda done: told.append((done.cancelled(), done.cancel())))
    assert future.cancel()
    assert future.cancel()
    assert future.cancelled()
    assert taken == [future]
    assert told == [(True, True)]
    assert wait([future]).done == {future}
    for ask in (future.result, future.exception):
        with pytest.raises(CancelledError):
            ask()


def test_callbacks_are_called_in_order_and_late_ones_at_once() -> None:
    future: WebFuture[int] = WebFuture()
    heard: list[Any] = []

    def complain(_: Any) -> None:
        raise ZeroDivisionError("in a callback, which the standard library logs")

    future.add_done_callback(lambda done: heard.append(("first", done.result())))
    future.add_done_callback(complain)
    future.add_done_callback(lambda done: heard.append(("second", done.result())))
    assert heard == []
    future.set_result(7)
    assert heard == [("first", 7), ("second", 7)]
    future.add_done_callback(heard.append)
    assert heard[-1] is future


def test_a_future_that_is_not_done_in_time_is_a_timeout() -> None:
    future: WebFuture[int] = WebFuture()
    for ask in (future.result, future.exception):
        with pytest.raises(TimeoutError):
            ask(timeout=0)


@natively
def test_waiting_where_nothing_can_come_says_what_to_write() -> None:
    future: WebFuture[int] = WebFuture()
    with pytest.raises(CannotBlock, match="Write 'await future'"):
        future.result()


def test_futures_can_be_awaited() -> None:
    async def main() -> list[Any]:
        future: WebFuture[int] = WebFuture()
        future.started()
        asyncio.get_running_loop().call_later(0.01, future.set_result, 5)
        got = [await future, await asyncio.wrap_future(future), await asyncio.wait_for(future, 5)]
        with pytest.raises(OSError, match="no"):
            await failed(OSError("no"))
        with pytest.raises(asyncio.CancelledError):
            await cancelled()
        return [*got, *await asyncio.gather(finished(1), finished(2))]

    assert asyncio.run(main()) == [5, 5, 5, 1, 2]


def test_who_stops_awaiting_cancels_what_has_not_begun() -> None:
    async def main() -> tuple[bool, bool]:
        pending, running = WebFuture[int](), WebFuture[int]()
        running.started()
        for future in (pending, running):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(future, 0.01)
        await asyncio.sleep(0)
        return pending.cancelled(), running.cancelled()

    assert asyncio.run(main()) == (True, False)


def test_a_future_is_in_no_circle() -> None:
    gc.collect()
    gc.disable()
    try:
        future: WebFuture[int] = WebFuture()
        future.enqueued(lambda _: None)
        gone = weakref.ref(future)
        list(as_completed([finished(1)]))
        wait([future], timeout=0)
        future.started()
        future.set_result(1)
        del future
        assert gone() is None
    finally:
        gc.enable()


# Waiting


def test_wait_returns_when_all_are_done() -> None:
    late: WebFuture[int] = WebFuture()
    plain: Future[int] = Future()
    soon(lambda: late.set_result(1))
    soon(lambda: plain.set_result(2), 0.05)
    given = {finished(0), failed(OSError()), cancelled(), late, plain}
    done, not_done = wait(given)
    assert done == given
    assert not_done == set()
    assert wait([]) == (set(), set())
    assert wait(iter([late, late])).done == {late}


def test_wait_returns_at_the_first() -> None:
    never: WebFuture[int] = WebFuture()
    late: WebFuture[int] = WebFuture()
    soon(lambda: late.set_result(1))
    assert wait([never, late], return_when=FIRST_COMPLETED) == ({late}, {never})
    assert wait([never, late], return_when=FIRST_COMPLETED) == ({late}, {never})


def test_wait_returns_at_the_first_exception() -> None:
    never: WebFuture[int] = WebFuture()
    first: WebFuture[int] = WebFuture()
    second: WebFuture[int] = WebFuture()
    soon(lambda: first.set_result(1))
    soon(lambda: second.set_exception(OSError()), 0.05)
    assert wait([never, first, second], return_when=FIRST_EXCEPTION) == ({first, second}, {never})
    assert wait([never, second], return_when=FIRST_EXCEPTION) == ({second}, {never})
    assert wait([finished(1), finished(2)], return_when=FIRST_EXCEPTION).not_done == set()


@pytest.mark.parametrize("return_when", [ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION])
def test_wait_gives_up_after_its_time(return_when: str) -> None:
    never: WebFuture[int] = WebFuture()
    for timeout in (0, 0.01):
        assert wait([never], timeout=timeout, return_when=return_when) == (set(), {never})


def test_wait_knows_no_other_words() -> None:
    with pytest.raises(ValueError, match=r"SOMETIMES|condition"):
        wait([WebFuture()], return_when="SOMETIMES")


def test_as_completed_gives_each_once_as_it_comes() -> None:
    first: WebFuture[int] = WebFuture()
    second: Future[int] = Future()
    there = finished(0)
    soon(lambda: second.set_result(2), 0.06)
    soon(lambda: first.set_result(1))
    assert [future.result() for future in as_completed([second, first, there, first])] == [0, 1, 2]
    assert list(as_completed([])) == []


def test_as_completed_gives_up_after_its_time() -> None:
    there, never = finished(0), WebFuture[int]()
    given = as_completed([there, never], timeout=0.02)
    assert next(given) is there
    with pytest.raises(TimeoutError, match=r"1 .*of 2"):
        next(given)


def test_as_completed_does_not_hold_what_it_gave() -> None:
    futures: list[Future[int]] = [finished(0), finished(1)]
    given = as_completed(iter(futures))
    futures.clear()
    for future in given:
        gone = weakref.ref(future)
        del future
        assert gone() is None


@natively
def test_parallel_still_takes_other_executors() -> None:
    from concurrent.futures import ThreadPoolExecutor

    from jobspan import delayed

    with ThreadPoolExecutor(1) as pool:
        assert Parallel(backend=pool)([delayed(abs)(-1)]) == [1]
