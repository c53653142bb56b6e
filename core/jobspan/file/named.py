"""What stands for what a pickle of plain values and arrays names: functions that look at what they are given.

Invariant: nothing of a file's is run here, keys are hashed only when that is known to be harmless, and what is called
holds no more than it was given.
"""

from __future__ import annotations

import re
import sys
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Any

from jobspan.errors import UntrustedError
from jobspan.file.unpicklers import find_anything

_ARRAYS = "jobspan.arrays.rebuild"
_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes, type(...)})
_VALUES = ("datetime", "decimal", "fractions", "uuid", "pathlib")  # modules whose objects are values without parts
_MOST_PARTS = 10_000  # of a key: hashing one goes through all of its parts, each time it meets them
_NEED_STATE = {("uuid", "UUID")}


class StandIn:
    """Stands for a function or class that a pickle names: it may be called, and is no value.

    Parameters
    ----------
    name : str
        What the pickle calls it.
    means : object
        What is called; a class also where the pickle makes an object without calling it.
    needs_state : bool
        Whether what that makes is nothing before it is given its state.
    """

    def __init__(self, name: str, means: Any, needs_state: bool = False) -> None:
        self.name = name
        self.means = means
        self.needs_state = needs_state

    def __call__(self, *arguments: Any) -> Any:
        """Call it."""
        return self.means(*arguments)


def find_safe(module: str, name: str) -> Any:
    """What stands here for what a pickle of plain values and arrays names; None if it is nothing of that kind."""
    if (module, name) == ("builtins", "Ellipsis"):  # which has no other pickle than its name
        return ...
    said = f"{module}.{name}"
    if module.startswith("pathlib."):
        module = "pathlib"
    if module.startswith("numpy.core."):  # as numpy called it before its version 2
        module = "numpy._core." + module.removeprefix("numpy.core.")
    if (module, name) in _NUMPY:
        from jobspan.arrays.checked import CHECKED

        return StandIn(said, CHECKED[name])
    if (module, name) in _SAFE:
        return StandIn(said, _SAFE[module, name](), (module, name) in _NEED_STATE)
    return None


def makes_arrays(module: str, name: str) -> bool:
    """Whether that is one of the functions and classes of arrays."""
    return (module, name) in _NUMPY


def check_keys(keys: Iterable[Any], may_be: Callable[[Any], bool] = lambda _: False) -> None:
    """Raise unless all are plain values that can be hashed soon, or something that `may_be` a key besides."""
    for key in keys:
        if type(key) not in _ATOMS:
            _check_key(key, may_be)


def _check_key(key: Any, may_be: Callable[[Any], bool]) -> None:
    """Refuse a key that is no plain value, or whose hash would take for ever, or more of the stack than there is."""
    level: list[Any] = [key]
    seen = depth = 0
    numpy = sys.modules.get("numpy")
    while level:
        for part in level:
            kind = type(part)
            is_value = kind in _ATOMS or kind in (tuple, frozenset) or kind.__module__.partition(".")[0] in _VALUES
            is_value = is_value or (numpy is not None and isinstance(part, numpy.generic))
            if not is_value and not may_be(part):
                if kind is StandIn:
                    raise refuse_as_value(part.name)
                raise ValueError(f"a {kind.__name__} is no key of plain values")
        level = [part for each in level if type(each) in (tuple, frozenset) for part in each]
        seen, depth = seen + len(level), depth + 1
        if seen > _MOST_PARTS or depth > 100:
            raise ValueError("a key is nested too deeply, or has too many parts")


def refuse_as_value(name: str) -> UntrustedError:
    """The error for a function or class in the place of a value."""
    return UntrustedError(
        f"the file holds {name} itself, where a plain value should be; if you trust it, list it in trusted=."
    )


def _of(*kinds: type) -> Callable[[Any], Any]:
    """Raises unless it is given one of these types exactly."""

    def check(obj: Any) -> Any:
        if type(obj) not in kinds:
            raise TypeError(f"{type(obj).__name__} where the file should have {kinds[0].__name__}")
        return obj

    return check


def _set(items: Any) -> set[Any]:
    check_keys(_of(list, tuple)(items))
    return set(items)


def _frozenset(items: Any = ()) -> frozenset[Any]:
    return frozenset(_set(items))


def _complex(real: Any, imag: Any) -> complex:
    return complex(_of(float, int)(real), _of(float, int)(imag))


def _bytearray(data: Any = b"", encoding: Any = None) -> bytearray:
    if encoding is not None:
        return bytearray(_encode(data, encoding))
    return bytearray(_of(bytes)(data))


def _slice(start: Any, stop: Any, step: Any) -> slice:
    return slice(start, stop, step)


def _range(start: Any, stop: Any, step: Any) -> range:
    return range(*map(_of(int), (start, stop, step)))


def _ordered_dict(items: Any = ()) -> OrderedDict[Any, Any]:
    check_keys([key for key, _ in _of(list, tuple)(items)])
    return OrderedDict(items)


def _counter(counts: Any) -> Counter[Any]:
    return Counter(_of(dict)(counts))


def _deque(items: Any = (), maxlen: Any = None) -> deque[Any]:
    return deque(_of(list, tuple)(items), None if maxlen is None else _of(int)(maxlen))


def _fraction(numerator: Any, denominator: Any = None) -> Any:
    from fractions import Fraction

    if denominator is None:
        parts = re.fullmatch(r"(-?\d{1,4000})(?:/(\d{1,4000}))?", _of(str)(numerator))
        if parts is None:
            raise ValueError("no fraction")
        numerator, denominator = int(parts[1]), int(parts[2] or 1)
    return Fraction(_of(int)(numerator), _of(int)(denominator))


def _encode(text: Any, encoding: Any) -> bytes:
    """How protocols before 3 write bytes."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError("no encoding of bytes")
    data: bytes = _of(str)(text).encode("latin1")
    return data


def _own(module: str, name: str) -> Callable[[], Any]:
    return lambda: find_anything(module, name)


_SAFE: dict[tuple[str, str], Callable[[], Any]] = {
    ("builtins", "set"): lambda: _set,
    ("builtins", "frozenset"): lambda: _frozenset,
    ("builtins", "complex"): lambda: _complex,
    ("builtins", "bytearray"): lambda: _bytearray,
    ("builtins", "slice"): lambda: _slice,
    ("builtins", "range"): lambda: _range,
    ("collections", "OrderedDict"): lambda: _ordered_dict,
    ("collections", "Counter"): lambda: _counter,
    ("collections", "deque"): lambda: _deque,
    ("fractions", "Fraction"): lambda: _fraction,
    ("_codecs", "encode"): lambda: _encode,
    ("decimal", "Decimal"): _own("decimal", "Decimal"),
    ("uuid", "UUID"): _own("uuid", "UUID"),
    **{("datetime", name): _own("datetime", name) for name in ("date", "time", "datetime", "timedelta", "timezone")},
    **{
        ("pathlib", name): _own("pathlib", name)
        for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
    },
}
"""What a pickle of plain values names, and what answers for it: types of Python's own only where all that they do with
what they are given is to hold it."""

_NUMPY = {
    *((_ARRAYS, name) for name in ("array", "strided", "subclass", "masked")),
    *(("numpy", name) for name in ("dtype", "ndarray", "recarray", "record", "matrix", "rec.recarray", "rec.record")),
    *(("numpy.rec", name) for name in ("recarray", "record")),
    ("numpy.ma", "MaskedArray"),
    *(("numpy.ma.core", name) for name in ("MaskedArray", "_mareconstruct")),
    *(("numpy._core.multiarray", name) for name in ("_reconstruct", "scalar")),
    ("numpy._core.numeric", "_frombuffer"),
}
