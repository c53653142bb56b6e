"""Stores in joblib's shape: the base class to write one, and what makes a store of one.

Invariant: of such a backend only joblib's documented methods are called.
"""

from __future__ import annotations

import os
from abc import ABCMeta, abstractmethod
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any

from jobspan.memory.store import Item

_LISTS = "names"


class StoreBackendBase(metaclass=ABCMeta):
    """Base class of stores, as joblib has it; `register_store_backend` makes one known by a name.

    Attributes
    ----------
    location : str
        Where it is; `configure` sets it.
    """

    location: Any = None

    @abstractmethod
    def _open_item(self, f: Any, mode: str) -> Any:
        """Open an item, ``"rb"`` or ``"wb"``; a file object, which is a context manager."""

    @abstractmethod
    def _item_exists(self, location: Any) -> bool:
        """Whether there is an item."""

    @abstractmethod
    def _move_item(self, src: Any, dst: Any) -> None:
        """Rename an item; there may be one that has the new name."""

    @abstractmethod
    def create_location(self, location: Any) -> None:
        """Make a folder."""

    @abstractmethod
    def clear_location(self, location: Any) -> None:
        """Remove an item, or a folder with all that is in it."""

    @abstractmethod
    def get_items(self) -> Any:
        """All items, in joblib's arrangement; it is not asked for here."""

    @abstractmethod
    def configure(self, location: Any, verbose: int = 0, backend_options: Any = None) -> None:
        """Get ready, at this location."""


class LegacyStore:
    """A store, of a backend in joblib's shape.

    joblib's protocol cannot list what has other names than joblib's own, so lists of names are kept as items.

    Parameters
    ----------
    backend : StoreBackendBase
        The backend, configured.
    """

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.location = str(backend.location)

    def path(self, _name: str, /) -> None:
        """Its items are only to be had through it."""

    def read(self, name: str, /, *, is_use: bool = False) -> bytes | None:  # noqa: ARG002  joblib's protocol has no uses
        """What is in an item."""
        place = self._place(name)
        if not self.backend._item_exists(place):  # noqa: SLF001  joblib names it so
            return None
        try:
            with self.backend._open_item(place, "rb") as file:  # noqa: SLF001  joblib names it so
                data: bytes = file.read()
        except FileNotFoundError:  # removed meanwhile
            return None
        return data

    def write(self, name: str, data: bytes, /) -> None:
        """Write beside, and rename."""
        self._write(name, data)
        known = self._list_of(name)
        names = (self.read(known) or b"").decode().split("\n")
        if name not in names:
            self._write(known, "\n".join([*filter(None, names), name]).encode())

    def _write(self, name: str, data: bytes) -> None:
        place = self._place(name)
        self.backend.create_location(os.path.dirname(place))
        beside = f"{place}.{os.urandom(4).hex()}"
        with self.backend._open_item(beside, "wb") as file:  # noqa: SLF001  joblib names it so
            file.write(data)
        self.backend._move_item(beside, place)  # noqa: SLF001  joblib names it so

    def append(self, _name: str, _data: bytes, /) -> int:
        """Items cannot be appended to, so records are not kept."""
        return 0

    def list(self, folder: str, /) -> Iterator[Item]:
        """The items below."""
        for number in range(256):
            for name in (self.read(f"{_LISTS}/{number:02x}") or b"").decode().split("\n"):
                if name and name.startswith(folder) and (data := self.read(name)) is not None:
                    yield Item(name, len(data), 0.0, 0.0)

    def remove(self, names: Iterable[str], /) -> None:
        """Remove items."""
        for name in names:
            if self.backend._item_exists(self._place(name)):  # noqa: SLF001  joblib names it so
                self.backend.clear_location(self._place(name))

    def _place(self, name: str) -> str:
        return os.path.join(self.location, *name.split("/"))

    def _list_of(self, name: str) -> str:
        return f"{_LISTS}/{sha256(name.encode()).hexdigest()[:2]}"
