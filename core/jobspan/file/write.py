"""`dump`: an object into a file, which is there whole or not at all.

Invariant: a file that was there before is as it was until the new one is complete and safe on its disk; whatever is
raised, nothing of the new one is left behind.
"""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple
from zlib import crc32

from jobspan.errors import say_once
from jobspan.file.layout import ALIGNMENT, HEADER_BYTES, PIECE, Header, Index, Segment, align
from jobspan.file.plan import PROTOCOL, Plan, make_plan
from jobspan.file.replacing import replacing
from jobspan.persist.chunks import in_threads

_AT_A_TIME = 64  # pieces that are compressed before they are written


class _Codec(NamedTuple):
    """How to compress; nothing where `name` is None."""

    name: str | None
    compress: Callable[[Any], bytes]


def dump(
    value: Any, filename: Any, compress: Any = 0, protocol: int | None = None, *, alignment: int = ALIGNMENT
) -> list[str] | None:
    """Write an object into a file, for `load` to read.

    The file takes the place of one that was there before only when it is complete and on its disk: who reads meanwhile,
    or after a crash, a kill or a full disk, finds the old one. Memory of arrays and other large buffers stands in it as
    it is, each stretch once, where `load` can map it.

    Parameters
    ----------
    value : object
        Anything that pickle can write.
    filename : str, path-like or file object
        Where to; also a URL that `fsspec` knows. A file object is written to from where it stands.
    compress : int, bool, str or (str, int), default 0
        ``"zlib"``, ``"gzip"``, ``"bz2"``, ``"lzma"``, ``"xz"``, ``"lz4"``, ``"zstd"`` or what `register_compressor` has
        added; with a level, which is 0 to 9 for most; a level alone, or True, means zlib. By default as the file's name
        says (``.z``, ``.gz``, ``.bz2``, ``.lzma``, ``.xz``, ``.lz4``, ``.zst``), or not at all. A compressed file
        cannot be mapped.
    protocol : int, optional
        Pickle's; it is 5 here, which every Python since 3.8 reads.
    alignment : int, default 64
        At multiples of how many bytes buffers begin: a power of two from 64, such as 4096, a page.

    Returns
    -------
    list of str or None
        The file's name; None for a file object.

    Raises
    ------
    UnpicklableError
        If something in the object cannot be pickled. The message says what, and where it is.
    ValueError
        If there is no such compressor or level, or `filename` is neither name nor file.
    JobspanError
        If a compressor is not installed, or one that was registered fails.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import jobspan, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "model.job")
    >>> jobspan.dump({"weights": [0.5, 2.0]}, path) == [path], jobspan.load(path)
    (True, {'weights': [0.5, 2.0]})
    """
    if alignment < ALIGNMENT or alignment & (alignment - 1):
        raise ValueError(f"alignment={alignment!r} is no power of two from {ALIGNMENT}, such as 4096.")
    if protocol not in (None, -1, PROTOCOL):
        say_once(f"jobspan's files have pickles of protocol {PROTOCOL}, which every Python since 3.8 reads.")
    if isinstance(filename, io.TextIOBase):
        raise ValueError(f"{filename!r} is a file of text; open it with mode 'wb'.")  # noqa: TRY004  as for what is no file at all
    if hasattr(filename, "write"):
        codec = choose_codec(compress, "")
        write_plan(make_plan(value, alignment), codec, alignment, Stream(filename))
        return None
    if not isinstance(filename, str | bytes | os.PathLike):
        raise ValueError(f"dump takes a file's name, or a file object, second; {filename!r} is neither.")  # noqa: TRY004  joblib's dump raises this
    path = os.fsdecode(filename)
    codec = choose_codec(compress, path)
    plan = make_plan(value, alignment)
    if "://" in path:
        from jobspan.file.remote import open_url

        with open_url(path, "wb") as file:
            write_plan(plan, codec, alignment, Stream(file))
    else:
        _write_file(plan, codec, alignment, path)
    return [path]


def dump_telling(facts: Mapping[str, Any], value: Any, path: str, compress: Any = 0) -> None:
    """As `dump`, into a file that tells more of itself: plain values, which `read_facts` reads and `inspect` shows."""
    codec = choose_codec(compress, path)
    plan = make_plan(value, ALIGNMENT)
    _write_file(plan, codec, ALIGNMENT, path, facts)


def _write_file(
    plan: Plan, codec: _Codec, alignment: int, path: str, facts: Mapping[str, Any] = MappingProxyType({})
) -> None:
    """Write a file that takes the place of another, if there is one."""
    mode = _mode_of(path)
    if mode is not None and not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        with open(path, "wb") as file:  # a device or a pipe cannot be replaced
            write_plan(plan, codec, alignment, Stream(file), facts)
        return
    target = os.path.realpath(path)  # where there is a link, what it leads to is replaced
    with replacing(target, mode) as descriptor:
        write_plan(plan, codec, alignment, File(descriptor), facts)


def choose_codec(compress: Any, filename: str) -> _Codec:
    """The compressor that the user asks for, or the file's name."""
    name: Any
    level: Any
    if isinstance(compress, tuple):
        if len(compress) != 2:
            raise ValueError(f"compress={compress!r} is no pair of a compressor's name and a level.")
        name, level = compress
    elif isinstance(compress, str):
        name, level = compress, None
    else:
        name, level = "zlib", None if compress is True else compress
        if not isinstance(compress, int) or not 0 <= compress <= 9:
            raise ValueError(f"compress={compress!r} is neither a level from 0 to 9 nor a compressor.")
        if filename:
            from jobspan.file.codecs import codec_for

            by_name = codec_for(filename)
            name, level = by_name or name, None if by_name and not compress else level
    if level is not None and not level:
        return _Codec(None, bytes)
    from jobspan.file.codecs import find_codec

    codec = find_codec(name)
    if level is not None and level not in codec.levels:
        raise ValueError(f"level {level!r} is none of {name}'s, which are {codec.levels[0]} to {codec.levels[-1]}.")
    return _Codec(name, lambda data: codec.compress(data, level))


class _Target:
    """What is written to, at any place."""

    def write(self, position: int, data: Any) -> None:
        """Write there."""
        raise NotImplementedError

    writes_in_threads = False


class File(_Target):
    """A file of the system's."""

    writes_in_threads = hasattr(os, "pwrite")

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, position: int, data: Any) -> None:
        """Write there."""
        rest = memoryview(data).cast("B")
        if not self.writes_in_threads:
            os.lseek(self._descriptor, position, os.SEEK_SET)
        while rest:
            written = (
                os.pwrite(self._descriptor, rest, position)
                if self.writes_in_threads
                else os.write(self._descriptor, rest)
            )
            rest, position = rest[written:], position + written


class Stream(_Target):
    """A file object, which may be written to in order only: what belongs at its head is written first."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._position = 0
        self._late: list[tuple[int, Any]] = []

    def write(self, position: int, data: Any) -> None:
        """Write there, when all that comes before it has been written."""
        if position < HEADER_BYTES:
            self._position = 0
            for at, part in [(position, data), *self._late]:
                self._file.write(b"\0" * (at - self._position))
                self._file.write(part)
                self._position = at + memoryview(part).nbytes
        else:
            self._late.append((position, data))


def write_plan(
    plan: Plan, codec: _Codec, alignment: int, target: _Target, facts: Mapping[str, Any] = MappingProxyType({})
) -> bytes:
    """Write the segments one after the other, then the index, which is returned, and at last the header."""
    segments: list[Segment] = []
    lengths: list[int] = []
    crcs: list[int] = []
    position = HEADER_BYTES
    for stretches in ([plan.pickle], *plan.segments):
        position = align(position, alignment)
        size = sum(stretch.nbytes for stretch in stretches)
        if codec.name is None:
            found = _write_plain(stretches, size, position, target)
        else:
            found = _write_packed(stretches, size, position, target, codec.compress)
        stored = sum(length for length, _ in found)
        segments.append(Segment(position, stored, size))
        lengths += [length for length, _ in found]
        crcs += [crc for _, crc in found]
        position += stored
    position = align(position, 8)
    told = {"writer": "jobspan", "python": "{}.{}.{}".format(*sys.version_info), **facts}
    index = Index(codec.name, segments, plan.buffers, lengths, crcs, PIECE, told).encode()
    target.write(position, index)
    target.write(0, Header(0, alignment, position + len(index), position, len(index), crc32(index)).encode())
    return index


def _write_plain(stretches: Sequence[memoryview], size: int, position: int, target: _Target) -> list[tuple[int, int]]:
    def write(number: int) -> tuple[int, int]:
        start, end = number * PIECE, min((number + 1) * PIECE, size)
        piece = _cut(stretches, start, end)
        target.write(position + start, piece)
        return end - start, crc32(piece)

    pieces = range(-(-size // PIECE))
    return in_threads(write, len(pieces)) if target.writes_in_threads else list(map(write, pieces))


def _write_packed(
    stretches: Sequence[memoryview], size: int, position: int, target: _Target, compress: Callable[[Any], bytes]
) -> list[tuple[int, int]]:
    def pack(number: int) -> Any:
        piece = _cut(stretches, number * PIECE, min((number + 1) * PIECE, size))
        packed = compress(piece)
        return packed if len(packed) < len(piece) else piece

    found = []
    pieces = -(-size // PIECE)
    for begin in range(0, pieces, _AT_A_TIME):
        for packed in in_threads(lambda number, begin=begin: pack(begin + number), min(_AT_A_TIME, pieces - begin)):  # type: ignore[misc]  # mypy does not see the default
            target.write(position, packed)
            found.append((len(packed), crc32(packed)))
            position += len(packed)
    return found


def _cut(stretches: Sequence[memoryview], start: int, end: int) -> Any:
    """The bytes of a segment from `start` up to `end`."""
    if len(stretches) == 1:
        return stretches[0][start:end]
    parts = []
    begin = 0
    for stretch in stretches:
        low, high = max(start - begin, 0), min(end - begin, stretch.nbytes)
        if low < high:
            parts.append(stretch[low:high])
        begin += stretch.nbytes
    return b"".join(parts)


def _mode_of(path: str) -> int | None:
    """What kind of file is there, and who may do what with it; None if there is none."""
    try:
        return os.stat(path).st_mode
    except OSError:
        return None
