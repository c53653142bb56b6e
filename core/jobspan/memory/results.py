"""References to results: small, and they can be sent and kept where the results themselves could not.

Invariant: a reference never computes anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobspan.memory.shelf import Shelf


class MemorizedResult:
    """A result that is in the cache, as `MemorizedFunc.call_and_shelve` returns it.

    Attributes
    ----------
    func_id, args_id : str
        The function's name, and the key of the entry.
    metadata : dict
        What is known of the call: when it was (``"time"``), how long it took (``"duration"``), its arguments in short
        (``"input_args"``).
    duration : float or None
        Seconds that the call took.
    """

    def __init__(self, shelf: Shelf, func_id: str, args_id: str, metadata: dict[str, Any]) -> None:
        self._shelf = shelf
        self.func_id = func_id
        self.args_id = args_id
        self.metadata = metadata
        self.duration: float | None = metadata.get("duration")

    @property
    def func(self) -> str:
        """The function's name."""
        return self.func_id

    def get(self) -> Any:
        """Read the result.

        Raises
        ------
        KeyError
            If it is not in the cache any more, or is damaged.
        """
        entry = self._shelf.find(self.args_id)
        if entry is not None:
            try:
                return self._shelf.load(self.args_id, entry)
            except LookupError as error:
                raise KeyError(self._gone()) from error
        raise KeyError(self._gone())

    def _gone(self) -> str:
        return (
            f"the result of {self.func_id} with key {self.args_id} is not in {self._shelf.store.location} any more, or "
            f"cannot be read; call the function again."
        )

    def clear(self) -> None:
        """Remove it from the cache."""
        self._shelf.forget([self.args_id])

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(location="{self._shelf.store.location}", func="{self.func_id}", '
            f'args_id="{self.args_id}")'
        )


class NotMemorizedResult:
    """A result that is not in a cache, since there is none; it is used in the same way."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.valid = True

    def get(self) -> Any:
        """The result.

        Raises
        ------
        KeyError
            After `clear`.
        """
        if not self.valid:
            raise KeyError("No value stored.")
        return self.value

    def clear(self) -> None:
        """Let go of it."""
        self.valid = False
        self.value = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value!r})" if self.valid else f"{type(self).__name__} with no value"
