"""Reads pickles of plain values and arrays, and refuses all others by name: no code of anybody's is run.

A pickle is a program. What it may call here are functions of this module, which look at what they are given, and a few
types of the standard library that do nothing but hold a value; what it may change are objects that those have made.

Invariant: whatever the bytes are, what is run is only what stands in `_SAFE`, or what the user trusts; the memory that
is taken is in proportion to the bytes that are there.
"""

from __future__ import annotations

import pickle
import re
import sys
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, ClassVar

from jobspan.errors import UntrustedError
from jobspan.file.unpicklers import BuildingUnpickler, find_anything

_ARRAYS = "jobspan.arrays.rebuild"
_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes, type(...)})
_VALUES = ("datetime", "decimal", "fractions", "uuid", "pathlib")  # modules whose objects are values without parts
_SIZED = frozenset({bytes, bytearray, str, list, tuple, dict, set, frozenset, deque, OrderedDict})
_FREE_BYTES, _SHARE = 1 << 24, 16  # calls may be given so much, and so many times the bytes that were read
_MOST_PARTS = 10_000  # of a key: hashing one goes through all of its parts, each time it meets them


class Trust:
    """What may be named by a pickle.

    Parameters
    ----------
    trusted : "data", or iterable of types, functions and modules
        What may be named beside plain values and arrays. A module stands for all that is in it, and in those below it.

    Raises
    ------
    ValueError
        If it is something else.
    """

    def __init__(self, trusted: Any) -> None:
        more: list[Any] = []
        if trusted != "data":
            if isinstance(trusted, str | bytes) or not isinstance(trusted, Iterable):
                raise ValueError(f"trusted={trusted!r} is neither 'data' nor a list of types, functions and modules.")
            more = list(trusted)
            for each in more:
                if not isinstance(each, ModuleType) and not (
                    hasattr(each, "__module__") and hasattr(each, "__qualname__")
                ):
                    raise ValueError(f"trusted= lists types, functions and modules themselves, and {each!r} is none.")
        self._modules = tuple(each.__name__ for each in more if isinstance(each, ModuleType))
        self._names = {(each.__module__, each.__qualname__) for each in more if not isinstance(each, ModuleType)}

    def covers(self, module: str, name: str) -> bool:
        """Whether the user has said so."""
        inside = any(module == trusted or module.startswith(trusted + ".") for trusted in self._modules)
        return (inside and "." not in name) or (module, name) in self._names

    def find(self, module: str, name: str) -> Any:
        """What the pickle calls by these names, if it may."""
        if self.covers(module, name):
            found = find_anything(module, name)
            is_its_own = getattr(found, "__module__", module) == module and not isinstance(found, ModuleType)
            if is_its_own or (module, name) in self._names:
                return found  # what a module has imported from elsewhere is no part of it
        safe = find_safe(module, name)
        if safe is None:
            raise UntrustedError(
                f"the file names {module}.{name}, which is not trusted: only plain values and arrays are, and what "
                f"trusted= lists, types or whole modules. jobspan.inspect tells of all that it names; if you trust the "
                f"file, load it without trusted=."
            )
        return safe

    def may_build(self, obj: Any) -> bool:
        """Whether an object may be given its state by its own code."""
        return self.covers(type(obj).__module__, type(obj).__qualname__)


def find_safe(module: str, name: str) -> Any:
    """What stands here for what a pickle of plain values and arrays names; None if it is nothing of that kind."""
    if module.startswith("pathlib."):
        module = "pathlib"
    if module.startswith("numpy.core."):  # as numpy called it before its version 2
        module = "numpy._core." + module.removeprefix("numpy.core.")
    if (module, name) in _NUMPY:
        from jobspan.arrays.checked import CHECKED

        return CHECKED[name]
    return _SAFE[module, name]() if (module, name) in _SAFE else None


class DataUnpickler(BuildingUnpickler):
    """Reads the pickle of a file that is not trusted.

    Parameters
    ----------
    file : file object
        The pickle; what it says of its length must be true.
    trust : Trust
        What it may name.
    buffers : iterable
        Its buffers.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(BuildingUnpickler.dispatch)

    def __init__(self, file: Any, trust: Trust, buffers: Iterable[Any] | None = None) -> None:
        super().__init__(file, trust.find, buffers)
        self.trust = trust
        self._consumed: Callable[[], int] = file.tell
        self._spent = 0

    def build(self, obj: Any, state: Any) -> Any:
        """Give an object its state, if that is safe."""
        self._spend(state)
        numpy = sys.modules.get("numpy")
        if numpy is not None and isinstance(obj, numpy.ndarray | numpy.dtype):
            from jobspan.arrays.checked import set_state

            return set_state(obj, state)
        if type(obj).__module__ == "uuid" and isinstance(state, dict) and isinstance(state.get("int"), int):
            return type(obj)(int=state["int"] & ((1 << 128) - 1))
        if self.trust.may_build(obj):
            return super().build(obj, state)
        raise UntrustedError(f"the file sets the state of a {type(obj).__name__}, which is no plain value.")

    def load_bytearray8(self) -> None:
        """Read a bytearray; memory for it is taken only where its bytes are there."""
        nbytes = int.from_bytes(self.read(8), "little")
        data = self.read(nbytes) if nbytes <= sys.maxsize else b""
        if len(data) != nbytes:
            raise EOFError
        self.append(bytearray(data))

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8

    def get_extension(self, code: int) -> None:
        """Refuse what is named by a number."""
        raise UntrustedError(f"the file names something by its number in copyreg, {code}.")

    def load_reduce(self) -> None:
        """Call something, when what it is given is no more than its share."""
        self._spend(self.stack[-1])
        super().load_reduce()

    def load_readonly_buffer(self) -> None:
        """Make a buffer of the file's read-only, and nothing else."""
        if type(self.stack[-1]) not in (bytearray, memoryview):
            raise ValueError("no buffer")
        super().load_readonly_buffer()

    def load_setitem(self) -> None:
        """Put a pair into a dict, when its key is known to be harmless."""
        self._check_target(self.stack[-3], dict, OrderedDict)
        self._check_keys(self.stack[-2:-1])
        super().load_setitem()

    def load_setitems(self) -> None:
        """Put pairs into a dict, when their keys are known to be harmless."""
        self._check_target(self.metastack[-1][-1], dict, OrderedDict)
        self._check_keys(self.stack[::2])
        super().load_setitems()

    def load_dict(self) -> None:
        """Make a dict of pairs, when their keys are known to be harmless."""
        self._check_keys(self.stack[::2])
        super().load_dict()

    def load_append(self) -> None:
        """Put an item into a list."""
        self._check_target(self.stack[-2], list, deque)
        super().load_append()

    def load_appends(self) -> None:
        """Put items into a list."""
        self._check_target(self.metastack[-1][-1], list, deque)
        super().load_appends()

    def load_additems(self) -> None:
        """Put elements into a set, when they are known to be harmless."""
        self._check_target(self.metastack[-1][-1], set)
        self._check_keys(self.stack)
        super().load_additems()

    def load_frozenset(self) -> None:
        """Make a frozenset, when its elements are known to be harmless."""
        self._check_keys(self.stack)
        super().load_frozenset()

    def _check_target(self, obj: Any, *kinds: type) -> None:
        """Raise unless what is to be changed is such an object, or one that may change itself."""
        if type(obj) not in kinds and not self.trust.may_build(obj):
            raise UntrustedError(f"the file changes a {type(obj).__name__}, which is no plain value.")

    def _check_keys(self, keys: Iterable[Any]) -> None:
        _check_keys(keys, self.trust.may_build)

    def _spend(self, arguments: Any) -> None:
        """Raise if calls were given more, over and over again, than stands in the file."""
        self._spent += sum(len(each) for each in arguments if type(each) in _SIZED) if type(arguments) is tuple else 0
        if self._spent > _FREE_BYTES + _SHARE * self._consumed():
            raise ValueError("it would take much more memory than it has bytes")

    for _opcode, _method in (
        (pickle.REDUCE, load_reduce),
        (pickle.READONLY_BUFFER, load_readonly_buffer),
        (pickle.SETITEM, load_setitem),
        (pickle.SETITEMS, load_setitems),
        (pickle.DICT, load_dict),
        (pickle.APPEND, load_append),
        (pickle.APPENDS, load_appends),
        (pickle.ADDITEMS, load_additems),
        (pickle.FROZENSET, load_frozenset),
    ):
        dispatch[_opcode[0]] = _method
    del _opcode, _method


def _check_keys(keys: Iterable[Any], may_be: Callable[[Any], bool] = lambda _: False) -> None:
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
                raise ValueError(f"a {kind.__name__} is no key of plain values")
        level = [part for each in level if type(each) in (tuple, frozenset) for part in each]
        seen, depth = seen + len(level), depth + 1
        if seen > _MOST_PARTS or depth > 100:
            raise ValueError("a key is nested too deeply, or has too many parts")


def _of(*kinds: type) -> Callable[[Any], Any]:
    """Raises unless it is given one of these types exactly."""

    def check(obj: Any) -> Any:
        if type(obj) not in kinds:
            raise TypeError(f"{type(obj).__name__} where the file should have {kinds[0].__name__}")
        return obj

    return check


def _set(items: Any) -> set[Any]:
    _check_keys(_of(list, tuple)(items))
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
    _check_keys([key for key, _ in _of(list, tuple)(items)])
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
    ("builtins", "Ellipsis"): lambda: ...,
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
    ("numpy.ma.core", "MaskedArray"),
    *(("numpy._core.multiarray", name) for name in ("_reconstruct", "scalar")),
    ("numpy._core.numeric", "_frombuffer"),
}
