"""A store in a folder of this machine: small entries in packs, everything else in files of its own.

Files are written beside and renamed, so they are there whole or not at all. Nothing is made safe against the end of the
machine, which would cost more than most calls: what is torn then is seen by its checksum, and computed again.

Invariant: nobody but the user, or the group if that was said, can write into the folder.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, TypeVar
from weakref import finalize

from jobspan import host
from jobspan.errors import JobspanError
from jobspan.memory.packs import Packs
from jobspan.memory.store import Item

_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0)
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
_AT_ONCE = 1 << 16
_PACK = ".pack"
_KEY_CHARS = 32
_PACKED_BYTES = 1 << 16  # larger entries get a file of their own
_ATTEMPTS = 5  # at making folders that somebody else removes at the same time

T = TypeVar("T")


class FolderStore:
    """Files below a folder, which is made when the first is written.

    Parameters
    ----------
    location : str
        The folder.
    group : bool, default False
        Whether members of the folder's group may read and write, too.

    Raises
    ------
    JobspanError
        If the folder is there, and others could write into it.
    """

    def __init__(self, location: str, *, group: bool = False) -> None:
        self.location = os.path.abspath(location)
        self._group = group
        self._root = self.location + os.sep
        self._check()
        self._packs = Packs(0o660 if group else 0o600)
        finalize(self, _end, self._packs)

    def __reduce__(self) -> Any:
        return _open_again, (self.location, self._group)

    def _check(self) -> None:
        try:
            found = os.stat(self.location)
        except FileNotFoundError:
            return
        except NotADirectoryError:
            raise JobspanError(f"{self.location} cannot be made: there is a file where a folder should be.") from None
        if not hasattr(os, "getuid") or host.in_pyodide():  # others are kept out by other means
            return
        who = "another user owns it" if found.st_uid not in (os.getuid(), 0) else ""
        if found.st_mode & (stat.S_IWOTH if self._group else stat.S_IWOTH | stat.S_IWGRP):
            who = "others can write into it"
        if who:
            raise JobspanError(
                f"{self.location} is not safe as a cache: {who} (mode {stat.S_IMODE(found.st_mode):o}), and what is "
                f"read from a cache can run code. Take the right to write from others (chmod go-w), give another "
                f"location, or say group=True if you trust the folder's group."
            )

    def path(self, name: str, /) -> str:
        """The file of this name, whose folder is there."""
        path = self._root + name
        if not os.path.isdir(folder := os.path.dirname(path)):
            self.make_folder(folder)
        return path

    def read(self, name: str, /, *, is_use: bool = False) -> bytes | None:
        """From its pack, or its file."""
        if (packed := self._pack_of(name)) is not None and (
            data := self._packs.read(*packed, is_use=is_use)
        ) is not None:
            return data
        try:
            descriptor = os.open(self._root + name, _READ)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            data = os.read(descriptor, _AT_ONCE)
            if len(data) < _AT_ONCE:
                return data
            parts = [data]
            while part := os.read(descriptor, 1 << 20):
                parts.append(part)
            return b"".join(parts)
        finally:
            os.close(descriptor)

    def _pack_of(self, name: str) -> tuple[str, bytes] | None:
        """The pack for entries with such a name, and the key there; None if it is not the name of one."""
        folder, _, last = name.rpartition("/")
        if len(last) != _KEY_CHARS:
            return None
        try:
            return f"{self._root}{folder}{_PACK}", bytes.fromhex(last)
        except ValueError:
            return None

    def write(self, name: str, data: bytes, /) -> None:
        """Add to its pack if it is an entry; else write a file beside, and rename it."""
        if (packed := self._pack_of(name)) is not None and 0 < len(data) <= _PACKED_BYTES:
            self._in_folder(os.path.dirname(packed[0]), lambda: self._packs.add(*packed, data))
            return
        path = self._root + name
        folder, last = os.path.split(path)
        beside = os.path.join(folder, f".{last}.{os.urandom(4).hex()}")
        descriptor = self._in_folder(folder, lambda: os.open(beside, _WRITE, 0o660 if self._group else 0o600))
        try:
            try:
                _write_all(descriptor, data)
            finally:
                os.close(descriptor)
            os.replace(beside, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(beside)
            raise

    def append(self, name: str, data: bytes, /) -> int:
        """Write at the end, in one piece."""
        path = self._root + name
        mode = 0o660 if self._group else 0o600
        descriptor = self._in_folder(os.path.dirname(path), lambda: os.open(path, _APPEND, mode))
        try:
            os.write(descriptor, data)
            return os.lseek(descriptor, 0, os.SEEK_CUR)
        finally:
            os.close(descriptor)

    def _in_folder(self, folder: str, act: Callable[[], T]) -> T:
        for _ in range(_ATTEMPTS):
            try:
                return act()
            except FileNotFoundError:
                self.make_folder(folder)
        return act()

    def make_folder(self, folder: str) -> None:
        """Make it, and those above that are missing: for the user alone, whatever the umask."""
        mode = 0o2770 if self._group else 0o700
        missing = []
        while not os.path.isdir(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        for each in reversed(missing):
            with suppress(FileExistsError):
                os.mkdir(each, 0o700)
                if self._group and each.startswith(self.location):
                    os.chmod(each, mode)

    def list(self, folder: str, /) -> Iterator[Item]:
        """The files below."""
        start = len(self._root)
        waiting = [os.path.join(self._root, folder)]
        while waiting:
            with suppress(FileNotFoundError, NotADirectoryError), os.scandir(waiting.pop()) as found:
                for each in found:
                    with suppress(FileNotFoundError):
                        if each.is_dir(follow_symlinks=False):
                            waiting.append(each.path)
                            continue
                        if each.name.endswith(_PACK):
                            yield from self._list_pack(each.path)
                            continue
                        facts = each.stat(follow_symlinks=False)
                        name = each.path[start:].replace(os.sep, "/")
                        yield Item(name, facts.st_size, facts.st_mtime, max(facts.st_atime, facts.st_mtime))

    def _list_pack(self, path: str) -> Iterator[Item]:
        folder = path[len(self._root) : -len(_PACK)].replace(os.sep, "/")
        for key, place, used in self._packs.list(path):
            yield Item(f"{folder}/{key.hex()}", place.nbytes, place.written, used)

    def remove(self, names: Iterable[str], /) -> None:
        """Remove files, and what is in packs. Folders stay: somebody may be about to write into one."""
        paths = []
        packed: dict[str, list[bytes]] = {}
        for name in names:
            if (pack := self._pack_of(name)) is not None:
                packed.setdefault(pack[0], []).append(pack[1])
            paths.append(self._root + name)
        for pack_path, keys in packed.items():  # entries before the files that they point to
            self._packs.remove(pack_path, keys)
        for path in paths:
            with suppress(FileNotFoundError, NotADirectoryError):
                os.unlink(path)


def _write_all(descriptor: int, data: bytes) -> None:
    written = os.write(descriptor, data)
    if written < len(data):
        rest = memoryview(data)[written:]
        while rest:
            rest = rest[os.write(descriptor, rest) :]


def _open_again(location: str, group: bool) -> FolderStore:
    return FolderStore(location, group=group)


def _end(packs: Packs) -> None:
    packs.flush()
    packs.forget_all()
