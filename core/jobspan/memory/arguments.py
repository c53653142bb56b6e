"""A call's arguments, by their names: `f(1, 2)`, `f(1, b=2)` and, where 2 is b's default, `f(1)` are the same call.

Invariant: two calls have the same values here exactly if the function cannot tell them apart by its parameters.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from functools import partial
from types import FunctionType
from typing import Any

_STARS = 0x04 | 0x08  # flags of code whose function takes *args, or **kwargs
_STARRED = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}  # by inspect's names of their kinds


class Binder:
    """Brings the arguments of calls of a function in order.

    Parameters
    ----------
    function : callable
        The function.

    Attributes
    ----------
    names : tuple of str
        Its parameters; those with stars are called ``"*"`` and ``"**"``, as joblib does.

    Raises
    ------
    TypeError
        If its parameters cannot be found out.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._defaults: tuple[Any, ...] = ()
        self._plain = _is_plain(function)
        if self._plain:
            code = function.__code__
            self.names: tuple[str, ...] = code.co_varnames[: code.co_argcount]
            self._defaults = function.__defaults__ or ()
        else:
            self.names = tuple(
                _STARRED.get(each.kind.name, each.name) for each in self._signature().parameters.values()
            )
        self._count = len(self.names)

    def _signature(self) -> Any:
        from inspect import signature

        try:
            return signature(self._function)
        except (ValueError, TypeError):
            raise TypeError(
                f"the parameters of {self._function!r} cannot be found out, so its calls cannot be told apart. Wrap it "
                f"in a function with named parameters, and cache that."
            ) from None

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sequence[Any]:
        """The values of all parameters, in the order of `names`.

        Raises
        ------
        TypeError
            If the function does not take these arguments.
        """
        if not self._plain:
            return self._bind_slowly(args, kwargs)
        given = len(args)
        if given == self._count and not kwargs:
            return args
        if given > self._count:
            return self._bind_slowly(args, kwargs)
        values = list(args)
        rest = self.names[given:]
        first_default = self._count - len(self._defaults)
        used = 0
        for position, name in enumerate(rest, given):
            if name in kwargs:
                values.append(kwargs[name])
                used += 1
            elif position >= first_default:
                values.append(self._defaults[position - first_default])
            else:
                return self._bind_slowly(args, kwargs)
        return values if used == len(kwargs) else self._bind_slowly(args, kwargs)

    def _bind_slowly(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sequence[Any]:
        signature = self._signature()
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            name = getattr(self._function, "__qualname__", repr(self._function))
            raise TypeError(f"{name}(): {error}") from None
        bound.apply_defaults()
        return list(bound.arguments.values())


def _is_plain(function: Any) -> bool:
    """Whether its parameters can all be given by position and by name, as most functions' can."""
    if type(function) is not FunctionType or function.__dict__:  # there may be a __wrapped__, or a __signature__
        return False
    code = function.__code__
    return not (code.co_flags & _STARS or code.co_posonlyargcount or code.co_kwonlyargcount)


def unwrap_partial(function: Any) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """The function that a `functools.partial`, or a bound method, calls, and the arguments that it adds."""
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    while True:
        if isinstance(function, partial):
            if _has_places(function):
                return function, args, kwargs
            args = (*function.args, *args)
            kwargs = {**function.keywords, **kwargs}
            function = function.func
        elif isinstance(function, staticmethod):
            function = function.__func__
        elif hasattr(function, "__func__") and hasattr(function, "__self__"):
            args = (function.__self__, *args)
            function = function.__func__
        else:
            return function, args, kwargs


def _has_places(function: Any) -> bool:
    """Whether a partial leaves places free between its arguments, as those of Python 3.14 may."""
    place = getattr(functools, "Placeholder", function)
    return any(each is place for each in function.args)
