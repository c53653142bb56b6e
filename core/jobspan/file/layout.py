"""Where things are in a file: its header and its index, as bytes and back. Nothing here reads or writes.

Invariant: what `Index.decode` returns lies inside of the file, and its tables fit each other.
"""

from __future__ import annotations

import json
import struct
import sys
from array import array
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple, NoReturn
from zlib import crc32

from jobspan.errors import DamagedFileError
from jobspan.persist.chunks import CHUNK

MAGIC = b"\x89jobspan\r\n\x1a\nfil"
"""Begins a file; as PNG's does, it shows what transfers of text would do to it."""

VERSION = 1
CHANGED = 1
"""A flag: its buffers were mapped for writing, so their checksums hold no longer."""

ALIGNMENT = 64
_LARGEST_PIECE = 1 << 26
_HEADER = struct.Struct("<16sHHIQQQI")
_CRC = struct.Struct("<I")
HEADER_BYTES = 64


class Header(NamedTuple):
    """What the first 64 bytes say.

    Attributes
    ----------
    flags : int
        `CHANGED`, or 0.
    alignment : int
        Of which the offset of every segment is a multiple.
    total : int
        Bytes of the whole file.
    index_start, index_bytes, index_crc : int
        Where the index is, and its checksum.
    """

    flags: int
    alignment: int
    total: int
    index_start: int
    index_bytes: int
    index_crc: int

    def encode(self) -> bytes:
        """The bytes."""
        packed = _HEADER.pack(MAGIC, VERSION, *self)
        return (packed + _CRC.pack(crc32(packed))).ljust(HEADER_BYTES, b"\0")

    @classmethod
    def decode(cls, data: bytes, name: str) -> Header:
        """What they say, of the file with this name."""
        if len(data) < HEADER_BYTES:
            damaged(name, f"it has only {len(data)} bytes, and its header alone has {HEADER_BYTES}")
        _, version, *rest = _HEADER.unpack_from(data)
        if crc32(data[: _HEADER.size]) != _CRC.unpack_from(data, _HEADER.size)[0]:
            damaged(name, f"its first {HEADER_BYTES} bytes are not as they were written")
        if version != VERSION:
            damaged(name, f"it has version {version} of the format, and this jobspan reads version {VERSION}")
        header = cls(*rest)
        if header.index_start + header.index_bytes != header.total or header.index_start < HEADER_BYTES:
            damaged(name, "its header contradicts itself")
        return header


class Segment(NamedTuple):
    """Bytes that stand together.

    Attributes
    ----------
    start, stored : int
        Where they are in the file, and how many they are there.
    size : int
        How many they are when they are decompressed.
    """

    start: int
    stored: int
    size: int


class Index(NamedTuple):
    """What is where.

    Attributes
    ----------
    codec : str or None
        How segments are compressed, each piece on its own.
    segments : sequence of Segment
        The first is the pickle.
    buffers : array of int
        Three numbers for each, in the order in which the pickle asks for them: in which segment it is, from where, and
        how many bytes.
    lengths : sequence of int
        How long each piece is in the file, of all segments one after the other; one that is as long as it was before is
        not compressed.
    crcs : sequence of int
        The checksum of each piece as it is in the file.
    piece : int
        Bytes of a piece, before it is compressed.
    facts : dict
        What else is told of the file: who wrote it.
    """

    codec: str | None
    segments: Sequence[Segment]
    buffers: array[int]
    lengths: Sequence[int]
    crcs: Sequence[int]
    piece: int
    facts: dict[str, Any]

    def encode(self) -> bytes:
        """The bytes."""
        head = {
            "codec": self.codec,
            "piece": self.piece,
            "segments": len(self.segments),
            "buffers": len(self.buffers) // 3,
            "pieces": len(self.lengths),
            **self.facts,
        }
        text = json.dumps(head).encode()
        text += b" " * (-(len(text) + 8) % 8)
        numbers = [*chain.from_iterable(self.segments), *self.buffers, *self.lengths]
        return len(text).to_bytes(8, "little") + text + _table("Q", numbers) + _table("I", self.crcs)

    @classmethod
    def decode(cls, data: bytes, header: Header, name: str) -> Index:
        """What they say, of the file with this name."""
        if crc32(data) != header.index_crc:
            damaged(name, f"its index, bytes {header.index_start} to {header.total}, is not as it was written")
        try:
            begin = 8 + int.from_bytes(data[:8], "little")
            head = json.loads(data[8:begin])
            counts = [int(head.pop(what)) for what in ("segments", "buffers", "pieces")]
            codec, piece = head.pop("codec"), int(head.pop("piece"))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            damaged(name, "the head of its index cannot be read")
        segments, buffers, pieces = counts
        if (
            min(counts) < 0
            or not 0 < piece <= _LARGEST_PIECE
            or begin + 24 * (segments + buffers) + 12 * pieces != len(data)
        ):
            damaged(name, "the tables of its index are not as long as they should be")
        numbers = _read_table("Q", data[begin : len(data) - 4 * pieces])
        index = cls(
            codec,
            [Segment(*numbers[start : start + 3]) for start in range(0, 3 * segments, 3)],
            numbers[3 * segments : 3 * (segments + buffers)],
            numbers[3 * (segments + buffers) :],
            _read_table("I", data[len(data) - 4 * pieces :]),
            piece,
            head,
        )
        index._check(header, name)
        return index

    def _check(self, header: Header, name: str) -> None:
        """Raise unless all that it names is inside of the file."""
        if not self.segments:
            damaged(name, "it has no pickle")
        first = 0
        end = HEADER_BYTES
        for number, (start, stored, size) in enumerate(self.segments):
            last = first + self.count_pieces(size)
            lengths = self.lengths[first:last]
            if last > len(self.lengths) or sum(lengths) != stored:
                damaged(name, f"the pieces of segment {number} are not as long as it is")
            if start < end or start + stored > header.index_start or (self.codec is None and stored != size):
                damaged(name, f"segment {number} lies outside of it, or in another one")
            first, end = last, start + stored
        if first != len(self.lengths):
            damaged(name, "its index has pieces that belong to no segment")
        sizes = [segment.size for segment in self.segments]
        for number, (segment, start, nbytes) in enumerate(self.list_buffers()):
            if segment >= len(sizes) or start + nbytes > sizes[segment]:
                damaged(name, f"buffer {number} lies outside of its segment")

    def list_buffers(self) -> Iterable[tuple[int, int, int]]:
        """In which segment each buffer is, from where, and how many bytes."""
        return zip(self.buffers[0::3], self.buffers[1::3], self.buffers[2::3], strict=True)

    def count_pieces(self, size: int) -> int:
        """How many pieces so many bytes have."""
        return -(-size // self.piece)


def damaged(name: str, what: str) -> NoReturn:
    """Raise the error that says what is wrong with a file."""
    raise DamagedFileError(f"{name} is damaged: {what}. It cannot be read; make it again.")


def align(position: int, alignment: int) -> int:
    """The next multiple."""
    return -(-position // alignment) * alignment


def _table(kind: str, numbers: Iterable[int]) -> bytes:
    table = array(kind, numbers)
    if sys.byteorder == "big":
        table.byteswap()
    return table.tobytes()


def _read_table(kind: str, data: bytes) -> array[int]:
    table = array(kind)
    table.frombytes(data)
    if sys.byteorder == "big":
        table.byteswap()
    return table


assert (array("Q").itemsize, array("I").itemsize) == (8, 4), "on every machine that Python runs on"
PIECE = CHUNK
