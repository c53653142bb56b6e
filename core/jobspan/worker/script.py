"""What an initializer leaves in the globals of the user's script, for the tasks that look there.

Functions of ``__main__`` travel by value, and each pickle brings globals of its own along. So what an initializer sets
there would be lost; here functions take it over as they are unpickled.

Invariant: a function takes over globals from its own run's initializer only, and only if both are of one module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FunctionType
from typing import Any, TypeAlias

Spaces: TypeAlias = dict[str, dict[str, Any]]
"""The globals of functions that came by value, by the names of their modules."""

_SPACES: ContextVar[Spaces] = ContextVar("jobspan_spaces")


@contextmanager
def within(spaces: Spaces) -> Iterator[None]:
    """Let functions that are unpickled here keep their globals in these, or take them over from there."""
    token = _SPACES.set(spaces)
    try:
        yield
    finally:
        _SPACES.reset(token)


def set_initializer(function: FunctionType, state: tuple[Callable[[Any, Any], object], Any]) -> None:
    """The `state_setter` of functions that come with an initializer: theirs are the globals that tasks will see."""
    set_state, own = state
    set_state(function, own)
    _SPACES.get({}).setdefault(function.__module__, function.__globals__)


def set_task(function: FunctionType, state: tuple[Callable[[Any, Any], object], Any]) -> None:
    """The `state_setter` of functions that come with a task of a run that has an initializer."""
    set_state, own = state
    set_state(function, own)
    function.__globals__.update(_SPACES.get({}).get(function.__module__, {}))
