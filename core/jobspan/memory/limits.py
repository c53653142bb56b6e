"""How much is kept, for how long, and what goes first.

Two rules say what goes first. `by_use`: what was not used for longest, as joblib does when it is asked to. `by_worth`:
what was cheapest to compute for each byte that it takes, and the sooner the longer it was not used.

Invariant: the rules are functions of what they are given; only `Limiter` counts, and only it reads a store.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from jobspan.memory.store import Item, Store

_KEY = 32
_ROOM = 0.9  # of a limit is left full, so that not every call has to make room
_SHARE = 0.1  # of a limit may be written before others' writes are looked for
_RECENT_S = 60.0
_STRAY_S = 3600.0  # a value without an entry for so long belongs to nobody


class Limits(NamedTuple):
    """Of a cache; None: there is none.

    Attributes
    ----------
    max_bytes, max_items : int or None
        Of all entries.
    ttl : float or None
        Seconds after which an entry is old, counted from when it was made.
    """

    max_bytes: int | None = None
    max_items: int | None = None
    ttl: float | None = None


class Kept(NamedTuple):
    """An entry, from outside.

    Attributes
    ----------
    key, folder : str
        Its key, and the folder of its function.
    names : tuple of str
        Its files in the store.
    nbytes : int
        Bytes of all of them.
    written, used : float
        When it was made and last used, in seconds since the epoch.
    duration : float
        Seconds that the call took; 0 where nobody knows.
    """

    key: str
    folder: str
    names: tuple[str, ...]
    nbytes: int
    written: float
    used: float
    duration: float = 0.0


Rank = Callable[[Kept, float], float]
"""What an entry is worth at a time; what is worth least goes first."""


def by_use(entry: Kept, now: float) -> float:
    """When it was used last."""
    return entry.used - now


def by_worth(entry: Kept, now: float) -> float:
    """Seconds of computing that a byte of it saves, less the longer it was not used."""
    return max(entry.duration, 1e-6) / max(1, entry.nbytes) / (_RECENT_S + max(0.0, now - entry.used))


def choose_victims(
    entries: Iterable[Kept],
    now: float,
    rank: Rank,
    *,
    max_bytes: float | None = None,
    max_items: float | None = None,
    oldest: float | None = None,
    least_used: float | None = None,
) -> list[Kept]:
    """What has to go, so that the rest is within these limits.

    Parameters
    ----------
    entries : iterable of Kept
        What there is.
    now : float
        The time.
    rank : Rank
        What goes first.
    max_bytes, max_items : float, optional
        Of those that stay.
    oldest, least_used : float, optional
        Seconds: what was made, or used, so long ago or longer goes in any case.
    """
    victims: list[Kept] = []
    rest: list[Kept] = []
    for entry in entries:
        is_old = oldest is not None and now - entry.written >= oldest
        is_unused = least_used is not None and now - entry.used >= least_used
        (victims if is_old or is_unused else rest).append(entry)
    nbytes, items = sum(entry.nbytes for entry in rest), len(rest)
    for entry in sorted(rest, key=lambda entry: rank(entry, now)):
        fits = (max_bytes is None or nbytes <= max_bytes) and (max_items is None or items <= max_items)
        if fits:
            break
        victims.append(entry)
        nbytes -= entry.nbytes
        items -= 1
    return victims


def list_entries(store: Store, folder: str = "") -> Iterator[Kept]:
    """All entries of a store, or of one function; and values without an entry that nobody waits for any more."""
    from jobspan.memory.index import Index, find_newest

    files: dict[tuple[str, str], list[Item]] = defaultdict(list)
    for item in store.list(folder):
        parts = item.name.split("/")
        if len(parts) == 3 and len(parts[1]) == 1 and len(parts[2]) >= _KEY:
            files[parts[0], parts[2][:_KEY]].append(item)
    durations: dict[str, dict[str, float]] = {}
    now = time.time()
    for (where, key), items in files.items():
        if where not in durations:
            records = find_newest(Index(store, where).read())
            durations[where] = {record.key: record.duration for record in records}
        written, used = max(item.written for item in items), max(item.used for item in items)
        is_stray = all(item.name.endswith(".job") for item in items)
        if is_stray and now - written < _STRAY_S:  # its entry is about to be written
            continue
        names = tuple(item.name for item in items)
        nbytes = sum(item.nbytes for item in items)
        yield Kept(key, where, names, nbytes, written, used, durations[where].get(key, 0.0))


def remove(store: Store, victims: Iterable[Kept]) -> int:
    """Remove entries, and what the indexes say of them; how many."""
    from jobspan.memory.index import Index, find_newest
    from jobspan.memory.near import forget_near

    gone: dict[str, set[str]] = defaultdict(set)
    names: list[str] = []
    for victim in victims:
        gone[victim.folder].add(victim.key)
        names += victim.names
    store.remove(names)
    for folder, keys in gone.items():
        index = Index(store, folder)
        records = {record.key: record for record in find_newest(index.read()) if record.key not in keys}
        index.rebuild(reversed(records.values()))
        forget_near(store, folder, keys)
    return sum(map(len, gone.values()))


class Limiter:
    """Keeps a cache within its limits, as it is written to.

    Parameters
    ----------
    store : Store
        The cache.
    limits : Limits
        Its limits.
    """

    def __init__(self, store: Store, limits: Limits) -> None:
        self._store = store
        self._limits = limits
        self._busy = threading.Lock()
        self._bytes = self._items = 0
        self._bytes_since = self._items_since = 0
        self._has_looked = False

    def note_written(self, nbytes: int) -> None:
        """An entry was written; make room if that is needed now."""
        self._bytes_since += nbytes
        self._items_since += 1
        if self._is_due() and self._busy.acquire(blocking=False):
            try:
                self._make_room()
            finally:
                self._busy.release()

    def _is_due(self) -> bool:
        max_bytes, max_items, _ = self._limits
        if not self._has_looked:
            return True
        return (
            max_bytes is not None
            and (self._bytes + self._bytes_since > max_bytes or self._bytes_since > _SHARE * max_bytes)
        ) or (
            max_items is not None
            and (self._items + self._items_since > max_items or self._items_since > _SHARE * max_items)
        )

    def _make_room(self) -> None:
        max_bytes, max_items, ttl = self._limits
        entries = list(list_entries(self._store))
        nbytes, items = sum(entry.nbytes for entry in entries), len(entries)
        is_over = (max_bytes is not None and nbytes > max_bytes) or (max_items is not None and items > max_items)
        share = _ROOM if is_over else 1.0
        victims = choose_victims(
            entries,
            time.time(),
            by_worth,
            max_bytes=None if max_bytes is None else share * max_bytes,
            max_items=None if max_items is None else max(1, int(share * max_items)),
            oldest=ttl,
        )
        remove(self._store, victims)
        self._bytes = nbytes - sum(victim.nbytes for victim in victims)
        self._items = items - len(victims)
        self._bytes_since = self._items_since = 0
        self._has_looked = True
