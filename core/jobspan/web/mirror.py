"""Files of a page that outlive it: each has a copy in the browser's origin private file system (OPFS).

Pyodide's own files are gone when the page is reloaded, and a page can only write to OPFS by copying the whole file each
time. A Web Worker may keep one open and append to it, so each copy has a small one of its own, the scribe.

Invariant: what was written is on its way to the scribe before `Mirror.write` returns, in order; a copy has one writer
among all pages of an origin.
"""

from __future__ import annotations

import os
from typing import Any

from jobspan import host
from jobspan.errors import JobspanError, say_once
from jobspan.web.link import source

_known: set[str] = set()  # paths that this page has had the copy of


class Scribe:
    """The page's side of a Web Worker that keeps a copy of something; while it is open, nobody else can open it.

    Parameters
    ----------
    path : str
        Of what is copied; the copy has its name, below a folder ``jobspan``.
    """

    script: str
    kind: str

    def __init__(self, path: str) -> None:
        import js
        from pyodide.ffi import create_proxy

        self.path = path
        blob = js.Blob.new([source(self.script)], js.Object.fromEntries([["type", "text/javascript"]]))
        url = js.URL.createObjectURL(blob)
        self._worker = js.Worker.new(url)
        self._hear = create_proxy(self._take)
        self._fail = create_proxy(self._take_error)
        self._worker.onmessage, self._worker.onerror = self._hear, self._fail
        self._url = url
        self._opened: Any = None
        self._ended: Any = None

    async def start(self) -> Any:
        """Open the copy, and return the worker's message that says what is there.

        Raises
        ------
        JobspanError
            If it is open elsewhere.
        OSError
            If the browser refuses.
        """
        import asyncio

        loop = asyncio.get_running_loop()
        self._opened, self._ended = loop.create_future(), loop.create_future()
        self._post("open", path=self.path)
        return await self._opened

    def close(self) -> None:
        """Let others open it, once all is written."""
        self._post("close")

    async def wait_closed(self) -> None:
        """Wait until all is written, after `close`."""
        await self._ended

    def _post(self, kind: str, **details: Any) -> None:
        import js

        self._worker.postMessage(js.Object.fromEntries([["type", kind], *map(list, details.items())]))

    def _take(self, event: Any) -> None:
        message = event.data
        if message.type == "closed":
            self._end()
        elif message.type == "ready":
            self._opened.set_result(message)
        elif not self._opened.done():
            self._refuse(message.name, message.text)
        else:
            say_once(
                f"the checkpoint {self.path} cannot be kept by this browser ({message.text}); the run goes on, and "
                f"what is done meanwhile will be run again after the page is reloaded."
            )

    def _take_error(self, event: Any) -> None:
        self._refuse("", f"its worker could not start: {getattr(event, 'message', '') or 'blocked'}")

    def _refuse(self, name: str, text: str) -> None:
        error: Exception = OSError(text)
        if name == "NoModificationAllowedError":
            error = JobspanError(
                f"{self.path} is in use by another run, maybe of another tab; wait for its end, or give this one a "
                f"{self.kind} of its own."
            )
        if not self._opened.done():
            self._opened.set_exception(error)
        self._worker.terminate()
        self._end()

    def _end(self) -> None:
        import js

        if not self._ended.done():
            self._ended.set_result(None)
        js.URL.revokeObjectURL(self._url)
        self._hear.destroy()
        self._fail.destroy()


class Mirror(Scribe):
    """The copy of one file."""

    script = "scribe.js"
    kind = "file"

    async def open(self) -> bytes:
        """Open it, and return what is there; raises as `start` does."""
        message = await self.start()
        found: bytes = message.bytes.to_bytes()
        return found

    def write(self, data: bytes) -> None:
        """Append to it."""
        from pyodide.ffi import to_js

        self._post("write", bytes=to_js(data))

    def truncate(self, size: int) -> None:
        """Keep so many bytes of it."""
        self._post("truncate", size=size)


def is_fleeting(path: str) -> bool:
    """Whether a file of this path would be gone with the page, and the browser can keep a copy."""
    if not _can_copy() or not os.path.isdir(os.path.dirname(path)):  # no such folder: opening the file will tell
        return False
    import pyodide_js

    return bool(_system_of(path) == pyodide_js.FS.filesystems.MEMFS)


def is_on_drive(path: str) -> bool:
    """Whether a path is on JupyterLite's drive, and the browser can keep a copy.

    That is a file system of somebody else's, where each question is a request. It keeps a file when that is closed, and
    tells its size as it was then.
    """
    if not _can_copy():
        return False
    import pyodide_js

    kind = _system_of(path)
    return not any(kind == own for own in pyodide_js.FS.filesystems.object_values())


def _can_copy() -> bool:
    if not host.in_pyodide() or host.in_node():
        return False
    import js

    storage = getattr(getattr(js, "navigator", None), "storage", None)
    return hasattr(storage, "getDirectory") and hasattr(js, "Worker")


def _system_of(path: str) -> Any:
    """The file system where a file of this path would be, as JavaScript knows it."""
    import pyodide_js

    folder = os.path.dirname(os.path.abspath(path))
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return pyodide_js.FS.lookupPath(folder).node.mount.type


async def open_mirror(path: str) -> Mirror | None:
    """Open the copy of a file, and make both the same; None, which is said, if the browser keeps none.

    Raises
    ------
    JobspanError
        If it is open elsewhere.
    """
    mirror = Mirror(path)
    try:
        kept = await mirror.open()
    except OSError as error:
        say_not_kept(path, error)
        return None
    _reconcile(mirror, path, kept)
    return mirror


def say_not_kept(path: str, error: OSError) -> None:
    """Say once that a checkpoint is gone with the page."""
    say_once(f"the checkpoint {path} lasts until the page is reloaded: this browser does not keep it ({error}).")


def _reconcile(mirror: Mirror, path: str, kept: bytes) -> None:
    """A file that is there counts, else its copy; unless this page has had the file before: then it was removed.

    On a drive a file is removed if it is not there, and may lack what was written before its page went away.
    """
    on_drive = is_on_drive(path)
    if os.path.exists(path):
        with open(path, "rb") as file:
            present = file.read()
        if on_drive and kept.startswith(present) and path not in _known:
            with open(path, "wb") as file:
                file.write(kept)
        elif present != kept:
            mirror.truncate(0)
            mirror.write(present)
    elif path in _known or on_drive:
        mirror.truncate(0)
    elif kept:
        with open(path, "wb") as file:
            file.write(kept)
    _known.add(path)


def forget(path: str) -> None:
    """A file that is not there has been removed, and the copy goes with it when it is opened."""
    _known.add(path)
