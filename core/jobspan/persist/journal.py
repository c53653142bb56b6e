"""A file of results that only grows: what was written survives whatever happens to the process that writes.

Each record has a mark, a checksum and its length, so a reader knows what is whole. One that was torn by a kill is cut
off when the file is opened to go on; damage in the middle costs what is damaged, and no more.

Invariant: a record that was written whole is found again; what is not whole is never taken for a record.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol
from zlib import crc32

from jobspan.errors import JobspanError
from jobspan.persist.locks import lock_file

HEADER = b"jobspan checkpoint 2\n"  # 2: tasks are known by `hashing`'s first scheme

_MARK = b"\xf1JOB"
_FRAME = struct.Struct("<4sIQ")  # mark, checksum of the rest, length of the rest
_REST = struct.Struct("<16sIQd")  # digest, ordinal, index, seconds since the epoch
_CHUNK = 1 << 20
_SYNC_S = 1.0

Key = tuple[bytes, int]
"""The digest of a task, and how many of the same digest came before it in the run."""


class Record(NamedTuple):
    """One result, without the result: where it lies."""

    key: Key
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    at: float
    start: int
    end: int


class Mirror(Protocol):
    """A copy of a file that only grows."""

    def write(self, data: bytes, /) -> None:
        """Append to it."""

    def truncate(self, size: int, /) -> None:
        """Keep so many bytes of it."""

    def close(self) -> None:
        """Write no more."""


class Journal:
    """A file to be continued.

    Parameters
    ----------
    path : path-like
        It is made if it does not exist.
    mirror : Mirror, optional
        Takes a copy of what is written, and is closed with the journal.

    Raises
    ------
    JobspanError
        If it is another kind of file, or somebody else is writing to it.
    """

    def __init__(self, path: os.PathLike[str] | str, mirror: Mirror | None = None) -> None:
        self.path = Path(path)
        self._mirror = mirror
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
        try:
            _lock(self._file, self.path)
            self._places: dict[Key, tuple[int, int]] = {}
            whole = self._scan()
            if os.fstat(self._file).st_size > whole:
                os.ftruncate(self._file, whole)
                if mirror is not None:
                    mirror.truncate(whole)
            if not whole:
                self._write(HEADER)
        except BaseException:
            os.close(self._file)
            raise
        self._synced = time.monotonic()

    def _scan(self) -> int:
        """Take stock, and return where the last whole record ends."""
        with open(self._file, "rb", closefd=False) as file:
            whole = check_header(file, self.path)
            for record, _ in scan(file):
                self._places[record.key] = record.start, record.end
                whole = record.end
        return whole

    @property
    def mean_nbytes(self) -> float:
        """The mean size of a result; 0 if there is none."""
        return sum(end - start for start, end in self._places.values()) / max(1, len(self._places))

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: Key) -> bool:
        return key in self._places

    def read(self, key: Key) -> bytes:
        """The pickled result of a task that is there."""
        start, end = self._places[key]
        os.lseek(self._file, start, os.SEEK_SET)
        parts = []
        while start < end:
            part = os.read(self._file, end - start)
            if not part:
                raise JobspanError(f"{self.path} has become shorter while it was in use; leave it alone until the end.")
            parts.append(part)
            start += len(part)
        return b"".join(parts)

    def append(self, entries: list[tuple[Key, int, bytes]]) -> None:
        """Write results: for each its key, its index, and its pickle.

        Raises
        ------
        OSError
            If there is no room, for one; what was written before is safe.
        """
        now = time.time()
        self._write(b"".join(_frame(key, index, now, data) for key, index, data in entries))
        if time.monotonic() - self._synced > _SYNC_S:
            self.sync()

    def _write(self, data: bytes) -> None:
        if self._mirror is not None:
            self._mirror.write(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]

    def sync(self) -> None:
        """Let what was written survive the end of the machine, too."""
        with suppress(OSError):  # some file systems cannot
            os.fsync(self._file)
        self._synced = time.monotonic()

    def close(self) -> None:
        """Write no more."""
        self.sync()
        os.close(self._file)
        if self._mirror is not None:
            self._mirror.close()


def _lock(file: int, path: Path) -> None:
    if not lock_file(file):
        raise JobspanError(
            f"{path} is in use by another run, maybe of another process; wait for its end, or give this one a file of "
            f"its own."
        )


def _frame(key: Key, index: int, now: float, data: bytes) -> bytes:
    rest = _REST.pack(*key, index, now) + data
    return _FRAME.pack(_MARK, crc32(rest), len(rest)) + rest


def check_header(file: BinaryIO, path: object) -> int:
    """Refuse a file that is no journal; an empty one, or the beginning of one, will be. Returns where records begin.

    Raises
    ------
    JobspanError
        If it is none.
    """
    begin = file.read(len(HEADER))
    if not HEADER.startswith(begin):
        raise JobspanError(
            f"{path} is no checkpoint of jobspan's: it begins with {begin!r}. It is left as it is; give another name."
        )
    return len(HEADER) if begin == HEADER else 0


def scan(file: BinaryIO) -> Iterator[tuple[Record, bytes]]:
    """The records that are whole, each with its pickle, in the order in which they were written."""
    size = os.fstat(file.fileno()).st_size
    position = len(HEADER)
    while 0 <= position <= size - _FRAME.size:
        file.seek(position)
        mark, checksum, length = _FRAME.unpack(file.read(_FRAME.size))
        start = position + _FRAME.size
        end = start + length
        rest = file.read(length) if mark == _MARK and _REST.size <= length and end <= size else b""
        if rest and crc32(rest) == checksum:
            digest, ordinal, index, at = _REST.unpack_from(rest)
            yield Record((digest, ordinal), index, at, start + _REST.size, end), rest[_REST.size :]
            position = end
        else:
            position = _find_mark(file, position + 1)


def _find_mark(file: BinaryIO, position: int) -> int:
    """Where the next mark is; -1 if there is none."""
    file.seek(position)
    kept = b""
    while chunk := file.read(_CHUNK):
        found = (kept + chunk).find(_MARK)
        if found >= 0:
            return position - len(kept) + found
        position += len(chunk)
        kept = (kept + chunk)[1 - len(_MARK) :]
    return -1


def read_journal(path: os.PathLike[str] | str) -> Iterator[tuple[Record, bytes]]:
    """What is whole in a journal, maybe while it is being written: for each result its record and its pickle.

    Raises
    ------
    JobspanError
        If it is another kind of file.
    """
    with open(path, "rb") as file:
        check_header(file, path)
        yield from scan(file)
