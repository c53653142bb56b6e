"""The Python side of a worker: runs a batch that arrived and posts the reply.

Invariant: every batch is answered once; what a task raises is part of the answer.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from io import TextIOWrapper
from pickle import PickleBuffer
from time import monotonic
from typing import Any

from pyodide.ffi import can_run_sync, run_sync

from jobspan.persist.pickling import loads
from jobspan.web.images import PACKAGES
from jobspan.web.protocol import import_buffers
from jobspan.worker.context import PROBE
from jobspan.worker.references import learn
from jobspan.worker.wire import run_encoded

LOOK_S = 0.02
"""A task that asks whether it is cancelled lets messages in no sooner than this many seconds after the last time."""


def prepare() -> None:
    """Import what nearly every batch needs, for an image of this interpreter's memory; see `jobspan.web.images`."""
    import gc

    import cloudpickle  # noqa: F401  imported for the image

    import jobspan.worker.relay
    import jobspan.worker.surroundings  # noqa: F401  imported for the image

    known = {*sys.stdlib_module_names, *PACKAGES, "pyodide", "_pyodide"}
    for name, module in list(sys.modules.items()):
        top = name.partition(".")[0]
        if getattr(module, "__file__", None) and top not in known and not top.startswith("_sysconfigdata"):
            raise ImportError(f"{name} of {module.__file__} would be in an image for the whole origin")
    gc.collect()


def learn_constants(payload: Any) -> None:
    """Take in what batches will refer to."""
    learn(*loads(payload.to_bytes()))


def make_runner(
    name: str,
    started: Callable[[int, int, float], object],
    reply: Callable[..., object],
    is_disowned: Callable[[], bool],
    take_in: Callable[[], Awaitable[None]] | None = None,
) -> Callable[[int, Any, Any], None]:
    """What the worker's script calls for each batch.

    Parameters
    ----------
    name : str
        What the worker is called.
    started, reply : callable
        Post messages; a reply is a ticket and buffers, of which nothing is kept.
    is_disowned : callable
        Whether nobody waits any more for what runs here, as far as is known.
    take_in : callable, optional
        Lets messages come in that tell of it; None where none are needed.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(line_buffering=True)  # so that one hears of a long task before its end

    looked = 0.0

    def probe() -> bool:
        nonlocal looked
        if take_in is not None and can_run_sync() and monotonic() - looked >= LOOK_S:
            run_sync(take_in())
            looked = monotonic()
        return is_disowned()

    def run(ticket: int, payload: Any, buffers: Any) -> None:
        PROBE.set(probe)
        out_of_band: list[PickleBuffer] = []
        encoded = run_encoded(
            payload.to_bytes(),
            import_buffers(buffers),
            worker=name,
            started=lambda index, at: started(ticket, index, at),
            buffer_callback=out_of_band.append,
        )
        sys.stdout.flush()
        sys.stderr.flush()
        reply(ticket, encoded, *(buffer.raw() for buffer in out_of_band))

    return run
