"""The driver that runs a flow in a thread of its own, so that workers stay busy while the consumer is.

Invariant: only the thread touches the flow; consumer and thread share a `_Feed`, under its lock.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator
from contextvars import copy_context
from typing import Any

from jobspan.drive.flow import Run, Stall, Wait
from jobspan.schedule.core import Emit, Fail, Finish, Scheduler

_JOIN_S = 1.0  # the thread ends at once, unless the user's own input keeps it


class _Feed:
    """What the thread has for the consumer, and what the consumer has taken."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.slices: deque[Emit] = deque()
        self.taken: list[Emit] = []
        self.hungry = False
        self.ended = False
        self.abandoned = False
        self.error: BaseException | None = None


def iterate_in_background(run: Run) -> Generator[Any, None, None]:
    """Results as the consumer asks for them, while a thread keeps the run going."""
    results = _iterate(run)
    next(results)  # up to the first, empty yield: from here on closing or dropping it ends the thread
    return results


def _iterate(run: Run) -> Generator[Any, None, None]:
    feed = _Feed()
    context = copy_context()
    thread = threading.Thread(target=context.run, args=(_pump, run, feed), name="jobspan-driver", daemon=True)
    thread.start()
    session = run.session
    del run  # the thread alone keeps it
    try:
        yield
        while (emit := _next_slice(feed)) is not None:
            yield from emit.values
            with feed.changed:
                feed.taken.append(emit)
                feed.changed.notify_all()
                hungry = feed.hungry
            if hungry:
                session.wake()
        if feed.error is not None:
            raise feed.error
    finally:
        with feed.changed:
            feed.abandoned = True
            feed.changed.notify_all()
        session.wake()
        thread.join(_JOIN_S)


def _next_slice(feed: _Feed) -> Emit | None:
    with feed.changed:
        while not feed.slices and not feed.ended:
            feed.changed.wait()
        return feed.slices.popleft() if feed.slices else None


def _pump(run: Run, feed: _Feed) -> None:
    flow, session, scheduler = run
    try:
        step = next(flow)
        while not feed.abandoned:
            facts = None
            match step:
                case Wait(timeout, hungry):
                    if not _went_on(feed, hungry):
                        facts = session.poll(timeout)
                case Stall():
                    with feed.changed:
                        feed.changed.wait_for(lambda: feed.taken or feed.abandoned)
                case Emit():
                    with feed.changed:
                        feed.slices.append(step)
                        feed.changed.notify_all()
                case Fail(error):
                    feed.error = error
                    return
                case Finish():
                    return
            _report_taken(feed, scheduler)
            step = flow.send(facts)
    except BaseException as error:  # noqa: BLE001  the consumer's to see, whatever it is
        feed.error = error
    finally:
        flow.close()
        with feed.changed:
            feed.ended = True
            feed.changed.notify_all()


def _went_on(feed: _Feed, hungry: bool) -> bool:
    """Announce that taking something now calls for `Session.wake`, unless something was taken already."""
    with feed.changed:
        feed.hungry = hungry
        return hungry and bool(feed.taken)


def _report_taken(feed: _Feed, scheduler: Scheduler) -> None:
    with feed.changed:
        taken, feed.taken = feed.taken, []
    for emit in taken:
        scheduler.consumed(len(emit.values), emit.nbytes)
