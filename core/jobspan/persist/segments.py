"""Files in memory by which large buffers go from process to process on one machine.

Each process has a folder of its own, in memory where there is room. A lock on a file in it proves that its owner lives;
folders of dead owners are removed when another process makes its own.

Invariant: what was written is removed by its owner, at the latest when it ends, or by the sweep after it; nobody
removes what belongs to a living process, and a forked child leaves its parent's alone.
"""

from __future__ import annotations

import atexit
import errno
import mmap
import os
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from typing import Any, NamedTuple

from jobspan.persist.locks import find_fcntl

_MEMORY = "/dev/shm"  # noqa: S108  a file system in memory, on Linux
_VARIABLES = ("JOBSPAN_TEMP_FOLDER", "JOBLIB_TEMP_FOLDER")
_PREFIX = "jobspan-"
_LOCK = "owner-lives"
_ALIGNMENT = 64
_CHUNK = 1 << 24
_YOUNG_S = 2.0
_SPARE = 1 << 24  # bytes that are left free

_ACCESS = {"c": mmap.ACCESS_COPY, "r": mmap.ACCESS_READ, "r+": mmap.ACCESS_WRITE, "w+": mmap.ACCESS_WRITE}


class Segment(NamedTuple):
    """A file, and where in it each buffer is: offset and length in bytes."""

    path: str
    spans: tuple[tuple[int, int], ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers."""
        return sum(length for _, length in self.spans)


class _Home:
    """The folder of this process in one place."""

    def __init__(self, base: str) -> None:
        import tempfile

        self.path = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=base)
        self.lock = os.open(os.path.join(self.path, _LOCK), os.O_CREAT | os.O_RDWR, 0o600)
        _try_lock(self.lock)


_MAX_MAPPED = 200
_mapped: weakref.WeakSet[Any] = weakref.WeakSet()
_homes: dict[str, _Home] = {}
_chosen: dict[tuple[str | None, ...], str] = {}
_making = threading.Lock()
_numbers = count(1)


def write(buffers: Sequence[Any], temp_folder: str | None = None, folder: str | None = None) -> Segment:
    """Write buffers side by side into a new file.

    Parameters
    ----------
    buffers : sequence of buffers
        Contiguous.
    temp_folder : str, optional
        Where the user wants such files.
    folder : str, optional
        The folder itself: another process's, which will remove the file.

    Raises
    ------
    NoRoomError
        Where no place can take them.
    """
    views = [memoryview(buffer).cast("B") for buffer in buffers]
    spans, end = [], 0
    for view in views:
        spans.append((end, view.nbytes))
        end += -(-view.nbytes // _ALIGNMENT) * _ALIGNMENT
    places = [folder] if folder else _places(temp_folder)
    for place in places:
        try:
            home = folder or _home(place)
            return Segment(_write(home, views, spans), tuple(spans))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.ENOENT, errno.EROFS):
                raise
            if place is places[-1]:
                raise _explain(error, place, end) from error
    raise AssertionError("there is always a place")


class NoRoomError(OSError):
    """Large buffers cannot be written where they should be."""


def _explain(error: OSError, place: str, nbytes: int) -> NoRoomError:
    why = os.strerror(error.errno or errno.EIO)
    what = f"large arguments of {nbytes >> 20} MB travel" if nbytes >> 20 else "large arguments and results travel"
    return NoRoomError(
        error.errno,
        f"{what} to and from worker processes by files, which cannot be written there ({why}); give another "
        f"temp_folder, or max_nbytes=None to send them through pipes",
        place,
    )


def _write(home: str, views: Sequence[memoryview], spans: Sequence[tuple[int, int]]) -> str:
    needed = sum(view.nbytes for view in views)
    if has_room(home, needed) is False:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), home)
    path = os.path.join(home, f"{os.getpid()}-{next(_numbers)}")
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    try:
        for view, (offset, length) in zip(views, spans, strict=True):
            os.lseek(descriptor, offset, os.SEEK_SET)
            done = 0
            while done < length:
                done += os.write(descriptor, view[done : done + _CHUNK])
    except BaseException:
        with suppress(OSError):
            os.unlink(path)
        raise
    finally:
        os.close(descriptor)
    return path


def has_room(folder: str, nbytes: int) -> bool | None:
    """Whether so many bytes fit there; None where nothing tells it."""
    try:
        status = os.statvfs(folder)
    except (AttributeError, OSError):
        return None
    return status.f_bavail * status.f_frsize >= nbytes + _SPARE


def _places(temp_folder: str | None) -> list[str]:
    """Where to write, the best place first."""
    if temp_folder is not None:
        return [os.path.abspath(os.path.expanduser(temp_folder))]
    said = [os.environ[name] for name in _VARIABLES if os.environ.get(name)]
    if said:
        return said[:1]
    memory = [_MEMORY] if os.path.isdir(_MEMORY) and os.access(_MEMORY, os.W_OK) else []
    import tempfile

    return [*memory, tempfile.gettempdir()]


def folder_for(temp_folder: str | None) -> str:
    """The folder of this process in the best place; asked once for a run, so it is remembered."""
    key = temp_folder, *map(os.environ.get, _VARIABLES)
    if key not in _chosen:
        _chosen[key] = _choose(temp_folder)
    return _chosen[key]


def _choose(temp_folder: str | None) -> str:
    error: OSError | None = None
    for place in _places(temp_folder):
        try:
            return _home(place)
        except OSError as refused:
            error = refused
    assert error is not None
    raise _explain(error, _places(temp_folder)[-1], 0) from error


def _home(base: str) -> str:
    with _making:
        home = _homes.get(base)
        if home is None or not os.path.isdir(home.path):
            if not _homes:
                atexit.register(_leave)
            sweep(base)
            home = _homes[base] = _Home(base)
        return home.path


def sweep(base: str) -> None:
    """Remove the folders of processes that are no more."""
    import shutil

    with suppress(OSError), os.scandir(base) as entries:
        young = time.time() - _YOUNG_S  # one that is being made is not locked yet
        for entry in [entry for entry in entries if entry.name.startswith(_PREFIX)]:
            with suppress(OSError):
                if entry.stat().st_mtime > young:
                    continue
                lock = os.open(os.path.join(entry.path, _LOCK), os.O_RDWR)
                try:
                    if _try_lock(lock):
                        shutil.rmtree(entry.path, ignore_errors=True)
                finally:
                    os.close(lock)


def _try_lock(descriptor: int) -> bool:
    """Lock an open file, if nobody else has; where there are no such locks, nothing is known, so False."""
    fcntl = find_fcntl()
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def read(segment: Segment, mode: str | None) -> list[Any]:
    """The buffers, mapped as `mode` says, or copied where it is None.

    Raises
    ------
    FileNotFoundError
        If the file has gone.
    """
    whole = None if mode is None else map_file(segment, mode)
    if whole is not None:
        return views(memoryview(whole), segment)
    descriptor = _open(segment, os.O_RDONLY)
    try:
        return [_read_at(descriptor, offset, length) for offset, length in segment.spans]
    finally:
        os.close(descriptor)


def map_file(segment: Segment, mode: str) -> mmap.mmap | None:
    """The file, mapped; None where it has to be copied, as each mapping would keep a descriptor."""
    descriptor = _open(segment, os.O_RDWR if mode in ("r+", "w+") else os.O_RDONLY)
    try:
        if sys.version_info >= (3, 13):
            return mmap.mmap(descriptor, 0, access=_ACCESS[mode], trackfd=False)
        if len(_mapped) >= _MAX_MAPPED and mode not in ("r+", "w+"):
            return None
        whole = mmap.mmap(descriptor, 0, access=_ACCESS[mode])
        _mapped.add(whole)
        return whole
    finally:
        os.close(descriptor)


def views(mapped: memoryview, segment: Segment) -> list[memoryview]:
    """The buffers in a file that is mapped."""
    return [mapped[offset : offset + length] for offset, length in segment.spans]


def _open(segment: Segment, flags: int) -> int:
    try:
        return os.open(segment.path, flags)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            error.errno, "the file that holds a large argument or result has gone", segment.path
        ) from None


def _read_at(descriptor: int, offset: int, length: int) -> bytearray:
    buffer = bytearray(length)
    view, done = memoryview(buffer), 0
    os.lseek(descriptor, offset, os.SEEK_SET)
    while done < length:
        got = os.readv(descriptor, [view[done : done + _CHUNK]])
        if not got:
            raise EOFError("the file that holds a large argument or result is shorter than it was")
        done += got
    return buffer


def remove(segment: Segment) -> None:
    """Remove the file; who has it mapped keeps it."""
    with suppress(OSError):
        os.unlink(segment.path)


def _leave() -> None:
    import shutil

    for home in _homes.values():
        shutil.rmtree(home.path, ignore_errors=True)
        with suppress(OSError):
            os.close(home.lock)
    _homes.clear()
    _chosen.clear()


def _forget_homes() -> None:
    global _making  # noqa: PLW0603  one per process
    _making = threading.Lock()
    for home in _homes.values():
        os.close(home.lock)  # the lock is the parent's as long as one of the two has it open: it must be the parent
    _homes.clear()
    _chosen.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_homes)
