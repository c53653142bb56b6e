"""Where entries are kept: bytes under names, and nothing else.

Invariant: what `Store.read` returns was once written whole under this name, or is `Altered`; a store neither knows nor
cares what it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol, Self


class Item(NamedTuple):
    """What a store knows of what it holds.

    Attributes
    ----------
    name : str
        Its name, parts separated by slashes.
    nbytes : int
        How large it is.
    written, used : float
        When it was written, and when it was last read, as far as the store knows: seconds since the epoch.
    """

    name: str
    nbytes: int
    written: float
    used: float


class Altered(bytes):
    """What a store has under a name, and knows not to be as it was written: to be set aside, never to be used.

    Attributes
    ----------
    place : str
        Where it lies, for people.
    """

    place: str

    def __new__(cls, data: bytes, place: str) -> Self:
        """These bytes, from there."""
        made = super().__new__(cls, data)
        made.place = place
        return made


class Store(Protocol):
    """Six calls, which may come from several threads and processes at once.

    Attributes
    ----------
    location : str
        Where it is, as a user would write it.
    """

    location: str

    def read(self, name: str, /, *, is_use: bool = False) -> bytes | None:
        """What was written last under this name; None if there is nothing.

        `is_use` says that it is read for its own sake, for `Item.used`.
        """

    def write(self, name: str, data: bytes, /) -> None:
        """Keep these bytes: whole, or not at all. Who reads meanwhile finds the old ones, or none."""

    def append(self, name: str, data: bytes, /) -> int:
        """Add a short record to what is there, and return how many bytes that is then.

        Records may be lost, all of them where a store cannot append; but none is ever torn in two by another.
        """

    def list(self, folder: str, /) -> Iterator[Item]:
        """All that is below this folder, ``""`` for everything; what comes or goes meanwhile may be missing."""

    def remove(self, names: Iterable[str], /) -> None:
        """Forget these; those that are not there any more do not matter."""

    def path(self, name: str, /) -> str | None:
        """The file of this machine that holds, or will hold, what has this name, in a folder that is there; or None."""
