"""Folders of a page that outlive it: their files have copies in the browser's origin private file system (OPFS).

Invariant: the copy of a file is removed only after that of a newer one was written; a copy that was torn, as the page
went away, is as long as it got, so whoever reads it must be able to tell.
"""

from __future__ import annotations

import os
from typing import Any

from jobspan import host
from jobspan.errors import say_once
from jobspan.web.mirror import Scribe, is_fleeting, say_not_kept

_known: set[str] = set()  # folders that this page has had the copy of


class FolderMirror(Scribe):
    """The copy of the files of one folder."""

    script = "folder.js"
    kind = "name"

    async def open(self) -> dict[str, bytes]:
        """Open it, and return what is there, by the files' names; raises as `start` does."""
        message = await self.start()
        return {name: data.to_bytes() for name, data in zip(message.names, message.contents, strict=True)}

    def write(self, name: str) -> None:
        """Copy this file of the folder."""
        from pyodide.ffi import to_js

        with open(os.path.join(self.path, name), "rb") as file:
            self._post("write", name=name, bytes=to_js(file.read()))

    def remove(self, name: str) -> None:
        """Remove the copy of this file, if there is one."""
        self._post("remove", name=name)


def wait_closed(mirror: FolderMirror) -> None:
    """Wait until all is written, after `close`."""
    from pyodide.ffi import run_sync

    run_sync(mirror.wait_closed())


def _is_fleeting(folder: str) -> bool:
    os.makedirs(folder, exist_ok=True)  # else nobody knows where it would be
    return is_fleeting(os.path.join(folder, "any"))


async def open_folder(folder: str, suffix: str) -> FolderMirror | None:
    """Open the copy of a folder, which is made if need be, and make both the same, as to files with this suffix.

    None where the folder outlives the page, or, which is said, where the browser keeps none.

    Raises
    ------
    JobspanError
        If it is open elsewhere.
    """
    if not _is_fleeting(folder):
        return None
    mirror = FolderMirror(folder)
    try:
        kept = await mirror.open()
    except OSError as error:
        say_not_kept(folder, error)
        return None
    _reconcile(mirror, folder, kept, suffix)
    return mirror


def find_folder(folder: str, suffix: str) -> FolderMirror | None:
    """The same, for callers that cannot await; where they cannot wait either, that is said, and there is none."""
    if not _is_fleeting(folder):
        return None
    if not host.can_run_sync():
        say_once(
            f"the checkpoint {folder} lasts until the page is reloaded: this interpreter cannot wait for the "
            f"browser's storage (no JSPI here). 'async for' in the place of 'for' keeps it."
        )
        return None
    from pyodide.ffi import run_sync

    found: FolderMirror | None = run_sync(open_folder(folder, suffix))
    return found


def forget_folder(folder: str, suffix: str) -> None:
    """Remove the copy of a folder whose files were removed: now, or if it cannot be waited for when it is opened."""
    if not _is_fleeting(folder):
        return
    _known.add(folder)
    if host.can_run_sync() and (mirror := find_folder(folder, suffix)) is not None:
        mirror.close()


def _reconcile(mirror: FolderMirror, folder: str, kept: dict[str, bytes], suffix: str) -> None:
    """The files that are there count, else their copies; unless this page has had the folder before."""
    present: dict[str, Any] = {}
    for name in os.listdir(folder):
        if name.endswith(suffix):
            with open(os.path.join(folder, name), "rb") as file:
                present[name] = file.read()
    if present or folder in _known:
        for name, data in present.items():
            if kept.get(name) != data:
                mirror.write(name)
        for name in kept.keys() - present.keys():
            mirror.remove(name)
    else:
        for name, data in kept.items():
            with open(os.path.join(folder, name), "wb") as file:
                file.write(data)
    _known.add(folder)
