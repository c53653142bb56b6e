"""What stands for an object's content: the parts that tell it from all others.

A function here takes an object apart into a tuple of other objects, which are taken apart in turn, down to plain values
and buffers. Objects that nobody knows come apart as pickle would take them.

Invariant: what is equal comes apart alike, whatever the process, the order of a set, or the parts that it shares with
others. What is installed, be it a module, a function or a class, is its name.
"""

from __future__ import annotations

import copyreg
import os
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import cache, partial
from pickle import PickleBuffer
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    MappingProxyType,
    MethodType,
    ModuleType,
)
from typing import Any, NamedTuple, TypeAlias

from jobspan.errors import UnhashableError
from jobspan.persist.chunks import Data, Plain


class Coerce(NamedTuple):
    """Differences that do not count.

    Attributes
    ----------
    mmap : bool
        Whether an array in memory and one in a mapped file are the same.
    order : bool
        Whether an array in C and one in Fortran order are the same.
    """

    mmap: bool = False
    order: bool = False


Content: TypeAlias = tuple[Any, ...] | Data
Take: TypeAlias = Callable[[Any, Coerce], Content]
"""Takes an object apart."""

ATOMS = frozenset({type(None), bool, int, float, complex, str})
"""Types of what is not taken apart any further."""

CACHED_BY_FUNCTOOLS = type(cache(repr))
"""The type of functions with `functools.cache`."""

ADAPTED = ("numpy", "pandas", "polars", "pyarrow", "scipy", "torch")
"""Packages whose objects have modules of their own here."""

_NEW: Any = copyreg.__newobj__  # type: ignore[attr-defined]  # as pickles name it
_SITES = ("site-packages", "dist-packages")


def register_hash(kind: type, function: Callable[[Any], Any]) -> None:
    """Say what stands for the content of objects of a type, and of types derived from it.

    Parameters
    ----------
    kind : type
        The type.
    function : callable
        Takes such an object, and returns what tells it from others of its type: a tuple, a dict, an array, or whatever
        else has a digest. An object's digest depends on this and on the name of its type.

    Raises
    ------
    TypeError
        If `kind` is no type, or is one of Python's plain types, or `function` cannot be called.

    Examples
    --------
    >>> import jobspan
    >>> class Connection:
    ...     def __init__(self, address):
    ...         self.address = address
    ...         self.callback = (each for each in ())  # which has no content
    >>> jobspan.register_hash(Connection, lambda connection: connection.address)
    >>> jobspan.hash(Connection("here")) == jobspan.hash(Connection("here")) != jobspan.hash(Connection("there"))
    True
    """
    if not isinstance(kind, type):
        raise TypeError(f"register_hash takes a type first, and {kind!r} is none.")
    if kind in ATOMS or kind in {bytes, list, tuple, dict, set, frozenset, object, type}:
        raise TypeError(f"what stands for {kind.__name__} cannot be changed; derive a type of your own from it.")
    if not callable(function):
        raise TypeError(f"register_hash takes a function second, and {function!r} cannot be called.")
    _registered[kind] = function
    _known.clear()


_registered: dict[type, Callable[[Any], Any]] = {}
_known: dict[type, Take] = {}


def take_for(kind: type) -> Take:
    """What takes apart objects of this type."""
    found = _known.get(kind)
    if found is None:
        found = _known[kind] = _find(kind)
    return found


def _find(kind: type) -> Take:
    if is_registered(kind):
        function = next(_registered[base] for base in kind.__mro__ if base in _registered)
        return partial(_take_registered, kind, function)
    if (take := _TAKES.get(kind)) is not None:
        return take
    if is_identified(kind):
        return _take_identified
    for base in kind.__mro__:
        package = base.__module__.partition(".")[0]
        if package in ADAPTED:
            from importlib import import_module

            taken: Take | None = import_module(f"jobspan.arrays.content.{package}").find(kind)
            if taken is not None:
                return taken
    if issubclass(kind, type):
        return _take_class
    return _find_by_base(kind)


def _take_registered(kind: type, function: Callable[[Any], Any], obj: Any, _: Coerce) -> Content:
    try:
        return "registered", *_name(kind), function(obj)
    except Exception as error:  # the user's function may raise anything
        raise UnhashableError(
            f"a {kind.__name__} cannot be hashed: the function that register_hash was given for it raised "
            f"{type(error).__name__}: {error}"
        ) from error


def _find_by_base(kind: type) -> Take:
    """Kinds of objects whose types users derive; only those whose module has been imported come into question."""
    if (enum := sys.modules.get("enum")) is not None and issubclass(kind, enum.Enum):
        return lambda obj, _: ("enum", kind, obj.name, obj.value)
    pathlib = sys.modules.get("pathlib")
    if pathlib is not None and kind.__module__.partition(".")[0] == "pathlib" and issubclass(kind, pathlib.PurePath):
        name = "Path" if issubclass(kind, pathlib.Path) else kind.__name__
        return lambda obj, _: ("path", name, obj.as_posix())
    special = _SPECIAL.get((kind.__module__, kind.__qualname__))
    return partial(take_reduced, _derived_names(kind)) if special is None else special


def choose(kind: type, takes: Iterable[tuple[type, Take]]) -> Take | None:
    """The first of these that is for a base of this type; None if none is."""
    return next((take for base, take in takes if issubclass(kind, base)), None)


def _derived_names(kind: type) -> frozenset[str]:
    """Attributes that are computed from the others: reading one changes nothing."""
    cached = sys.modules["functools"].cached_property
    return frozenset(name for base in kind.__mro__ for name, each in vars(base).items() if isinstance(each, cached))


def take_reduced(derived: frozenset[str], obj: Any, _: Coerce) -> Content:
    """Take an object apart as pickle does, without the attributes that are derived from others."""
    reduce = copyreg.dispatch_table.get(type(obj))
    if isinstance(obj, BaseException):  # some packages have tracebacks pickled with them, once they are imported
        reduce = None
    reduced: Any = obj.__reduce_ex__(5) if reduce is None else reduce(obj)
    if isinstance(reduced, str):
        note_installed(getattr(obj, "__module__", None) or "")
        return "global", getattr(obj, "__module__", None), reduced
    function, args, state, items, pairs = (*reduced[:5], None, None, None)[:5]
    if derived and isinstance(state, dict):
        state = {name: value for name, value in state.items() if name not in derived}
    if pairs is not None:
        pairs = list(pairs) if isinstance(obj, OrderedDict) else dict(pairs)
    rest = [state, None if items is None else list(items), pairs]
    while rest and rest[-1] is None:
        rest.pop()
    if function is type(obj):
        return "made", function, args, *rest
    if function is _NEW and args[0] is type(obj):
        return "instance", args[0], args[1:], *rest
    return "object", type(obj), function, args, *rest


def _take_function(function: Any, _: Coerce) -> Content:
    if is_found_by_name(function):
        return "global", *_name(function)
    return "function", *refer(function)


def _take_code(code: Any, _: Coerce) -> Content:
    return (
        "code",
        sys.version_info[:2],
        code.co_code,
        code.co_exceptiontable,
        code.co_argcount,
        code.co_posonlyargcount,
        code.co_kwonlyargcount,
        code.co_consts,
        code.co_names,
        code.co_varnames,
        code.co_freevars,
        code.co_flags,
    )


def _take_class(kind: Any, _: Coerce) -> Content:
    if is_installed(kind.__module__) and "<" not in kind.__qualname__:  # many of Python's own cannot be found by name
        note_installed(kind.__module__)
        return "class", *_name(kind), None
    return "class", *refer(kind)


def _take_cached(function: Any, _: Coerce) -> Content:
    return ("global", *_name(function)) if is_found_by_name(function) else ("cached", function.__wrapped__)


def _take_identified(obj: Any, _: Coerce) -> Content:
    return "identified", *refer(obj)


def _take_builtin(function: Any, coerce: Coerce) -> Content:
    if isinstance(function.__self__, ModuleType | None):
        note_installed(function.__module__ or "")
        return "global", *_name(function)
    return take_reduced(frozenset(), function, coerce)


def _take_view(view: Any, _: Coerce) -> Content:
    return "memoryview", view.format, view.shape, Plain(view if view.c_contiguous else view.tobytes(), view.itemsize)


_TAKES: dict[type, Take] = {
    bytes: lambda obj, _: Plain(obj),
    bytearray: lambda obj, _: ("bytearray", Plain(obj)),
    memoryview: _take_view,
    PickleBuffer: lambda obj, _: ("buffer", Plain(obj.raw())),
    type: _take_class,
    FunctionType: _take_function,
    CodeType: _take_code,
    BuiltinFunctionType: _take_builtin,
    property: lambda obj, _: ("property", obj.fget, obj.fset, obj.fdel),
    staticmethod: lambda obj, _: ("staticmethod", obj.__func__),
    classmethod: lambda obj, _: ("classmethod", obj.__func__),
    MethodType: lambda obj, _: ("method", obj.__func__, obj.__self__),
    CACHED_BY_FUNCTOOLS: _take_cached,
    partial: lambda obj, _: ("partial", obj.func, obj.args, obj.keywords),
    ModuleType: lambda obj, _: ("module", obj.__name__),
    MappingProxyType: lambda obj, _: ("mappingproxy", dict(obj)),
}

# Those whose pickles differ between versions of Python, by name, so that their modules need not be imported.
_SPECIAL: dict[tuple[str, str], Take] = {
    ("array", "array"): lambda obj, _: ("array", _portable(obj), len(obj), Plain(obj, obj.itemsize)),
    ("fractions", "Fraction"): lambda obj, _: ("Fraction", obj.numerator, obj.denominator),
    ("re", "Pattern"): lambda obj, _: ("pattern", obj.pattern, obj.flags),
    ("uuid", "UUID"): lambda obj, _: ("UUID", obj.int),
    ("zoneinfo", "ZoneInfo"): lambda obj, _: ("ZoneInfo", obj.key) if obj.key else take_reduced(frozenset(), obj, _),
}


def _portable(array: Any) -> str:
    """The type of an array's elements; that of whole numbers by their size, which differs between machines."""
    code: str = array.typecode
    if code in "fduw":
        return code
    return f"{'i' if code.islower() else 'u'}{array.itemsize}"


def is_installed(module: str | None) -> bool:
    """Whether a module is the interpreter's own, or a package's that was installed, rather than the user's code."""
    return module is not None and _is_installed(module.partition(".")[0])


@cache
def _is_installed(package: str) -> bool:
    if package in {"__main__", "__mp_main__"}:  # where a user's code is, also if "python -m ipykernel" has begun it
        return False
    if package in sys.stdlib_module_names or package == __name__.partition(".")[0]:
        return True
    loaded = sys.modules.get(package)
    if loaded is not None:
        spec = getattr(loaded, "__spec__", None)
    else:
        from importlib.util import find_spec

        spec = find_spec(package) if package else None
    places = [spec.origin, *(spec.submodule_search_locations or ())] if spec is not None else []
    return any(site in str(place).split(os.sep) for place in places for site in _SITES)


def is_found_by_name(named: Any) -> bool:
    """Whether a function is that of an installed module, which has it under its name: no wrapper that took the name."""
    if not is_installed(named.__module__):
        return False
    found: Any = sys.modules.get(named.__module__)
    for name in named.__qualname__.split("."):
        found = getattr(found, name, None)
    if found is not named:
        return False
    note_installed(named.__module__)
    return True


def is_identified(kind: type) -> bool:
    """Whether objects of this type say themselves what their identity is, as functions with a cache do."""
    return hasattr(kind, "__jobspan_identity__") and not issubclass(kind, type)


def is_registered(kind: type) -> bool:
    """Whether `register_hash` says what stands for objects of this type."""
    return any(base in _registered for base in kind.__mro__)


def _name(named: Any) -> tuple[str | None, str]:
    return named.__module__, named.__qualname__


def refer(named: Any) -> tuple[Any, ...]:
    """What stands for a function or class of the user's own."""
    from jobspan.persist.identity import (
        identify as identity,  # which needs the digests that are made of what is taken apart here
    )

    return identity.refer(named)


def note_installed(module: str) -> None:
    """Tell whoever makes an identity that it depends on an installed module."""
    identity = sys.modules.get("jobspan.persist.identity.identify")
    if identity is not None:
        identity.note_installed(module)
