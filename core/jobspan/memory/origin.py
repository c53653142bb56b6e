"""Of which code and arguments a loop is, so that it is not taken up again by another one.

Invariant: two origins are the same only if the code of the function, and each of its arguments or what was named in
their place, have the same digest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, NamedTuple, Self

from jobspan.errors import UnhashableError
from jobspan.persist.hashing import digest

_HAS_ARGUMENTS = 0x1  # of code's flags: a function's, rather than a module's, a cell's or a class's
_HAS_ROW, _HAS_NAMES = 0x4, 0x8  # *args, **kwargs
_NAMED = "of"


class Origin(NamedTuple):
    """What a loop is known by.

    Attributes
    ----------
    where : str
        The function that it stands in; empty in a script's or a notebook's own lines, whose code is not looked at.
    code : str
        The digest of the function's code.
    arguments : dict
        The digest of each of its arguments; or of what was named in their place, as ``of``.
    """

    where: str
    code: str
    arguments: dict[str, str]

    @classmethod
    def of_frame(cls, frame: FrameType, named: Any, passed: object) -> Self:
        """That of the loop which a function is about to begin; `passed` does not count as its argument.

        Raises
        ------
        UnhashableError
            If an argument has no content to go by.
        """
        code = frame.f_code
        if not code.co_flags & _HAS_ARGUMENTS:
            return cls("", "", _digests("", {}, named))
        count = code.co_argcount + code.co_kwonlyargcount
        count += bool(code.co_flags & _HAS_ROW) + bool(code.co_flags & _HAS_NAMES)
        values = frame.f_locals
        arguments = {name: values[name] for name in code.co_varnames[:count] if name in values}
        arguments = {name: value for name, value in arguments.items() if value is not passed}
        return cls(code.co_qualname, digest(code).hex(), _digests(code.co_qualname, arguments, named))

    @classmethod
    def of_call(cls, function: Callable[..., Any], args: Any, kwargs: Any, named: Any) -> Self:
        """That of the loop in a call of a function, whose first argument does not count; raises as `of_frame` does."""
        import inspect

        bound = inspect.signature(function).bind(None, *args, **kwargs)
        bound.apply_defaults()
        arguments = dict(list(bound.arguments.items())[1:])
        code: Any = getattr(inspect.unwrap(function), "__code__", function)
        where: str = getattr(function, "__qualname__", repr(function))
        return cls(where, digest(code).hex(), _digests(where, arguments, named))

    def explain_difference(self, other: Origin, python: str) -> str:
        """What another one, of that version of Python, has that this one has not; empty if they are the same."""
        what = []
        if self.code != other.code:
            where = f"the code of {self.where}" if self.where else "the code"
            then, now = python.rpartition(".")[0], _python()
            what.append(f"{where} is not what it was" + (f" (on Python {then}; this is {now})" if then != now else ""))
        names = [name for name in self.arguments | other.arguments if not _have_same(self, other, name)]
        if _NAMED in names:
            what.append("what it depends on (of=) is not what it was")
            names = []
        if names:
            what.append(f"of its arguments, {', '.join(names)} {'is' if len(names) == 1 else 'are'} not as before")
        return ", and ".join(what)


def _have_same(first: Origin, second: Origin, name: str) -> bool:
    return first.arguments.get(name) == second.arguments.get(name)


def _digests(where: str, arguments: Mapping[str, Any], named: Any) -> dict[str, str]:
    if named is not None:
        return {_NAMED: digest(named).hex()}
    found = {}
    for name, value in arguments.items():
        try:
            found[name] = digest(value).hex()
        except UnhashableError as error:
            raise UnhashableError(
                f"nobody could tell whether {where} has the same argument {name} when its loop is taken up again: "
                f"{error} Or say what the loop depends on: checkpoint(..., of=(...))."
            ) from error
    return found


def _python() -> str:
    import sys

    return "{}.{}".format(*sys.version_info)
