"""Which elements differ, and what they were, from the tables of two sketches: without the old elements.

Where one element differs, one cell of each table does, all by the same XOR; the numbers of these cells are the
remainders of its index, and the new element and the XOR give the old one. Where several differ, those found are taken
out, which lays others bare. With 257 cells a table, all of ten that lie anywhere are nearly always found, of 30 mostly,
and of 250 in a row.

Invariant: when everything was found, what was found explains all that differs in all tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import log, prod
from typing import NamedTuple


class Recovered(NamedTuple):
    """What was found.

    Attributes
    ----------
    changes : dict of int to int
        For indexes that differ, the XOR of what old and new put into a cell.
    is_all : bool
        Whether there are no others.
    least : int
        At least so many differ.
    about : int or None
        An estimate of how many do; None where all cells differ, so that any number is as likely.
    """

    changes: dict[int, int]
    is_all: bool
    least: int
    about: int | None


def recover(old: Sequence[int], new: Sequence[int], moduli: Sequence[int], count: int) -> Recovered:
    """Find what differs between two values of so many elements by their tables."""
    ends = list(accumulate(moduli))
    cells = [one ^ other for one, other in zip(old, new, strict=True)]
    tables = [cells[end - size : end] for end, size in zip(ends, moduli, strict=True)]
    filled = [sum(map(bool, table)) for table in tables]
    about = _estimate(filled, moduli)
    changes: dict[int, int] = {}
    while found := list(_find(tables, moduli, count)):
        fresh = False
        for index, change in found:
            if index in changes or not _stands(tables, moduli, index, change):
                continue
            fresh = True
            changes[index] = change
            for table, size in zip(tables, moduli, strict=True):
                table[index % size] ^= change
        if not fresh:
            break
    if not any(map(any, tables)):
        return Recovered(changes, True, len(changes), len(changes))
    least = max(len(changes), *filled)
    return Recovered(changes, False, least, None if about is None else max(about, least))


def _find(tables: list[list[int]], moduli: Sequence[int], count: int) -> Iterator[tuple[int, int]]:
    """Indexes and changes that all tables but one show alone in a cell."""
    places: list[dict[int, int | None]] = []
    for table in tables:
        own: dict[int, int | None] = {}
        for cell, change in enumerate(table):
            if change:
                own[change] = None if change in own else cell  # twice in a table: which is which cannot be told
        places.append(own)
    known = set().union(*places)
    for change in sorted(known):
        seen = [number for number, own in enumerate(places) if own.get(change) is not None]
        if len(seen) < len(tables) - 1:
            continue
        cells = [places[number][change] or 0 for number in seen]
        step = prod(moduli[number] for number in seen)
        first = _solve(cells, [moduli[number] for number in seen])
        missing = next((number for number in range(len(tables)) if number not in seen), None)
        fitting = []
        for index in range(first, count, step):
            if missing is None:
                fitting.append(index)
                continue
            rest = tables[missing][index % moduli[missing]]
            if rest and rest ^ change in known:
                fitting.append(index)
        if len(fitting) == 1:
            yield fitting[0], change


def _stands(tables: list[list[int]], moduli: Sequence[int], index: int, change: int) -> bool:
    """Whether all tables but one still show the change alone, now that others may have been taken out."""
    alone = sum(table[index % size] == change for table, size in zip(tables, moduli, strict=True))
    return alone >= len(tables) - 1


def _solve(remainders: Sequence[int], moduli: Sequence[int]) -> int:
    """The smallest number with these remainders by these primes."""
    step = prod(moduli)
    total = 0
    for remainder, modulus in zip(remainders, moduli, strict=True):
        others = step // modulus
        total += remainder * others * pow(others, -1, modulus)
    return total % step


def _estimate(filled: Sequence[int], moduli: Sequence[int]) -> int | None:
    """How many differ, by how many cells do."""
    if any(used >= size for used, size in zip(filled, moduli, strict=True)):
        return None
    each = [-size * log(1 - used / size) for used, size in zip(filled, moduli, strict=True)]
    return round(sum(each) / len(each))
