"""Small things of a folder, many in a file: making a file takes longer than most calls, and a block of a disk at least.

A pack only grows. What is in it is framed, with a checksum, so that a frame that was torn is passed over, one that was
altered is known as such, and the last of a key counts. Removing writes a new pack, and gives it the old one's name; who
has added to the old one meanwhile notices, as its file has no name any more, and adds to the new one.

Invariant: what was added is found, in every process, until it is removed; what is found is as it was added, or is
`Altered`.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from jobspan.memory.frames import HEAD_BYTES, find_frames, frame, is_of_key
from jobspan.memory.store import Altered
from jobspan.persist.locks import find_fcntl

_MOST_OPEN = 64
_WASTE, _ENOUGH = 2, 1 << 16  # a pack is written anew when so many times what counts in it is not needed any more
_NOTED_S = 3600.0  # so often it is written down that something is used
_FLAGS = os.O_RDWR | os.O_APPEND | getattr(os, "O_BINARY", 0)
_ATTEMPTS = 100  # each takes a removal by another process at just this moment


class Place(NamedTuple):
    """Where something is in a pack: from where, how many bytes, and when it was added."""

    start: int
    nbytes: int
    written: float


class _Pack:
    """An open file, and what is in it as far as it was read."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        facts = os.fstat(descriptor)
        self.inode = facts.st_ino, facts.st_dev
        self.end = self.live = 0  # bytes that were read, and those of them that count
        self.places: dict[bytes, Place] = {}
        self.altered: dict[bytes, Place] = {}  # whole frames, by the keys that they name
        self.used: dict[bytes, float] = {}

    def is_wasteful(self) -> bool:
        """Whether most of it is not needed any more."""
        return self.end > _WASTE * (self.live + _ENOUGH)

    def is_at(self, path: str) -> bool:
        """Whether the file still has this name; if so, what was added to it is read."""
        try:
            facts = os.stat(path)
        except FileNotFoundError:
            return False
        if (facts.st_ino, facts.st_dev) != self.inode or facts.st_size < self.end:
            return False
        if facts.st_size > self.end:
            self._read_on(facts.st_size)
        return True

    def _read_on(self, size: int) -> None:
        frames, nbytes = find_frames(self.read(self.end, size - self.end))
        for is_whole, start, stop, key, when in frames:
            if is_whole and stop == start + HEAD_BYTES:
                self.used[key] = max(when, self.used.get(key, 0.0))
                continue
            for known in (self.places, self.altered):
                if (before := known.pop(key, None)) is not None:
                    self.live -= before.nbytes
            if is_whole:
                place = self.places[key] = Place(self.end + start + HEAD_BYTES, stop - start - HEAD_BYTES, when)
            else:
                place = self.altered[key] = Place(self.end + start, stop - start, when)
            self.live += place.nbytes
        self.end += nbytes

    def find_altered(self, key: bytes) -> bytes | None:
        """The key that an altered frame names, if it was one of this key."""
        if key in self.altered:
            return key
        for named, place in self.altered.items():
            if is_of_key(self.read(place.start, place.nbytes), key):
                return named
        return None

    def read(self, start: int, nbytes: int) -> bytes:
        """These bytes, or those of them that are there."""
        data = _read_at(self.descriptor, nbytes, start)
        while len(data) < nbytes and (more := _read_at(self.descriptor, nbytes - len(data), start + len(data))):
            data += more
        return data


class Packs:
    """The packs below a folder.

    Parameters
    ----------
    mode : int
        The permissions of new ones.
    """

    def __init__(self, mode: int) -> None:
        self._mode = mode
        self._open: OrderedDict[str, _Pack] = OrderedDict()
        self._busy = threading.RLock()
        self._uses: dict[str, dict[bytes, float]] = {}  # that no pack knows of yet

    def read(self, path: str, key: bytes, *, is_use: bool) -> bytes | None:
        """What has this key in the pack of this name, an altered frame head and all; None if there is nothing."""
        with self._busy:
            pack = self._current(path)
            if pack is None:
                return None
            place = pack.places.get(key)
            if place is None:
                return _read_altered(path, pack, key)
            if is_use:
                self._uses.setdefault(path, {})[key] = time.time()
            return _read_at(pack.descriptor, place.nbytes, place.start)

    def add(self, path: str, key: bytes, data: bytes) -> None:
        """Add to a pack, which is made if it does not exist.

        Raises
        ------
        FileNotFoundError
            If its folder does not exist.
        """
        with self._busy:
            frames = frame(key, time.time(), data)
            frames += self._take_uses(path)
            for _ in range(_ATTEMPTS):
                pack = self._current(path) or self._keep(path, os.open(path, _FLAGS | os.O_CREAT, self._mode))
                _write_all(pack.descriptor, frames)
                if pack.is_at(path):
                    if pack.is_wasteful():
                        self._tidy(path)
                    return
            raise OSError(f"{path} is replaced again and again while it is written to")

    def list(self, path: str) -> Iterator[tuple[bytes, Place, float]]:
        """What is in a pack, altered or not: the key, where it is, and when it was used last."""
        with self._busy:
            pack = self._current(path)
            if pack is None:
                return
            uses = self._uses.get(path, {})
            found = [
                (key, place, max(place.written, pack.used.get(key, 0.0), uses.get(key, 0.0)))
                for key, place in (*pack.places.items(), *pack.altered.items())
            ]
        yield from found

    def remove(self, path: str, keys: Iterable[bytes]) -> None:
        """Write the pack anew, without these."""
        gone = set(keys)
        with self._busy, _locked(os.path.dirname(path)):  # who writes it anew may not have added yet what came late
            pack = self._current(path)
            if pack is None:
                return
            if pack.altered:
                gone.update(filter(None, map(pack.find_altered, list(gone))))
            if not (gone.isdisjoint(pack.places) and gone.isdisjoint(pack.altered)):
                self._replace(path, pack, gone)

    def _tidy(self, path: str) -> None:
        """Write the pack anew, with what counts in it."""
        with _locked(os.path.dirname(path)):
            pack = self._current(path)
            if pack is not None and pack.is_wasteful():
                self._replace(path, pack, set())

    def _replace(self, path: str, pack: _Pack, gone: set[bytes]) -> None:
        frames = []
        for key, place in sorted((*pack.places.items(), *pack.altered.items()), key=_start_of):
            if key in gone:
                continue
            data = pack.read(place.start, place.nbytes)
            if key in pack.altered:  # somebody may still ask for it, and hear of it then
                frames.append(data)
                continue
            frames.append(frame(key, place.written, data))
            if key in pack.used:
                frames.append(frame(key, pack.used[key], b""))
        beside = f"{path}.{os.urandom(4).hex()}"
        descriptor = os.open(beside, _FLAGS | os.O_CREAT | os.O_EXCL, self._mode)
        try:
            _write_all(descriptor, b"".join(frames))
            if frames:
                os.replace(beside, path)
            else:
                os.unlink(path)
                os.unlink(beside)
            late = pack.read(pack.end, os.fstat(pack.descriptor).st_size - pack.end)
        finally:
            os.close(descriptor)
        self._let_go(path)
        if late:
            self._add_late(path, late)

    def _add_late(self, path: str, frames: bytes) -> None:
        """What others have added to the old pack while the new one was written."""
        pack = self._keep(path, os.open(path, _FLAGS | os.O_CREAT, self._mode))
        _write_all(pack.descriptor, frames)

    def forget_all(self) -> None:
        """Close all files."""
        with self._busy:
            for path in list(self._open):
                self._let_go(path)

    def flush(self) -> None:
        """Write down what was used: that is, let other processes know."""
        with self._busy:
            for path in list(self._uses):
                pack = self._current(path)
                frames = self._take_uses(path)
                if pack is not None and frames:
                    with suppress(OSError):  # a full disk, a cache that may only be read
                        _write_all(pack.descriptor, frames)

    def _take_uses(self, path: str) -> bytes:
        """Frames for what was used, and was not for long before."""
        pack = self._current(path)
        frames = b""
        for key, when in self._uses.pop(path, {}).items():
            if pack is not None and key in pack.places:
                before = max(pack.places[key].written, pack.used.get(key, 0.0))
                if when - before > _NOTED_S:
                    frames += frame(key, when, b"")
        return frames

    def _current(self, path: str) -> _Pack | None:
        """The pack that has this name, with all that is in it."""
        pack = self._open.get(path)
        if pack is not None:
            if pack.is_at(path):
                self._open.move_to_end(path)
                return pack
            self._let_go(path)
        try:
            descriptor = os.open(path, _FLAGS)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError:
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        pack = self._keep(path, descriptor)
        return pack if pack.is_at(path) else self._current(path)

    def _keep(self, path: str, descriptor: int) -> _Pack:
        pack = self._open[path] = _Pack(descriptor)
        if len(self._open) > _MOST_OPEN:
            self._let_go(next(iter(self._open)))
        return pack

    def _let_go(self, path: str) -> None:
        os.close(self._open.pop(path).descriptor)


def _start_of(item: tuple[bytes, Place]) -> int:
    return item[1].start


def _read_altered(path: str, pack: _Pack, key: bytes) -> Altered | None:
    named = pack.find_altered(key)
    if named is None:
        return None
    start, nbytes, _ = pack.altered[named]
    return Altered(pack.read(start, nbytes), f"{path}, bytes {start} to {start + nbytes}")


def _read_at(descriptor: int, nbytes: int, start: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(descriptor, nbytes, start)
    os.lseek(descriptor, start, os.SEEK_SET)  # writes go to the end, wherever this is
    return os.read(descriptor, nbytes)


def _write_all(descriptor: int, data: bytes) -> None:
    """Write in one piece, so that others' frames come before or after."""
    written = os.write(descriptor, data)
    if written < len(data):  # the disk is full: what is there of it is no frame
        raise OSError(28, "only a part of it could be written")


@contextmanager
def _locked(folder: str) -> Iterator[None]:
    """Keep others from writing packs of this folder anew; not where a system has no such locks."""
    fcntl = find_fcntl()
    descriptor = None
    if fcntl is not None:
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
    if descriptor is None:
        yield
        return
    try:
        with suppress(OSError):  # Pyodide, where whoever has the file is in this interpreter; some file systems
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
