"""Runs on Web Workers that somebody wants to end: by `stop`, or by a button of the page that posts on a channel.

While Python waits for workers the event loop turns, so what a page or another cell's output says can be heard.

Invariant: what is stopped hears of it where it waits next, as a `KeyboardInterrupt`; nothing listens when no run is on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jobspan import host

_runs: dict[object, Callable[[], None]] = {}


def stop() -> int:
    """End all runs on Web Workers of this interpreter, as Ctrl-C would.

    Each raises a `KeyboardInterrupt` where it was called, with the results that were finished in its ``partial``. For a
    page, which can enter Python while a run waits: ``pyodide.runPython("import jobspan.web; jobspan.web.stop()")``. In
    JupyterLite, where nothing can while a cell runs, ``progress=True`` shows a button that does it.

    Returns
    -------
    int
        How many runs there were.

    Examples
    --------
    >>> import jobspan.web
    >>> jobspan.web.stop()
    0
    """
    interrupts = list(_runs.values())
    for interrupt in interrupts:
        interrupt()
    return len(interrupts)


def enter(run: object, interrupt: Callable[[], None]) -> None:
    """A run begins; `interrupt` is what ends it, and does not wait."""
    _runs[run] = interrupt


def leave(run: object) -> None:
    """A run has ended."""
    _runs.pop(run, None)


class Channel:
    """Hears, by a BroadcastChannel of a name of its own, that the runs are to end, until it is closed."""

    def __init__(self) -> None:
        import js
        from pyodide.ffi import create_proxy

        self.name = f"jobspan stop {js.crypto.randomUUID()}"
        self._channel = js.BroadcastChannel.new(self.name)
        self._hear = create_proxy(self._take)
        self._channel.onmessage = self._hear

    def _take(self, _event: Any) -> None:
        stop()

    def close(self) -> None:
        """Hear no more."""
        self._channel.onmessage = None
        self._channel.close()
        self._hear.destroy()


def find_channel() -> Channel | None:
    """A channel to this interpreter; None where there is no run, or no page that could post on it."""
    if not _runs or host.in_node():
        return None
    import js

    return Channel() if hasattr(js, "BroadcastChannel") else None
