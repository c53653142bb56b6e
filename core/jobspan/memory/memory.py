"""`Memory`: results of functions, kept between calls and between sessions.

Invariant: only what was computed here, or by somebody with the same key, is ever unpickled.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jobspan.errors import say_once
from jobspan.memory.arguments import unwrap_partial
from jobspan.memory.cached import AsyncMemorizedFunc, MemorizedFunc
from jobspan.memory.calls import Call
from jobspan.memory.flight import Flight, flight_for
from jobspan.memory.limits import Limiter, Limits
from jobspan.memory.served import Options, Served
from jobspan.memory.shelf import Counts, Handling, Shelf
from jobspan.memory.signing import signer_for
from jobspan.memory.store import Store
from jobspan.memory.stores import FOLDER, open_store
from jobspan.memory.transparent import AsyncNotMemorizedFunc, NotMemorizedFunc
from jobspan.memory.whole import Whole
from jobspan.persist.content import register_hash
from jobspan.units import parse_count, parse_nbytes, parse_seconds

if TYPE_CHECKING:
    from pathlib import Path

    from jobspan.memory.runs import Recorder
    from jobspan.memory.steps import Steps

_DEBUG = ("JOBSPAN_DEBUG", "JOBLIB_DEBUG")
_MMAP_MODES = (None, "r", "r+", "w+", "c")
_COROUTINE = 0x80 | 0x100  # flags of code: that of async def, and what types.coroutine sets
_LOCKS = "locks"


class Memory(Whole):
    """Keeps what functions return, for calls with the same arguments in this session or a later one.

    An entry is found by the function's code, what it captures, the user's own functions and simple globals that it
    uses, and its arguments. Comments, docstrings and formatting do not count, nor does where the code stands. What
    belongs to other code stays: code that is changed back finds its old results. See ``docs/memory.md``.

    Parameters
    ----------
    location : str, path-like or None
        A folder; or a URL that `fsspec` knows, such as ``"s3://bucket/cache"``. None: nothing is kept.
    backend : str, default "local"
        What `register_store_backend` was told of, or ``"local"``.
    mmap_mode : {None, "r", "r+", "w+", "c"}, optional
        Map large arrays in results, rather than read them: see `load`.
    compress : int, bool, str or (str, int), default False
        Compress large results: see `dump`. They cannot be mapped then.
    verbose : int, default 1
        1 prints each call that is computed, and how long it took; 5 also what is loaded; 11 also why it missed.
    backend_options : dict, optional
        For the backend, or for the file system of a URL.
    mode : {"rw", "r"}, default "rw"
        ``"r"``: look up only; what is missing is computed and not kept.
    max_bytes : int or str, optional
        Of all entries together, as ``"20GB"``. What was cheapest to compute for its size goes first.
    max_items : int, optional
        How many entries to keep.
    ttl : float or str, optional
        After which time a result is computed again: seconds, or ``"30s"``, ``"12h"``, ``"7d"``.
    key : bytes or str, optional
        The secret of all who share this cache; by default results are signed with a key that only this user has.
    group : bool, default False
        Trust the members of the folder's group.
    trusted : "data" or list of types, functions and modules, optional
        What results may consist of: see `load`.
    on_miss : callable or "print", optional
        Called with an `Explanation` before a missing result is computed.
    single_flight : bool, default True
        Let only one of several equal calls at the same time compute, in whichever processes they are.
    local : str or path-like, optional
        With a URL: a folder in which to keep what was read from there.

    Attributes
    ----------
    location : str or None
        As it was given.
    mmap_mode, compress, backend
        As they were given.
    counts : Counts
        What happened so far, in this process.
    cleared : int
        How often entries were removed, in this process.

    Raises
    ------
    ValueError
        If an argument means nothing.
    JobspanError
        If others could write into the folder.

    Examples
    --------
    >>> import tempfile
    >>> from jobspan import Memory
    >>> memory = Memory(tempfile.mkdtemp(), verbose=0)
    >>> @memory.cache
    ... def square(x):
    ...     print("computing")
    ...     return x * x
    >>> square(3), square(3)
    computing
    (9, 9)
    """

    def __init__(
        self,
        location: Any = None,
        backend: str = "local",
        mmap_mode: str | None = None,
        compress: Any = False,
        verbose: int = 1,
        backend_options: dict[str, Any] | None = None,
        *,
        mode: str = "rw",
        max_bytes: int | str | None = None,
        max_items: int | None = None,
        ttl: float | str | None = None,
        key: bytes | str | None = None,
        group: bool = False,
        trusted: Any = None,
        on_miss: Any = None,
        single_flight: bool = True,
        local: Any = None,
    ) -> None:
        super().__init__()
        if mode not in ("rw", "r"):
            raise ValueError(f"mode={mode!r} is neither 'rw' nor 'r', which only looks up.")
        if on_miss is not None and on_miss != "print" and not callable(on_miss):
            raise ValueError(f"on_miss={on_miss!r} is neither 'print' nor a function.")
        _check_mmap_mode(mmap_mode)
        if compress and mmap_mode is not None:
            say_once("Compressed results cannot be memmapped: mmap_mode is ignored for those. Leave one of both out.")
        self.location = location
        self._verbose = verbose
        self._on_miss = on_miss
        self._store = open_store(location, backend, backend_options or {}, group=group, local=local)
        self._key = key
        self.mmap_mode, self.compress, self.backend = mmap_mode, compress, backend
        is_data = isinstance(trusted, str) and trusted == "data"
        self._handling = Handling(compress, mmap_mode, _trust(trusted), mode == "r", is_data)
        self._limits = Limits(
            parse_nbytes(max_bytes, "max_bytes"), parse_count(max_items, "max_items"), parse_seconds(ttl, "ttl")
        )
        self._single_flight = single_flight
        self._begin()

    def _begin(self) -> None:
        """Make what belongs to this process."""
        store = self._store
        self.counts = Counts()
        self.cleared = 0
        self.recorder = None if store is None else _find_recorder(store)
        self._signer = None if store is None else signer_for(self._key)
        self._flight: Flight | None = None
        is_limited = self._limits.max_bytes is not None or self._limits.max_items is not None
        self._limiter = Limiter(store, self._limits) if store is not None and is_limited else None

    def __getstate__(self) -> dict[str, Any]:
        mine = ("counts", "cleared", "recorder", "_signer", "_flight", "_limiter")
        return {name: value for name, value in self.__dict__.items() if name not in mine}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(location={None if self._store is None else self._store.location})"

    # -- functions --------------------------------------------------------------------------------------------------

    def cache(
        self,
        func: Any = None,
        ignore: Sequence[str] | None = None,
        verbose: int | None = None,
        mmap_mode: Any = False,
        cache_validation_callback: Callable[[dict[str, Any]], Any] | None = None,
        *,
        ttl: float | str | None = None,
        depends: Any = (),
        version: Any = None,
        ignore_code: bool = False,
        round: Mapping[str, int] | None = None,  # noqa: A002  the word for it
        tol: Mapping[str, float] | None = None,
        in_process: int = 0,
    ) -> Any:
        """Keep what a function returns; also as a decorator, with or without arguments.

        Parameters
        ----------
        func : callable
            The function: a plain or a coroutine function, a method, a `functools.partial`, or what else can be called
            and has a name.
        ignore : sequence of str, optional
            Parameters that do not count; ``"*"`` and ``"**"`` are those with stars.
        verbose, mmap_mode, ttl : optional
            Instead of what the memory was given.
        cache_validation_callback : callable, optional
            Is given what is known of an entry, and says whether it may be used, as `expires_after` does.
        depends : sequence, optional
            What the results depend on besides: functions, classes, values; ``"versions"`` means the versions of the
            installed packages that the function uses.
        version : object, optional
            Counts instead of the code: change it when old results are not to be used any more.
        ignore_code : bool, default False
            Changes of the code do not count.
        round : mapping from str to int, optional
            Parameters whose numbers are rounded to so many decimals before they are compared.
        tol : mapping from str to float, optional
            Parameters whose numbers are rounded to multiples of this.
        in_process : int, default 0
            Keep so many results in memory as well. Such a result is the same object each time: do not change it.

        Returns
        -------
        MemorizedFunc
            Is called like the function.

        Raises
        ------
        TypeError
            If `func` cannot be called.
        ValueError
            If a parameter that is named does not exist.
        """
        if cache_validation_callback is not None and not callable(cache_validation_callback):
            raise ValueError(f"cache_validation_callback needs to be callable. Got {cache_validation_callback}.")
        if func is None:
            said = {name: value for name, value in locals().items() if name not in ("self", "func")}
            return functools.partial(self.cache, **said)
        if isinstance(func, MemorizedFunc | NotMemorizedFunc):
            func = func.func
        if isinstance(func, classmethod | property):
            raise TypeError(f"put @{type(func).__name__} above @memory.cache, so that the function itself is cached.")
        if not callable(func):
            raise TypeError(f"Memory.cache takes a function; {func!r} cannot be called.")
        is_coroutine = _is_coroutine_function(func)
        if self._store is None:
            return (AsyncNotMemorizedFunc if is_coroutine else NotMemorizedFunc)(func)
        if mmap_mode is not False:
            _check_mmap_mode(mmap_mode)
        options = Options(
            self._verbose if verbose is None else verbose,
            (ignore,) if isinstance(ignore, str) else tuple(ignore or ()),
            cache_validation_callback,
            self._limits.ttl if ttl is None else parse_seconds(ttl, "ttl"),
            tuple(depends) if isinstance(depends, list | tuple) else (depends,),
            version,
            ignore_code,
            dict(round or {}),
            dict(tol or {}),
            in_process,
        )
        handling = self._handling if mmap_mode is False else self._handling._replace(mmap_mode=mmap_mode)
        return (AsyncMemorizedFunc if is_coroutine else MemorizedFunc)(self, func, options, handling)

    def checkpoint(self, name: str, **options: Any) -> Steps:
        """A loop that can be taken up again: its state is saved every so often, in the cache's folder.

        Its files are not entries: what is said of those, `mode` and limits, is not said of them.

        Parameters
        ----------
        name : str
            The loop's.
        **options
            As for `Steps`: `every`, `keep`, `of`, `resume`, `compress`.

        Returns
        -------
        Steps
            ``for step, state in memory.checkpoint("fit", every="30s").range(1000): ...``; also a decorator.

        Raises
        ------
        ValueError
            If the cache is not in a folder of this machine.
        """
        from jobspan.memory.steps import Steps

        return Steps(self._folder("a loop's state is saved") / "steps", name, **options)

    def journal_path(self) -> str:
        """Where ``Parallel(checkpoint=memory)`` keeps the results of tasks.

        Raises
        ------
        ValueError
            If the cache is not in a folder of this machine.
        """
        folder = self._folder("results of tasks are kept")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return str(folder / "tasks.ckpt")

    def _folder(self, what: str) -> Path:
        from pathlib import Path

        try:
            where = os.fspath(self.location)
        except TypeError:
            where = ""
        if not where or "://" in where:
            raise ValueError(f"{what} in a folder, and {self!r} has none: give Memory a folder of this machine.")
        return Path(where).expanduser().absolute() / FOLDER

    def at(self, location: Any) -> Memory:
        """A memory at another location, with the same key."""
        return Memory(location, verbose=0, key=self._key)

    def eval(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call a function through the cache."""
        return self.cache(func)(*args, **kwargs)

    # -- for cached functions ---------------------------------------------------------------------------------------

    @property
    def flight(self) -> Flight | None:
        """Who computes what; None if everybody may."""
        if self._flight is None and self._single_flight and self._store is not None:
            try:
                self._flight = flight_for(self._store)
            except OSError as error:  # the folder cannot be made, which keeping a result will tell
                say_once(f"calls at the same time may compute the same: there is no place for locks ({error}).")
                self._single_flight = False
        return self._flight

    def open_shelf(self, folder: str, handling: Handling) -> Shelf:
        """Where the results of a function are."""
        store, signer = self.opened()
        return Shelf(store, folder, signer, handling, self.counts)

    def note_written(self, nbytes: int) -> None:
        """An entry was written: make room, if there are limits."""
        if self._limiter is not None:
            self._limiter.note_written(nbytes)

    def tell_miss(self, served: Served, call: Call) -> None:
        """Say why, to those who want to know."""
        if self.recorder is not None:
            self.recorder.note(served, call, hit=False)
        if self._on_miss is None and self._verbose <= 10:
            return
        from jobspan.memory.explain import explain_call

        explanation = explain_call(served, call)
        if callable(self._on_miss):
            self._on_miss(explanation)
        else:
            sys.stdout.write(f"{explanation}\n")  # in one piece, as others may write at the same time


register_hash(Memory, lambda _: None)  # where results are kept is no part of what they depend on


def _find_recorder(store: Store) -> Recorder | None:
    """What writes down the calls of this process, if the user wants it."""
    if not any(os.environ.get(name, "0") not in ("", "0") for name in _DEBUG):
        return None
    from jobspan.memory.runs import recorder_for

    return recorder_for(store)


def _check_mmap_mode(mmap_mode: Any) -> None:
    if mmap_mode not in _MMAP_MODES:
        raise ValueError(f"mmap_mode={mmap_mode!r} is none of None, 'r', 'r+', 'w+' and 'c'.")


def _trust(trusted: Any) -> Any:
    if trusted is None:
        return None
    from jobspan.file.data import Trust

    return Trust(trusted)


def _is_coroutine_function(func: Any) -> bool:
    function = unwrap_partial(func)[0]
    code = getattr(function, "__code__", None)
    if code is None or not code.co_flags & _COROUTINE:
        inspect = sys.modules.get("inspect")
        return inspect is not None and inspect.iscoroutinefunction(function)
    return True
