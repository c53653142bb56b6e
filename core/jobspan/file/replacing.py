"""A new file takes the place of an old one when it is complete; what killed processes have left of one is removed.

The new file is written beside the old one under a name that is no secret, ``.model.job.HOST.0.tmp``, with the next
number where somebody is writing that one. So whoever writes to the same place again meets what was left there, without
looking through the folder, which may be large, and a process that is killed again and again leaves one file rather than
many. That a writer lives is told by a lock, which ends with it, and not by its number, which means something else in
another container. Locks may reach no further than one machine, so each machine minds its own files only.

Invariant: a file that somebody is writing is not removed: it is locked, or was written to in the last minute, or, where
there are no locks, in the last day.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_YOUNG_S, _OLD_S = 60.0, 86_400.0
_MOST = 40  # characters of the name, since file systems allow 255 bytes, and a character may take four


@contextmanager
def replacing(path: str, mode: int | None) -> Iterator[int]:
    """The descriptor of a new file, which takes the place of `path` at the end, if nothing is raised.

    `mode` is that of the old one; None where there is none.
    """
    folder, name = os.path.split(path)
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "there is no such folder to write a file in", folder)
    beside, descriptor = _open_beside(os.path.join(folder, f".{name[:_MOST]}.{_machine()}"))
    try:
        try:
            yield descriptor
            if mode is not None and hasattr(os, "fchmod"):
                os.fchmod(descriptor, stat.S_IMODE(mode))
            os.fsync(descriptor)
            if os.name == "posix":
                os.replace(beside, path)  # while it is locked
        finally:
            os.close(descriptor)
        if os.name != "posix":  # an open file cannot be renamed
            os.replace(beside, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise
    _sync_folder(folder)


@cache
def _machine() -> str:
    return os.uname().nodename.replace(os.sep, "_") if hasattr(os, "uname") else ""


def _open_beside(stem: str) -> tuple[str, int]:
    """A new file, locked; those of dead writers are removed on the way there, and behind it."""
    number = 0
    while True:
        beside = f"{stem}.{number}.tmp"
        try:
            descriptor = os.open(beside, _FLAGS, 0o666)
        except FileExistsError:
            number += not _remove_left(beside)
            continue
        _try_lock(descriptor)
        for behind in (f"{stem}.{following}.tmp" for following in count(number + 1)):
            if not os.path.lexists(behind):
                return beside, descriptor
            _remove_left(behind)


def _remove_left(path: str) -> bool:
    """Remove a file if its writer is no more; whether it is not there any longer."""
    try:
        descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return True
    except OSError:  # a link, or somebody else's
        return False
    try:
        found = os.fstat(descriptor)
        age = time.time() - found.st_mtime
        if not stat.S_ISREG(found.st_mode) or age < _YOUNG_S:
            return False
        is_free = _try_lock(descriptor)
        if is_free is False or (is_free is None and age < _OLD_S):
            return False
        if os.path.samestat(os.lstat(path), found):  # another may have removed it, and a third made one anew
            os.unlink(path)
    except OSError:
        return not os.path.lexists(path)
    else:
        return True
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool | None:
    """Lock a file; False if somebody else has, None where there are no locks."""
    try:
        import fcntl
    except ImportError:
        return None
    if sys.platform == "emscripten":  # where they are there, and do nothing
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _sync_folder(folder: str) -> None:
    """Make a file's new name safe on the disk, where that can be done."""
    if os.name == "posix":
        with suppress(OSError):  # some file systems cannot, and the file itself is safe
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
