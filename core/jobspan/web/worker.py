"""One Web Worker as its pool and its session see it, and what they hear of it.

Invariant: a worker that is gone has told its listener, and nothing is ever sent to it; one that is lent again while it
still finishes what an earlier session had sent gets nothing before that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from pyodide.ffi import create_proxy, to_js

from jobspan.errors import JobspanError, WorkerBootError, WorkerLost
from jobspan.model import Ticket
from jobspan.persist.pickling import dumps
from jobspan.web import output
from jobspan.web.environment import Survey
from jobspan.web.link import link, worker_script
from jobspan.web.protocol import import_buffers
from jobspan.worker.references import Key

if TYPE_CHECKING:
    from jobspan.web.pool import Pool

MOST_DEATHS_AT_BOOT = 3
"""When so many in a row have ended while they booted, for no known reason, a run is told that none can start."""

KILL_AFTER_S = 1.0
"""A worker that is to be ended may finish its batch within this time, and stays warm then."""


class Ready(NamedTuple):
    """A worker has booted."""


class TaskStarted(NamedTuple):
    """A worker begins a task of a watched batch."""

    ticket: Ticket
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    at: float


class Reply(NamedTuple):
    """A batch came back."""

    ticket: Ticket
    payload: bytes
    buffers: list[bytearray]


class Gone(NamedTuple):
    """A worker is no more, and the batches it held are lost."""

    tickets: list[Ticket]
    error: JobspanError


News: TypeAlias = Ready | TaskStarted | Reply | Gone
Listener: TypeAlias = Callable[["Worker", News], None]


class Worker:
    """One worker, as its pool and its session see it.

    Attributes
    ----------
    held : list of int
        The tickets of the batches that it has.
    tasks : int
        How many it was sent.
    memory_bytes : int
        What its interpreter has of memory, at its last reply. It never shrinks: WebAssembly gives none back.
    """

    def __init__(self, name: str, pool: Pool) -> None:
        self.name = name
        self.state: Literal["booting", "idle", "busy", "finishing", "gone"] = "booting"
        self.held: list[Ticket] = []
        self.tasks = 0
        self.memory_bytes = 0
        self.listener: Listener | None = None
        self.survey = pool.survey
        self._pool = pool
        self._watchers: list[Callable[[JobspanError | None], object]] = []
        self._callbacks = create_proxy(self._hear), create_proxy(self._end)
        self._link = link().start(worker_script(), 1000 * pool.boot_deadline_s, *self._callbacks)

    def boot(self, options: Any, packed: Any, images: Any) -> None:
        """Let it boot Pyodide, from one of the `images` where there is one or another worker makes one."""
        self._link.init(self._pool.index_url, options, self.name, packed, images)

    def when_booted(self, watcher: Callable[[JobspanError | None], object]) -> None:
        """Call this when it is ready, or with the reason why it never will be."""
        if self.state == "booting":
            self._watchers.append(watcher)

    def extend(self, survey: Survey, packed: Any) -> None:
        """Add what was installed since; batches sent later find it."""
        self.survey = survey
        self._link.reproduce(packed)

    def send(self, ticket: Ticket, payload: Any, buffers: Any, tasks: int = 1) -> None:
        """Send a batch of so many tasks; `payload` and `buffers` are JavaScript's, and are gone afterwards."""
        self.held.append(ticket)
        self.tasks += tasks
        self.state = "busy"
        self._link.hold(True)
        self._link.send(ticket, payload, buffers)

    def teach(self, sent: Mapping[Key, bytes], outdated: Collection[Key]) -> None:
        """Send constants that batches will refer to, and name those that none will refer to any more."""
        self._link.teach(to_js(dumps((dict(sent), tuple(outdated)))))

    def lend(self, listener: Listener) -> None:
        """Let `listener` hear of this worker from now on; `Ready` if it has to wait for it."""
        self.listener = listener
        if self.state == "idle":
            self._link.spare()
        elif self.state != "busy":
            self._link.hold(True)

    @property
    def runs(self) -> bool:
        """Whether it has given a sign of life, and so goes on while this thread blocks."""
        return self.state != "gone" and bool(self._link.runs)

    @property
    def is_available(self) -> bool:
        """Whether a batch that is sent now reaches a worker that runs, and runs for the present listener."""
        return self.state in ("idle", "busy")

    def take_back(self, kill: bool) -> None:
        """End the loan; with `kill` a worker that is busy ends soon."""
        self.listener = None
        self._link.hold(False)
        if self.held:
            self.state = "finishing"
            self._link.disown(True)
            if kill:
                self._link.endLater(1000 * KILL_AFTER_S, "it was ended with the run that it worked for")
        elif self.state == "idle":
            self._rest()

    def end(self) -> None:
        """End it now, without telling anybody."""
        if self.state != "gone":
            self.state = "gone"
            self._link.end()
            self._tell_watchers(WorkerLost(f"worker {self.name} was ended while it booted."))
            self._destroy_callbacks()

    def _hear(self, message: Any) -> None:
        match message.type:
            case "output":
                output.write(message.stream, message.text)
            case "started" if self.state == "busy":
                self._tell(TaskStarted(message.ticket, message.index, message.at))
            case "reply":
                ticket = message.ticket
                self.held.remove(ticket)
                self.memory_bytes = message.memory
                try:
                    reply = Reply(ticket, message.payload.to_bytes(), import_buffers(message.buffers))
                finally:
                    message.free()  # the memory is the worker's again
                if self.state == "busy":
                    self._rest()
                    self._tell(reply)
                elif not self.held:  # the last that an earlier session had sent
                    self._link.spare()
                    self._link.disown(False)
                    self._rest()
                    self._tell(Ready())
            case "ready":
                self._pool.deaths_at_boot = 0
                self.memory_bytes = message.memory
                self._rest()
                self._tell_watchers(None)
                self._tell(Ready())
            case "imageless":
                self._pool.boot_without_image(message.reason)
            case "started":
                pass  # of what an earlier session had sent
            case unknown:
                raise AssertionError(f"a worker sent a message of type {unknown!r}: please report this")

    def _rest(self) -> None:
        if not self.held:
            self.state = "idle"
            self._link.hold(False)
            if self.listener is None:
                self._link.endLater(1000 * self._pool.idle_s, "it had nothing to do")

    def _end(self, reason: str, sudden: bool) -> None:
        if self.state == "booting":
            self._pool.deaths_at_boot += 1
        if self.state == "booting" and not (sudden and self._pool.deaths_at_boot < MOST_DEATHS_AT_BOOT):
            error: JobspanError = WorkerBootError(
                f"worker {self.name} could not start: {reason}. It boots Pyodide from {self._pool.index_url}; can this "
                f"page load that, and workers from blob: URLs?"
            )
        else:
            error = WorkerLost(
                f"worker {self.name} died ({reason}), with {len(self.held)} of this call's batches under way. The next "
                f"call gets a fresh worker."
            )
        tickets = self.held if self.state == "busy" else []  # not what an earlier session had sent
        self.state = "gone"
        self.held = []
        self._pool.forget(self)
        self._tell_watchers(error)
        self._tell(Gone(tickets, error))
        self._destroy_callbacks()

    def _tell_watchers(self, error: JobspanError | None) -> None:
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher(error)

    def _tell(self, news: News) -> None:
        if self.listener is not None:
            self.listener(self, news)

    def _destroy_callbacks(self) -> None:
        for callback in self._callbacks:
            callback.destroy()
