"""Wraps objects that plain pickle refuses, so that it can take them.

Invariant: a wrapper behaves as what it wraps, and pickles it by cloudpickle.
"""

from __future__ import annotations

from typing import Any


def wrap_non_picklable_objects(obj: Any, keep_wrapper: bool = True) -> Any:
    """Make an object that only cloudpickle can pickle acceptable to plain `pickle`.

    jobspan's own backends need no such help: what pickle refuses they give to cloudpickle. It is for pickling by
    others, such as the pools of `multiprocessing`.

    Parameters
    ----------
    obj : object
        A function, an object, or a class, whose instances are then wrapped.
    keep_wrapper : bool
        Whether unpickling gives a wrapper again, which can be pickled in turn; otherwise the object itself.

    Returns
    -------
    object
        Has the attributes of `obj`, and can be called if `obj` can.

    Examples
    --------
    >>> import pickle
    >>> double = wrap_non_picklable_objects(lambda x: 2 * x)
    >>> pickle.loads(pickle.dumps(double))(21)
    42
    """
    if isinstance(obj, type):
        return _wrapping_class(obj, keep_wrapper)
    return (_CallableWrapper if callable(obj) else _Wrapper)(obj, keep_wrapper)


class _Wrapper:
    def __init__(self, obj: Any, keep_wrapper: bool) -> None:
        self._obj = obj
        self._keep_wrapper = keep_wrapper

    def __reduce__(self) -> tuple[Any, ...]:
        import cloudpickle

        return _unwrap, (cloudpickle.dumps(self._obj), self._keep_wrapper)

    def __getattr__(self, name: str) -> Any:
        if name in ("_obj", "_keep_wrapper"):  # copying makes an object without them, and asks it
            raise AttributeError(name)
        return getattr(self._obj, name)

    def __repr__(self) -> str:
        return f"wrap_non_picklable_objects({self._obj!r})"


class _CallableWrapper(_Wrapper):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._obj(*args, **kwargs)


def _unwrap(data: bytes, keep_wrapper: bool) -> Any:
    import cloudpickle

    obj = cloudpickle.loads(data)
    return wrap_non_picklable_objects(obj) if keep_wrapper else obj


def _wrapping_class(kind: type, keep_wrapper: bool) -> type:
    calls = any("__call__" in vars(base) for base in kind.__mro__)
    wrapper: type[_Wrapper] = _CallableWrapper if calls else _Wrapper

    def __init__(self: _Wrapper, *args: Any, **kwargs: Any) -> None:  # noqa: N807  a method, of the class made below
        wrapper.__init__(self, kind(*args, **kwargs), keep_wrapper)

    return type(kind.__name__, (wrapper,), {"__init__": __init__, "__doc__": kind.__doc__})
