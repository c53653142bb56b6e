"""`shared`: objects that the user hands to many tasks as one.

Invariant: marking changes no object and keeps none alive, apart from lists, dicts and the like, which cannot be
referred to weakly: those are let go as soon as nobody else has them and anybody asks.
"""

from __future__ import annotations

import sys
import weakref
from typing import Any, TypeVar

T = TypeVar("T")

_OURS = 3  # references to an object that only the table has: the table's, the loop's, and the question's own

_weak: dict[int, weakref.ref[Any]] = {}
_strong: dict[int, Any] = {}
_views: dict[int, tuple[weakref.ref[Any], weakref.ref[Any]]] = {}


def shared(obj: T) -> T:
    """Mark an object that many tasks may use as one.

    Parameters
    ----------
    obj : object
        Sent to each worker once for a call, whatever its size: as an argument, inside of one, or captured by a function
        that travels whole. All tasks on a worker are given the same object: what one changes, the next may see.

    Returns
    -------
    object
        The object itself; of a numpy array a read-only view, the same one each time while it lives.

    Notes
    -----
    What the caller changes after the first task was sent, the workers do not see. Where tasks share the caller's
    memory, they have the object anyway.

    Examples
    --------
    >>> from jobspan import Parallel, delayed, shared
    >>> table = shared({"a": 1, "b": 2})
    >>> Parallel(n_jobs=2)(delayed(dict.get)(table, key) for key in "ab")
    [1, 2]
    """
    sweep()
    view: T = _view_of(obj)
    try:
        key = id(view)
        _weak[key] = weakref.ref(view, lambda _: _weak.pop(key, None))
    except TypeError:
        _strong[id(view)] = view
    return view


def is_shared(obj: Any) -> bool:
    """Whether `obj` was marked."""
    key = id(obj)
    if key in _strong:
        return True
    reference = _weak.get(key)
    return reference is not None and reference() is obj


def has_shared() -> bool:
    """Whether anything is marked, so that it is worth looking."""
    return bool(_weak or _strong)


def sweep() -> None:
    """Let go of what nobody else has."""
    for key in list(_strong):
        obj = _strong.get(key)
        if sys.getrefcount(obj) <= _OURS:
            _strong.pop(key, None)


def _view_of(obj: Any) -> Any:
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(obj, numpy.ndarray) or not obj.flags.writeable:
        return obj
    key = id(obj)
    known = _views.get(key)
    view = known[1]() if known is not None and known[0]() is obj else None
    if view is None:
        view = obj.view()
        view.flags.writeable = False
        _views[key] = weakref.ref(obj, lambda _: _views.pop(key, None)), weakref.ref(view)
    return view
