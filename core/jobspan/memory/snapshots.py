"""The files of one loop: its state after so many steps, of which the last few are kept.

Invariant: there is a whole file from the first that was written on; what is read is what was written, or is set aside;
one process alone uses the folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from jobspan import host
from jobspan.errors import DamagedFileError, JobspanError, say_once
from jobspan.file.layout import damaged
from jobspan.file.read import load, read_facts
from jobspan.file.write import dump_telling
from jobspan.persist.locks import lock_file

SUFFIX = ".job"

_FACT = "loop"
_LOCK = ".lock"
_in_use: set[Path] = set()  # by this process, which may know no other locks


class Mirror(Protocol):
    """A copy of the folder's files."""

    def write(self, name: str, /) -> None:
        """Copy this file."""

    def remove(self, name: str, /) -> None:
        """Remove the copy of this file."""

    def close(self) -> None:
        """Write no more."""

    async def wait_closed(self) -> None:
        """Wait until all is written, after `close`."""


class Snapshot(NamedTuple):
    """A file, of which the state was not read yet."""

    path: Path
    facts: dict[str, Any]
    python: str

    def read(self) -> dict[str, Any]:
        """The state.

        Raises
        ------
        DamagedFileError
            If it is not as it was written.
        """
        try:
            found: dict[str, Any] = load(self.path)
        except (ImportError, AttributeError) as error:
            error.add_note(f"jobspan: {self.path} is whole, but something that its state is made of is not there.")
            raise
        return found


class Snapshots:
    """A folder that is in use.

    Parameters
    ----------
    folder : Path
        It is made if it does not exist.
    keep : int, optional
        How many files; None: all.
    compress : int, bool, str or (str, int)
        As for `dump`.
    mirror : Mirror, optional
        Takes a copy of what is written, and is closed with the folder.

    Raises
    ------
    JobspanError
        If somebody else is using it.
    """

    def __init__(self, folder: Path, keep: int | None, compress: Any, mirror: Mirror | None = None) -> None:
        self._folder = folder
        self._keep = keep
        self._compress = compress
        self._mirror = mirror
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        if folder in _in_use or not lock_file(self._lock):
            os.close(self._lock)
            raise JobspanError(
                f"the checkpoint {folder} is in use by another loop, maybe of another process; wait for its end, or "
                f"give this one another name."
            )
        _in_use.add(folder)
        for left in folder.glob(f".*{SUFFIX}.*.tmp"):  # by a process that was killed as it wrote
            with suppress(OSError):
                left.unlink()

    def find_latest(self) -> Iterator[Snapshot]:
        """The files, the latest first; a damaged one is set aside when it is met, and by `set_aside`."""
        for path in self._paths():
            try:
                facts = read_facts(str(path))
                if not isinstance(facts.get(_FACT), dict):
                    damaged(str(path), "it does not say of which loop it is")
            except DamagedFileError as error:
                self.set_aside(path, error)
            else:
                yield Snapshot(path, facts[_FACT], str(facts.get("python", "")))

    def set_aside(self, path: Path, error: DamagedFileError) -> None:
        """Use a file no more, but leave it for somebody to look at."""
        os.replace(path, f"{path}.damaged")
        if self._mirror is not None:
            self._mirror.remove(path.name)
        say_once(
            f"{path} was renamed to {path.name}.damaged, and the loop goes on from what was saved before, if anything "
            f"was: {error}"
        )

    def save(self, number: int, facts: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Write the state after so many steps, and remove what is not kept any more.

        Raises
        ------
        UnpicklableError
            If something in the state cannot be pickled.
        OSError
            If there is no room, for one; what was written before is there.
        """
        path = self._folder / f"{number}{SUFFIX}"
        dump_telling({_FACT: facts}, dict(state), str(path), self._compress)
        if self._mirror is not None:
            self._mirror.write(path.name)
        before = [each for each in self._paths() if _number(each) < number]
        for each in before[self._keep - 1 :] if self._keep is not None else ():
            self._remove(each)

    def clear(self) -> None:
        """Remove all files."""
        for path in self._paths():
            self._remove(path)
        for path in self._folder.glob(f"*{SUFFIX}.damaged"):
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let others use it."""
        _in_use.discard(self._folder)
        os.close(self._lock)
        if self._mirror is not None:
            self._mirror.close()

    def _remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        if self._mirror is not None:
            self._mirror.remove(path.name)

    def _paths(self) -> list[Path]:
        found = [path for path in self._folder.glob(f"*{SUFFIX}") if path.name.removesuffix(SUFFIX).isdecimal()]
        return sorted(found, key=_number, reverse=True)


def _number(path: Path) -> int:
    return int(path.name.removesuffix(SUFFIX))


def find_mirror(folder: Path) -> Mirror | None:
    """The browser's copy of a folder, which outlives the page; None where the folder does, or nothing can."""
    if not host.in_pyodide():
        return None
    from jobspan.web.folders import find_folder

    return find_folder(str(folder), SUFFIX)


def wait_closed(mirror: Any) -> None:
    """Wait until all is in the browser's copy, after it was closed."""
    from jobspan.web import folders

    folders.wait_closed(mirror)


async def open_mirror(folder: Path) -> Mirror | None:
    """The same, for callers that can await."""
    if not host.in_pyodide():
        return None
    from jobspan.web.folders import open_folder

    return await open_folder(str(folder), SUFFIX)


def forget(folder: Path) -> None:
    """The browser's copy goes, too."""
    if host.in_pyodide():
        from jobspan.web.folders import forget_folder

        forget_folder(str(folder), SUFFIX)
