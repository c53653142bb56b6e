"""A cache as a whole: checked, merged with another, signed anew.

Invariant: no value is unpickled here; what is signed here was signed by somebody who is trusted, or the user says so.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import NamedTuple

from jobspan.errors import DamagedFileError
from jobspan.file.sealed import check_sealed
from jobspan.memory.entry import Entry, Fault, decode, sign_again
from jobspan.memory.index import Index, Record, make_tags
from jobspan.memory.limits import Kept, list_entries, remove
from jobspan.memory.near import add_near, tags_of
from jobspan.memory.shelf import DAMAGED
from jobspan.memory.signing import Signer
from jobspan.memory.sketches import unpack_all
from jobspan.memory.store import Altered, Store

_STRAY_S = 3600.0

Progress = Callable[[int, int], object]
"""Is told how many entries are done, and of how many."""


class Verified(NamedTuple):
    """What was found in a cache.

    Attributes
    ----------
    good : int
        Entries that are as they were written, values included.
    damaged : int
        Entries that are not; they were set aside.
    unknown_key : int
        Entries that somebody else has signed.
    strays : int
        Files that belonged to no entry, or were never finished; they were removed.
    places : tuple of str
        Where those that are damaged lay: the file, and the bytes of it where many entries share one.
    """

    good: int
    damaged: int
    unknown_key: int
    strays: int
    places: tuple[str, ...] = ()


class Merged(NamedTuple):
    """What came of a merge.

    Attributes
    ----------
    copied : int
        Entries that were not here before.
    present : int
        Entries that were.
    refused : int
        Entries that are damaged, or signed with a key that is not known here.
    """

    copied: int
    present: int
    refused: int


def no_progress(_done: int, _total: int) -> None:
    """Nobody wants to know."""


def _name(kept: Kept) -> str:
    part = kept.names[0].split("/")[1]  # an altered frame may name a key that belongs elsewhere
    return f"{kept.folder}/{part}/{kept.key}"


def verify(store: Store, signer: Signer, progress: Progress = no_progress) -> Verified:
    """Read all entries and values, set aside those that are damaged, sweep, and make the indexes anew."""
    good = unknown = 0
    damaged: list[str] = []
    records: dict[str, list[Record]] = defaultdict(list)
    entries = list(list_entries(store))
    for number, kept in enumerate(entries, 1):
        data = store.read(_name(kept))
        found = Fault.DAMAGED if data is None else decode(kept.key, data, signer)
        if found is Fault.UNKNOWN_KEY:
            unknown += 1
        elif isinstance(found, Entry) and _is_whole(store, found):
            good += 1
            records[kept.folder].append(_record(kept, found))
        else:
            damaged.append(_place(store, kept, data, found))
            if data is not None:
                store.write(f"{DAMAGED}/{kept.key}", data)
            remove(store, [kept])
        progress(number, len(entries))
    for folder in {kept.folder for kept in entries}:
        Index(store, folder).rebuild(sorted(records[folder], key=lambda record: record.written))
    strays = list(_strays(store))
    store.remove(strays)
    return Verified(good, len(damaged), unknown, len(strays), tuple(damaged))


def _place(store: Store, kept: Kept, data: bytes | None, found: Entry | Fault) -> str:
    """Where what is damaged lies."""
    if isinstance(data, Altered):
        return data.place
    if isinstance(found, Entry):
        return f"{store.location}/{found.locate()[0]}"
    return f"{store.location}/{kept.names[0] if data is None else _name(kept)}"


def _is_whole(store: Store, entry: Entry) -> bool:
    if not entry.in_file:
        return True
    name, seal = entry.locate()
    path = store.path(name)
    source = store.read(name) if path is None else path
    try:
        if source is None:
            return False
        check_sealed(source, seal)
    except (DamagedFileError, OSError):
        return False
    return True


def _strays(store: Store) -> Iterator[str]:
    """Files that somebody was writing when he was killed."""
    now = time.time()
    for item in store.list(""):
        last = item.name.rpartition("/")[2]
        is_beside = last.startswith(".") or (".pack." in last)
        if is_beside and now - item.written > _STRAY_S:
            yield item.name


def merge(
    here: Store, signer: Signer, there: Store, there_signer: Signer, *, trust: bool, progress: Progress = no_progress
) -> Merged:
    """Copy the entries of another cache that are not here.

    Parameters
    ----------
    here, there : Store
        Where to, and where from.
    signer, there_signer : Signer
        Who signs here, and who has signed there.
    trust : bool
        Take what others have signed, too.
    progress : callable, optional
        Is told how far it is.
    """
    copied = present = refused = 0
    entries = list(list_entries(there))
    for number, kept in enumerate(entries, 1):
        name = _name(kept)
        data = there.read(name)
        if _has(here, name):
            present += 1
        elif data is None or (signed := _vouch(kept.key, data, signer, there_signer, trust=trust)) is None:
            refused += 1
        else:
            _copy(here, there, kept, name, signed, signer)
            copied += 1
        progress(number, len(entries))
    for item in there.list(""):
        parts = item.name.split("/")
        if len(parts) == 3 and parts[1] == "code" and not _has(here, item.name) and _has(there, item.name):
            here.write(item.name, there.read(item.name) or b"")
    return Merged(copied, present, refused)


def _has(store: Store, name: str) -> bool:
    """Whether there is something of this name, and nobody knows that it is not as it was written."""
    data = store.read(name)
    return data is not None and not isinstance(data, Altered)


def _vouch(key: str, data: bytes, signer: Signer, there: Signer, *, trust: bool) -> bytes | None:
    """The entry, signed here; None if it is not to be trusted."""
    found = decode(key, data, there)
    if isinstance(found, Entry) or (trust and found is Fault.UNKNOWN_KEY):
        return sign_again(key, data, signer)
    return None


def _copy(here: Store, there: Store, kept: Kept, name: str, signed: bytes, signer: Signer) -> None:
    entry = decode(kept.key, signed, signer)
    assert isinstance(entry, Entry), "it was just signed"
    if entry.in_file:
        file_name, _ = entry.locate()
        here.write(file_name, there.read(file_name) or b"")
    here.write(name, signed)
    Index(here, kept.folder).add(_record(kept, entry))
    add_near(here, kept.folder, kept.key, tags_of(unpack_all(entry)))


def _record(kept: Kept, entry: Entry) -> Record:
    """What the index says of an entry."""
    facts = entry.read_facts()
    tags = make_tags(bytes.fromhex(facts["code"]), [bytes.fromhex(each[1]) for each in facts["arguments"]])
    return Record(kept.key, entry.written, entry.duration, kept.nbytes, tags)


def trust(store: Store, signer: Signer) -> int:
    """Sign all entries that others have signed; how many there were."""
    count = 0
    for kept in list(list_entries(store)):
        data = store.read(_name(kept))
        if data is not None and decode(kept.key, data, signer) is Fault.UNKNOWN_KEY:
            store.write(_name(kept), sign_again(kept.key, data, signer))
            count += 1
    return count
