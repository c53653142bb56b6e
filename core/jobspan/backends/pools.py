"""Pools of worker processes, lent to one session at a time and kept warm for the next.

Calls from several threads never meet in one pool. A pool that was not used for long is ended here, between two calls,
and not by its workers, which would sometimes leave just when work arrives.

Invariant: a pool is idle, lent to one session, or ended; one that is broken or still at work is never lent again, and
one whose workers ran another initializer, or may use another number of threads, never serves this call.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import process, util
from time import monotonic
from typing import Any

from jobspan import host
from jobspan.backends.base import OpenRequest, Session
from jobspan.backends.crew import Kind, Pool, kind_of

IDLE_S = 300.0
"""A pool that had nothing to do for so many seconds is ended, unless `Staff.idle_worker_timeout` says otherwise."""

_MANY, _MANY_IDLE_S = 2, 5.0  # idle workers per CPU that are many, and how long those beyond them stay
_MOST = 8  # idle workers per CPU beyond which none stay


class Lender:
    """The pools of one backend, the last used at the end.

    Parameters
    ----------
    start : callable
        Makes a new pool of a kind.
    """

    def __init__(self, start: Callable[[Kind], Pool]) -> None:
        self._start = start
        self._idle: list[Pool] = []
        self._lent: set[Pool] = set()
        self._of_parent: list[Any] = []
        self.forget()
        _lenders.add(self)

    def forget(self) -> None:
        """After a fork: the workers are the parent's, and so is the thread that ends them."""
        # Kept, since what loky does when a pool is collected would wake the parent.
        inherited = [*self._idle, *self._lent]
        for pool in inherited:
            pool.close_line()
            # multiprocessing would wait for them at exit, and has no public way to be told that they are another's.
            process._children.difference_update(pool.crew)  # type: ignore[attr-defined]  # noqa: SLF001  see above
        self._of_parent += inherited
        self._idle, self._lent = [], set()
        self._changed = threading.Condition()
        self._wakes = 0.0
        self._watched = False
        self._closed = False

    def lend(self, kind: Kind) -> Pool:
        """A warm pool of this kind whose workers are all alive, or a new one."""
        while True:
            with self._changed:
                pool = self._find_idle(kind)
                if pool is not None:
                    self._lent.add(pool)
            if pool is None:
                pool = self._start(kind)
                _hook_exit()
                with self._changed:
                    self._lent.add(pool)
                pool.hold()
                return pool
            if pool.is_sound():
                pool.hold()
                return pool
            self.give_back(pool, usable=False)

    def _find_idle(self, kind: Kind) -> Pool | None:
        for position in reversed(range(len(self._idle))):
            if self._idle[position].kind == kind:
                return self._idle.pop(position)
        return None

    def give_back(self, pool: Pool, *, usable: bool, idle_s: float | None = None) -> None:
        """Keep the pool for another session, or end what is not usable."""
        if not usable:
            pool.end(kill=True)
            pool.close_line()
        else:
            pool.release()
        with self._changed:
            self._lent.discard(pool)
            if not usable:
                return
            now = monotonic()
            pool.expires = now + (idle_s or IDLE_S)
            if self._closed:
                surplus = [pool]
            else:
                self._idle.append(pool)
                surplus = self._take_surplus(now)
                soonest = min(kept.expires for kept in self._idle)
                if not self._watched or soonest < self._wakes:
                    self._watch(soonest)
        _end_idle(surplus)

    def dismiss(self, pool: Pool) -> None:
        """End a pool that was lent and is idle now."""
        with self._changed:
            self._lent.discard(pool)
        _end_idle([pool])

    def _take_surplus(self, now: float) -> list[Pool]:
        """Pools to end now, the longest unused ones; some more get little time."""
        surplus: list[Pool] = []
        if len(self._idle) > 1:
            workers = sum(pool.kind.width for pool in self._idle)
            cpus = host.cpu_count()
            for pool in self._idle[:-1]:
                if workers > _MOST * cpus:
                    surplus.append(pool)
                elif workers > _MANY * cpus:
                    pool.expires = min(pool.expires, now + _MANY_IDLE_S)
                workers -= pool.kind.width
            self._idle = self._idle[len(surplus) :]
        return surplus

    def _watch(self, until: float) -> None:
        """See to it that somebody looks at that time."""
        self._wakes = until
        self._changed.notify()
        if not self._watched:
            try:
                threading.Thread(target=self._end_unused, name="jobspan-idle-pools", daemon=True).start()
            except RuntimeError:  # the interpreter is ending, and its pools with it
                return
            self._watched = True

    def _end_unused(self) -> None:
        while True:
            with self._changed:
                now = monotonic()
                unused = [pool for pool in self._idle if pool.expires <= now]
                self._idle = [pool for pool in self._idle if pool.expires > now]
                if not self._idle and not unused:
                    self._watched = False
                    return
                if not unused:
                    self._wakes = min(pool.expires for pool in self._idle)
                    self._changed.wait(self._wakes - now)
            _end_idle(unused)

    def shutdown(self, *, wait: bool = False) -> None:
        """End all pools, those that are at work too; others that are given back later are ended then."""
        with self._changed:
            idle, lent = self._idle, list(self._lent)
            self._idle = []
            self._closed = True
            self._changed.notify()
        _end_idle(idle, wait=wait)
        for pool in lent:
            pool.has_ended = True
            pool.end(kill=True)


def _end_idle(pools: Sequence[Pool], *, wait: bool = False) -> None:
    for pool in pools:
        pool.end(kill=False, wait=wait)
        pool.close_line()


def open_session(lender: Lender, request: OpenRequest, width: int) -> Session:
    """A session on the lender's pools; its workers begin to start now, also for an input that may prove empty."""
    kind = kind_of(request, width)
    if request.staff.max_tasks_per_worker or request.staff.max_worker_rss or not kind.has_line:
        from jobspan.backends.rationed import RationedSession

        return RationedSession(lender, kind, request)
    pool = lender.lend(kind)
    from jobspan.backends.lent import LentSession  # the first time, meanwhile workers come up

    assert pool.line is not None, "it is of this kind"
    return LentSession(lender, pool, pool.line, request)


_lenders: weakref.WeakSet[Lender] = weakref.WeakSet()


def _forget_pools() -> None:
    for lender in list(_lenders):
        lender.forget()


def _end_pools(*, wait: bool = False) -> None:
    for lender in list(_lenders):
        lender.shutdown(wait=wait)


def _hook_exit() -> None:
    """Come before what waits for workers at exit; called when that is in place."""
    here = os.getpid()
    if here in _hooks:
        return
    with suppress(RuntimeError):  # the interpreter is ending already
        threading._register_atexit(_end_pools)  # type: ignore[attr-defined]  # noqa: SLF001  `atexit` comes too late
    # A child of multiprocessing waits for its own children even before that.
    is_child = process.parent_process() is not None
    _hooks[here] = util.Finalize(None, _end_pools, kwargs={"wait": True}, exitpriority=_FIRST) if is_child else None


_FIRST = 100
_hooks: dict[int, util.Finalize | None] = {}


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pools)
