"""Which values of globals and of class attributes are part of an identity: those that are plain data, or name code.

Invariant: whatever is accepted is its content alone: no connection, logger, lock or random generator, nor what holds
one.
"""

from __future__ import annotations

import sys
from collections import OrderedDict, defaultdict, deque
from functools import partial
from types import (
    BuiltinFunctionType,
    EllipsisType,
    FunctionType,
    MappingProxyType,
    MethodType,
    NotImplementedType,
    SimpleNamespace,
)
from typing import Any

from jobspan.persist.content import ADAPTED, ATOMS, CACHED_BY_FUNCTOOLS, is_identified, is_installed, is_registered

_DATA = ATOMS | {bytes, bytearray, range, slice, EllipsisType, NotImplementedType}
_ROWS = (list, tuple, set, frozenset, deque)
_DICTS = frozenset({dict, defaultdict, OrderedDict, MappingProxyType})
_CODE = (FunctionType, type, BuiltinFunctionType)
_PICKLING = ("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__getnewargs__", "__getnewargs_ex__")
_MODULES = frozenset(
    {"datetime", "decimal", "fractions", "ipaddress", "operator", "pathlib", "re", "uuid", "zoneinfo", "array"}
)


def names_code(value: Any) -> bool:
    """Whether a value is a function or a class, or stands for one."""
    return isinstance(value, _CODE) or is_identified(type(value))


def is_simple(value: Any) -> bool:
    """Whether a value's content is all that matters about it."""
    return _is_simple(value, set())


def _is_simple(value: Any, around: set[int]) -> bool:
    kind = type(value)
    if kind in _DATA or names_code(value) or isinstance(value, CACHED_BY_FUNCTOOLS) or is_registered(kind):
        return True
    if id(value) in around:  # it contains itself
        return True
    around = around | {id(value)}
    parts = _parts(value, kind)
    return parts is not None and (_are_data(parts) or all(_is_simple(part, around) for part in parts))


def _is_plain_class(kind: type) -> bool:
    """Whether objects of a class of the user's own are what is in their attributes."""
    bases = kind.__mro__[:-1]
    if type(kind) is not type or any(is_installed(base.__module__) and base.__module__ != "__main__" for base in bases):
        return False
    return not any("__slots__" in vars(base) for base in bases) and all(
        getattr(kind, name, None) is getattr(object, name, None) for name in _PICKLING
    )


def _are_data(parts: list[Any]) -> bool:
    return _DATA.issuperset(map(type, parts))


def _parts(value: Any, kind: type) -> list[Any] | None:
    """What must be simple for the value to be so; None if it is not, whatever is in it."""
    if issubclass(kind, _ROWS) and (kind in _ROWS or hasattr(kind, "_fields")):
        return list(value)
    if kind in _DICTS or (kind.__module__ == "collections" and issubclass(kind, dict)):
        return [*value.keys(), *value.values()]
    if kind is SimpleNamespace:
        return list(vars(value).values())
    if isinstance(value, partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, MethodType):
        return [value.__func__, value.__self__]
    if hasattr(kind, "__dataclass_fields__"):
        return [getattr(value, name, None) for name in kind.__dataclass_fields__]
    if _is_plain_class(kind):
        return list(getattr(value, "__dict__", {}).values())
    enum = sys.modules.get("enum")
    if enum is not None and issubclass(kind, enum.Enum):
        return []
    package, _, rest = kind.__module__.partition(".")
    if package in _MODULES or (package in ADAPTED and "random" not in rest):
        return []
    return None
