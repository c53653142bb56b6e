"""A sketch of a value's numbers: a few kilobytes by which a near value is found, and told apart from it.

A sketch holds 32 random projections of the numbers; the words of a few, or of all where they are few; tables from which
a few numbers that differ can be had exactly (`persist/recovery`); and for each part its mean, its spread, and sums that
say whether it is the same, in this or another order. From these follow its *tags*: values that are near share at least
one, most likely, and others share none. `docs/near_misses.md` says how likely.

Invariant: a sketch depends on the numbers alone, as C order has them, not on who made it, or how they lie in memory.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache, reduce
from hashlib import sha256
from math import floor, frexp, hypot, ldexp, sqrt
from operator import xor
from typing import Any, NamedTuple

from jobspan.errors import JobspanError
from jobspan.persist.sketches.folds import DIRECTIONS, WIDTH, Measures, project, scramble
from jobspan.persist.sketches.format import MOST_COUNTED, PartSketch, pack, plan, sample_indexes, unpack
from jobspan.persist.sketches.numbers import Part, take_apart

LEAST = 4
"""Fewer numbers than this have no sketch: one sees at a glance how they differ."""

NEAR = 0.1
"""Values at a `Sketch.distance` below this are near: further ones are found by chance only."""

_BANDS = 8
_PER_BAND = DIRECTIONS // _BANDS
_CELL = 0.08
_TURN = 17  # columns by which the fold of each part is turned, that parts do not fall together
_FORM = 160


class Sketch(NamedTuple):
    """What is kept of a value's numbers.

    Attributes
    ----------
    form : str
        Types, shapes and names, in short.
    parts : tuple of PartSketch
        The parts of the value.
    projections : tuple of float
        Of all numbers, each part brought to the same scale.
    sample : tuple of int
        The words of numbers at fixed indexes; of all numbers if they are few.
    moduli : tuple of int
        How many cells each table has; empty without tables.
    cells : tuple of int
        The tables.

    Examples
    --------
    >>> old, new = make_sketch([0.1 * n for n in range(100)]), make_sketch([0.1 * n + 1e-9 for n in range(100)])
    >>> any(tag in old.bands for tag in new.bands)
    True
    >>> Sketch.decode(old.encode()) == old
    True
    """

    form: str
    parts: tuple[PartSketch, ...]
    projections: tuple[float, ...]
    sample: tuple[int, ...]
    moduli: tuple[int, ...]
    cells: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many numbers the value has; a complex number is two."""
        return sum(part.size for part in self.parts)

    @property
    def is_whole(self) -> bool:
        """Whether all numbers are in the sample."""
        return len(self.sample) == self.size

    @property
    def indexes(self) -> Sequence[int]:
        """Those of the sample."""
        return sample_indexes(self.size, len(self.sample))

    @property
    def sums(self) -> list[tuple[int, int]]:
        """For each part two sums of all its words: the same in any order, and not."""
        return [(part.unordered, part.ordered) for part in self.parts]

    @property
    def bands(self) -> tuple[bytes, ...]:
        """Tags of eight bytes each, of which near values share at least one, most likely.

        The first eight are by nearness. The ninth finds what is shifted by a constant or multiplied by one, too; the
        tenth what is in another order; the others, at most four, what differs in a few numbers or parts only, by
        however much.
        """
        scale = sqrt(sum(part.scale**2 for part in self.parts))
        mean = sum(part.mean * (part.size / self.size) for part in self.parts)
        tags = []
        cells = [floor(value / _CELL + offset) for value, offset in zip(self.projections, _offsets(), strict=True)]
        for band in range(_BANDS):
            own = cells[band * _PER_BAND : (band + 1) * _PER_BAND]
            level = _level(scale, mean, self.size, half_octave=band & 1, half_mean=band >> 1 & 1)
            tags.append(_tag("near", band, self.size, own, level))
        tags += [
            _tag("like", self.size, cells[:_PER_BAND]),
            _tag("order", self.size, [part.unordered for part in self.parts]),
        ]
        return (*tags, *self._tags_of_quarters())

    def _tags_of_quarters(self) -> list[bytes]:
        """Of quarters of the value, most of which are as they were when few numbers or parts have changed."""
        if len(self.parts) > 1:
            cells: list[int] = [part.ordered for part in self.parts]
        elif self.moduli:
            cells = list(self.cells[: self.moduli[0]])
        elif self.is_whole and self.size >= 2 * LEAST:
            cells = list(self.sample)
        else:
            return []
        quarters = min(len(cells), 4 if self.size >= 4 * LEAST else 2)
        return [_tag("some", number, self.size, cells[number::quarters]) for number in range(quarters)]

    def distance(self, other: Sketch) -> float | None:
        """How far another is, about: 0.01 if the numbers differ by a hundredth of their spread.

        It is the root mean square of the differences, of each part in units of its standard deviation. None if the two
        cannot be compared, for want of the same number of numbers in the same parts.
        """
        if [part.size for part in self.parts] != [part.size for part in other.parts]:
            return None
        squares = [(old - new) ** 2 for old, new in zip(self.projections, other.projections, strict=True)]
        total = sum(squares) / DIRECTIONS
        for old, new in zip(self.parts, other.parts, strict=True):
            scale = max(old.scale, new.scale)
            if scale:
                change = (old.scale - new.scale) / scale, (old.mean - new.mean) / scale * sqrt(new.size)
                total += new.size / self.size * min(hypot(*change), 1e150) ** 2
        return sqrt(total)

    def encode(self) -> bytes:
        """Bytes that `decode` takes back; the same on every platform."""
        return pack(*self)

    @classmethod
    def decode(cls, data: bytes) -> Sketch:
        """A sketch from its bytes.

        Raises
        ------
        JobspanError
            If they are none, or one of another version.
        """
        try:
            return cls(*unpack(data))
        except (struct.error, IndexError, KeyError, ValueError, ZeroDivisionError) as error:
            raise JobspanError(
                f"these {len(data)} bytes are no sketch of this version of jobspan's: {error}"
            ) from error


def make_sketch(value: Any) -> Sketch | None:
    """Make a sketch of a value's numbers.

    Parameters
    ----------
    value : object
        An array of numpy; a frame or series of pandas or polars; numbers, or these, in lists, tuples and dicts.

    Returns
    -------
    Sketch or None
        None for fewer than four numbers, for more than 65 536 of Python's own without numpy, for more than 64 arrays.

    Examples
    --------
    >>> make_sketch([1.0, 2.0, 3.0, 4.0]).form
    'list of 4 float'
    >>> make_sketch("text") is None
    True
    """
    taken = take_apart(value)
    if taken is None or taken.size < LEAST:
        return None
    form = _clip(taken.form)
    sample, moduli = plan(taken.parts, len(form.encode()))
    tables = moduli or (WIDTH,)  # at least one, for the sums that are not the same in another order
    measured = [part.measure(start, tables) for part, start in zip(taken.parts, taken.starts(), strict=True)]
    parts = tuple(_sketch_part(*pair, tables[0]) for pair in zip(taken.parts, measured, strict=True))
    cells = [reduce(xor, column) for column in zip(*(each.cells for each in measured), strict=True)]
    return Sketch(
        form,
        parts,
        _project(parts, measured, taken.size),
        tuple(taken.words(sample_indexes(taken.size, sample))),
        moduli,
        tuple(cells if moduli else ()),
    )


def _sketch_part(part: Part, found: Measures, first: int) -> PartSketch:
    norm = sqrt(sum(value * value for value in found.fold))
    ordered = reduce(xor, found.cells[:first]) & MOST_COUNTED
    bad = min(found.nans, MOST_COUNTED), min(found.infinities, MOST_COUNTED)
    return PartSketch(part.kind, part.itemsize, part.size, found.mean, norm, found.unordered, ordered, *bad)


def _project(parts: Sequence[PartSketch], measured: Sequence[Measures], count: int) -> tuple[float, ...]:
    """The projections of all parts together, each in units of its standard deviation, to single precision."""
    whole = [0.0] * WIDTH
    for number, (part, found) in enumerate(zip(parts, measured, strict=True)):
        if not part.scale:
            continue
        weight = sqrt(part.size / count) / part.scale
        for column, value in enumerate(found.fold):
            whole[(column + number * _TURN) % WIDTH] += value * weight
    used = WIDTH if len(parts) > 1 else min(WIDTH, count)  # the others are zero
    return struct.unpack(f"<{DIRECTIONS}f", struct.pack(f"<{DIRECTIONS}f", *project(whole[:used])))


def _level(scale: float, mean: float, count: int, *, half_octave: int, half_mean: int) -> tuple[int, int]:
    """Which octave the spread is in, and how many of these the mean is from zero; by halves, else neighbours part."""
    if not scale:
        return 0, 0
    stretch = sqrt(2) if half_octave else 1.0
    _, octave = frexp(scale * stretch)
    return octave, floor(mean / ldexp(stretch, octave) * sqrt(count) + half_mean / 2)


def _tag(*said: Any) -> bytes:
    return sha256(repr(said).encode()).digest()[:8]


@lru_cache(1)
def _offsets() -> tuple[float, ...]:
    """Where the cells begin."""
    return tuple(scramble(1 << 61 | number) / (1 << 64) for number in range(DIRECTIONS))


def _clip(form: str) -> str:
    """A form of which not more is kept than shows; the digest tells long ones apart."""
    if len(form) <= _FORM and len(form.encode()) <= _FORM:
        return form
    digest = sha256(form.encode()).hexdigest()[:8]
    return form.encode()[: _FORM - 16].decode(errors="ignore") + f"… #{digest}"
