"""Finds a backend by name.

Invariant: a backend's module is imported when its name is first resolved, never before; the error for an unknown
name lists the known ones.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeAlias

Factory: TypeAlias = Callable[..., Any]

_BUILT_IN = {
    "sequential": "jobspan.backends.sequential:SequentialBackend",
    "threads": "jobspan.backends.threads:ThreadsBackend",
    "loky": "jobspan.backends.loky:LokyBackend",
    "multiprocessing": "jobspan.backends.multiprocessing:MultiprocessingBackend",
    "web": "jobspan.backends.web:make_shared",
}
_IDLE_ALONE = frozenset({"auto", "sequential", "threads", "loky", "multiprocessing"})
_ALIASES = {"threading": "threads", "processes": "loky"}

_registered: dict[str, Factory] = {}
_default: list[str] = ["auto"]


def register(name: str, factory: Factory, *, make_default: bool = False) -> None:
    """Make `factory` available under `name`; called when the backend is first used."""
    _registered[name] = factory
    _instances.pop(name, None)
    if make_default:
        _default[0] = name


def default_name() -> str:
    """The backend that is used where none is named."""
    return _default[0]


def canonical(name: str) -> str:
    """The name itself, or the one it is an alias of."""
    return name if name in _registered else _ALIASES.get(name, name)


def is_idle_alone(name: str) -> bool:
    """Whether a single worker of this built-in backend would only cost time, known without importing it."""
    name = canonical(name)
    return name in _IDLE_ALONE and name not in _registered


def is_registered(name: str) -> bool:
    """Whether the name was given by `register`; its parameters are its factory's business."""
    return name in _registered


def names() -> list[str]:
    """All names that `find` knows."""
    return sorted({"auto", *_BUILT_IN, *_ALIASES, *_registered})


_instances: dict[str, Any] = {}


def find(name: str, params: tuple[tuple[str, Any], ...] = ()) -> Any:
    """The backend of this name, made once; with parameters for a registered factory, made anew.

    Raises
    ------
    ValueError
        For a name that is not known.
    """
    name = canonical(name)
    if params:
        return make(name, params)
    if name not in _instances:
        if name in _registered:
            found = make(name)
        elif name in _BUILT_IN:
            module, _, attribute = _BUILT_IN[name].partition(":")
            found = getattr(import_module(module), attribute)()
        else:
            raise ValueError(
                f"no backend is called {name!r}; there are {', '.join(names())}, or give an Executor, as "
                f"client.get_executor() of Dask."
            )
        _instances.setdefault(name, found)  # another thread may have been faster
    return _instances[name]


def make(name: str, params: tuple[tuple[str, Any], ...] = ()) -> Any:
    """Another instance of what was registered."""
    return _registered[name](**dict(params))
