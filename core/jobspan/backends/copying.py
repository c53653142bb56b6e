"""What sessions whose workers share no memory with the caller have in common: encoding, decoding, explaining losses.

Invariant: whatever becomes of a batch ends as one `Completion`; what cannot be encoded or decoded is its ``lost``.
"""

from __future__ import annotations

from typing import Any

from jobspan.backends.base import OpenRequest
from jobspan.backends.relay import attach
from jobspan.errors import WorkerLost
from jobspan.model import Batch, Completion, Ticket
from jobspan.worker.describe import add_note, span
from jobspan.worker.reply import decode_reply
from jobspan.worker.wire import BatchEncoder

MOST_ENDS_WITHOUT_WORK = 8
"""Workers of one run that may end though they have nothing to do, before the next are not expected to do better."""

UNKNOWN_DEATH = "it was killed (perhaps for want of memory), crashed, or a task ended it with os._exit"


class CopyingSession:
    """Base of sessions that send bytes.

    Parameters
    ----------
    width : int
        Workers.
    request : OpenRequest
        What the run needs.
    is_local : bool
        Whether the workers are processes of this machine.
    """

    def __init__(self, width: int, request: OpenRequest, *, is_local: bool) -> None:
        self.width = width
        self._request = request
        frame = request.frame.within(width)
        self._frame = attach(frame) if is_local else frame
        self._encoder = BatchEncoder(
            self._frame,
            budget_s=request.budget_s,
            watch=request.watch,
            seed=request.seed,
            transfer=request.transfer,
            way="file" if is_local else "batch",
        )
        self._under_way: dict[Ticket, Batch] = {}
        self._broken = False

    def rereads(self) -> bool:
        """Whether there are large constants, which are looked at again after code of the input ran."""
        return self._encoder.rereads

    def _tasks(self) -> str:
        """The tasks under way, in words."""
        first = min(batch.first for batch in self._under_way.values())
        return span(first, max(batch.first + len(batch.tasks) for batch in self._under_way.values()) - first)

    def _decode(self, ticket: Ticket, reply: Any) -> Completion:
        try:
            return decode_reply(ticket, reply)
        except Exception as error:
            batch = self._under_way[ticket]
            add_note(
                error, f"raised while results of {span(batch.first, len(batch.tasks))} were unpickled by the caller"
            )
            raise

    def _explain_loss(self, error: BaseException) -> WorkerLost:
        self._broken = True
        lost = WorkerLost(
            f"a worker died, or could not start, and broke its pool, with {self._tasks()} under way: {self._death()}"
        )
        lost.__cause__ = error
        return lost

    def _death(self) -> str:
        """How it may have come, and what to do, in a sentence or two."""
        return f"{UNKNOWN_DEATH}. Make the executor anew before the next call."


def ended_early(error: BaseException | None) -> WorkerLost:
    """The loss of batches whose workers were ended on purpose."""
    lost = WorkerLost(
        "the workers were ended while the call went on, as they are at the end of a with block. Take a "
        "generator's results inside of the block."
    )
    lost.__cause__ = error
    return lost
