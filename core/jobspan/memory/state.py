"""The state of a loop: whatever its next steps need of those before.

Invariant: attributes and items are the same values by two spellings, and nothing else is in a state.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any


class State(MutableMapping[str, Any]):
    """Values by name, as attributes and as items; a name of yours hides a method of the same name.

    Parameters
    ----------
    **values
        What is in it.

    Examples
    --------
    >>> state = State(total=0)
    >>> state.total += 5
    >>> state["seen"] = [5]
    >>> state, "weights" in state, state.seen
    (State(total=5, seen=[5]), False, [5])
    """

    def __init__(self, /, **values: Any) -> None:
        vars(self).update(values)

    def __getattr__(self, name: str) -> Any:
        """What there is not: what is there is found without asking here."""
        known = ", ".join(vars(self)) or "nothing"
        raise AttributeError(
            f"there is no {name!r} in this state, which has {known}. To begin with one: range(..., {name}=...)."
        )

    def __setattr__(self, name: str, value: Any) -> None:
        vars(self)[name] = value

    def __getitem__(self, name: str) -> Any:
        return vars(self)[name]

    def __setitem__(self, name: str, value: Any) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{name!r} cannot be a name in a state; keep a dict in it: state.by_key[{name!r}] = ...")
        vars(self)[name] = value

    def __delitem__(self, name: str) -> None:
        del vars(self)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(vars(self))

    def __len__(self) -> int:
        return len(vars(self))

    def __repr__(self) -> str:
        return f"State({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"
