"""A cache as a whole: what its user can do with all of its entries.

Invariant: nothing here knows a function; entries are found by listing the store.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from jobspan.errors import JobspanError
from jobspan.logger import Logger
from jobspan.memory.limits import Limits, by_use, by_worth, choose_victims, list_entries, remove
from jobspan.memory.shelf import Handling
from jobspan.memory.signing import Signer
from jobspan.memory.store import Store
from jobspan.units import parse_count, parse_nbytes, parse_seconds

if TYPE_CHECKING:
    from datetime import timedelta

    from jobspan.memory.table import Table
    from jobspan.memory.upkeep import Merged, Progress, Verified

_NOT_ENTRIES = ("locks", "steps/")  # others may hold the locks; loops have a clear() of their own


class Whole(Logger):
    """The part of `Memory` that is about all entries."""

    _store: Store | None
    _signer: Signer | None
    _limits: Limits
    _key: Any
    _handling: Handling
    cleared: int

    def clear(self, warn: bool = True) -> None:
        """Remove all entries, of all functions.

        Parameters
        ----------
        warn : bool, default True
            Whether to log it.
        """
        self.check_writable()
        self.cleared += 1
        if warn:
            self.warn("Flushing completely the cache")
        if self._store is not None:
            self._store.remove(item.name for item in self._store.list("") if not item.name.startswith(_NOT_ENTRIES))

    def reduce_size(
        self,
        bytes_limit: int | str | None = None,
        items_limit: int | None = None,
        age_limit: timedelta | None = None,
    ) -> None:
        """Remove entries until these limits hold: first those that were not used for longest.

        Parameters
        ----------
        bytes_limit : int or str, optional
            Of all together, as ``"10M"``.
        items_limit : int, optional
            How many.
        age_limit : datetime.timedelta, optional
            Since they were last used.

        Raises
        ------
        ValueError
            If a limit is negative.
        """
        if age_limit is not None and age_limit.total_seconds() < 0:
            raise ValueError("age_limit has to be a positive timedelta")
        nbytes = parse_nbytes(bytes_limit, "bytes_limit")
        if self._store is None or (nbytes is None and items_limit is None and age_limit is None):
            return
        self.check_writable()
        self.cleared += 1
        least_used = None if age_limit is None else age_limit.total_seconds()
        entries = list_entries(self._store)
        victims = choose_victims(
            entries, time.time(), by_use, max_bytes=nbytes, max_items=items_limit, least_used=least_used
        )
        remove(self._store, victims)

    def entries(self) -> Table:
        """All entries, the newest first: a list of rows that shows itself as a table; ``to_frame()`` makes a frame."""
        from jobspan.memory.table import Table, list_rows

        return Table() if self._store is None else list_rows(*self.opened())

    def count(self) -> int:
        """How many entries there are, whoever has signed them."""
        return 0 if self._store is None else sum(1 for _ in list_entries(self._store))

    def verify(self, progress: Progress | None = None) -> Verified:
        """Read everything: damaged entries are set aside, what belongs to no entry is removed, indexes are made anew.

        Parameters
        ----------
        progress : callable, optional
            Is told how many entries are done, and of how many.
        """
        from jobspan.memory.upkeep import no_progress, verify

        self.check_writable()
        return verify(*self.opened(), progress or no_progress)

    def merge(self, other: Any, *, trust: bool = False, progress: Progress | None = None) -> Merged:
        """Copy the entries of another cache that are not here.

        Parameters
        ----------
        other : Memory, str or path-like
            The other cache. A `Memory` may have a key of its own.
        trust : bool, default False
            Take entries, too, that are signed with a key that is not known here, and sign them: only of somebody whose
            code you would run.
        progress : callable, optional
            Is told how many entries are done, and of how many.
        """
        from jobspan.memory.upkeep import merge, no_progress

        self.check_writable()
        there = other if isinstance(other, Whole) else self.at(other)
        return merge(*self.opened(), *there.opened(), trust=trust, progress=progress or no_progress)

    def trust(self) -> int:
        """Sign entries that somebody else has signed, so that they are used here; how many there were."""
        from jobspan.memory.upkeep import trust

        self.check_writable()
        return trust(*self.opened())

    def prune(
        self, max_bytes: int | str | None = None, max_items: int | None = None, ttl: float | str | None = None
    ) -> int:
        """Remove what is over these limits, first what was cheap to compute for its size; how many entries.

        Parameters
        ----------
        max_bytes, max_items, ttl : optional
            As for `Memory`; by default its own.
        """
        self.check_writable()
        self.cleared += 1
        store, _ = self.opened()
        nbytes = self._limits.max_bytes if max_bytes is None else parse_nbytes(max_bytes, "max_bytes")
        items = self._limits.max_items if max_items is None else parse_count(max_items, "max_items")
        oldest = self._limits.ttl if ttl is None else parse_seconds(ttl, "ttl")
        entries = list_entries(store)
        return remove(
            store, choose_victims(entries, time.time(), by_worth, max_bytes=nbytes, max_items=items, oldest=oldest)
        )

    def check_writable(self) -> None:
        """Raise if this memory may only look up.

        Raises
        ------
        JobspanError
            If it was made with ``mode="r"``.
        """
        if self._handling.is_read_only:
            raise JobspanError(f"{self!r} only looks up, since it was made with mode='r'; nothing in it is changed.")

    def at(self, location: Any) -> Whole:
        """The cache at another location, with the same key."""
        raise NotImplementedError  # `Memory` knows

    def opened(self) -> tuple[Store, Signer]:
        """The store, and who signs for it.

        Raises
        ------
        ValueError
            If there is none.
        """
        if self._store is None or self._signer is None:
            raise ValueError("this Memory has no location, so there is no cache to look at.")
        return self._store, self._signer
