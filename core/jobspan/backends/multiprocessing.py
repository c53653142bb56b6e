"""Tasks in processes that `multiprocessing` starts.

Where that means to fork, as on Linux before Python 3.14, workers see what the caller's process has in memory. A process
with threads cannot be forked without danger, so there workers are started by loky, as fresh interpreters. So they are
where multiprocessing would start fresh ones too, unless a way is asked for by name: loky's do not run the user's script
again, so it needs no ``if __name__ == "__main__"``.

Where workers have to be replaced one by one, they are started by loky as well: by then there are threads.

Invariant: a process with more than one thread is forked only where the user has said so by name.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import suppress
from functools import cache
from multiprocessing import get_all_start_methods, get_context, get_start_method, process
from multiprocessing.context import BaseContext
from typing import Any

from loky import process_executor  # the package before its parts: two threads could wait for each other's import

from jobspan import host
from jobspan.backends import loky
from jobspan.backends.base import OpenRequest, Session, Traits
from jobspan.backends.crew import Kind, Pool, place_of
from jobspan.backends.isolated import IsolatedPool
from jobspan.backends.life import Board, begin_work
from jobspan.backends.line import Line
from jobspan.backends.pools import Lender, open_session
from jobspan.model import Staff

_VARIABLES = ("JOBSPAN_START_METHOD", "JOBLIB_START_METHOD")


class MultiprocessingBackend:
    """Runs tasks in processes.

    Parameters
    ----------
    context : multiprocessing context, optional
        How to start them, as from `multiprocessing.get_context`. By default as ``JOBSPAN_START_METHOD`` or
        ``JOBLIB_START_METHOD`` say (``"fork"``, ``"spawn"``, ``"forkserver"``), or `multiprocessing.set_start_method`,
        or as this module's docstring does.
    """

    traits = Traits(
        memory="copied", can_kill=True, can_expel=True, round_trip_s=loky.ROUND_TRIP_S, staffs=frozenset(Staff._fields)
    )

    def __init__(self, context: BaseContext | None = None) -> None:
        self._context = context
        self._lender = Lender(self._start)

    def cpu_count(self) -> int:
        """The CPUs this process may use."""
        return host.cpu_count()

    def open(self, request: OpenRequest, /) -> Session:
        """Take up a warm pool, or start one: here and now, while the caller may still be the only thread."""
        return open_session(self._lender, request, request.n_jobs or host.cpu_count())

    def fresh(self) -> MultiprocessingBackend:
        """A backend whose workers are its own."""
        return MultiprocessingBackend(self._context)

    def shutdown(self) -> None:
        """End the workers now."""
        self._lender.shutdown()

    def _start(self, kind: Kind) -> Pool:
        context = self._context or find_context(forks=not kind.is_isolated)
        if context is None or process.current_process().daemon:
            return loky.start(kind)
        forks = context.get_start_method() == "fork"
        starts_now = forks or kind.has_line
        board = Board(kind.width) if starts_now else None
        if not kind.has_line:
            return _start_executor(context, kind, board, None, loky.ignore if starts_now else None)
        line = Line()
        if kind.is_isolated and board is not None:
            one = kind._replace(width=1)
            return IsolatedPool(
                kind, board, line, lambda place, ended: _start_executor(context, one, board, line, ended, place=place)
            )
        return _start_executor(context, kind, board, line, line.lose)


def _start_executor(
    context: BaseContext,
    kind: Kind,
    board: Board | None,
    line: Line | None,
    ended: Callable[[Future[None]], object] | None,
    place: int | None = None,
) -> StandardPool:
    """Make an executor, and start its workers if somebody is to be told of their end."""
    far_end = None if line is None else line.far_end.copy()  # a fork closes the sockets of pools that it finds
    executor = ProcessPoolExecutor(
        kind.width,
        mp_context=context,
        initializer=begin_work,
        initargs=(os.getpid(), board, place_of(kind, place), far_end, kind.environment()),
    )
    pool = StandardPool(executor, kind, board, line if place is None else None)
    try:
        if ended is not None:
            with loky.without_interrupts():
                pool.start(ended)
    finally:
        if far_end is not None:
            far_end.close()
    return pool


@cache
def of_context(context: Any) -> MultiprocessingBackend:
    """The backend for a context as `multiprocessing.get_context` returns it, or for `multiprocessing` itself."""
    return MultiprocessingBackend(context.get_context())


def find_context(*, forks: bool) -> BaseContext | None:
    """The context to start workers by; None for loky's way.

    Parameters
    ----------
    forks : bool
        Whether all workers are started now, while there may still be one thread.
    """
    for variable in _VARIABLES:
        if method := os.environ.get(variable):
            if method not in get_all_start_methods():
                raise ValueError(
                    f"{variable}={method!r} is no way to start processes here; there are "
                    f"{', '.join(get_all_start_methods())}."
                )
            return get_context(method)
    method = get_start_method()
    if method != get_all_start_methods()[0]:  # the first is the default: somebody has chosen another
        return get_context(method)
    return get_context("fork") if forks and method == "fork" and _threads() == 1 else None


def _threads() -> int:
    """The threads of this process, those of libraries included where the system tells of them."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return threading.active_count()


class StandardPool(Pool):
    """A pool of `concurrent.futures`."""

    def hold(self) -> None:
        """Until it is released, its workers are killed rather than waited for, should the interpreter end."""
        _at_work.add(self)

    def release(self) -> None:
        """Idle workers end by themselves, with their exit handlers."""
        _at_work.discard(self)
        self.muster()  # some contexts start workers one by one

    def end(self, *, kill: bool, wait: bool = False) -> None:
        """End the workers, and with `kill` what they have started themselves."""
        _at_work.discard(self)
        self.end_line()
        with self._ending:
            if manager := self.executor._executor_manager_thread:  # noqa: SLF001  once shut down, it is forgotten
                _managers.add(manager)
            self.muster()
            for worker in self.crew if kill else ():
                with suppress(ProcessLookupError):
                    process_executor.kill_process_tree(worker)
            self.executor.shutdown(wait=wait and not kill, cancel_futures=kill)


_at_work: set[StandardPool] = set()
_managers: weakref.WeakSet[threading.Thread] = weakref.WeakSet()  # of executors that were shut down


def _end_work() -> None:
    for pool in list(_at_work):
        pool.end(kill=True)
    # concurrent.futures wakes them next, through pipes that they close as they end: without a lock before Python 3.12.8
    # and 3.13.1 (python/cpython#125451), so it wrote to what was closed, or to what had the pipe's number by then.
    for manager in list(_managers):
        manager.join()


# concurrent.futures has registered at its import what waits for all work under way; at exit this comes before it.
threading._register_atexit(_end_work)  # type: ignore[attr-defined]  # noqa: SLF001  `atexit` comes too late
