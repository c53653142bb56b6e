"""The drivers that step through a flow in the caller's own thread: blocking and awaiting, lists and streams.

Invariant: each closes its flow, and thereby the session, however it is left.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any, NoReturn

from jobspan.drive.failures import bring_along, kept
from jobspan.drive.flow import Run, Stall, Wait
from jobspan.drive.watchdog import watch
from jobspan.schedule.core import Emit, Fail, Finish


def run_list(run: Run) -> list[Any]:
    """Run to the end, waiting where necessary."""
    results: list[Any] = []
    flow, session, scheduler = run.flow, run.session, run.scheduler
    try:
        step = next(flow)
        watchdog = watch(session, scheduler)
        while True:
            match step:
                case Wait(timeout):
                    step = flow.send(watchdog.poll(timeout))
                case Emit(values, nbytes):
                    results += values
                    scheduler.consumed(len(values), nbytes)
                    step = next(flow)
                case Finish():
                    flow.close()  # those who follow the run hear of it, and may raise
                    return kept(results) if run.leaves_out else results
                case Fail(error):
                    raise error  # noqa: TRY301  for the clause below
                case Stall():
                    _never()
    except BaseException as error:
        # A task's failure, an interrupt, or what a function that follows the run raises: hours of work may be in these.
        bring_along(Fail(error, scheduler.find_partial()), results)
        raise
    finally:
        flow.close()


def iterate(run: Run, *, lazy: bool) -> Generator[Any, None, None]:
    """Results as the consumer asks for them; the first batches are sent now, unless `lazy`."""
    results = _iterate(run, lazy)
    next(results)  # up to the first, empty yield: from here on closing or dropping it closes the flow
    return results


def _iterate(run: Run, lazy: bool) -> Generator[Any, None, None]:
    flow, session, scheduler = run.flow, run.session, run.scheduler
    try:
        step = None if lazy else next(flow)
        poll = session.poll if lazy else watch(session, scheduler).poll  # a lazy session never waits
        yield
        step = next(flow) if step is None else step
        while True:
            match step:
                case Wait(timeout):
                    step = flow.send(poll(timeout))
                case Emit(values, nbytes):
                    yield from kept(values) if run.leaves_out else values
                    scheduler.consumed(len(values), nbytes)
                    step = next(flow)
                case Finish():
                    return
                case Fail():
                    raise bring_along(step)
                case Stall():
                    _never()
    finally:
        flow.close()


async def gather(start: Callable[[], Awaitable[Run]]) -> list[Any]:
    """Start a run and await its end."""
    results: list[Any] = []
    run = await start()
    slices = _slices(run)
    try:
        async for values in slices:
            results += values
    except BaseException as error:
        bring_along(Fail(error, run.scheduler.find_partial()), results)
        raise
    finally:
        await slices.aclose()
    return kept(results) if run.leaves_out else results


async def stream(start: Callable[[], Awaitable[Run]]) -> AsyncGenerator[Any, None]:
    """Results as they come, awaiting; the run starts with the first step, so one that is never taken costs nothing."""
    run = await start()
    slices = _slices(run)
    try:
        async for values in slices:
            for value in kept(values) if run.leaves_out else values:
                yield value
    finally:
        await slices.aclose()


async def _slices(run: Run) -> AsyncGenerator[list[Any], None]:
    """What is emitted."""
    flow, session, scheduler = run.flow, run.session, run.scheduler
    try:
        step = next(flow)
        watchdog = watch(session, scheduler)
        while True:
            match step:
                case Wait(timeout):
                    step = flow.send(await watchdog.apoll(timeout))
                case Emit(values, nbytes):
                    yield values
                    scheduler.consumed(len(values), nbytes)
                    step = next(flow)
                case Finish():
                    return
                case Fail():
                    raise bring_along(step)
                case Stall():
                    _never()
    finally:
        flow.close()


def _never() -> NoReturn:
    raise AssertionError("a run whose consumer has taken everything cannot stall: please report this")
