"""A backend without workers or time: a test says when each batch comes back, and how.

Invariant: runs no thread and never waits; what was sent is there to be looked at.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from jobspan.backends.base import Closing, OpenRequest, Traits
from jobspan.model import Batch, Completion, Fact, Ticket
from jobspan.worker.run import run_tasks

Script = Callable[["ScriptedSession"], Sequence[Fact]]


class ScriptedBackend:
    """Opens `ScriptedSession`s that share one script.

    Parameters
    ----------
    script : callable, optional
        Called by each poll with the session; returns the facts of that poll. By default the oldest batch comes
        back, all its tasks having been run.
    width : int
        Workers to pretend.
    """

    def __init__(self, script: Script | None = None, *, width: int = 2) -> None:
        self.traits = Traits(memory="shared", lone_worker=True)
        self.sessions: list[ScriptedSession] = []
        self._script = script or ScriptedSession.finish_oldest
        self._width = width

    def cpu_count(self) -> int:
        """The pretended workers."""
        return self._width

    def open(self, request: OpenRequest, /) -> ScriptedSession:
        """A new session, also listed in `sessions`."""
        session = ScriptedSession(self._script, request.n_jobs or self._width)
        self.sessions.append(session)
        return session


class ScriptedSession:
    """Keeps what was submitted in `waiting`, oldest first, and how it was closed in `closings`."""

    def __init__(self, script: Script, width: int) -> None:
        self.width = width
        self.waiting: deque[tuple[Ticket, Batch]] = deque()
        self.cancelled: list[Ticket] = []
        self.closings: list[Closing] = []
        self._script = script

    def finish_oldest(self) -> Sequence[Fact]:
        """Run the oldest batch and report it."""
        return [self.finish(*self.waiting.popleft())] if self.waiting else ()

    def finish(self, ticket: Ticket, batch: Batch) -> Completion:
        """Run one batch, and what its completion is."""
        return run_tasks(batch.tasks, ticket=ticket, first=batch.first, worker="scripted", watch=True, measure=True)

    def submit(self, ticket: Ticket, batch: Batch, /) -> None:
        """Remember the batch."""
        self.waiting.append((ticket, batch))

    def poll(self, _timeout: float | None, /) -> Sequence[Fact]:
        """What the script says."""
        return self._script(self)

    async def apoll(self, timeout: float | None, /) -> Sequence[Fact]:
        """What the script says."""
        return self.poll(timeout)

    def wake(self) -> None:
        """Nothing waits here."""

    def cancel(self, tickets: Sequence[Ticket], /) -> None:
        """Remember what was cancelled."""
        self.cancelled += tickets

    def close(self, how: Closing, /) -> None:
        """Remember how it was closed."""
        self.closings.append(how)
