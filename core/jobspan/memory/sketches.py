"""Sketches of arguments, as entries hold them: see `jobspan.persist.sketch`.

Invariant: a value without a sketch is compared by its digest and its text alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobspan.memory.entry import Entry
from jobspan.persist.sketch import Sketch, compare, make_sketch


def make_sketches(values: Sequence[Any]) -> list[Sketch | None]:
    """That of each argument that has one."""
    return [make_sketch(value) for value in values]


def pack(sketches: Sequence[Sketch | None]) -> tuple[list[list[int]], bytes]:
    """Where each is, from where to where, and all of them one after the other."""
    places: list[list[int]] = []
    parts: list[bytes] = []
    at = 0
    for sketch in sketches:
        data = b"" if sketch is None else sketch.encode()
        places.append([at, at + len(data)])
        parts.append(data)
        at += len(data)
    return places, b"".join(parts)


def compare_with(entry: Entry, place: Sequence[int], value: Any) -> list[str] | None:
    """What is different in a value from the one that an entry has a sketch of, a line each; None if nobody knows."""
    if len(place) < 2 or place[0] == place[1]:
        return None
    difference = compare(Sketch.decode(bytes(entry.sketches[place[0] : place[1]])), value, make_sketch(value))
    return None if difference is None else difference.describe().split("\n")
