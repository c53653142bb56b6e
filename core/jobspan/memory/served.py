"""The results of one function: looked up, kept, and told about. Nothing here calls the function.

Invariant: a lookup writes nothing.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from jobspan.errors import warn_of_cache
from jobspan.memory.calls import Call, Calls
from jobspan.memory.code import Code
from jobspan.memory.entry import Entry
from jobspan.memory.flight import Flight
from jobspan.memory.results import MemorizedResult
from jobspan.memory.shelf import Handling, Shelf
from jobspan.persist.identity.identify import Identity

if TYPE_CHECKING:
    from jobspan.memory.memory import Memory

NOTHING: Any = object()
"""What `Served.look_up` returns where there is no result."""

leading: ContextVar[frozenset[str]] = ContextVar("jobspan_leading", default=frozenset())
"""The keys of the calls that this call is made by."""

_LOADS_SHOWN = 5  # from which verbose on loading is told of, too


class Options(NamedTuple):
    """What `Memory.cache` was told of one function: see there."""

    verbose: int
    ignore: tuple[str, ...] = ()
    validate: Callable[[dict[str, Any]], Any] | None = None
    ttl: float | None = None
    depends: tuple[Any, ...] = ()
    version: Any = None
    ignore_code: bool = False
    round: dict[str, int] | None = None
    tol: dict[str, float] | None = None
    in_process: int = 0


class About(NamedTuple):
    """What an entry says of its call: as JSON, the sketches of the arguments, and their tags."""

    facts: bytes
    sketches: bytes
    tags: list[bytes]


class Served:
    """The results of a function.

    Parameters
    ----------
    memory : Memory
        The cache.
    function : callable
        The function.
    options : Options
        What was said of it.
    handling : Handling
        How values are kept and read.
    """

    def __init__(self, memory: Memory, function: Callable[..., Any], options: Options, handling: Handling) -> None:
        self.memory = memory
        self.function = function
        self.options = options
        self._in_process, self._ttl = options.in_process, options.ttl
        self._handling = handling
        code = Code(function, options.depends, options.version, ignore_code=options.ignore_code)
        self.calls = Calls(function, code, options.ignore, options.round, options.tol)
        self._begin()

    def _begin(self) -> None:
        """Make what belongs to this process."""
        self._shelf: Shelf | None = None
        self._told: set[bytes] = set()  # versions of the function that the store knows
        self._recent: OrderedDict[tuple[bytes, bytes], tuple[float, Any]] = OrderedDict()
        self._cleared = self.memory.cleared

    def __getstate__(self) -> dict[str, Any]:
        mine = ("_shelf", "_told", "_recent", "_cleared")
        return {name: value for name, value in self.__dict__.items() if name not in mine}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    # -- what it is -------------------------------------------------------------------------------------------------

    @property
    def func_id(self) -> str:
        """The name of the function's folder in the store."""
        return folder_of(self.identity.name)

    @property
    def identity(self) -> Identity:
        """What the function is."""
        return self.calls.code.identity

    @property
    def code_digest(self) -> bytes:
        """The part of keys that does not depend on the arguments."""
        return self.calls.code.digest()

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that count."""
        return self.calls.names

    @property
    def shelf(self) -> Shelf:
        """Where the entries are."""
        if self._shelf is None:
            self._shelf = self.memory.open_shelf(self.func_id, self._handling)
        return self._shelf

    # -- looking up -------------------------------------------------------------------------------------------------

    def look_up(self, call: Call, *, shelving: bool, waited: bool = False) -> Any:
        """The result of a call, or a reference to it; `NOTHING` if it is not there."""
        if self._in_process and not shelving:
            value = self._recall(call)
            if value is not NOTHING:
                return value
        shelf = self.shelf
        entry = self.find(call)
        if entry is None:
            return NOTHING
        if shelving:
            value = self.refer(call, entry)
        else:
            verbose = self.options.verbose >= _LOADS_SHOWN
            started = time.perf_counter() if verbose else 0.0
            try:
                value = shelf.load(call.key, entry)
            except LookupError:
                return NOTHING
            if verbose:
                from jobspan.memory.printing import show_duration

                show_duration(self.function, time.perf_counter() - started, "cache loaded ")
            if self.options.in_process:
                self._remember(call, value, entry.written)
        shelf.counts.hits += 1
        shelf.counts.waited += waited
        if self.memory.recorder is not None:
            self.memory.recorder.note(self, call, hit=True)
        return value

    def _recall(self, call: Call) -> Any:
        """The result, if it is in memory, and may be used; else `NOTHING`."""
        memory, recent, place = self.memory, self._recent, call.place
        if self._cleared != memory.cleared:
            self._cleared = memory.cleared
            recent.clear()
        found = recent.get(place)
        if found is None:
            return NOTHING
        written, value = found
        if self._ttl is not None and time.time() - written > self._ttl:
            recent.pop(place, None)
            return NOTHING
        try:  # noqa: SIM105  suppress() costs a tenth of a hit
            recent.move_to_end(place)
        except KeyError:
            pass  # another thread has just removed it
        memory.counts.hits += 1
        return value

    def find(self, call: Call) -> Entry | None:
        """The entry of a call, if it may be used."""
        entry = self.shelf.find(call.key)
        if entry is None or (self.options.ttl is None and self.options.validate is None):
            return entry
        return entry if self.why_invalid(entry) is None else None

    def why_invalid(self, entry: Entry) -> str | None:
        """Why an entry that is there may not be used; None if it may."""
        options = self.options
        if options.ttl is not None and time.time() - entry.written > options.ttl:
            return f"it is older than ttl={options.ttl:g} seconds"
        if options.validate is not None and not options.validate(metadata_of(entry)):
            return "cache_validation_callback says that it may not be used"
        return None

    def refer(self, call: Call, entry: Entry) -> MemorizedResult:
        """A reference to a result."""
        return MemorizedResult(self.shelf, self.func_id, call.key, metadata_of(entry))

    # -- computing --------------------------------------------------------------------------------------------------

    def flight_for(self, call: Call) -> Flight | None:
        """Who decides which of several calls computes this; None if this one does in any case."""
        if self._handling.is_read_only or call.key in leading.get():
            return None
        return self.memory.flight

    def begin(self, call: Call, args: Any, kwargs: Any) -> About:
        """Count, tell and describe a call before it is made: the function may change its arguments."""
        self.shelf.counts.misses += 1
        self.memory.tell_miss(self, call)
        if self.options.verbose > 0:
            from jobspan.memory.printing import show_call

            show_call(self.function, args, kwargs)
        return self.describe(call)

    def finish(self, call: Call, value: Any, duration: float, about: About, *, replaces: bool) -> Any:
        """Keep a result; the result as later calls will have it, and its entry, or None."""
        entry = self.keep(call, value, duration, about, replaces=replaces or self._may_replace())
        if self.options.verbose > 0:
            from jobspan.memory.printing import show_duration

            show_duration(self.function, duration)
        if entry is not None and self._handling.mmap_mode is not None and entry.in_file:
            value = self.shelf.load(call.key, entry)
        if self.options.in_process:
            self._remember(call, value, time.time() if entry is None else entry.written)
        return value, entry

    def _may_replace(self) -> bool:
        """Whether there may be an entry that was not used."""
        return self.options.ttl is not None or self.options.validate is not None

    def describe(self, call: Call) -> About:
        """What is told of a call in its entry."""
        import json

        from jobspan.memory.near import tags_of
        from jobspan.memory.sketches import make_sketches, pack
        from jobspan.memory.telling import kind_of, tell

        sketches = make_sketches(call.values)
        places, packed = pack(sketches)
        arguments = [
            [name, digest.hex(), kind_of(value), tell(value), *place]
            for name, digest, value, place in zip(self.names, call.digests(), call.values, places, strict=True)
        ]
        facts = {"function": self.identity.name, "code": self.code_digest.hex(), "arguments": arguments}
        return About(json.dumps(facts).encode(), packed, tags_of(zip(self.names, sketches, strict=True)))

    def keep(self, call: Call, value: Any, duration: float, about: About, *, replaces: bool) -> Entry | None:
        """Keep a value, and write down that it is there; None if it cannot be kept."""
        shelf = self.shelf
        kept = shelf.keep(call.key, value, duration, about.facts, about.sketches, replaces=replaces)
        if kept is None:
            return None
        entry, nbytes = kept
        try:
            self._write_down(call, entry, nbytes, about.tags)
            self.memory.note_written(nbytes)
        except OSError as error:  # a full disk: the result is there
            warn_of_cache(f"{self.func_id}: a result is kept, and what helps to explain misses is not: {error}")
        return entry

    def _write_down(self, call: Call, entry: Entry, nbytes: int, tags: list[bytes]) -> None:
        """What helps to explain misses."""
        from jobspan.memory.index import Index, Record, make_tags
        from jobspan.memory.near import add_near
        from jobspan.memory.sources import write_version

        shelf, code = self.shelf, call.code
        if code not in self._told:
            write_version(shelf.store, shelf.folder, code.hex(), self.identity)
            self._told.add(code)
        record = Record(call.key, entry.written, entry.duration, nbytes, make_tags(code, call.digests()))
        Index(shelf.store, shelf.folder).add(record)
        add_near(shelf.store, shelf.folder, call.key, tags)

    def _remember(self, call: Call, value: Any, written: float) -> None:
        """Keep a result in memory as well, unless somebody wants to be asked each time."""
        if self.options.validate is not None:
            return
        self._recent[call.place] = written, value
        if len(self._recent) > self.options.in_process:
            self._recent.popitem(last=False)

    # -- removing ---------------------------------------------------------------------------------------------------

    def forget(self, call: Call) -> bool:
        """Remove a result; whether it was there."""
        self.memory.check_writable()
        self._recent.pop(call.place, None)
        is_there = self.shelf.find(call.key) is not None
        if is_there:
            self.shelf.forget([call.key])
        return is_there

    def clear(self) -> None:
        """Remove all results."""
        self.memory.check_writable()
        self._recent.clear()
        self._told.clear()
        self.shelf.clear()


def metadata_of(entry: Entry) -> dict[str, Any]:
    """What is known of a call, with joblib's names, and a few more."""
    facts = entry.read_facts()
    arguments = {name: text for name, _, _, text, *_ in facts["arguments"]}
    return {
        "duration": entry.duration,
        "time": entry.written,
        "input_args": arguments,
        "function": facts["function"],
        "code": facts["code"],
    }


def folder_of(name: str) -> str:
    """A function's folder: names of folders are no part of keys, so two functions may share one."""
    plain = "".join(
        each if each.isascii() and (each.isalnum() or each in "_.-") else "_" for each in name.replace(":", ".")
    )
    return plain.lstrip(".")[:100] or "_"
