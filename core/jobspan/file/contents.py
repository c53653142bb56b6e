"""What is in a file of `dump`'s: its segments, its buffers, and the object they make.

Invariant: a segment that is read is what was written, by the checksums of its pieces.
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Protocol, TypeAlias
from zlib import crc32

from jobspan.errors import DamagedFileError, JobspanError
from jobspan.file.layout import Index, damaged
from jobspan.persist.chunks import in_threads

_ARRAYS = "jobspan.arrays.rebuild"
_PLAUSIBLE = 1000  # compressors rarely make anything smaller by more than that
_LARGE = 1 << 20  # memory of so many bytes comes straight from the system
_ACCESS = {"r": mmap.ACCESS_READ, "c": mmap.ACCESS_COPY, "r+": mmap.ACCESS_WRITE}


class How(NamedTuple):
    """What `load` was asked for: how to map, whether to turn arrays round, and a `jobspan.file.data.Trust`, or None."""

    mmap_mode: str | None
    native: bool
    trust: Any


class Source(Protocol):
    """Bytes of a file, for several threads at once."""

    def read(self, start: int, nbytes: int, /) -> Any:
        """So many from there."""

    def fill(self, start: int, memory: memoryview, /) -> None:
        """As many as there is memory for, from there."""


class Memory:
    """A file that was read already."""

    def __init__(self, data: memoryview) -> None:
        self._data = data

    def read(self, start: int, nbytes: int, /) -> Any:
        """So many from there."""
        return self._data[start : start + nbytes]

    def fill(self, start: int, memory: memoryview, /) -> None:
        """As many as there is memory for, from there."""
        memory[:] = self._data[start : start + memory.nbytes]


class Descriptor:
    """A file that is open."""

    def __init__(self, descriptor: int, path: str) -> None:
        self._descriptor = descriptor
        self._path = path
        self._seeking = threading.Lock()  # where a place to read from cannot be given

    def read(self, start: int, nbytes: int, /) -> Any:
        """So many from there."""
        memory = bytearray(nbytes)
        self.fill(start, memoryview(memory))
        return memory

    def fill(self, start: int, memory: memoryview, /) -> None:
        """As many as there is memory for, from there."""
        while memory:
            count = self._read_into(start, memory)
            if not count:
                damaged(self._path, f"it ends at byte {start}; it has become shorter while it was read")
            start, memory = start + count, memory[count:]

    def _read_into(self, start: int, memory: memoryview) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._descriptor, [memory], start)
        with self._seeking:
            os.lseek(self._descriptor, start, os.SEEK_SET)
            part = os.read(self._descriptor, memory.nbytes)
        memory[: len(part)] = part
        return len(part)


Decompress: TypeAlias = Callable[[Any, memoryview], None]


def _not_compressed(_data: Any, _target: memoryview) -> None:
    raise AssertionError("pieces of such files are as long as they were")


class Contents:
    """What an index says is in a file.

    Parameters
    ----------
    index : Index
        Of the file.
    source : callable
        Reads from it, by several threads at once.
    name : str
        The file's, or its path.
    has_changed : bool
        Whether its buffers may be others than were written.
    """

    def __init__(self, index: Index, source: Source, name: str, *, has_changed: bool = False) -> None:
        self.index = index
        self._source = source
        self._name = name
        self._has_changed = has_changed
        self._firsts = [0]
        for segment in index.segments:
            self._firsts.append(self._firsts[-1] + index.count_pieces(segment.size))

    def load(self, buffers: Sequence[Any], how: How) -> Any:
        """Unpickle, with these buffers."""
        text = io.BytesIO(self.read_segment(0))
        if how.trust is not None:
            return self._load_data(text, buffers, how)
        unpickler = Unpickler(text, buffers=buffers)
        unpickler.native = how.native
        try:
            return unpickler.load()
        except (pickle.UnpicklingError, EOFError) as error:
            raise DamagedFileError(f"{self._name} cannot be unpickled: {error}") from error

    def _load_data(self, text: io.BytesIO, buffers: Sequence[Any], how: How) -> Any:
        from jobspan.file.data import DataUnpickler

        unpickler: Any = DataUnpickler(text, how.trust, buffers)
        if how.native:
            unpickler.find = lambda module, name: _turning(module, name, how.trust.find(module, name))
        try:
            return unpickler.load()
        except (JobspanError, MemoryError):
            raise
        except Exception as error:  # a pickle that nobody has written can raise anything
            raise DamagedFileError(
                f"{self._name} holds no plain values and arrays, or is damaged ({type(error).__name__}: {error})."
            ) from error

    def read_buffers(self) -> list[Any]:
        """The pickle's buffers, in memory of their own."""
        segments = [self.read_segment(number) for number in range(1, len(self.index.segments))]
        views = [None, *(memoryview(segment) for segment in segments)]
        buffers = []
        for number, start, nbytes in self.index.list_buffers():
            view: Any = views[number]
            buffers.append(view if view.nbytes == nbytes else view[start : start + nbytes])
        return buffers

    def map_buffers(self, mode: str) -> list[Any]:
        """The pickle's buffers, where they are in the file."""
        whole = _map(self._name, mode)
        buffers = []
        for number, start, nbytes in self.index.list_buffers():
            begin = self.index.segments[number].start + start
            buffers.append(whole[begin : begin + nbytes])
        return buffers

    def read_segment(self, number: int) -> Any:
        """All bytes of a segment, decompressed."""
        segment = self.index.segments[number]
        first, last = self._firsts[number], self._firsts[number + 1]
        starts = [segment.start]
        for length in self.index.lengths[first:last]:
            starts.append(starts[-1] + length)
        decompress = self._decompressor()
        if self.index.codec is not None and segment.size > _PLAUSIBLE * segment.stored + 64 * _LARGE:
            return self._read_in_order(number, starts, decompress)
        memory = _allocate(segment.size)
        view = memoryview(memory)
        rooms: list[bytearray] = []  # one for each thread, since new memory costs more than what is done with it
        longest = max(self.index.lengths[first:last], default=0)

        def read(piece: int) -> None:
            start, length = starts[piece], self.index.lengths[first + piece]
            begin = piece * self.index.piece
            target = view[begin : min(begin + self.index.piece, segment.size)]
            if length == target.nbytes:
                room, data = None, target
            else:
                room = rooms.pop() if rooms else bytearray(longest)
                data = memoryview(room)[:length]
            self._source.fill(start, data)
            if not (self._has_changed and number) and crc32(data) != self.index.crcs[first + piece]:
                damaged(self._name, f"bytes {start} to {start + length} are not as they were written")
            if room is not None:
                self._unpack(decompress, data, target, start)
                rooms.append(room)

        in_threads(read, last - first)
        return memory

    def _read_in_order(self, number: int, starts: Sequence[int], decompress: Decompress) -> bytearray:
        """A segment that is said to be so much larger than what is stored that memory is only taken as it comes."""
        memory = bytearray()
        segment, first = self.index.segments[number], self._firsts[number]
        for piece, start in enumerate(starts[:-1]):
            data = self._source.read(start, self.index.lengths[first + piece])
            if crc32(data) != self.index.crcs[first + piece]:
                damaged(self._name, f"bytes {start} to {start + len(data)} are not as they were written")
            part = bytearray(min(self.index.piece, segment.size - len(memory)))
            if len(data) == len(part):
                part[:] = data
            else:
                self._unpack(decompress, data, memoryview(part), start)
            memory += part
        return memory

    def _decompressor(self) -> Decompress:
        if self.index.codec is None:
            return _not_compressed
        from jobspan.file.codecs import find_codec

        try:
            return find_codec(self.index.codec).decompress
        except ValueError:
            damaged(
                self._name,
                f"it was compressed by {self.index.codec!r}, which is not known here: see jobspan.register_compressor",
            )

    def _unpack(self, decompress: Decompress, data: Any, target: memoryview, start: int) -> None:
        try:
            decompress(data, target)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  each compressor has its own
            what = f"what is at byte {start} cannot be decompressed by {self.index.codec!r}"
            damaged(self._name, f"{what} ({type(error).__name__}: {error})")


class Unpickler(pickle.Unpickler):
    """Reads the pickle of a file."""

    native = False

    def find_class(self, module: str, name: str) -> Any:
        """What the pickle calls by these names; arrays are turned round on the way, if that is asked for."""
        if module.startswith("pathlib."):  # where Python 3.13 alone has its paths
            module = "pathlib"
        found = super().find_class(module, name)
        return _turning(module, name, found) if self.native else found


def _turning(module: str, name: str, found: Any) -> Any:
    """What is found, or, if it makes arrays, what turns them round besides."""
    if module != _ARRAYS or name not in ("array", "strided"):
        return found
    from jobspan.arrays.rebuild import as_native

    if (means := getattr(found, "means", None)) is not None:  # a stand-in remains one
        found.means = lambda *arguments: as_native(means(*arguments))
        return found
    return lambda *arguments: as_native(found(*arguments))


def _allocate(nbytes: int) -> Any:
    """Memory that is not looked at before it is written to, where there is much of it."""
    if nbytes < _LARGE or sys.platform == "emscripten":
        return bytearray(nbytes)
    if os.name != "posix":
        return mmap.mmap(-1, nbytes)
    memory = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # shared memory costs twice as much
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without large pages
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def _map(path: str, mode: str) -> Any:
    """All bytes of a file, mapped: as an array if there is numpy, which keeps the file's name with it."""
    try:
        from jobspan.arrays.memmap import map_whole
    except ImportError:
        with open(path, "r+b" if mode == "r+" else "rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=_ACCESS[mode]))
    return map_whole(path, mode)
