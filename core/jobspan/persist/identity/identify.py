"""What a function is, for cache keys: the same in every session, on every machine, in every Python where it can be.

An identity is made of parts: the function's code, what it captures, its defaults, and the helper functions, classes and
simple globals that are the user's own, as far as they can be reached from it. Installed packages count by name.

Invariant: what determines the result of a call, apart from its arguments and installed packages, is a part of the
digest or is named in a note.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ref

if TYPE_CHECKING:
    from jobspan.persist.identity.walk import Walk

_MANY = 256

ABSENT: Any = object()
"""In place of a value where there is none."""


class Part(NamedTuple):
    """One of the things that an identity is made of.

    Attributes
    ----------
    name : str
        ``"module:qualified.name"`` of a function, class or global; the variable's name if it is captured.
    kind : str
        ``"function"`` for the function itself, and ``"captured"`` and ``"defaults"`` for what it has of its own;
        ``"helper"``, ``"class"`` or ``"global"`` for what it uses.
    digest : bytes
        16 bytes: what differs when the part has changed.
    text : str
        For people: the source, or the value in short. Empty where there is none.
    """

    name: str
    kind: str
    digest: bytes
    text: str


class Watch(NamedTuple):
    """What an identity was made of, to see whether any of it has been bound to something else.

    Attributes
    ----------
    names : tuple
        ``(namespace.get, name, value)`` for each global and each attribute of a module or class.
    cells : tuple
        ``(cell, value)``.
    functions : tuple
        ``(function, code, defaults, keyword defaults)`` of each but the function itself, which is not kept alive.
    """

    names: tuple[tuple[Callable[[str, Any], Any], str, Any], ...] = ()
    cells: tuple[tuple[Any, Any], ...] = ()
    functions: tuple[tuple[Any, Any, Any, Any], ...] = ()

    def is_current(self) -> bool:
        """Whether everything is still bound to what it was."""
        absent = ABSENT
        for get, name, value in self.names:
            if get(name, absent) is not value:
                return False
        for cell, value in self.cells:
            if read_cell(cell) is not value:
                return False
        for function, code, defaults, keywords in self.functions:
            if function.__code__ is not code or function.__defaults__ is not defaults:
                return False
            if function.__kwdefaults__ is not keywords:
                return False
        return True


class Identity:
    """What a function is. Made by `identify`; pickles without what it watches.

    Attributes
    ----------
    name : str
        ``"module:qualified.name"``; a script, and a notebook, is ``"__main__"``. Never a file.
    digest : bytes
        16 bytes, over all parts.
    parts : tuple of Part
        Sorted by kind and name.
    portable : bool
        Whether other versions of Python find the same digest: not where there is no source.
    notes : tuple of str
        What does not count, and what follows from it.
    modules : tuple of str
        Top-level names of the installed packages that were met.
    """

    __slots__ = (
        "__weakref__",
        "_function",
        "_packages",
        "_state",
        "_watch",
        "_watches",
        "digest",
        "modules",
        "name",
        "notes",
        "parts",
        "portable",
    )

    def __init__(
        self,
        name: str,
        digest: bytes,
        parts: tuple[Part, ...],
        portable: bool,
        notes: tuple[str, ...],
        modules: tuple[str, ...],
        *,
        function: Any = None,
        watch: Watch = Watch(),  # noqa: B008  a tuple
    ) -> None:
        self.name = name
        self.digest = digest
        self.parts = parts
        self.portable = portable
        self.notes = notes
        self.modules = modules
        self._function: ref[Any] | None = function
        self._state = _state_of(self.function)
        self._watch = watch
        self._watches = any(watch)
        self._packages: dict[str, str] | None = None

    @property
    def packages(self) -> dict[str, str]:
        """The distributions that were met, and their versions here, looked up when first asked for."""
        if self._packages is None:
            self._packages = find_versions(self.modules)
        return self._packages

    @property
    def function(self) -> Any:
        """The function, if it lives in this process; None for an identity that came from another one."""
        return None if self._function is None else self._function()

    def is_current(self) -> bool:
        """Whether nothing that it is made of was bound to something else since; always True after a journey."""
        if self._state is not None and self._function is not None and (function := self._function()) is not None:
            code, defaults, keywords = self._state
            if function.__code__ is not code or function.__defaults__ is not defaults:
                return False
            if function.__kwdefaults__ is not keywords:
                return False
        return not self._watches or self._watch.is_current()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and (self.name, self.digest) == (other.name, other.digest)

    def __hash__(self) -> int:
        return hash((self.name, self.digest))

    def __repr__(self) -> str:
        return f"<identity of {self.name}: {self.digest.hex()}{'' if self.portable else ', not portable'}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Identity, (self.name, self.digest, self.parts, self.portable, self.notes, self.modules)


def _state_of(function: Any) -> tuple[Any, Any, Any] | None:
    """What a function is made of that may be replaced; None for what is no function."""
    if not isinstance(function, FunctionType):
        return None
    return function.__code__, function.__defaults__, function.__kwdefaults__


class Met(BaseException):
    """Says to whoever makes an identity that somebody asks for that of a function on the way: it becomes a part.

    Nothing but `identify` and the walk knows of it. It is no `Exception`, so that what it passes through lets it pass.
    """

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function


walking: ContextVar[Walk | None] = ContextVar("jobspan_walk", default=None)
"""The walk that is under way here."""

_remembered: dict[int, tuple[ref[Any], Identity]] = {}


def identify(function: Callable[..., Any], *, anew: bool = False) -> Identity:
    """What a function is: a digest of all that determines its results, apart from arguments and installed packages.

    Comments, layout, docstrings and annotations do not count. Defaults, captured variables and globals count with what
    they hold now; a list that is changed in place later makes no difference.

    Parameters
    ----------
    function : callable
        A function, class, method, partial object, or whatever else can be called. Those of installed packages are known
        by their names. An object may say itself what it is: ``__jobspan_identity__()`` returns an `Identity`, or a
        function.
    anew : bool, default False
        As it is now, whatever is remembered of it: what it uses may have been changed in place.

    Returns
    -------
    Identity
        Remembered while nothing it is made of is bound to something else.

    Raises
    ------
    UnhashableError
        If it has neither code nor a name to find it by, or captures what has no content.

    Examples
    --------
    >>> from jobspan.persist.identity.identify import identify
    >>> def area(radius, *, pi=3.14):
    ...     return pi * radius**2
    >>> [part.kind for part in identify(area).parts]
    ['defaults', 'function']
    >>> before = identify(area)
    >>> area.__kwdefaults__ = {"pi": 3.1416}
    >>> before.is_current(), identify(area) == before
    (False, False)
    """
    walk = walking.get()
    if walk is not None and walk.is_asking:
        raise Met(function)
    if walk is None and not anew and (ask := getattr(type(function), "__jobspan_identity__", None)) is not None:
        asked = ask(function)
        if isinstance(asked, Identity):
            return asked
        function = asked
    known = None if anew else _remembered.get(id(function))
    if known is not None:
        whose, identity = known
        if whose() is function and identity.is_current():
            return identity
    from jobspan.persist.identity.walk import walk_from

    identity = walk_from(function)
    if isinstance(function, FunctionType | type) and not anew:
        _remember(function, identity)
    return identity


def _remember(function: Any, identity: Identity) -> None:
    key = id(function)

    def forget(whose: ref[Any]) -> None:
        known = _remembered.get(key)
        if known is not None and known[0] is whose:
            del _remembered[key]

    make_room(_remembered, _MANY)
    _remembered[key] = ref(function, forget), identity


def make_room(kept: dict[Any, Any], many: int) -> None:
    """Forget the oldest of what is kept, if there is that much."""
    while len(kept) >= many:
        with suppress(KeyError, StopIteration, RuntimeError):  # as other threads may do the same
            del kept[next(iter(kept))]


def refer(named: Any) -> tuple[Any, ...]:
    """What stands for a function or class in the digest of something else, of which it becomes a part.

    In the midst of a walk it is its name, and it is met by the walk; elsewhere the digest of its identity.
    """
    walk = walking.get()
    return (identify(named).digest,) if walk is None else walk.refer(named)


def note_installed(module: str) -> None:
    """Something of an installed module was met."""
    walk = walking.get()
    if walk is not None:
        walk.note_installed(module)


def read_cell(cell: Any) -> Any:
    """What a captured variable holds; `ABSENT` if nothing yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return ABSENT


def find_versions(modules: Iterable[str]) -> dict[str, str]:
    """The versions of the distributions that these top-level modules came with.

    Parameters
    ----------
    modules : iterable of str
        Names as one imports them: ``"sklearn"``.

    Returns
    -------
    dict
        By the names that one installs: ``{"scikit-learn": "1.6.0"}``.
    """
    wanted = sorted({name for name in modules if name not in sys.stdlib_module_names})
    return dict(sorted(set(_find_versions(wanted)))) if wanted else {}


def _find_versions(modules: list[str]) -> Iterator[tuple[str, str]]:
    from importlib.metadata import PackageNotFoundError, packages_distributions, version

    others = []
    for name in modules:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            others.append(name)
    where = packages_distributions() if others else {}  # which looks at all that is installed
    for name in others:
        for distribution in where.get(name, ()):
            yield distribution, version(distribution)
