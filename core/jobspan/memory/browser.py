"""A store that outlives its page, in the browser's origin private file system (OPFS).

All interpreters of an origin share that, the page's and those of its Web Workers. Its calls are asynchronous: they are
waited for where Python can wait for a promise; where it cannot, nothing is found, and what is written arrives there a
little later.

Invariant: a file becomes what was written in one step, as OPFS promises it; nothing of another interpreter is removed
but by its name.
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from jobspan import host
from jobspan.errors import say_once
from jobspan.memory.flight import Release
from jobspan.memory.store import Item

_ROOT = "jobspan"
_tasks: set[Any] = set()  # writes that nobody waits for

T = TypeVar("T")


class OpfsStore:
    """Files below a folder of the origin's.

    Parameters
    ----------
    location : str
        The folder.
    """

    def __init__(self, location: str) -> None:
        self.location = location
        self._parts = [_ROOT, *filter(None, location.split("/"))]

    def path(self, _name: str, /) -> None:
        """Python has no files there."""

    def read(self, name: str, /, *, is_use: bool = False) -> bytes | None:  # noqa: ARG002  OPFS keeps no account of uses
        """What is in the file; None, too, where it cannot be waited for."""
        return _wait(self._read(name), None) if _can_wait(self.location) else None

    def write(self, name: str, data: bytes, /) -> None:
        """Write the file, at once or a little later."""
        if host.can_run_sync():
            _wait(self._write(name, data), None)
            return
        with suppress(RuntimeError):  # there is no event loop, so no page
            task = asyncio.get_running_loop().create_task(self._write(name, data))
            _tasks.add(task)
            task.add_done_callback(_tasks.discard)

    def append(self, _name: str, _data: bytes, /) -> int:
        """Files there are written whole, so records are not kept; `list` finds what there is."""
        return 0

    def list(self, folder: str, /) -> Iterator[Item]:
        """The files below."""
        if _can_wait(self.location):
            yield from _wait(self._list(folder), [])

    def remove(self, names: Iterable[str], /) -> None:
        """Remove files."""
        for name in names:
            if _can_wait(self.location):
                _wait(self._remove(name), None)

    async def _open(self, parts: Iterable[str], *, create: bool = False) -> Any:
        import js

        folder = await js.navigator.storage.getDirectory()
        for part in parts:
            folder = await folder.getDirectoryHandle(part, js.Object.fromEntries([["create", create]]))
        return folder

    async def _read(self, name: str) -> bytes | None:
        *folders, last = name.split("/")
        with suppress(Exception):  # JavaScript's NotFoundError: there is no such file
            folder = await self._open([*self._parts, *folders])
            file = await (await folder.getFileHandle(last)).getFile()
            data: bytes = (await file.arrayBuffer()).to_bytes()
            return data
        return None

    async def _write(self, name: str, data: bytes) -> None:
        import js
        from pyodide.ffi import to_js

        *folders, last = name.split("/")
        folder = await self._open([*self._parts, *folders], create=True)
        file = await folder.getFileHandle(last, js.Object.fromEntries([["create", True]]))
        writing = await file.createWritable()
        await writing.write(to_js(data))
        await writing.close()

    async def _remove(self, name: str) -> None:
        *folders, last = name.split("/")
        with suppress(Exception):  # JavaScript's NotFoundError: it is gone already
            folder = await self._open([*self._parts, *folders])
            await folder.removeEntry(last)

    async def _list(self, folder: str) -> Sequence[Item]:
        parts = [part for part in folder.split("/") if part]
        found: builtins.list[Item] = []
        with suppress(Exception):  # JavaScript's NotFoundError: there is no such folder
            await _walk(await self._open([*self._parts, *parts]), "/".join(parts), found)
        return found


async def _walk(folder: Any, prefix: str, found: list[Item]) -> None:
    values = folder.values()
    while not (step := await values.next()).done:
        each = step.value
        name = f"{prefix}/{each.name}" if prefix else each.name
        if each.kind == "directory":
            await _walk(each, name, found)
        else:
            file = await each.getFile()
            at = file.lastModified / 1000
            found.append(Item(name, int(file.size), at, at))


class WebLocks:
    """Leads by the browser's locks, which it takes away from an interpreter that ends."""

    def __init__(self, location: str) -> None:
        self._location = location

    def lead(self, name: str, /) -> Release | None:
        """Take the lead; everybody has it where it cannot be waited for."""
        if not host.can_run_sync():
            return _nothing
        return _wait(self._lead(f"jobspan {self._location} {name}"), _nothing)

    async def _lead(self, name: str) -> Release | None:
        import js
        from pyodide.ffi import create_proxy

        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        holding = js.Promise.withResolvers()

        def granted(lock: Any) -> Any:
            if not answered.done():
                answered.set_result(lock is not None)
            return holding.promise if lock is not None else None

        proxy = create_proxy(granted)
        js.navigator.locks.request(name, js.Object.fromEntries([["ifAvailable", True]]), proxy)
        if not await answered:
            proxy.destroy()
            return None

        def release() -> None:
            holding.resolve()
            proxy.destroy()

        return release


def _nothing() -> None:
    """Nothing was taken."""


def _can_wait(location: str) -> bool:
    if host.can_run_sync():
        return True
    say_once(
        f"the cache {location} is not looked up in the browser's storage: this interpreter cannot wait for it (no JSPI "
        f"here). Results are kept for later visits all the same."
    )
    return False


def _wait(work: Awaitable[T], otherwise: T) -> T:
    """Wait for a promise; a browser that refuses its storage is said once, and is none."""
    from pyodide.ffi import run_sync

    try:
        found: T = run_sync(work)
    except Exception as error:  # noqa: BLE001  JavaScript's, of which there is no list
        say_once(f"this browser does not keep the cache ({error}); it lasts until the page is reloaded.")
        return otherwise
    return found
