"""Of which code and arguments a loop is, so that it is not taken up again by another one.

Invariant: two origins are the same only if the code of the function, the simple values that it finds around it, and
each of its arguments, or what was named in their place, have the same digest.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FrameType, FunctionType
from typing import Any, NamedTuple, Self

from jobspan.errors import UnhashableError
from jobspan.persist.content import ATOMS
from jobspan.persist.hashing import digest
from jobspan.persist.identity.identify import identify

_HAS_ARGUMENTS = 0x1  # of code's flags: a function's, rather than a module's, a cell's or a class's
_HAS_ROW, _HAS_NAMES = 0x4, 0x8  # *args, **kwargs
_NAMED = "of"


class Origin(NamedTuple):
    """What a loop is known by.

    Attributes
    ----------
    where : str
        The function that it stands in; empty in a script's or a notebook's own lines, whose code is not looked at.
    code : dict
        The digest of the function's code, by `where`, and those of the simple values that it captures, or uses as
        globals, by their names.
    arguments : dict
        The digest of each of its arguments; or of what was named in their place, as ``of``.
    """

    where: str
    code: dict[str, str]
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
            return cls("", {}, _digest_arguments("", {}, named))
        count = code.co_argcount + code.co_kwonlyargcount
        count += bool(code.co_flags & _HAS_ROW) + bool(code.co_flags & _HAS_NAMES)
        values = frame.f_locals
        arguments = {name: values[name] for name in code.co_varnames[:count] if name in values}
        arguments = {name: value for name, value in arguments.items() if value is not passed}
        captured = {name: values[name] for name in code.co_freevars if name in values}
        found = _find_function(code, frame.f_globals)
        return cls(
            code.co_qualname,
            _digest_function(found, captured) if found else _digest_code(code, frame.f_globals, captured),
            _digest_arguments(code.co_qualname, arguments, named),
        )

    @classmethod
    def of_call(cls, function: Callable[..., Any], args: Any, kwargs: Any, named: Any) -> Self:
        """That of the loop in a call of a function, whose first argument does not count; raises as `of_frame` does."""
        import inspect

        bound = inspect.signature(function).bind(None, *args, **kwargs)
        bound.apply_defaults()
        arguments = dict(list(bound.arguments.items())[1:])
        inner: Any = inspect.unwrap(function)
        where = inner.__code__.co_qualname
        captured = inspect.getclosurevars(inner).nonlocals
        return cls(where, _digest_function(inner, captured), _digest_arguments(where, arguments, named))

    def explain_difference(self, other: Origin, python: str) -> str:
        """What another one, of that version of Python, has that this one has not; empty if they are the same."""
        what = []
        changed = _find_changed(self.code, other.code)
        if self.where in changed or other.where in changed:
            then, now = python.rpartition(".")[0], "{}.{}".format(*sys.version_info)
            versions = f" (on Python {then}; this is {now})" if then != now else ""
            what.append(f"the code of {self.where or 'what it stands in'} is not what it was{versions}")
        elif changed:
            what.append(f"of what {self.where} uses, {_list(changed)} not as before")
        changed = _find_changed(self.arguments, other.arguments)
        if _NAMED in changed:
            what.append("what it depends on (of=) is not what it was")
        elif changed:
            what.append(f"of its arguments, {_list(changed)} not as before")
        return ", and ".join(what)


def _list(names: list[str]) -> str:
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'}"


def _find_changed(now: Mapping[str, str], then: Mapping[str, str]) -> list[str]:
    return [name for name in {**now, **then} if now.get(name) != then.get(name)]


def _find_function(code: CodeType, variables: Mapping[str, Any]) -> FunctionType | None:
    """The function that has this code, by its name; None if it is not to be found so, as one inside of another."""
    found: Any = variables.get(code.co_qualname.partition(".")[0])
    for name in code.co_qualname.split(".")[1:]:
        found = getattr(found, name, None)
    while found is not None:
        if isinstance(found, FunctionType) and found.__code__ is code:
            return found
        found = getattr(found, "__wrapped__", getattr(found, "__func__", None))
    return None


def _digest_function(function: FunctionType, captured: Mapping[str, Any]) -> dict[str, str]:
    """Those of all that the function is made of; its defaults count with the arguments.

    What it captures may be what no digest can be made of, as a counter: then only plain values that it captures count.
    """
    where = function.__code__.co_qualname
    try:
        parts = [part for part in identify(function).parts if part.kind != "defaults"]
    except UnhashableError:
        return _digest_code(function.__code__, function.__globals__, captured)
    return {where if part.kind == "function" else part.name: part.digest.hex() for part in parts}


def _digest_code(code: CodeType, variables: Mapping[str, Any], captured: Mapping[str, Any]) -> dict[str, str]:
    used = {**{name: variables[name] for name in _list_globals(code) if name in variables}, **captured}
    simple = {name: value for name, value in used.items() if type(value) in ATOMS or type(value) is bytes}
    return {name: digest(value).hex() for name, value in simple.items()} | {code.co_qualname: digest(code).hex()}


def _list_globals(code: CodeType) -> Iterator[str]:
    """The globals that a function reads, and those inside of it; not its attributes, which may have the same names."""
    from dis import get_instructions

    for instruction in get_instructions(code):
        if instruction.opname == "LOAD_GLOBAL":
            yield instruction.argval
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _list_globals(const)


def _digest_arguments(where: str, arguments: Mapping[str, Any], named: Any) -> dict[str, str]:
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
