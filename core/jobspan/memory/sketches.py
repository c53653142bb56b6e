"""Sketches of arguments, as entries hold them: see `jobspan.persist.sketches.sketch`.

Invariant: a value without a sketch is compared by its digest and its text alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from jobspan.errors import JobspanError
from jobspan.memory.entry import Entry
from jobspan.persist.content import ATOMS

if TYPE_CHECKING:
    from jobspan.persist.sketches.sketch import Sketch


def make_sketches(values: Sequence[Any]) -> list[Sketch | None]:
    """That of each argument that has one."""
    return [None if type(value) in ATOMS or type(value) is bytes else _make(value) for value in values]


def _make(value: Any) -> Sketch | None:
    from jobspan.persist.sketches.sketch import make_sketch

    return make_sketch(value)


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


def unpack(entry: Entry, place: Sequence[int]) -> Sketch | None:
    """The sketch that an entry has there; None if there is none, or it is of another version."""
    if len(place) < 2 or place[0] == place[1]:
        return None
    from jobspan.persist.sketches.sketch import Sketch

    try:
        return Sketch.decode(bytes(entry.sketches[place[0] : place[1]]))
    except JobspanError:
        return None


def unpack_all(entry: Entry) -> Iterator[tuple[str, Sketch | None]]:
    """The name of each argument of an entry, and its sketch."""
    for name, _, _, _, *place in entry.read_facts()["arguments"]:
        yield name, unpack(entry, place)


def compare_with(entry: Entry, place: Sequence[int], value: Any) -> list[str] | None:
    """What is different in a value from the one that an entry has a sketch of, a line each; None if nobody knows."""
    old = unpack(entry, place)
    new = None if old is None else _make(value)
    if old is None or new is None:
        return None
    from jobspan.persist.sketches.difference import compare

    difference = compare(old, value, new)
    return None if difference is None else difference.describe().split("\n")
