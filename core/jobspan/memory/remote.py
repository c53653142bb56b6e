"""Stores elsewhere, by `fsspec`, and stores in two layers.

Invariant: an object that is read was written whole, as object stores promise it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

from jobspan.errors import JobspanError
from jobspan.memory.store import Altered, Item, Store

_TIMES = ("mtime", "LastModified", "last_modified", "updated", "created")


class RemoteStore:
    """An object for each name, below a URL.

    Parameters
    ----------
    url : str
        As `fsspec` reads it: ``"s3://bucket/folder"``, ``"memory://cache"``.
    options : dict
        For the file system, such as its credentials.

    Raises
    ------
    JobspanError
        If `fsspec`, or what it needs for this URL, is not installed.
    """

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        try:
            from fsspec.core import url_to_fs
        except ImportError:
            raise JobspanError(
                f"{url!r} is a URL, and to keep a cache there takes fsspec: pip install fsspec."
            ) from None
        try:
            self._files, root = url_to_fs(url, **options)
        except (ImportError, ValueError) as error:
            raise JobspanError(f"a cache at {url!r} is not possible: {error}") from error
        self.location = url
        self._options = options
        self._root = root.rstrip("/") + "/"

    def __reduce__(self) -> Any:
        return type(self), (self.location, self._options)

    def path(self, _name: str, /) -> None:
        """It has no files of this machine."""

    def read(self, name: str, /, *, is_use: bool = False) -> bytes | None:  # noqa: ARG002  object stores keep no account of uses
        """What is in the object."""
        with suppress(FileNotFoundError):
            data: bytes = self._files.cat_file(self._root + name)
            return data
        return None

    def write(self, name: str, data: bytes, /) -> None:
        """Write the object."""
        self._files.pipe_file(self._root + name, data)

    def append(self, _name: str, _data: bytes, /) -> int:
        """Objects cannot be appended to, so records are not kept; `list` finds what there is."""
        return 0

    def list(self, folder: str, /) -> Iterator[Item]:
        """The objects below."""
        with suppress(FileNotFoundError):
            for path, facts in self._files.find(self._root + folder, detail=True).items():
                if self._root in (whole := f"/{path}" if self._root.startswith("/") and path[:1] != "/" else path):
                    at = _time_of(facts)
                    yield Item(whole.partition(self._root)[2], int(facts.get("size") or 0), at, at)

    def remove(self, names: Iterable[str], /) -> None:
        """Remove objects."""
        for name in names:
            with suppress(FileNotFoundError):
                self._files.rm_file(self._root + name)


def _time_of(facts: dict[str, Any]) -> float:
    """When an object was written; each file system has a name of its own for that."""
    for name in _TIMES:
        found = facts.get(name)
        if isinstance(found, datetime):
            return found.timestamp()
        if isinstance(found, int | float):
            return float(found)
    return 0.0


class LayeredStore:
    """A store that is near, and fast, before one that is far, and counts.

    Parameters
    ----------
    near, far : Store
        What is written goes to both; what is read from far is kept near.
    """

    def __init__(self, near: Store, far: Store) -> None:
        self._near = near
        self._far = far
        self.location = far.location

    def path(self, name: str, /) -> str | None:
        """That of the far store."""
        return self._far.path(name)

    def read(self, name: str, /, *, is_use: bool = False) -> bytes | None:
        """From near, else from far."""
        data = self._near.read(name, is_use=is_use)
        if data is None or isinstance(data, Altered):
            far = self._far.read(name, is_use=is_use)
            if far is not None:
                if not isinstance(far, Altered):
                    self._near.write(name, far)
                return far
        return data

    def write(self, name: str, data: bytes, /) -> None:
        """To both."""
        self._far.write(name, data)
        self._near.write(name, data)

    def append(self, name: str, data: bytes, /) -> int:
        """To both."""
        self._near.append(name, data)
        return self._far.append(name, data)

    def list(self, folder: str, /) -> Iterator[Item]:
        """What is far."""
        return self._far.list(folder)

    def remove(self, names: Iterable[str], /) -> None:
        """From both."""
        gone = list(names)
        self._far.remove(gone)
        self._near.remove(gone)
