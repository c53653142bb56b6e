"""A digest of what a task is: its function's code, and its arguments by their content.

Everything is walked, so that neither the order of a set, nor the salt of `hash`, nor whether two equal parts are one
object makes a difference; objects are walked by what pickle would take them apart into.

Invariant: different content has different digests; what is the same in another process, of the same Python and the same
packages, has the same one.
"""

from __future__ import annotations

import copyreg
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import blake2b
from pickle import PickleBuffer
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from jobspan.persist.pickling import dumps, travels_by_value

SIZE = 16
"""Bytes of a digest."""

_DEEP = 100  # nested deeper than this, or within itself: pickled

_Feed = Callable[[bytes], object]


def digest(obj: Any) -> bytes:
    """16 bytes that stand for the content of `obj`.

    Raises whatever the pickler raises for what can be neither walked nor pickled.

    >>> digest(({"b", "a"}, 1)) == digest(({"a", "b"}, 1)), digest(1) == digest(1.0), digest([1]) == digest((1,))
    (True, False, False)
    """
    found = blake2b(digest_size=SIZE)
    try:
        _walk(obj, found.update, 0)
    except _TooDeepError:
        found = blake2b(dumps(obj), digest_size=SIZE)
    return found.digest()


class _TooDeepError(Exception):
    """The object is nested deeply, or contains itself."""


def _walk(obj: Any, feed: _Feed, depth: int) -> None:
    if depth > _DEEP:
        raise _TooDeepError
    kind = type(obj)
    text = _ATOMS.get(kind)
    if text is not None:
        data = text(obj)
        feed(b"%s %d:" % (kind.__name__.encode(), len(data)))
        feed(data)
    elif kind in (tuple, list):
        feed(b"%s %d:" % (kind.__name__.encode(), len(obj)))
        for item in obj:
            _walk(item, feed, depth + 1)
    elif kind in (set, frozenset):
        _feed_unordered(kind.__name__, [_parts((item,), depth) for item in obj], feed)
    elif kind is dict:
        _feed_unordered("dict", [_parts(pair, depth) for pair in obj.items()], feed)
    elif kind is PickleBuffer:
        feed(b"buffer %d:" % obj.raw().nbytes)
        feed(obj.raw())
    else:
        feed(b"parts:")
        _walk(_take_apart(obj), feed, depth + 1)


def _parts(parts: tuple[Any, ...], depth: int) -> bytes:
    found = blake2b(digest_size=SIZE)
    _walk(parts, found.update, depth + 1)
    return found.digest()


def _feed_unordered(name: str, digests: list[bytes], feed: _Feed) -> None:
    feed(b"%s %d:" % (name.encode(), len(digests)))
    for each in sorted(digests):
        feed(each)


_ATOMS: dict[type, Callable[[Any], bytes]] = {
    int: lambda value: b"%x" % value,  # in decimals, Python refuses very long ones
    str: lambda value: value.encode("utf-8", "surrogatepass"),
    bytes: lambda value: value,
    bool: lambda value: b"%d" % value,
    type(None): lambda _: b"",
    float: lambda value: value.hex().encode(),
    complex: lambda value: f"{value.real.hex()} {value.imag.hex()}".encode(),
}


def _take_apart(obj: Any) -> tuple[Any, ...]:
    """What makes an object what it is, and tells it from all others."""
    match obj:
        case FunctionType():
            own = {name: obj.__globals__[name] for name in _names(obj.__code__) if name in obj.__globals__}
            simple = {name: value for name, value in own.items() if type(value) in _ATOMS}
            cells = [cell.cell_contents for cell in obj.__closure__ or () if _has_value(cell)]
            captured = ["itself" if each is obj else each for each in cells]
            return "function", *_name(obj), obj.__code__, obj.__defaults__, obj.__kwdefaults__, captured, simple
        case CodeType():
            return "code", obj.co_code, obj.co_consts, obj.co_names, obj.co_varnames, obj.co_freevars, obj.co_flags
        case type():
            return "class", *_name(obj), _defined(obj) if travels_by_value(obj) else None
        case property():
            return "property", obj.fget, obj.fset, obj.fdel
        case staticmethod() | classmethod():
            return type(obj).__name__, obj.__func__
        case MethodType():
            return "method", obj.__func__, obj.__self__
        case partial():
            return "partial", obj.func, obj.args, obj.keywords
        case BuiltinFunctionType() if isinstance(obj.__self__, ModuleType | None):
            return "builtin", *_name(obj)
        case ModuleType():
            return "module", obj.__name__
    reduce = copyreg.dispatch_table.get(type(obj))
    reduced: Any = obj.__reduce_ex__(5) if reduce is None else reduce(obj)
    if isinstance(reduced, str):
        return "global", getattr(obj, "__module__", None), reduced
    function, args, *rest = reduced
    return "object", type(obj), function, args, [list(each) if isinstance(each, Iterator) else each for each in rest]


def _defined(kind: type) -> dict[str, Any]:
    """What a class that no other process could import defines: its functions, and simple values."""
    shown = (FunctionType, property, staticmethod, classmethod)
    found = {name: each for name, each in vars(kind).items() if isinstance(each, shown) or type(each) in _ATOMS}
    return {name: each for name, each in found.items() if name not in _NOT_CONTENT} | {"bases": kind.__bases__}


_NOT_CONTENT = ("__doc__", "__module__", "__firstlineno__", "__static_attributes__")


def _name(named: Any) -> tuple[str | None, str]:
    return named.__module__, named.__qualname__


def _names(code: CodeType) -> tuple[str, ...]:
    inner = [name for const in code.co_consts if isinstance(const, CodeType) for name in _names(const)]
    return (*code.co_names, *inner)


def _has_value(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018  raises where there is none yet
    except ValueError:
        return False
    return True
