"""What the caller's interpreter and its workers say to each other, and how bytes cross.

Messages are plain objects with a ``type``. The caller sends, and the worker handles strictly one after the other, but
for ``disown``:

=========  =========================================================================================
type       fields
=========  =========================================================================================
init       ``module`` (URL of pyodide.mjs), ``options`` (for loadPyodide), ``name``, ``lock`` (the name
           of a web lock to hold for life), ``environment`` (see reproduce), ``image`` to begin with,
           ``makes`` (whether it makes one), ``compiled`` (the runtime, once a worker has compiled it),
           ``box`` (where memory is shared)
reproduce  ``environment``: ``packages`` (of the distribution, to load by name), ``loadedPackages``,
           ``paths``, ``sizes`` and ``contents`` (files to write), ``path`` (sys.path), ``folder``
           (the working directory); sent again when more was installed
constants  ``payload`` (pickled, for `jobspan.worker.references.learn`): what batches refer to from now
           on, and what none will refer to any more
batch      ``ticket``, ``payload`` (what `jobspan.worker.wire.encode_batch` made), ``buffers``
disown     ``isDisowned``: whether nobody waits any more for what it runs; a bit where memory is shared
=========  =========================================================================================

The worker sends:

=========  =========================================================================================
type       fields
=========  =========================================================================================
booting    ``stage`` that begins; ``locked`` once: whether ``lock`` is held
image      ``image``, for the other workers
compiled   ``module``: the runtime, for the other workers
imageless  ``reason``: none could be made or used, so it boots by itself
ready      Python and the environment are there; ``memory``: bytes of its interpreter
started    ``ticket``, ``index``, ``at``: a task begins; only for batches that are watched
reply      ``ticket``, ``payload`` (for `jobspan.worker.reply.decode_reply`), ``buffers``, ``memory``
output     ``stream`` ("stdout" or "stderr"), ``text``
fatal      ``reason``: the worker is of no use any more; the caller ends it
mail       there is something in its mailbox
=========  =========================================================================================

Where memory is shared, what a worker sends goes through a mailbox in it (`mailbox.js`), all but ``image``, ``compiled``
and ``mail``: so a caller that blocks can take it in.

A ``batch`` is answered by exactly one ``reply``, or the worker is gone: `link.js` notices that on its own.
A receiver passes over no type: one that it does not know is an error of this package.

Invariant: payloads and buffers are copied out of the WebAssembly heap and then transferred; a view of the heap
is never posted, since that would clone the heap.
"""

from __future__ import annotations

from collections.abc import Iterable
from pickle import PickleBuffer
from typing import Any

from pyodide.ffi import to_js


def export_buffers(buffers: Iterable[PickleBuffer]) -> Any:
    """Copy buffers into a JavaScript array of ``Uint8Array``, each the owner of its memory."""
    return to_js([to_js(buffer.raw()) for buffer in buffers])


def import_buffers(buffers: Any) -> list[bytearray]:
    """Copy an array of ``Uint8Array`` into Python; writable, so that arrays made of them are."""
    return [_import_buffer(buffer) for buffer in buffers]


def _import_buffer(buffer: Any) -> bytearray:
    target = bytearray(buffer.byteLength)
    buffer.assign_to(target)
    return target
