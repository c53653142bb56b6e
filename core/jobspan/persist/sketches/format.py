"""A sketch as bytes, and back: what is in it, how many bytes each part of it takes.

Invariant: little-endian, of fixed sizes, a version at the head; what a later version adds, this one refuses.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import hypot, prod, sqrt
from typing import Any, NamedTuple

from jobspan.persist.sketches.folds import DIRECTIONS, number_of, scramble, word_of

MOST_COUNTED = (1 << 32) - 1
"""Of NaN and infinities no more are counted."""

_WHOLE = 1024  # bytes of numbers that are kept as they are
_MOST_BYTES = 7168
_SAMPLE = 64
_SIZES = (
    (11, 13, 17),
    (13, 17, 19),
    (19, 23, 29),
    (31, 37, 41),
    (61, 67, 71),
    (127, 131, 137),
    (251, 257, 263),
    (191, 193, 197, 199),
)
_FLOOR = 1e-6  # of the mean: a spread below this may be rounding noise
_VERSION = 1
_HEAD = struct.Struct("<BHBBH")
_PART = struct.Struct("<cBQddQLLL")


class PartSketch(NamedTuple):
    """What is kept of one part of a value.

    Attributes
    ----------
    kind : {"f", "i", "u"}
        Kind of its numbers.
    itemsize : int
        Bytes of a number.
    size : int
        How many there are.
    mean, norm : float
        Their mean; the root of the sum of the squares of what is left when it is taken away, about.
    unordered : int
        A sum that is the same in any order.
    ordered : int
        One that is not.
    nans, infinities : int
        How many there are.
    """

    kind: str
    itemsize: int
    size: int
    mean: float
    norm: float
    unordered: int
    ordered: int
    nans: int
    infinities: int

    @property
    def scale(self) -> float:
        """By what distances are divided."""
        return hypot(self.norm, _FLOOR * self.mean * sqrt(self.size))

    @property
    def usual(self) -> float:
        """The root mean square of the numbers, about."""
        return hypot(self.norm / sqrt(self.size), self.mean)


def plan(parts: Sequence[Any], form_size: int) -> tuple[int, tuple[int, ...]]:
    """How large a sample to keep, and which tables, for parts with `size` and `itemsize`.

    All numbers, if they are few; else what has room in a quarter of what the numbers take.
    """
    count = sum(part.size for part in parts)
    total = sum(part.size * part.itemsize for part in parts)
    if total <= _WHOLE:
        return count, ()
    room = min(total // 4, _MOST_BYTES) - _HEAD.size - form_size - len(parts) * _PART.size - 4 * DIRECTIONS
    sample = next((number for number in (64, 32, 16) if room >= 32 * number), 8 if room >= 64 else 4)
    room -= 8 * sample
    fitting = [sizes for sizes in _SIZES if prod(sizes) >= count and 8 * sum(sizes) <= room]
    return sample, min(fitting, key=lambda sizes: (len(sizes), -sum(sizes)), default=())


def sample_indexes(count: int, size: int) -> Sequence[int]:
    """The indexes of a sample: one somewhere in each of 64 equal stretches, or in some of these; or all there are."""
    if size == count:
        return range(count)
    step = _SAMPLE // size
    return [(number * count + scramble(number) % count) // _SAMPLE for number in range(0, _SAMPLE, step)]


def pack(
    form: str,
    parts: Sequence[PartSketch],
    projections: Sequence[float],
    sample: Sequence[int],
    moduli: tuple[int, ...],
    cells: Sequence[int],
) -> bytes:
    """The bytes of a sketch's fields."""
    text = form.encode()
    number = _SIZES.index(moduli) + 1 if moduli else 0
    coded = zip(sample, _coded(parts, len(sample)), strict=True)
    return b"".join(
        [
            _HEAD.pack(_VERSION, len(text), len(parts), number, len(sample)),
            text,
            *(_PART.pack(part.kind.encode(), *part[1:]) for part in parts),
            struct.pack(f"<{DIRECTIONS}f", *projections),
            struct.pack(f"<{len(cells)}Q", *cells),
            *(struct.pack("<" + code, number_of(word, kind)) for word, (kind, code) in coded),
        ]
    )


def unpack(data: bytes) -> tuple[Any, ...]:
    """The fields of a sketch."""
    version, form_size, part_count, number, sample_size = _HEAD.unpack_from(data)
    if version != _VERSION:
        raise ValueError(f"version {version} is not {_VERSION}")
    at = _HEAD.size + form_size
    form = data[_HEAD.size : at].decode()
    parts = []
    for _ in range(part_count):
        kind, *rest = _PART.unpack_from(data, at)
        parts.append(PartSketch(kind.decode(), *rest))
        at += _PART.size
    projections = struct.unpack_from(f"<{DIRECTIONS}f", data, at)
    at += 4 * DIRECTIONS
    moduli = _SIZES[number - 1] if number else ()
    cells = struct.unpack_from(f"<{sum(moduli)}Q", data, at)
    at += 8 * len(cells)
    words = []
    for kind, code in _coded(parts, sample_size):
        (value,) = struct.unpack_from("<" + code, data, at)
        words.append(word_of(value, kind))
        at += struct.calcsize("<" + code)
    if at != len(data):
        raise ValueError(f"{len(data) - at} bytes are left over")
    return form, tuple(parts), projections, tuple(words), moduli, cells


_CODES = {"f": {2: "e", 4: "f", 8: "d"}, "i": dict(zip((1, 2, 4, 8), "bhiq", strict=True))}
_CODES["u"] = {size: code.upper() for size, code in _CODES["i"].items()}


def _coded(parts: Sequence[PartSketch], size: int) -> Iterator[tuple[str, str]]:
    """The kind of each number in a sample, and the code by which `struct` writes it."""
    ends = list(accumulate(part.size for part in parts))
    for index in sample_indexes(ends[-1], size):
        part = parts[bisect_right(ends, index)]
        yield part.kind, _CODES[part.kind][part.itemsize]
