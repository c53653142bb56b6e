"""The entries of one function: found, kept and removed, their values included.

Invariant: what is found was kept under this key by somebody who is trusted, and is whole; everything else is missing.
"""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from jobspan.errors import JobspanError, say_once, warn_of_cache
from jobspan.memory.entry import Entry, Fault, decode, decode_unsigned, encode
from jobspan.memory.signing import Signer
from jobspan.memory.store import Altered, Store

if TYPE_CHECKING:
    from jobspan.memory.table import Table

_SMALL = 1 << 15  # values of fewer bytes are in the entry itself
DAMAGED = "damaged"
"""The folder of the store where entries are set aside that are not as they were written."""


class Counts:
    """What happened so far, in this process.

    Attributes
    ----------
    hits, misses : int
        Calls whose result was there, and whose was not.
    waited : int
        Hits among these for which another call had to be waited for.
    damaged : int
        Entries that were not as they were written, and were set aside.
    unknown_key : int
        Entries that somebody else has signed.
    failed : int
        Results that could not be kept.
    """

    __slots__ = ("damaged", "failed", "hits", "misses", "unknown_key", "waited")

    def __init__(self) -> None:
        self.hits = self.misses = self.waited = self.damaged = self.unknown_key = self.failed = 0

    def __repr__(self) -> str:
        return f"Counts({', '.join(f'{name}={getattr(self, name)}' for name in sorted(self.__slots__))})"


class Handling(NamedTuple):
    """How values are kept and read.

    Attributes
    ----------
    compress : int, bool, str or (str, int)
        As for `dump`.
    mmap_mode : str or None
        As for `load`.
    trust : jobspan.file.data.Trust or None
        What values may name.
    is_read_only : bool
        Whether nothing may be written.
    is_data : bool
        Whether values are plain values and arrays only, which anybody may have signed.
    """

    compress: Any = False
    mmap_mode: str | None = None
    trust: Any = None
    is_read_only: bool = False
    is_data: bool = False


class Shelf:
    """The entries of a function.

    Parameters
    ----------
    store : Store
        Where they are.
    folder : str
        Where they are in it.
    signer : Signer
        Vouches for them.
    handling : Handling
        How values are kept and read.
    counts : Counts
        Where to count.
    """

    def __init__(self, store: Store, folder: str, signer: Signer, handling: Handling, counts: Counts) -> None:
        self.store = store
        self.folder = folder
        self.counts = counts
        self.handling = handling
        self._signer = signer
        self._loads: Callable[[Any], Any] = _loads if handling.trust is None else self._load_trusted

    def name(self, key: str) -> str:
        """Under which name an entry is in the store."""
        return f"{self.folder}/{key[0]}/{key}"

    def find(self, key: str) -> Entry | None:
        """The entry with this key; None if there is none that can be used."""
        data = self.store.read(self.name(key), is_use=True)
        if data is None:
            return None
        found = self._decode(key, data)
        if isinstance(found, Entry):
            return found
        self._report(key, data, found)
        return None

    def _decode(self, key: str, data: bytes) -> Entry | Fault:
        """What is in an entry; where values are data only, it does not matter who has signed it."""
        found = decode(key, data, self._signer)
        return decode_unsigned(data) if found is Fault.UNKNOWN_KEY and self.handling.is_data else found

    def peek(self, key: str) -> Entry | None:
        """The entry with this key, if it can be used; nothing is counted, said or set aside."""
        data = self.store.read(self.name(key))
        found = None if data is None else self._decode(key, data)
        return found if isinstance(found, Entry) else None

    def _report(self, key: str, data: bytes, fault: Fault) -> None:
        if fault is Fault.UNKNOWN_KEY:
            self.counts.unknown_key += 1
            say_once(
                f"results in {self.store.location} are not used, since they are signed with a key that is not known "
                f"here: they were computed by somebody else, or on another machine. If you trust them, "
                f"`jobspan cache trust {self.store.location}` signs them with your key; caches that are shared have "
                f"one of their own, Memory(key=...)."
            )
            return
        self._set_aside(key, data, f"{fault.value} ({data.place})" if isinstance(data, Altered) else fault.value)

    def _set_aside(self, key: str, data: bytes, reason: str) -> None:
        self.counts.damaged += 1
        warn_of_cache(f"a result in {self.store.location} is computed again: {reason}. It was set aside in {DAMAGED}/.")
        if not self.handling.is_read_only:
            self.store.write(f"{DAMAGED}/{key}", data)
            self.store.remove([self.name(key)])

    def load(self, key: str, entry: Entry) -> Any:
        """The value of an entry.

        Raises
        ------
        LookupError
            If it cannot be had; it was set aside, unless it has only gone.
        """
        try:
            if not entry.in_file:
                return self._loads(entry.value)
            return self._load_file(entry)
        except FileNotFoundError:  # evicted, or replaced, between the two reads
            raise LookupError(key) from None
        except Exception as error:  # unpickling runs users' code
            reason = f"its value cannot be read ({type(error).__name__}: {error})"
            self._set_aside(key, bytes(entry.value), reason)
            raise LookupError(key) from error

    def _load_file(self, entry: Entry) -> Any:
        from jobspan.file.contents import How
        from jobspan.file.sealed import load_sealed

        name, seal = entry.locate()
        mmap_mode = "r+" if self.handling.mmap_mode == "w+" else self.handling.mmap_mode  # as `load` takes it
        how = How(mmap_mode, mmap_mode is None, self.handling.trust)
        path = self.store.path(name)
        if path is not None:
            return load_sealed(path, seal, how)
        data = self.store.read(name)
        if data is None:
            raise FileNotFoundError(name)
        return load_sealed(data, seal, how)

    def _load_trusted(self, data: Any) -> Any:
        import io

        from jobspan.file.data import DataUnpickler

        return DataUnpickler(io.BytesIO(data), self.handling.trust, ()).load()

    def keep(
        self, key: str, value: Any, duration: float, facts: bytes, sketches: bytes = b"", *, replaces: bool = False
    ) -> tuple[Entry, int] | None:
        """Keep a value.

        Parameters
        ----------
        key, value : object
            The entry's key, and the value.
        duration : float
            Seconds that the call took.
        facts, sketches : bytes
            What is known of the call.
        replaces : bool
            Whether there may be an entry with this key already.

        Returns
        -------
        (Entry, int) or None
            The new entry, and its bytes, those of its value included; None if it cannot be kept, which was said.
        """
        if self.handling.is_read_only:
            return None
        written = time.time()
        try:
            before = self.peek(key) if replaces else None
            content, in_file, nbytes = self._write_value(key, value)
            data = encode(key, self._signer, written, duration, facts, sketches, content, in_file=in_file)
            self.store.write(self.name(key), data)
        except (OSError, JobspanError) as error:  # a full disk; what cannot be pickled, or is not trusted
            self.counts.failed += 1
            warn_of_cache(f"a result of {self.folder} could not be kept in {self.store.location}: {error}")
            return None
        if before is not None and before.in_file:
            self.store.remove([before.locate()[0]])
        entry = Entry(written, duration, memoryview(content), in_file, memoryview(facts), memoryview(sketches))
        return entry, nbytes + len(data)

    def _write_value(self, key: str, value: Any) -> tuple[bytes, bool, int]:
        """What the entry has of the value, whether that is in a file beside, and how large this file is."""
        from jobspan.file.plan import make_plan

        plan = make_plan(value, 64)
        nbytes = plan.pickle.nbytes + sum(stretch.nbytes for segment in plan.segments for stretch in segment)
        if nbytes <= _SMALL and not (plan.segments and self.handling.mmap_mode is not None):
            pickled = pickle.dumps(value, pickle.HIGHEST_PROTOCOL) if plan.segments else bytes(plan.pickle)
            if self.handling.trust is not None:
                self._loads(pickled)
            return pickled, False, 0
        from jobspan.file.sealed import write_sealed

        name = f"{self.name(key)}.{os.urandom(4).hex()}.job"
        path = self.store.path(name)
        if path is None:
            seal, data = write_sealed(plan, None, self.handling.compress)
            self.store.write(name, data)
        else:
            seal, _ = write_sealed(plan, path, self.handling.compress)
        if self.handling.trust is not None:
            self._load_file(_pointing(seal, name))
        return seal + name.encode(), True, nbytes

    def forget(self, keys: Iterable[str]) -> None:
        """Remove entries, and their values."""
        names = []
        for key in keys:
            entry = None
            with suppress(LookupError):
                entry = self.find(key)
            if entry is not None and entry.in_file:
                names.append(entry.locate()[0])
            names.append(self.name(key))
        self.store.remove(names)

    def list_rows(self) -> Table:
        """The entries, as a table."""
        from jobspan.memory.table import list_rows

        return list_rows(self.store, self._signer, self.folder)

    def clear(self) -> None:
        """Remove all of the function's."""
        self.store.remove(item.name for item in self.store.list(self.folder))


def _pointing(seal: bytes, name: str) -> Entry:
    nothing = memoryview(b"")
    return Entry(0.0, 0.0, memoryview(seal + name.encode()), True, nothing, nothing)


def _loads(data: Any) -> Any:
    try:
        return pickle.loads(data)
    except ModuleNotFoundError:  # what Python 3.13 calls pathlib._local, for one
        import io

        from jobspan.file.contents import Unpickler

        return Unpickler(io.BytesIO(data)).load()
