"""What an entry says of its arguments: enough to compare a later call with, in few bytes.

Invariant: costs little whatever the argument, so no array, frame or object of unknown size is asked for its ``repr``.
"""

from __future__ import annotations

import reprlib
from typing import Any

_MAX_CHARS = 80
_SHOWN_MODULES = ("builtins", "datetime", "decimal", "fractions", "pathlib", "uuid", "enum", "numpy")


class _Teller(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = _MAX_CHARS
        self.maxdict = self.maxlist = self.maxtuple = 6

    def repr_instance(self, obj: Any, level: int) -> str:  # noqa: ARG002  as `reprlib` calls it
        kind = type(obj)
        shape, dtype = getattr(obj, "shape", None), getattr(obj, "dtype", None)
        if hasattr(obj, "__qualname__"):  # functions and classes
            return f"<{obj.__qualname__}>"
        if isinstance(obj, bytes | bytearray | memoryview):
            return f"<{kind.__name__} of {len(obj)}>" if len(obj) > _MAX_CHARS // 2 else repr(obj)
        if isinstance(shape, tuple) and shape:
            return f"<{kind.__name__} {shape}{'' if dtype is None else f' {dtype}'}>"
        if kind.__module__.partition(".")[0] in _SHOWN_MODULES or _is_enum(kind):
            text = repr(obj)
            return text if len(text) <= _MAX_CHARS else f"{text[: _MAX_CHARS - 3]}..."
        return f"<{kind.__module__}.{kind.__qualname__}>"


def _is_enum(kind: type) -> bool:
    return any(base.__module__ == "enum" for base in kind.__mro__)


_teller = _Teller()


def tell(value: Any) -> str:
    """A value in at most some eighty characters.

    >>> tell(0.1), tell({"a": [1, 2, 3]}), tell(tell)
    ('0.1', "{'a': [1, 2, 3]}", '<tell>')
    """
    try:
        return _teller.repr(value)[: 2 * _MAX_CHARS]
    except Exception:  # noqa: BLE001  it calls the value's own code
        return f"<{type(value).__name__}>"


def kind_of(value: Any) -> str:
    """The type of a value, as a user would name it.

    >>> kind_of(1), kind_of(None)
    ('int', 'NoneType')
    """
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
