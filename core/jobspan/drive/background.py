"""The driver that runs a flow in a thread of its own, so that workers stay busy while the consumer is.

Invariant: only the thread touches the flow; consumer and thread share a `_Feed`, under its lock.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Generator
from contextvars import copy_context
from typing import Any

from jobspan.drive.failures import bring_along, kept
from jobspan.drive.flow import Run, Stall, Wait
from jobspan.drive.watchdog import watch
from jobspan.errors import CannotBlock
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
        self.process = os.getpid()

    def is_at_home(self) -> bool:
        """Whether this is the process that the thread is in."""
        return os.getpid() == self.process


def iterate_in_background(run: Run) -> Generator[Any, None, None]:
    """Results as the consumer asks for them, while a thread keeps the run going."""
    results = _iterate(run)
    next(results)  # up to the first, empty yield: from here on closing or dropping it ends the thread
    return results


def _iterate(run: Run) -> Generator[Any, None, None]:
    is_finalizing = sys.is_finalizing  # an interpreter that ends may empty its modules before it drops this generator
    feed = _Feed()
    context = copy_context()
    thread = threading.Thread(target=context.run, args=(_pump, run, feed), name="jobspan-driver", daemon=True)
    thread.start()
    session, leaves_out = run.session, run.leaves_out
    del run  # the thread alone keeps it
    try:
        yield
        while (emit := _next_slice(feed)) is not None:
            yield from kept(emit.values) if leaves_out else emit.values
            if _take(feed, emit):
                session.wake()
        if feed.error is not None:
            raise feed.error
    finally:
        # Threads of an ending interpreter, and of the process that this one is a fork of, may hold the lock for ever.
        if not is_finalizing() and feed.is_at_home():
            with feed.changed:
                feed.abandoned = True
                feed.changed.notify_all()
            session.wake()
            if thread.ident != threading.get_ident():  # which collects garbage like any other
                thread.join(_JOIN_S)


def _next_slice(feed: _Feed) -> Emit | None:
    _require_home(feed)
    with feed.changed:
        while not feed.slices and not feed.ended:
            feed.changed.wait()
        return feed.slices.popleft() if feed.slices else None


def _take(feed: _Feed, emit: Emit) -> bool:
    """Tell the thread what was taken; whether it has to be woken for it."""
    _require_home(feed)
    with feed.changed:
        feed.taken.append(emit)
        feed.changed.notify_all()
        return feed.hungry


def _require_home(feed: _Feed) -> None:
    if not feed.is_at_home():
        raise CannotBlock(
            f"this generator belongs to process {feed.process}, of which process {os.getpid()} is a fork: the thread "
            f"that drives its tasks is there, and no more results come here. Take them there, or call Parallel anew."
        )


def _pump(run: Run, feed: _Feed) -> None:
    flow, session, scheduler = run.flow, run.session, run.scheduler
    try:
        step = next(flow)
        watchdog = watch(session, scheduler)
        while not feed.abandoned:
            facts = None
            match step:
                case Wait(timeout, hungry):
                    if not _went_on(feed, hungry):
                        facts = watchdog.poll(timeout)
                case Stall():
                    with feed.changed:
                        feed.changed.wait_for(lambda: feed.taken or feed.abandoned)
                case Emit():
                    with feed.changed:
                        feed.slices.append(step)
                        feed.changed.notify_all()
                case Fail():
                    feed.error = bring_along(step)
                    return
                case Finish():
                    return
            _report_taken(feed, scheduler)
            step = flow.send(facts)
    except BaseException as error:  # noqa: BLE001  the consumer's to see, whatever it is
        feed.error = error
    finally:
        try:
            flow.close()
        except BaseException as error:  # noqa: BLE001  a warning of the tasks, where warnings are errors
            feed.error = feed.error or error
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
