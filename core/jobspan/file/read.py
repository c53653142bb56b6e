"""`load`: the object in a file; its buffers are read, or mapped.

Invariant: what is unpickled is what was written, by its checksums; except for buffers that are mapped, which nobody has
read yet.
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
from typing import Any, Protocol
from zlib import crc32

from jobspan.errors import DamagedFileError, say_once
from jobspan.file.layout import CHANGED, HEADER_BYTES, MAGIC, Header, Index, damaged
from jobspan.persist.chunks import in_threads

_LARGE = 1 << 20  # memory of so many bytes comes straight from the system
_ACCESS = {"r": mmap.ACCESS_READ, "c": mmap.ACCESS_COPY, "r+": mmap.ACCESS_WRITE}


def load(filename: Any, mmap_mode: str | None = None, ensure_native_byte_order: Any = "auto") -> Any:
    """Read the object that `dump` has written into a file.

    Only load files that you trust: a pickle can run any code.

    Parameters
    ----------
    filename : str, path-like or file object
        Where from; also a URL that `fsspec` knows. A file object is read from where it stands, and stands behind the
        object afterwards.
    mmap_mode : {None, "r", "r+", "w+", "c"}, optional
        Map the file, rather than read its buffers: for reading, for writing (``"w+"`` does the same, as in joblib), or
        copy-on-write. Arrays are then `numpy.memmap`; what is read of them comes from the file when it is looked at.
    ensure_native_byte_order : bool or "auto"
        Whether arrays of the other byte order are turned round; ``"auto"``: unless they are mapped.

    Returns
    -------
    object
        What was dumped. Arrays that shared memory share it again.

    Raises
    ------
    DamagedFileError
        If the file is truncated, or is not as it was written; the message says where.
    FileNotFoundError
        If there is no such file.
    ValueError
        If `mmap_mode` is none of these.

    Examples
    --------
    >>> import jobspan, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "numbers.job")
    >>> _ = jobspan.dump(list(range(5)), path, compress="gzip")
    >>> jobspan.load(path)
    [0, 1, 2, 3, 4]
    """
    if mmap_mode not in (None, "r", "r+", "w+", "c"):
        raise ValueError(f"mmap_mode={mmap_mode!r} is none of None, 'r', 'r+', 'w+' and 'c'.")
    if ensure_native_byte_order == "auto":
        ensure_native_byte_order = mmap_mode is None
    elif ensure_native_byte_order and mmap_mode is not None:
        raise ValueError(
            "arrays that are mapped cannot be turned round: ensure_native_byte_order goes with mmap_mode=None."
        )
    if hasattr(filename, "read"):
        return _load_stream(filename, mmap_mode, ensure_native_byte_order)
    if not isinstance(filename, str | bytes | os.PathLike):
        raise ValueError(f"load takes a file's name, or a file object; {filename!r} is neither.")  # noqa: TRY004  as joblib
    path = os.fsdecode(filename)
    if "://" in path:
        from jobspan.file.remote import open_url

        with open_url(path, "rb") as file:
            return _load_stream(file, mmap_mode, ensure_native_byte_order)
    with open(path, "rb", buffering=0) as file:
        return _load_file(file, path, "r+" if mmap_mode == "w+" else mmap_mode, ensure_native_byte_order)


def _load_file(file: Any, path: str, mmap_mode: str | None, native: bool) -> Any:
    head = file.read(HEADER_BYTES)
    if not head.startswith(MAGIC):
        return _load_other(file, head, path)
    header = Header.decode(head, path)
    size = os.fstat(file.fileno()).st_size
    if size != header.total:
        damaged(path, f"it has {size} bytes, and {header.total} were written")
    source = _Descriptor(file.fileno(), path)
    index = Index.decode(source.read(header.index_start, header.index_bytes), header, path)
    if mmap_mode is not None and index.codec is not None:
        say_once(f"{path} is compressed, so it cannot be mapped: mmap_mode={mmap_mode!r} is ignored, and it is read.")
        mmap_mode = None
    contents = Contents(index, source, path, has_changed=bool(header.flags & CHANGED))
    if mmap_mode is None:
        return contents.load(contents.read_buffers(), native=native)
    if mmap_mode == "r+":
        _note_change(path, header)
    return contents.load(contents.map_buffers(mmap_mode), native=native)


def _note_change(path: str, header: Header) -> None:
    """Before a file is mapped for writing: its checksums will not hold any more."""
    with open(path, "r+b", buffering=0) as file:
        file.write(header._replace(flags=header.flags | CHANGED).encode())


def _load_stream(file: Any, mmap_mode: str | None, native: bool) -> Any:
    name = str(getattr(file, "name", "the file object"))
    if mmap_mode is not None:
        say_once(f"a file object cannot be mapped: mmap_mode={mmap_mode!r} is ignored; give load the file's name.")
    head = _read_exactly(file, HEADER_BYTES)
    if not head.startswith(MAGIC):
        return _load_other(file, head, name)
    header = Header.decode(head, name)
    data = memoryview(head + _read_exactly(file, header.total - HEADER_BYTES))
    if data.nbytes != header.total:
        damaged(name, f"it ends after {data.nbytes} bytes, and {header.total} were written")
    source = _Memory(data)
    index = Index.decode(bytes(source.read(header.index_start, header.index_bytes)), header, name)
    contents = Contents(index, source, name, has_changed=bool(header.flags & CHANGED))
    return contents.load(contents.read_buffers(), native=native)


def _read_exactly(file: Any, nbytes: int) -> bytes:
    """So many bytes, or as many as there are: some files give fewer at a time."""
    parts = []
    while nbytes and (part := file.read(min(nbytes, 1 << 30))):
        parts.append(part)
        nbytes -= len(part)
    return b"".join(parts)


def _load_other(_file: Any, head: bytes, name: str) -> Any:
    raise DamagedFileError(f"{name} is no file of jobspan's: it begins with {head[:16]!r}.")


class Source(Protocol):
    """Bytes of a file, for several threads at once."""

    def read(self, start: int, nbytes: int, /) -> Any:
        """So many from there."""

    def fill(self, start: int, memory: memoryview, /) -> None:
        """As many as there is memory for, from there."""


class _Memory:
    """A file that was read already."""

    def __init__(self, data: memoryview) -> None:
        self._data = data

    def read(self, start: int, nbytes: int, /) -> Any:
        return self._data[start : start + nbytes]

    def fill(self, start: int, memory: memoryview, /) -> None:
        memory[:] = self._data[start : start + memory.nbytes]


class _Descriptor:
    """A file that is open."""

    def __init__(self, descriptor: int, path: str) -> None:
        self._descriptor = descriptor
        self._path = path
        self._seeking = threading.Lock()  # where a place to read from cannot be given

    def read(self, start: int, nbytes: int, /) -> Any:
        memory = bytearray(nbytes)
        self.fill(start, memoryview(memory))
        return memory

    def fill(self, start: int, memory: memoryview, /) -> None:
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

    def load(self, buffers: Sequence[Any], *, native: bool) -> Any:
        """Unpickle, with these buffers."""
        unpickler = Unpickler(io.BytesIO(self.read_segment(0)), buffers=buffers)
        unpickler.native = native
        try:
            return unpickler.load()
        except (pickle.UnpicklingError, EOFError) as error:
            raise DamagedFileError(f"{self._name} cannot be unpickled: {error}") from error

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
        memory = _allocate(segment.size)
        view = memoryview(memory)

        def read(piece: int) -> None:
            start, length = starts[piece], self.index.lengths[first + piece]
            begin = piece * self.index.piece
            target = view[begin : min(begin + self.index.piece, segment.size)]
            if length == target.nbytes:
                self._source.fill(start, target)
                data: Any = target
            else:
                data = self._source.read(start, length)
            if not (self._has_changed and number) and crc32(data) != self.index.crcs[first + piece]:
                damaged(self._name, f"bytes {start} to {start + length} are not as they were written")
            if data is not target:
                target[:] = self._unpack(decompress, data, target.nbytes, start)

        in_threads(read, last - first)
        return memory

    def _decompressor(self) -> Callable[[Any, int], Any]:
        if self.index.codec is None:
            return lambda data, _: data
        from jobspan.file.codecs import find_codec

        try:
            return find_codec(self.index.codec).decompress
        except ValueError:
            damaged(
                self._name,
                f"it was compressed by {self.index.codec!r}, which is not known here: see jobspan.register_compressor",
            )

    def _unpack(self, decompress: Callable[[Any, int], Any], data: Any, size: int, start: int) -> Any:
        try:
            unpacked = decompress(data, size)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  each compressor has its own
            damaged(self._name, f"what is at byte {start} cannot be decompressed ({error})")
        if len(unpacked) != size:
            damaged(self._name, f"what is at byte {start} decompresses to {len(unpacked)} bytes rather than {size}")
        return unpacked


class Unpickler(pickle.Unpickler):
    """Reads the pickle of a file."""

    native = False

    def find_class(self, module: str, name: str) -> Any:
        """What the pickle calls by these names; arrays are turned round on the way, if that is asked for."""
        found = super().find_class(module, name)
        if self.native and module == "jobspan.arrays.rebuild" and name in ("array", "strided"):
            return lambda *arguments: _turn_round(found(*arguments))
        return found


def _turn_round(array: Any) -> Any:
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="), copy=False)


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
