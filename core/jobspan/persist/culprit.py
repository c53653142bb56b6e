"""Finds the innermost part of an object that cannot be pickled, and the path that leads to it.

Invariant: only looks; objects are never changed, and a part that raises when looked at is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import partial
from importlib import import_module
from types import FunctionType, MethodType
from typing import Any

_MAX_DEPTH = 12
_MAX_PARTS = 10_000
_ADAPTERS = ("numpy", "pandas", "polars")  # packages with objects that hold others in ways of their own


def find_culprit(obj: Any, path: str, is_picklable: Callable[[Any], bool]) -> tuple[str, Any, str]:
    """Follow the unpicklable part of an unpicklable `obj` inwards.

    Returns
    -------
    path : str
        `path`, extended by the way to the culprit: ``"argument 'cfg'.session['lock']"``.
    culprit : object
        The innermost object that cannot be pickled although none of its parts is to blame.
    reason : str
        What pickling the culprit raised.
    """
    seen = {id(obj)}
    for _ in range(_MAX_DEPTH):
        for step, part in _parts(obj):
            if id(part) not in seen and not is_picklable(part):
                seen.add(id(part))
                path, obj = path + step, part
                break
        else:
            break
    return path, obj, _reason(obj)


def name_kind(obj: Any) -> str:
    """What kind of object it is, with its article: ``"a _thread.lock"``."""
    kind = type(obj)
    return f"a {kind.__qualname__}" if kind.__module__ == "builtins" else f"a {kind.__module__}.{kind.__qualname__}"


def _reason(obj: Any) -> str:
    if isinstance(obj, ContextVar):
        return "register_context('module:variable'), with where it is found, makes it go along with its value"
    import cloudpickle

    try:
        cloudpickle.dumps(obj)
    except Exception as error:  # noqa: BLE001  a reducer may raise anything; its words are what the user needs
        return str(error) or type(error).__name__
    return ""


def _parts(obj: Any) -> Iterator[tuple[str, Any]]:
    for count, part in enumerate(_all_parts(obj)):
        if count == _MAX_PARTS:
            return
        yield part


def _all_parts(obj: Any) -> Iterator[tuple[str, Any]]:
    match obj:
        case dict():
            for key, value in obj.items():
                yield f"[{key!r:.40}]", value
                yield f".key({key!r:.40})", key
        case list() | tuple():
            for position, value in enumerate(obj):
                yield f"[{position}]", value
        case set() | frozenset():
            for value in obj:
                yield f".element({value!r:.40})", value
        case partial():
            yield ".func", obj.func
            yield from ((f".args[{i}]", value) for i, value in enumerate(obj.args))
            yield from ((f".keywords[{name!r}]", value) for name, value in obj.keywords.items())
        case MethodType():
            yield ".__self__", obj.__self__
        case FunctionType():
            yield from _function_parts(obj)
        case _:
            yield from _held(obj)
            yield from _attributes(obj)


def _function_parts(function: FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f".<captured {name}>", cell.cell_contents
        except ValueError:  # an empty cell
            continue
    for position, value in enumerate(function.__defaults__ or ()):
        yield f".<default {position}>", value
    for name in function.__code__.co_names:
        if name in function.__globals__:
            yield f".<global {name}>", function.__globals__[name]


def _held(obj: Any) -> Iterator[tuple[str, Any]]:
    """What arrays and frames hold; their package has been imported, since there is such an object."""
    for base in type(obj).__mro__:
        package = base.__module__.partition(".")[0]
        if package in _ADAPTERS:
            yield from import_module(f"jobspan.arrays.content.{package}").list_parts(obj)
            return


def _attributes(obj: Any) -> Iterator[tuple[str, Any]]:
    for name, value in getattr(obj, "__dict__", {}).items():
        yield f".{name}", value
    for kind in type(obj).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(obj, name):
                yield f".{name}", getattr(obj, name)
