"""What functions, classes and values are called in identities.

Invariant: no name holds a file, and none differs between the processes of a run.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

from jobspan.persist.content import ATOMS, is_installed
from jobspan.persist.culprit import name_kind

_SHORT = 200
_FEW = 32


def main_is_main(module: str) -> str:
    """The name of a module; `multiprocessing` has another one for what was ``__main__`` before."""
    return "__main__" if module == "__mp_main__" else module


def module_of(named: Any) -> str:
    """The module that a function or class says that it is from."""
    return main_is_main(str(getattr(named, "__module__", None) or ""))


def home_of(function: Any) -> str:
    """The module in which a function looks up its globals."""
    return main_is_main(str(function.__globals__.get("__name__") or module_of(function)))


def is_of_installed(function: Any) -> bool:
    """Whether a function was made by installed code, as the wrappers are that decorators of packages make."""
    return is_installed(function.__globals__.get("__name__"))


def name_of(named: Any) -> str:
    """``"module:qualified.name"``."""
    return f"{module_of(named)}:{getattr(named, '__qualname__', None) or named.__name__}"


def full_name(named: Any) -> str:
    """The same; that of a wrapper, which has the name of what it wraps, with where it was made."""
    code = getattr(named, "__code__", None)
    if code is None or code.co_qualname == named.__qualname__:
        return name_of(named)
    return f"{name_of(named)} <{home_of(named)}:{code.co_qualname}>"


def show(value: Any) -> str:
    """A value in short, without a call of anybody's ``__repr__`` but Python's own."""
    kind = type(value)
    if kind in ATOMS or kind is bytes:
        return repr(value)[:_SHORT]
    if (kind is list or kind is tuple or kind is dict) and len(value) <= _FEW:
        parts = [*value, *value.values()] if kind is dict else value
        if all(type(part) in ATOMS for part in parts):
            return repr(value)[:_SHORT]
    return full_name(value) if isinstance(value, FunctionType | type) else name_kind(value)
