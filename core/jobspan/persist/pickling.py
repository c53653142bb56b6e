"""Objects to bytes and back: pickle 5, and cloudpickle for what is defined interactively.

Invariant: what a worker could not import (``__main__``, lambdas, functions inside functions) travels by
value; everything else by reference, through the C pickler and without importing cloudpickle.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any

from jobspan.errors import UnpicklableError
from jobspan.persist.culprit import find_culprit

loads = pickle.loads

BufferSink = Callable[[pickle.PickleBuffer], object]


class _ByValue(Exception):
    """Something in the object must be pickled by value: the C pickler gives up."""


def _travels_by_value(obj: Any) -> bool:
    module = getattr(obj, "__module__", None)
    if module == "__main__" or module is None or "<" in obj.__qualname__:
        return True
    cloudpickle = sys.modules.get("cloudpickle")
    if cloudpickle is None:
        return module not in sys.modules
    by_value = cloudpickle.list_registry_pickle_by_value()
    return module not in sys.modules or any(module == n or module.startswith(n + ".") for n in by_value)


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        # Called for every function and class, and for instances that are no plain builtins; those
        # reach their class next, so only functions and classes need to be looked at.
        if isinstance(obj, FunctionType | type) and _travels_by_value(obj):
            raise _ByValue
        return NotImplemented


def dumps(obj: Any, *, buffer_callback: BufferSink | None = None) -> bytes:
    """Pickle `obj` for another interpreter; with `buffer_callback`, large buffers out of band.

    Raises whatever the pickler raises where even cloudpickle fails: see `explain`.
    """
    sink: list[pickle.PickleBuffer] = []
    callback = None if buffer_callback is None else sink.append
    target = io.BytesIO()
    try:
        _Pickler(target, protocol=5, buffer_callback=callback).dump(obj)
        data = target.getvalue()
    except Exception:  # noqa: BLE001  the C pickler's verdict is not final: cloudpickle knows more kinds of objects
        import cloudpickle

        sink.clear()
        data = cloudpickle.dumps(obj, protocol=5, buffer_callback=callback)
    if buffer_callback is not None:
        for buffer in sink:
            buffer_callback(buffer)
    return data


def is_picklable(obj: Any) -> bool:
    """Whether `dumps` would succeed."""
    try:
        dumps(obj)
    except Exception:  # noqa: BLE001  a reducer may raise anything
        return False
    return True


def explain(candidates: Iterable[tuple[str, Any]], error: Exception) -> UnpicklableError:
    """The error that names which of `candidates` (label, object) cannot be pickled, and why."""
    for label, obj in candidates:
        if not is_picklable(obj):
            path, culprit, reason = find_culprit(obj, label, is_picklable)
            return UnpicklableError(
                f"{path} cannot be pickled, so it cannot be sent to or from a worker: it is "
                f"{_kind(culprit)} ({reason or error}). Create it inside the task, leave it out, or use "
                f"backend='threads', where tasks share the caller's memory."
            )
    return UnpicklableError(f"the batch cannot be pickled: {type(error).__name__}: {error}")


def _kind(obj: Any) -> str:
    kind = type(obj)
    return f"a {kind.__qualname__}" if kind.__module__ == "builtins" else f"a {kind.__module__}.{kind.__qualname__}"
