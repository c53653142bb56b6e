"""The Python side of a worker: runs a batch that arrived and posts the reply.

Invariant: every batch is answered once; what a task raises is part of the answer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from io import TextIOWrapper
from pickle import PickleBuffer
from typing import Any

from pyodide.ffi import to_js

from jobspan.persist.pickling import loads
from jobspan.web.images import PACKAGES
from jobspan.web.protocol import export_buffers, import_buffers
from jobspan.worker.references import learn
from jobspan.worker.wire import run_encoded


def prepare() -> None:
    """Import what nearly every batch needs, for an image of this interpreter's memory; see `jobspan.web.images`."""
    import gc

    import cloudpickle  # noqa: F401  imported for the image

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
    name: str, started: Callable[[int, int, float], object], reply: Callable[[int, Any, Any], object]
) -> Callable[[int, Any, Any], None]:
    """What the worker's script calls for each batch, on the worker called `name`; the callables post messages."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(line_buffering=True)  # so that one hears of a long task before its end

    def run(ticket: int, payload: Any, buffers: Any) -> None:
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
        reply(ticket, to_js(encoded), export_buffers(out_of_band))

    return run
