"""The protocol between jobspan and whatever runs tasks: `Backend`, `Session`, `Traits`.

Rules, each a test of `jobspan.testing.BackendContract`:

1. Every ticket yields exactly one `Completion`: outcomes of the first tasks of the batch (at least one),
   or ``lost``. A session that cannot learn of a death by itself watches for it inside `Session.poll`.
2. `Session.submit` never blocks, and runs no task in the caller.
3. `Session.poll` returns as soon as something is there, and ``()`` at the timeout or after `Session.wake`;
   `jobspan.errors.CannotBlock` where blocking is impossible. No polling sleeps.
4. `Session.cancel` is best effort: a batch that has not begun may come back as lost, or run. `Session.close`
   may be called twice, and ends every wait.
5. Outcomes are per task: a failing task does not lose those that were finished before it.
6. A session never sees `Parallel`, its settings or the user's iterator.
7. Where `Traits.can_expel`, `ExpellingSession.find_running` tells which task each worker is on and since when, and
   `ExpellingSession.expel` ends that task alone. Where the request asks to `isolate`, a worker that ended is replaced,
   others go on, and `Completion.begun` tells which task it was on, where that is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from jobspan.model import Batch, Fact, Running, Staff, Ticket, Transfer
from jobspan.worker.context import Place
from jobspan.worker.frame import Frame

Closing: TypeAlias = Literal["release", "kill"]
"""``release``: the workers go back to be used again. ``kill``: what still runs is ended where that is possible."""


class Traits(NamedTuple):
    """What a backend is, fixed before it is opened.

    Attributes
    ----------
    memory : {"shared", "copied"}
        Whether tasks see the caller's objects or copies of them.
    blocks : bool
        Whether `Session.poll` may be called; otherwise only `Session.apoll`.
    inline : bool
        Tasks run inside `Session.poll`, in the caller's thread: one is sent at a time, and only when asked for.
    reports_start : bool
        Whether `Started` arrives when a task begins; otherwise starts become known with the completion.
    can_kill : bool
        Whether closing with ``kill`` ends a task that is running.
    can_expel : bool
        Whether a session can tell what its workers are on, and end one of them alone.
    lone_worker : bool
        Whether a single worker is worth having; otherwise ``n_jobs=1`` runs sequentially.
    round_trip_s : float
        What sending a batch and getting it back costs, in seconds: batches are made worth it.
    staffs : frozenset of str
        The fields of `jobspan.model.Staff` that this backend honours; others are refused before anything runs.
    """

    memory: Literal["shared", "copied"]
    blocks: bool = True
    inline: bool = False
    reports_start: bool = False
    can_kill: bool = False
    can_expel: bool = False
    lone_worker: bool = False
    round_trip_s: float = 1e-4
    staffs: frozenset[str] = frozenset()


class OpenRequest(NamedTuple):
    """What one run needs of a session.

    Attributes
    ----------
    n_jobs : int or None
        Workers wanted, at least 1; None for as many as the backend has.
    watch : bool
        Report `Started` (where possible) and `Completion.spans`.
    measure : bool
        Report `Completion.nbytes`.
    budget_s : float or None
        After this many seconds a worker comes back with what is finished; None: never before the end.
    frame : Frame
        What the tasks find around them; a session knows it as ``request.frame.within(width)``.
    transfer : Transfer
        How large arguments and results travel.
    staff : Staff
        What is wanted of the workers; only what `Traits.staffs` names is ever set.
    isolate : bool
        The run goes on when a worker ends: others should not be drawn into it, where that costs something.
    seed : int or None
        What the tasks' own random numbers are made of.
    timed : bool
        `Session.find_running` will be asked.
    """

    n_jobs: int | None
    watch: bool = False
    measure: bool = False
    budget_s: float | None = None
    frame: Frame = Frame()
    transfer: Transfer = Transfer()
    staff: Staff = Staff()
    isolate: bool = False
    timed: bool = False
    seed: int | None = None

    def options(self, ticket: Ticket, batch: Batch, place: Place) -> dict[str, Any]:
        """What `jobspan.worker.run.run_tasks` is told of one batch, besides its tasks and the worker's name."""
        return {
            "ticket": ticket,
            "first": batch.first,
            "place": place,
            "attempt": batch.attempt,
            "seed": self.seed,
            "budget_s": self.budget_s,
            "watch": self.watch,
            "measure": self.measure,
        }


class Session(Protocol):
    """One run's use of some workers.

    A session may also have a method ``rereads()``, which tells whether large arguments of its batches have to be looked
    at again after code of the input ran: then more is taken from the input at a time.
    """

    @property
    def width(self) -> int:
        """How many tasks can run at the same time, at least 1."""

    def submit(self, ticket: Ticket, batch: Batch, /) -> None:
        """Send one batch on its way."""

    def poll(self, timeout: float | None, /) -> Sequence[Fact]:
        """Wait until something happened, at most `timeout` seconds (None: as long as it takes)."""

    async def apoll(self, timeout: float | None, /) -> Sequence[Fact]:
        """Await what `poll` waits for."""

    def wake(self) -> None:
        """Make a `poll` that waits in another thread return; without effect where there are no threads."""

    def cancel(self, tickets: Sequence[Ticket], /) -> None:
        """Try to keep batches that have not begun from running."""

    def close(self, how: Closing, /) -> None:
        """Give the workers back, or end them."""


class ExpellingSession(Session, Protocol):
    """A session of a backend that `can_expel`."""

    def find_running(self) -> Sequence[Running]:
        """The tasks that workers are on."""

    def expel(self, running: Running, /) -> None:
        """End this task, which a worker was on; where possible with the worker, which is replaced.

        Its batch comes back as lost, with the values of the tasks before it where these are saved.
        """


@runtime_checkable
class Backend(Protocol):
    """Something that opens sessions."""

    @property
    def traits(self) -> Traits:
        """What this backend is."""

    def cpu_count(self) -> int:
        """How many workers ``n_jobs=-1`` means here."""

    def open(self, request: OpenRequest, /) -> Session:
        """Start, or take up again, the workers of one run. Does not wait for them."""
