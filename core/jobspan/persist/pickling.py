"""Objects to bytes and back: pickle 5, and cloudpickle for what is defined interactively.

Invariant: what a worker could not import (``__main__``, lambdas, functions inside functions) travels by
value; everything else by reference, through the C pickler and without importing cloudpickle.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable, Iterable
from functools import cache
from types import CodeType, FunctionType
from typing import Any, Protocol, TypeAlias

from jobspan.errors import UnpicklableError
from jobspan.persist.culprit import find_culprit, name_kind

loads = pickle.loads

_ATOMS = frozenset({type(None), bool, int, float, str})  # of which nobody has a say, and a pickler costs most
_SCRIPTS = frozenset({"__main__", "__mp_main__"})  # multiprocessing runs it under the second name in its children
_NO_FILE = "<dynamic-code>"  # what cloudpickle 3.1.3 writes instead of a file name

BufferSink: TypeAlias = Callable[[pickle.PickleBuffer], object]
"""Takes a buffer that stays out of band, in the order in which `loads` wants them back."""

Reducer: TypeAlias = Callable[[Any], Any]
"""As ``reducer_override`` of a pickler, for what is no function or class."""

Setter: TypeAlias = Callable[[FunctionType, Any], None]
"""Sets the state of a function that traveled by value: a pair of what would have set it, and the state."""


class References(Protocol):
    """What a pickle does not hold but refers to: `load_referring` is given it on the other side."""

    @property
    def active(self) -> bool:
        """Whether there is anything to refer to; otherwise nobody asks, which is several times faster."""

    def refer(self, obj: Any, /) -> Any:
        """What to write in place of `obj`, if it is such an object; None if not."""

    def define(self, obj: Any, /) -> bool:
        """Whether this function or class, which would travel by value, is referred to from now on instead."""


class _ByValue(Exception):
    """Something in the object must be pickled by value: the C pickler gives up."""

    def __init__(self, obj: Any) -> None:
        self.obj = obj


def travels_by_value(obj: Any) -> bool:
    """Whether a function or class goes into the pickle whole, since a worker could not import it."""
    module = getattr(obj, "__module__", None)
    if module in _SCRIPTS or module is None or "<" in obj.__qualname__:
        return True
    cloudpickle = sys.modules.get("cloudpickle")
    if cloudpickle is None:
        return module not in sys.modules
    by_value = cloudpickle.list_registry_pickle_by_value()
    return module not in sys.modules or any(module == n or module.startswith(n + ".") for n in by_value)


class _Pickler(pickle.Pickler):
    reducer: Reducer | None = None

    def reducer_override(self, obj: Any) -> Any:
        # Called for every function and class, and for instances that are no plain builtins; those
        # reach their class next, so only functions and classes need to be looked at.
        if isinstance(obj, FunctionType | type):
            if travels_by_value(obj):
                raise _ByValue(obj)
            return NotImplemented
        return NotImplemented if self.reducer is None else self.reducer(obj)


def dumps(
    obj: Any,
    *,
    buffer_callback: BufferSink | None = None,
    least: int = 0,
    reducer: Reducer | None = None,
    references: References | None = None,
    function_setter: Setter | None = None,
) -> bytes:
    """Pickle `obj` for another interpreter.

    Raises whatever the pickler raises where even cloudpickle fails: see `explain`.

    Parameters
    ----------
    buffer_callback : callable, optional
        Takes the buffers that stay out of band.
    least : int
        Smaller buffers go into the pickle.
    reducer : callable, optional
        Has a say in how instances are pickled.
    references : References, optional
        What is referred to instead of pickled.
    function_setter : callable, optional
        What sets the state of functions that travel by value; it is named in the pickle.
    """
    if type(obj) in _ATOMS:
        return pickle.dumps(obj, 5)
    sink: list[pickle.PickleBuffer] = []
    callback = None if buffer_callback is None else _sort_out(sink, least)
    while True:
        try:
            data = _dump(_Pickler, obj, callback, reducer, references)
        except Exception as obstacle:  # noqa: BLE001  the C pickler's verdict is not final: cloudpickle knows more
            sink.clear()
            if references is not None and isinstance(obstacle, _ByValue) and references.define(obstacle.obj):
                continue
            data = _dump(_cloud_pickler(), obj, callback, reducer, references, function_setter)
        break
    if buffer_callback is not None:
        for buffer in sink:
            buffer_callback(buffer)
    return data


def _dump(
    kind: Any,
    obj: Any,
    callback: Callable[[pickle.PickleBuffer], bool] | None,
    reducer: Reducer | None,
    references: References | None,
    function_setter: Setter | None = None,
) -> bytes:
    target = io.BytesIO()
    pickler = kind(target, protocol=5, buffer_callback=callback)
    if reducer is not None:
        pickler.reducer = reducer
    if function_setter is not None:
        pickler.function_setter = function_setter
    if references is not None and references.active:
        pickler.persistent_id = references.refer
    pickler.dump(obj)
    return target.getvalue()


def _sort_out(sink: list[pickle.PickleBuffer], least: int) -> Callable[[pickle.PickleBuffer], bool]:
    """A pickler's buffer callback: what it answers with True goes into the pickle."""

    def take(buffer: pickle.PickleBuffer) -> bool:
        if least and buffer.raw().nbytes < least:
            return True
        sink.append(buffer)
        return False

    return take


@cache
def _cloud_pickler() -> Any:
    import cloudpickle

    class CloudPickler(cloudpickle.Pickler):  # type: ignore[misc]
        reducer: Reducer | None = None
        function_setter: Setter | None = None

        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, FunctionType | type) and obj.__module__ == "__mp_main__":
                cloudpickle.register_pickle_by_value(sys.modules["__mp_main__"])
            if type(obj) is CodeType:
                return _name_file(obj, self.dispatch_table[CodeType](obj))
            if self.reducer is not None and not isinstance(obj, FunctionType | type):
                reduced = self.reducer(obj)
                if reduced is not NotImplemented:
                    return reduced
            reduced = super().reducer_override(obj)
            if self.function_setter is not None and isinstance(obj, FunctionType) and reduced is not NotImplemented:
                make, arguments, state, items, entries, set_state = reduced
                return make, arguments, (set_state, state), items, entries, self.function_setter
            if isinstance(obj, type) and "__slots__" in vars(obj) and reduced is not NotImplemented:
                return _with_slots(obj, reduced)
            return reduced

    return CloudPickler


def _with_slots(kind: Any, reduced: Any) -> Any:
    """What cloudpickle makes of a class, with its slots: objects that have a dict instead do not fit the original."""
    make, arguments, *rest = reduced
    namespace = {"__slots__": kind.__slots__}
    return make, tuple({**each, **namespace} if isinstance(each, dict) else each for each in arguments), *rest


def _name_file(code: CodeType, reduced: Any) -> Any:
    """What cloudpickle makes of a code object, with its file: some versions leave that out, and tracebacks need it."""
    make, arguments, *rest = reduced
    return make, tuple(code.co_filename if each == _NO_FILE else each for each in arguments), *rest


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: Any, buffers: Iterable[Any], fetch: Callable[[Any], Any]) -> None:
        super().__init__(io.BytesIO(data), buffers=buffers)
        self._fetch = fetch

    def persistent_load(self, key: Any) -> Any:
        return self._fetch(key)


def load_referring(data: Any, *, buffers: Iterable[Any], fetch: Callable[[Any], Any]) -> Any:
    """Unpickle what `dumps` made with `references`; `fetch` answers with what a number stands for."""
    return _Unpickler(data, buffers, fetch).load()


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
                f"{name_kind(culprit)} ({reason or error}). Create it inside the task, leave it out, or use "
                f"backend='threads', where tasks share the caller's memory."
            )
    return UnpicklableError(f"the batch cannot be pickled: {type(error).__name__}: {error}")
