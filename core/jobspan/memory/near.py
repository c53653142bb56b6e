"""Which entries have an argument that is nearly the same: tags of sketches, in files by their first bytes.

Near arguments have a tag in common. A file that has grown large is followed by 256 more, for the next byte of the tags,
so that a look-up reads a few files of bounded size, however many entries there are.

Invariant: as with the index, a record that is missing, or is of an entry that is gone, does no harm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import TYPE_CHECKING

from jobspan.memory.store import Store

if TYPE_CHECKING:
    from jobspan.persist.sketches.sketch import Sketch

_TAG, _KEY = 8, 16
_LARGE = 1 << 16
_MOST_LEVELS = 4
_MOST_OF_A_TAG = 50  # the newest entries that have a tag in common
_full: set[tuple[str, str]] = set()  # files of stores that are known to have grown large


def tags_of(sketches: Iterable[tuple[str, Sketch | None]]) -> list[bytes]:
    """The tags of a call's arguments, of which each is given by its name and its sketch."""
    return [
        sha256(name.encode() + b"=" + band).digest()[:_TAG]
        for name, sketch in sketches
        if sketch is not None
        for band in sketch.bands
    ]


def add_near(store: Store, folder: str, key: str, tags: Iterable[bytes]) -> None:
    """Write down that an entry has these tags."""
    for tag in tags:
        for name in _files(folder, tag):
            if (store.location, name) not in _full:
                if store.append(name, tag + bytes.fromhex(key)) >= _LARGE:
                    _full.add((store.location, name))
                break


def find_near(store: Store, folder: str, tags: Iterable[bytes]) -> list[str]:
    """The entries that have some of these tags, those with most of them first."""
    found: Counter[str] = Counter()
    for tag in tags:
        found.update(set(_find(store, folder, tag)))
    return [key for key, _ in found.most_common()]


def _find(store: Store, folder: str, tag: bytes) -> Iterator[str]:
    for name in _files(folder, tag):
        data = store.read(name) or b""
        place = data.rfind(tag)
        for _ in range(_MOST_OF_A_TAG):
            if place < 0:
                break
            if len(key := data[place + _TAG : place + _TAG + _KEY]) == _KEY:
                yield key.hex()
            place = data.rfind(tag, 0, place)
        if len(data) < _LARGE:
            return


def _files(folder: str, tag: bytes) -> Iterator[str]:
    for level in range(1, _MOST_LEVELS + 1):
        yield f"{folder}/near/{tag[:level].hex()}"


def forget_near(store: Store, folder: str, keys: set[str]) -> None:
    """Remove what is written down of these entries."""
    for item in list(store.list(f"{folder}/near")):
        data = store.read(item.name) or b""
        records = [data[start : start + _TAG + _KEY] for start in range(0, len(data), _TAG + _KEY)]
        kept = [record for record in records if record[_TAG:].hex() not in keys]
        if len(kept) < len(records):
            _full.discard((store.location, item.name))
            store.write(item.name, b"".join(kept))
