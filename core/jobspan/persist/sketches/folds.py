"""Arithmetic that makes a few numbers of very many, the same everywhere: signs, directions, mixed words, tables.

An element is a *word* of 64 bits: a float's own bits as a double, a whole number in two's complement. A *fold* is the
sum of the rows of 251 numbers, each times +1 or -1, after the mean is taken away. A row has a sign, and a column one
for each of eight groups of rows; with one for all, of numbers that change slowly, and so have rows of almost the same
number, little more than one number would be left. A *table* has a cell for each remainder of an element's index by a
prime: the XOR of all words there, each mixed with where it stands.

Invariant: all that is random comes from `scramble`, in whole numbers, so every platform has the same.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from functools import lru_cache
from math import isfinite, isnan
from operator import add, mul, sub
from typing import NamedTuple

WIDTH = 251
"""Numbers of a row: a prime, since rows of 256 would fall together with those of many arrays."""

PERIOD = WIDTH * 128
"""After so many elements the mixing by place begins anew; so it is read in pieces of this size."""

GROUPS = 8
"""So many rows have signs of their own for each column."""

DIRECTIONS = 32
"""How many projections there are of a fold."""

MOST = 1e140
"""Larger numbers are left out of a fold, as NaN and infinities are: their squares would be too large."""

MULTIPLIER = 0x9E3779B97F4A7C15
STRIDE = 0xD1342543DE82EF95
SHIFTS = 32, 29

_MASK = (1 << 64) - 1
_INVERSE = pow(MULTIPLIER, -1, 1 << 64)


class Measures(NamedTuple):
    """What is found in one pass over numbers.

    Attributes
    ----------
    fold : tuple of float
        The signed sums of the columns, without the mean.
    mean : float
        Of those that are finite.
    nans, infinities : int
        How many there are.
    unordered : int
        The sum of the squares of all words mixed: the same in any order.
    cells : tuple of int
        The tables, one after the other.
    """

    fold: tuple[float, ...]
    mean: float
    nans: int
    infinities: int
    unordered: int
    cells: tuple[int, ...]


def scramble(number: int) -> int:
    """A 64-bit number that looks random, and depends on this one alone (splitmix64)."""
    number = (number + 1) * MULTIPLIER & _MASK
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    number = (number ^ number >> 27) * 0x94D049BB133111EB & _MASK
    return number ^ number >> 31


def signs(first: int, rows: int) -> list[float]:
    """The signs of so many rows, from the first on."""
    found = []
    for block in range(first >> 6, (first + rows + 63) >> 6):
        bits = scramble(block)
        found += [1.0 if bits >> number & 1 else -1.0 for number in range(64)]
    return found[first & 63 : (first & 63) + rows]


@lru_cache(1)
def column_signs() -> tuple[tuple[float, ...], ...]:
    """The signs of the columns, for each group of rows."""
    return tuple(tuple(signs((1 << 40) + 256 * group, WIDTH)) for group in range(GROUPS))


@lru_cache(1)
def directions() -> tuple[tuple[float, ...], ...]:
    """The directions that folds are projected on, with components of about normal distribution."""
    return tuple(
        tuple(_normal(scramble(1 << 60 | number * WIDTH + column)) for column in range(WIDTH))
        for number in range(DIRECTIONS)
    )


def _normal(bits: int) -> float:
    """The sum of four uniform numbers, made to have mean 0 and variance 1."""
    total = sum(bits >> shift & 0xFFFF for shift in (0, 16, 32, 48))
    return (total - 2 * 0xFFFF) * 3**0.5 / 65536


def project(fold: Sequence[float]) -> list[float]:
    """The lengths of a fold along all directions."""
    return [sum(map(mul, direction, fold)) for direction in directions()]


def mix(word: int) -> int:
    """Make of a word one all of whose bits depend on all of its."""
    word = (word ^ word >> SHIFTS[0]) * MULTIPLIER & _MASK
    return word ^ word >> SHIFTS[1]


def unmix(mixed: int) -> int:
    """The word that was mixed."""
    mixed ^= mixed >> SHIFTS[1] ^ mixed >> 2 * SHIFTS[1]
    mixed = mixed * _INVERSE & _MASK
    return mixed ^ mixed >> SHIFTS[0]


def place_word(word: int, index: int) -> int:
    """What a word at this index puts into a cell."""
    return (mix(word) + index % PERIOD * STRIDE) & _MASK


def displace_word(placed: int, index: int) -> int:
    """The word that was put into a cell from this index."""
    return unmix((placed - index % PERIOD * STRIDE) & _MASK)


def number_of(word: int, kind: str) -> float | int:
    """The number whose word this is: "f" for a float, "i" for a whole number with a sign, "u" for one without."""
    if kind == "f":
        value: float = struct.unpack("<d", word.to_bytes(8, "little"))[0]
        return value
    return word - (1 << 64) if kind == "i" and word >> 63 else word


def word_of(number: float, kind: str) -> int:
    """The word of a number."""
    if kind == "f":
        return int.from_bytes(struct.pack("<d", number), "little")
    return int(number) & _MASK


def measure(numbers: array[float] | array[int], start: int, moduli: Sequence[int]) -> Measures:
    """Measure numbers without numpy.

    Parameters
    ----------
    numbers : array.array
        Of type "d" or "q".
    start : int
        The index of the first in the tables.
    moduli : sequence of int
        How many cells each table has.
    """
    count = len(numbers)
    words = struct.unpack(f"<{count}Q", struct.pack(f"<{count}{numbers.typecode}", *numbers))
    mixed = list(map(mix, words))
    unordered = sum(word * word for word in mixed) & _MASK
    placed = [(word + index % PERIOD * STRIDE) & _MASK for index, word in enumerate(mixed)]
    data = struct.pack(f"<{count}Q", *placed)
    cells: list[int] = []
    for modulus in moduli:
        cells += _table(data, start, modulus)
    kept = [float(number) for number in numbers]
    usable = [True] * len(kept)
    if not all(-MOST < number < MOST for number in kept):
        usable = [-MOST < number < MOST for number in kept]
    nans = sum(map(isnan, kept))
    infinities = len(kept) - nans - sum(map(isfinite, kept))
    kept = [number if fine else 0.0 for number, fine in zip(kept, usable, strict=True)]
    mean = sum(kept) / max(1, sum(usable))
    fold = _fold([number - mean if fine else 0.0 for number, fine in zip(kept, usable, strict=True)])
    return Measures(tuple(fold), mean, nans, infinities, unordered, tuple(cells))


def _table(data: bytes, start: int, modulus: int) -> list[int]:
    """The XOR of the words of each remainder: rows are whole numbers of very many bits."""
    row = modulus * 8
    total = 0
    for begin in range(0, len(data), row):
        total ^= int.from_bytes(data[begin : begin + row], "little")  # a short last row is followed by zeros
    cells = struct.unpack(f"<{modulus}Q", total.to_bytes(row, "little"))
    turn = -start % modulus
    return [*cells[turn:], *cells[:turn]]


def _fold(numbers: list[float]) -> list[float]:
    folds = [[0.0] * min(WIDTH, len(numbers)) for _ in range(GROUPS)]
    for row, sign in enumerate(signs(0, -(-len(numbers) // WIDTH))):
        fold = folds[row % GROUPS]
        summed = list(map(add if sign > 0 else sub, fold, numbers[row * WIDTH : (row + 1) * WIDTH]))
        fold[: len(summed)] = summed
    return [
        sum(map(mul, *pair)) for pair in zip(zip(*folds, strict=True), zip(*column_signs(), strict=True), strict=False)
    ]
