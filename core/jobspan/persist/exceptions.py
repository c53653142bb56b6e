"""Exceptions that arrive as they were raised, also those of classes whose ``__init__`` wants other arguments.

Pickle makes an exception anew by calling its class with ``args``, which is what the class gave to ``super().__init__``,
not what it was called with itself.

Invariant: what `portable` returns can be pickled, and unpickles as an exception of the same class, text and attributes,
as far as these can be sent.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from jobspan.errors import RemoteError
from jobspan.persist.pickling import dumps, is_picklable, loads

_MOST_CAUSES = 8
_Rebuilding = tuple[Callable[..., BaseException], tuple[type[BaseException], tuple[Any, ...], dict[str, Any]]]


def portable(error: BaseException) -> BaseException:
    """The exception if it survives the journey, else what unpickles as it, else a `RemoteError` that tells of it."""
    obstacle = find_obstacle(error, error)
    if not obstacle:
        return error
    stand_in = _Rebuilt(error)
    if not find_obstacle(stand_in, error):
        return stand_in
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  the exception's own code; its type and traceback still tell something
        text = "<its text cannot be shown>"
    told = RemoteError(f"{type(error).__module__}.{type(error).__qualname__}: {text}")
    notes = getattr(error, "__notes__", None)
    for note in notes if isinstance(notes, list) else ():
        told.add_note(str(note))
    told.add_note(f"jobspan: the exception itself cannot be sent ({obstacle})")
    return told


def with_cause(sent: BaseException, cause: BaseException | None) -> Any:
    """What unpickles as `sent`, raised from `cause`, which pickle would leave behind."""
    return sent if cause is None else _Caused(sent, cause)


class _Caused:
    def __init__(self, sent: BaseException, cause: BaseException) -> None:
        self._parts = sent, cause

    def __reduce__(self) -> tuple[Callable[..., BaseException], tuple[Any, ...]]:
        causes: list[BaseException] = []
        cause: BaseException | None = self._parts[1]
        while cause is not None and len(causes) < _MOST_CAUSES:
            causes.append(cause)
            cause = cause.__cause__
        return join, (self._parts[0], [portable(each) for each in causes])


def join(error: BaseException, causes: list[BaseException]) -> BaseException:
    """The exception, raised from the first of these, which was raised from the second, and so on."""
    for later, earlier in pairwise([error, *causes]):
        later.__cause__ = earlier
    return error


def find_obstacle(sent: BaseException, error: BaseException) -> str:
    """What goes wrong when `sent` is to arrive as `error`; empty if nothing does."""
    try:
        arrived = loads(dumps(sent))
        if type(arrived) is not type(error):
            return f"it comes back as a {type(arrived).__qualname__}"
        return "" if _is_same(arrived.args, error.args) else "it comes back with other arguments"
    except BaseException as refusal:  # noqa: BLE001  unpickling runs the exception's own code
        return f"{type(refusal).__name__}: {refusal}"


def _is_same(ours: tuple[Any, ...], theirs: tuple[Any, ...]) -> bool:
    try:
        return bool(ours == theirs) or not is_picklable(theirs) or dumps(ours) == dumps(theirs)
    except Exception:  # noqa: BLE001  an array does not say yes or no; its class alone was checked
        return True


class _Rebuilt(BaseException):
    """Pickles as a call of `rebuild`, so that it arrives as the exception that it stands for."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        state = {name: value for name, value in vars(error).items() if is_picklable(value)}
        args = tuple(arg if is_picklable(arg) else repr(arg) for arg in error.args)
        missing = [name for name in vars(error) if name not in state]
        if missing:
            note = f"jobspan: without its {', '.join(missing)}, which cannot be sent"
            state["__notes__"] = [*state.get("__notes__", ()), note]
        self._parts = type(error), args, state

    def __reduce__(self) -> _Rebuilding:
        return rebuild, self._parts

    def add_note(self, note: str) -> None:
        """Add it to the exception that this stands for."""
        state = self._parts[2]
        state["__notes__"] = [*state.get("__notes__", ()), note]


def rebuild(kind: type[BaseException], args: tuple[Any, ...], state: dict[str, Any]) -> BaseException:
    """An exception, without a call of its class's own ``__init__``."""
    builtin: Any = next(base for base in kind.__mro__ if base.__module__ == "builtins")
    error: BaseException = builtin.__new__(kind, *args)
    builtin.__init__(error, *args)
    vars(error).update(state)
    return error
