"""One computes, others wait: who is about to compute an entry takes the lead in it.

Where the system has locks, the kernel lets go of those of a process that dies. Elsewhere a lease in the store has to be
renewed, and is taken over when that was not done for three times in a row.

Invariant: a result is right whoever leads, were it everybody: this only saves work.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from typing import Any, Protocol

from jobspan import host
from jobspan.errors import say_once
from jobspan.memory.store import Store
from jobspan.persist.locks import find_fcntl

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.0005, 0.05
_BEAT_S = 5.0
_MISSED = 3
_STRIPES = 1024
_TALK_AFTER_S = 30.0

Release = Callable[[], None]
"""Lets go of the lead."""


class Flight(Protocol):
    """Gives the lead away."""

    def lead(self, name: str, /) -> Release | None:
        """Take the lead in this entry; None if somebody else has it."""


def pauses(name: str) -> Any:
    """For how long to wait before asking again: seconds, without end."""
    pause, waited = _FIRST_PAUSE_S, 0.0
    while True:
        yield pause
        waited += pause
        pause = min(_LONGEST_PAUSE_S, 1.5 * pause)
        if waited > _TALK_AFTER_S:
            say_once(
                f"waiting for another call that computes {name}, for more than {_TALK_AFTER_S:.0f} s so far. "
                f"Memory(single_flight=False) computes it here as well."
            )


def wait_for_lead(flight: Flight, name: str) -> Release:
    """Take the lead, in the thread that calls this."""
    release = flight.lead(name)
    for pause in pauses(name) if release is None else ():
        time.sleep(pause)  # locks of the kernel could wake us, but nothing would be said meanwhile
        if (release := flight.lead(name)) is not None:
            break
    assert release is not None, "nobody waits in vain"
    return release


async def await_lead(flight: Flight, name: str) -> Release:
    """Take the lead, while other coroutines go on."""
    release = flight.lead(name)
    if release is None:
        from asyncio import sleep

        for pause in pauses(name):
            await sleep(pause)
            if (release := flight.lead(name)) is not None:
                break
    assert release is not None, "nobody waits in vain"
    return release


def flight_for(store: Store) -> Flight:
    """What this machine, and the store, have."""
    path = store.path("locks")
    if host.in_pyodide():
        return _in_a_page(store)
    if path is None:
        return Leases(store) if host.has_threads() else Within()
    fcntl = find_fcntl()
    if fcntl is None:
        return Within()
    if hasattr(fcntl, "F_OFD_SETLK"):
        return Ranges(path)
    return Stripes(path)


def _in_a_page(store: Store) -> Flight:
    """Who shares a folder is in this interpreter, unless the browser keeps it; locks of files do not work here."""
    if store.path("locks") is not None:
        return Within()
    from jobspan.memory.browser import WebLocks

    return WebLocks(store.location)


class Within:
    """Among the calls of this interpreter."""

    def __init__(self) -> None:
        self._led: set[str] = set()
        self._leading = threading.Lock()

    def lead(self, name: str, /) -> Release | None:
        """Take the lead."""
        with self._leading:
            if name in self._led:
                return None
            self._led.add(name)
        return lambda: self._led.discard(name)


class Ranges:
    """Locks on single bytes of one file, at a place that depends on the name: the kernel has a lock for each entry.

    They belong to an open file, not to a process, so threads keep each other out, too.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def lead(self, name: str, /) -> Release | None:
        """Take the lead."""
        import fcntl
        import struct

        file = _open(self._path)
        if file is None:
            return _nothing
        place = int.from_bytes(sha256(name.encode()).digest()[:8], "little") >> 2

        def change(kind: int) -> None:
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("hhqqixxxx", kind, os.SEEK_SET, place, 1, 0))

        try:
            change(fcntl.F_WRLCK)
        except (BlockingIOError, PermissionError):
            os.close(file)
            return None
        except OSError as error:
            os.close(file)
            _say_no_locks(self._path, error)
            return _nothing
        return _holding(file, lambda: change(fcntl.F_UNLCK))


class Stripes:
    """Locks on a number of files, each for many entries; who has one already does not wait for another."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._mine = threading.local()

    def lead(self, name: str, /) -> Release | None:
        """Take the lead."""
        import fcntl

        if getattr(self._mine, "leads", False):  # two such could wait for each other
            return _nothing
        file = _open(f"{self._path}-{int.from_bytes(sha256(name.encode()).digest()[:4], 'little') % _STRIPES}")
        if file is None:
            return _nothing

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return None
        except OSError as error:
            os.close(file)
            _say_no_locks(self._path, error)
            return _nothing
        self._mine.leads = True
        let_go = _holding(file, lambda: fcntl.flock(file, fcntl.LOCK_UN))

        def release() -> None:
            self._mine.leads = False
            let_go()

        return release


class Leases:
    """A small object in the store for each entry that is being computed, renewed while that goes on.

    Parameters
    ----------
    store : Store
        Where.
    beat_s : float
        Seconds between renewals.
    now : callable
        The clock, seconds since the epoch.
    """

    def __init__(self, store: Store, beat_s: float = _BEAT_S, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._beat_s = beat_s
        self._now = now

    def lead(self, name: str, /) -> Release | None:
        """Take the lead."""
        place = f"leases/{sha256(name.encode()).hexdigest()[:32]}"
        mine = os.urandom(8).hex()
        if self._owner(place) is not None:
            return None
        self._write(place, mine)
        if self._owner(place) != mine:  # somebody else wrote at the same time, and later
            return None
        ended = threading.Event()

        def renew() -> None:
            while not ended.wait(self._beat_s):
                self._write(place, mine)

        def release() -> None:
            ended.set()
            beating.join()
            self._store.remove([place])

        beating = threading.Thread(target=renew, name="jobspan-lease", daemon=True)
        beating.start()
        return release

    def _write(self, place: str, owner: str) -> None:
        import json

        self._store.write(place, json.dumps([owner, self._now()]).encode())

    def _owner(self, place: str) -> str | None:
        data = self._store.read(place)
        if data is None:
            return None
        import json

        try:
            owner, at = json.loads(data)
            return str(owner) if self._now() - float(at) < _MISSED * self._beat_s else None
        except (ValueError, TypeError):  # nobody who keeps a lease writes such
            return None


def _nothing() -> None:
    """Nothing was taken, so there is nothing to let go of."""


def _open(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        _say_no_locks(path, error)
        return None


_held: dict[object, int] = {}  # open files that are locked


def _holding(file: int, unlock: Callable[[], object]) -> Release:
    """What ends the lock of an open file; a child that is forked meanwhile has no part in it."""
    token = object()
    _held[token] = file

    def release() -> None:
        if _held.pop(token, None) is not None:
            with suppress(OSError):
                unlock()  # closing alone would wait for others that have the open file, too
            os.close(file)

    return release


def _let_go() -> None:
    for file in _held.values():
        os.close(file)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def _say_no_locks(path: str, error: OSError) -> None:
    say_once(f"calls at the same time may compute the same: files at {path} cannot be locked ({error}).")
