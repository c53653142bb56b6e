"""Tasks in loky's worker processes.

Invariant: workers are started all together, and by nobody but `start`; loky itself neither
replaces nor ends them while their pool is in use.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from multiprocessing import process
from multiprocessing import resource_tracker as standard_tracker
from typing import Any

from loky import process_executor  # the package first, as in the module for multiprocessing
from loky.backend import resource_tracker
from loky.process_executor import ProcessPoolExecutor

from jobspan import host
from jobspan.backends.base import OpenRequest, Session, Traits
from jobspan.backends.crew import Kind, Pool, place_of
from jobspan.backends.isolated import IsolatedPool
from jobspan.backends.life import LOKY_LEAK_LIMIT, Board, begin_work
from jobspan.backends.line import Line
from jobspan.backends.pools import Lender, open_session
from jobspan.model import Staff

_NO_LIMIT = str(1 << 62)
_QUIET_TRACKER = "ignore"  # all of that process; to name the warning takes it as long as the rest of its start

ROUND_TRIP_S = 1e-4


class LokyBackend:
    """Runs tasks in processes."""

    traits = Traits(
        memory="copied", can_kill=True, can_expel=True, round_trip_s=ROUND_TRIP_S, staffs=frozenset(Staff._fields)
    )

    def __init__(self) -> None:
        self._lender = Lender(start)

    def cpu_count(self) -> int:
        """The CPUs this process may use."""
        return host.cpu_count()

    def open(self, request: OpenRequest, /) -> Session:
        """Take up a warm pool, or start one."""
        return open_session(self._lender, request, request.n_jobs or host.cpu_count())

    def fresh(self) -> LokyBackend:
        """A backend whose workers are its own."""
        return LokyBackend()

    def shutdown(self) -> None:
        """End the workers now."""
        self._lender.shutdown()


class LokyPool(Pool):
    """A pool of loky's."""

    executor: Any

    def hold(self) -> None:
        """While this is set, loky ends the workers rather than wait for them, should the interpreter end."""
        self.executor._flags.kill_workers = True  # noqa: SLF001  read by loky only when the pool ends

    def release(self) -> None:
        """Idle workers may end by themselves, with their exit handlers."""
        self.executor._flags.kill_workers = False  # noqa: SLF001  see above

    def end(self, *, kill: bool, wait: bool = False) -> None:
        """End the workers, and with `kill` what they have started themselves."""
        self.end_line()
        with self._ending:  # it may be ended by its session and by its lender at the same time
            self.executor.shutdown(wait=kill or wait, kill_workers=kill)


def start(kind: Kind) -> Pool:
    """Start a pool; does not wait for its workers."""
    board = None if sys.platform == "win32" else Board(kind.width)
    if not kind.has_line:
        return _start_executor(kind, board, None, ignore)
    line = Line()
    try:
        if kind.is_isolated and board is not None:
            one = kind._replace(width=1)
            return IsolatedPool(
                kind, board, line, lambda place, ended: _start_executor(one, board, line, ended, place=place)
            )
        return _start_executor(kind, board, line, line.lose)
    except BaseException:
        line.close()
        raise


def ignore(_ended: object) -> None:
    """Where nobody has to be told of a worker's end."""


def _start_executor(
    kind: Kind,
    board: Board | None,
    line: Line | None,
    ended: Callable[[Future[None]], object],
    place: int | None = None,
) -> LokyPool:
    """Start one of loky's executors; with a `place` its pool leaves the line to others."""
    environment = kind.environment()
    leak_limit = {} if LOKY_LEAK_LIMIT in os.environ else {LOKY_LEAK_LIMIT: _NO_LIMIT}
    _start_trackers()  # before loky does so: its locks are known to one
    executor = ProcessPoolExecutor(
        kind.width,
        timeout=None,
        initializer=begin_work,
        initargs=(os.getpid(), board, place_of(kind, place), None if line is None else line.far_end, {}),
        env={**environment, **leak_limit},
    )
    pool = LokyPool(executor, kind, board, line if place is None else None)
    try:
        with without_interrupts(), _as_free_process():
            pool.start(ended)
        if line is not None:
            _end_first(line, executor)
    finally:
        pool.muster()
        if len(pool.crew) < kind.width:  # the system refused one: the others would stay, unknown to loky
            for worker in pool.crew:
                worker.terminate()
    return pool


class _LastCall:
    """Ends a line before the thread is woken that waits for its workers."""

    def __init__(self, line: Line, wakeup: Any) -> None:
        self._line = line
        self._wakeup = wakeup

    def wakeup(self) -> None:
        self._line.end()
        self._wakeup.wakeup()


def _end_first(line: Line, executor: Any) -> None:
    """End the line when loky waits for all executors: at the interpreter's exit, and at that of any worker of loky's.

    The latter comes before all other hooks, and what is waited for there are pools of tasks inside tasks.
    """
    waking = process_executor._threads_wakeups  # noqa: SLF001  read only then
    manager = executor._executor_manager_thread  # noqa: SLF001  a key of it
    lock, wakeup = waking[manager]
    waking[manager] = lock, _LastCall(line, wakeup)


@contextmanager
def without_interrupts() -> Iterator[None]:
    """What is started here does not hear Ctrl-C before it is ready to."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_trackers() -> None:
    """Start what cleans up after a process that was killed, quietly; some versions unblock Ctrl-C when they do so."""
    sys.warnoptions.append(_QUIET_TRACKER)
    try:
        resource_tracker.ensure_running()
    finally:
        sys.warnoptions.remove(_QUIET_TRACKER)
    if sys.platform != "win32":
        standard_tracker.ensure_running()


@contextmanager
def _as_free_process() -> Iterator[None]:
    """A daemonic process may have no children, says multiprocessing; those that are started here end with it."""
    here = process.current_process()
    if not here.daemon:
        yield
        return
    config: dict[str, Any] = here._config  # type: ignore[attr-defined]  # noqa: SLF001  cannot be set in another way
    with _lifting:
        config["daemon"] = False
        try:
            yield
        finally:
            config["daemon"] = True


_lifting = threading.Lock()
