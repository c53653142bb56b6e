"""Cached functions, as users have them.

Invariant: what a call returns is what the function returned for equal arguments, or what it returns now.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jobspan.memory.arguments import unwrap_partial
from jobspan.memory.calls import Call
from jobspan.memory.entry import Entry
from jobspan.memory.flight import await_lead, wait_for_lead
from jobspan.memory.results import NotMemorizedResult
from jobspan.memory.served import NOTHING, Options, Served, leading, metadata_of
from jobspan.memory.shelf import Handling
from jobspan.persist.identity.identify import Identity
from jobspan.persist.pickling import travels_by_value

if TYPE_CHECKING:
    from jobspan.memory.explain import Explanation
    from jobspan.memory.memory import Memory
    from jobspan.memory.store import Store
    from jobspan.memory.table import Table

_NAMES = ("__module__", "__name__", "__qualname__", "__doc__", "__annotations__", "__type_params__")


class MemorizedFunc:
    """A function whose results are kept, as `Memory.cache` returns it. It is called like the function.

    Attributes
    ----------
    func : callable
        The function itself.
    timestamp : float
        When it was decorated, in seconds since the epoch.
    """

    __qualname__: str

    def __init__(self, memory: Memory, func: Callable[..., Any], options: Options, handling: Handling) -> None:
        self.func = self.__wrapped__ = func
        self.timestamp = time.time()
        function, self._args, self._kwargs = unwrap_partial(func)
        self._served = Served(memory, function, options, handling)
        for name in _NAMES:
            if (value := getattr(function, name, None)) is not None:
                setattr(self, name, value)

    # -- calls ------------------------------------------------------------------------------------------------------

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """The result, from the cache if it is there."""
        return self._obtain(args, kwargs, shelving=False)

    def call_and_shelve(self, /, *args: Any, **kwargs: Any) -> Any:
        """Make sure that the result is in the cache, and return a reference to it.

        Returns
        -------
        MemorizedResult
            Small, and can be pickled; its ``get()`` reads the result.
        """
        return self._obtain(args, kwargs, shelving=True)

    def call(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function whether or not the result is there, and keep the new one.

        Returns
        -------
        result : object
            What the function returned.
        metadata : dict
            What is known of the call.
        """
        call, args, kwargs = self._make_call(args, kwargs)
        value, entry = self._compute(call, args, kwargs, replaces=True)
        return value, _metadata(entry)

    def check_call_in_cache(self, /, *args: Any, **kwargs: Any) -> bool:
        """Whether the result of this call is in the cache, and may be used. Writes nothing."""
        return self._served.find(self._make_call(args, kwargs)[0]) is not None

    def explain(self, /, *args: Any, **kwargs: Any) -> Explanation:
        """Why a call with these arguments hits, or misses: the closest earlier call, and what is different.

        Returns
        -------
        Explanation
            Shows itself as text, and in notebooks as HTML.
        """
        from jobspan.memory.explain import explain_call

        return explain_call(self._served, self._make_call(args, kwargs)[0])

    # -- results ----------------------------------------------------------------------------------------------------

    def put(self, value: Any, /, *args: Any, **kwargs: Any) -> None:
        """Keep this value as the result of a call with these arguments, as if the function had returned it.

        Parameters
        ----------
        value : object
            The result.
        *args, **kwargs
            The arguments.
        """
        self._served.memory.check_writable()
        call = self._make_call(args, kwargs)[0]
        self._served.keep(call, value, 0.0, self._served.describe(call), replaces=True)

    def forget(self, /, *args: Any, **kwargs: Any) -> bool:
        """Remove the result of a call with these arguments; whether it was there."""
        return self._served.forget(self._make_call(args, kwargs)[0])

    def entries(self) -> Table:
        """The entries of this function, the newest first: a list of rows that shows itself as a table."""
        return self._served.shelf.list_rows()

    def clear(self, warn: bool = True) -> None:
        """Remove all results of this function.

        Parameters
        ----------
        warn : bool, default True
            Whether to log it, if ``verbose`` is more than 0.
        """
        if warn and self._served.options.verbose > 0:
            self._served.memory.warn(f"Clearing function cache identified by {self.func_id}")
        self._served.clear()

    # -- what it is -------------------------------------------------------------------------------------------------

    @property
    def func_id(self) -> str:
        """The name of the folder in the cache where its results are."""
        return self._served.func_id

    @property
    def func_code_info(self) -> tuple[str, str, int]:
        """Its source, without decorators; the file; the line of that. ``""``, ``""`` and -1 where there is no code."""
        code = getattr(self._served.function, "__code__", None)
        if code is None:
            return "", "", -1
        text = next((part.text for part in self._served.identity.parts if part.kind == "function"), "")
        return text, code.co_filename, code.co_firstlineno

    @property
    def store_backend(self) -> Store:
        """Where the entries are, of all functions of its `Memory`."""
        return self._served.memory.opened()[0]

    @property
    def ignore(self) -> list[str]:
        """Parameters that do not count."""
        return list(self._served.options.ignore)

    @property
    def cache_validation_callback(self) -> Any:
        """What says whether a result may still be used."""
        return self._served.options.validate

    def __jobspan_identity__(self) -> Identity:
        """What it counts as where another function uses it."""
        return self._served.identity

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """As a method: the instance is its first argument, and counts by its content."""
        if instance is None:
            return self
        bound = object.__new__(type(self))
        bound.__dict__.update(self.__dict__, _args=(instance, *self._args), func=self.func.__get__(instance, owner))
        return bound

    def __repr__(self) -> str:
        return f"{type(self).__name__}(func={self.func}, location={self._served.memory.location})"

    def __reduce_ex__(self, protocol: Any) -> Any:
        if not travels_by_value(self):
            found: Any = sys.modules.get(self.__module__)
            for name in self.__qualname__.split("."):
                found = getattr(found, name, None)
            if found is self:  # as decorated: the other side has it under this name, too
                return self.__qualname__
        return super().__reduce_ex__(protocol)

    # -- how it goes ------------------------------------------------------------------------------------------------

    def _make_call(self, args: Any, kwargs: Any) -> tuple[Call, Any, Any]:
        """The call, and all arguments."""
        args, kwargs = self._complete(args, kwargs)
        return self._served.calls.make(args, kwargs), args, kwargs

    def _complete(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """All arguments, those of a partial or a method included."""
        return (*self._args, *args), {**self._kwargs, **kwargs}

    def _obtain(self, args: Any, kwargs: Any, *, shelving: bool) -> Any:
        served = self._served
        if self._args or self._kwargs:
            args, kwargs = self._complete(args, kwargs)
        call = served.calls.make(args, kwargs)
        found = served.look_up(call, shelving=shelving)
        if found is not NOTHING:
            return found
        flight = served.flight_for(call)
        release = _nothing if flight is None else wait_for_lead(flight, call.key)
        try:
            found = served.look_up(call, shelving=shelving, waited=True)
            if found is not NOTHING:
                return found
            value, entry = self._compute(call, args, kwargs)
            return _give(served, call, value, entry) if shelving else value
        finally:
            release()

    def _compute(self, call: Call, args: Any, kwargs: Any, *, replaces: bool = False) -> Any:
        """Call the function, and keep its result; the result, and its entry, or None."""
        about = self._served.begin(call, args, kwargs)
        token = leading.set(leading.get() | {call.key})
        started = time.perf_counter()
        try:
            value = self._served.function(*args, **kwargs)
        finally:
            leading.reset(token)
        return self._served.finish(call, value, time.perf_counter() - started, about, replaces=replaces)


class AsyncMemorizedFunc(MemorizedFunc):
    """A coroutine function whose results are kept: as `MemorizedFunc`, but its calls are awaited."""

    async def call(self, /, *args: Any, **kwargs: Any) -> Any:
        """As `MemorizedFunc.call`."""
        call, args, kwargs = self._make_call(args, kwargs)
        value, entry = await self._compute(call, args, kwargs, replaces=True)
        return value, _metadata(entry)

    async def _obtain(self, args: Any, kwargs: Any, *, shelving: bool) -> Any:
        served = self._served
        call, args, kwargs = self._make_call(args, kwargs)
        found = served.look_up(call, shelving=shelving)
        if found is not NOTHING:
            return found
        flight = served.flight_for(call)
        release = _nothing if flight is None else await await_lead(flight, call.key)
        try:
            found = served.look_up(call, shelving=shelving, waited=True)
            if found is not NOTHING:
                return found
            value, entry = await self._compute(call, args, kwargs)
            return _give(served, call, value, entry) if shelving else value
        finally:
            release()

    async def _compute(self, call: Call, args: Any, kwargs: Any, *, replaces: bool = False) -> Any:
        about = self._served.begin(call, args, kwargs)
        token = leading.set(leading.get() | {call.key})
        started = time.perf_counter()
        try:
            value = await self._served.function(*args, **kwargs)
        finally:
            leading.reset(token)
        return self._served.finish(call, value, time.perf_counter() - started, about, replaces=replaces)


def _give(served: Served, call: Call, value: Any, entry: Entry | None) -> Any:
    """A reference to a result that was just computed; to itself, if it cannot be kept."""
    return NotMemorizedResult(value) if entry is None else served.refer(call, entry)


def _metadata(entry: Entry | None) -> dict[str, Any]:
    return {} if entry is None else metadata_of(entry)


def _nothing() -> None:
    """Nobody was led, so there is nothing to let go of."""
