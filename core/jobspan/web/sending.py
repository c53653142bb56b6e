"""How batches go to workers of a pool, with the constants that they refer to, and how replies are read.

Invariant: a worker has been sent every constant that a batch refers to before it is sent that batch, once, and is told
when none will refer to it any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from pickle import PickleBuffer
from typing import TYPE_CHECKING, Any, NamedTuple

from jobspan.model import Batch, Completion, Ticket
from jobspan.worker.references import Key
from jobspan.worker.reply import decode_reply
from jobspan.worker.wire import BatchEncoder

if TYPE_CHECKING:
    from jobspan.web.pool import Pool
    from jobspan.web.worker import Reply, Worker


class Encoded(NamedTuple):
    """A batch that waits for a worker; `payload` and `buffers` are JavaScript's."""

    ticket: Ticket
    tasks: int
    payload: Any
    buffers: Any
    needs: tuple[Key, ...]


class Sender:
    """What goes to the workers that are lent for one run."""

    def __init__(self, encoder: BatchEncoder) -> None:
        self.encoder = encoder
        self._known: dict[Worker, set[Key]] = {}  # what each worker was sent of `BatchEncoder.messages`

    def encode(self, ticket: Ticket, batch: Batch) -> Encoded:
        """Pickle a batch into memory of JavaScript's; raises what `BatchEncoder.encode` does."""
        from pyodide.ffi import to_js

        from jobspan.web.protocol import export_buffers

        out_of_band: list[PickleBuffer] = []
        payload = self.encoder.encode(batch, ticket=ticket, buffer_callback=out_of_band.append)
        return Encoded(ticket, len(batch.tasks), to_js(payload), export_buffers(out_of_band), self.encoder.needs)

    def send(self, worker: Worker, encoded: Encoded) -> None:
        """Send a batch, after what it refers to and the worker does not have yet."""
        self._teach(worker, encoded.needs)
        worker.send(encoded.ticket, encoded.payload, encoded.buffers, encoded.tasks)

    def _teach(self, worker: Worker, needs: Sequence[Key]) -> None:
        messages, known = self.encoder.messages, self._known.setdefault(worker, set())
        missing = {key: messages[key] for key in needs if key not in known}
        outdated = [key for key in known if key not in messages]
        if missing or outdated:
            known.update(missing)
            known.difference_update(outdated)
            worker.teach(missing, outdated)

    def forget(self, worker: Worker) -> None:
        """The worker is gone."""
        self._known.pop(worker, None)

    def give_back(self, pool: Pool, worker: Worker, *, kill: bool) -> None:
        """Return a worker, which lets go of what it was sent for this run."""
        if known := self._known.pop(worker, None):
            worker.teach({}, known)
        pool.give_back(worker, kill=kill)


def decode(worker: Worker, reply: Reply) -> Completion:
    """What a worker sent back, as a fact; what cannot be unpickled is lost."""
    try:
        return decode_reply(reply.ticket, reply.payload, reply.buffers)
    except Exception as error:  # noqa: BLE001  unpickling runs users' code
        error.add_note(f"jobspan: raised while a result of worker {worker.name} was unpickled by the caller")
        return Completion(reply.ticket, [], lost=error, worker=worker.name)
