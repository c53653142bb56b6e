"""The workers of this interpreter: started when asked for, lent to one session at a time, kept warm between.

Invariant: a worker is lent, idle in the pool, or gone; one that is gone has told its listener, and nothing is ever
sent to it. One that is lent again while it still finishes what an earlier session had sent gets nothing before that.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

import js
import pyodide_js
from pyodide.ffi import create_proxy, to_js

from jobspan import host
from jobspan.errors import JobspanError, WorkerBootError, WorkerLost
from jobspan.model import Ticket
from jobspan.persist.pickling import dumps
from jobspan.web import environment, output
from jobspan.web.environment import Survey
from jobspan.web.link import link, source
from jobspan.web.protocol import import_buffers
from jobspan.worker.references import Key

BOOT_DEADLINE_S = 60.0
"""A worker that boots has to give a sign of life this often."""

_WARMTH = {"booting": 0, "finishing": 1, "idle": 2}  # of those that are not lent: the warmest are lent first

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
    """One worker, as its pool and its session see it."""

    def __init__(self, name: str, pool: Pool) -> None:
        self.name = name
        self.state: Literal["booting", "idle", "busy", "finishing", "gone"] = "booting"
        self.held: list[Ticket] = []
        self.listener: Listener | None = None
        self.survey = pool.survey
        self._pool = pool
        self._callbacks = create_proxy(self._hear), create_proxy(self._end)
        self._link = link().start(source("worker.mjs"), 1000 * pool.boot_deadline_s, *self._callbacks)

    def boot(self, index_url: str, options: Any, packed: Any) -> None:
        """Let it boot Pyodide from the folder `index_url`."""
        self._link.init(index_url, options, self.name, packed)

    def extend(self, survey: Survey, packed: Any) -> None:
        """Add what was installed since; batches sent later find it."""
        self.survey = survey
        self._link.reproduce(packed)

    def send(self, ticket: Ticket, payload: Any, buffers: Any) -> None:
        """Send a batch; `payload` and `buffers` are JavaScript's, and are gone afterwards."""
        self.held.append(ticket)
        self.state = "busy"
        self._link.hold(True)
        self._link.send(ticket, payload, buffers)

    def teach(self, sent: Mapping[Key, bytes], outdated: Collection[Key]) -> None:
        """Send constants that batches will refer to, and name those that none will refer to any more."""
        self._link.teach(to_js(dumps((dict(sent), tuple(outdated)))))

    def lend(self, listener: Listener) -> None:
        """Let `listener` hear of this worker from now on; `Ready` if it has to wait for it."""
        self.listener = listener
        if not self.is_available:
            self._link.hold(True)

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
            if kill:
                self._link.killLater(1000 * KILL_AFTER_S)

    def end(self) -> None:
        """End it now, without telling anybody."""
        if self.state != "gone":
            self.state = "gone"
            self._link.end()
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
                if self.state == "busy":
                    self._rest()
                    self._tell(Reply(ticket, message.payload.to_bytes(), import_buffers(message.buffers)))
                elif not self.held:  # the last that an earlier session had sent
                    self._link.spare()
                    self._rest()
                    self._tell(Ready())
            case "ready":
                self._rest()
                self._tell(Ready())
            case "started":
                pass  # of what an earlier session had sent
            case unknown:
                raise AssertionError(f"a worker sent a message of type {unknown!r}: please report this")

    def _rest(self) -> None:
        if not self.held:
            self.state = "idle"
            self._link.hold(False)

    def _end(self, reason: str) -> None:
        if self.state == "booting":
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
        self._tell(Gone(tickets, error))
        self._destroy_callbacks()

    def _tell(self, news: News) -> None:
        if self.listener is not None:
            self.listener(self, news)

    def _destroy_callbacks(self) -> None:
        for callback in self._callbacks:
            callback.destroy()


class Pool:
    """Workers that run Pyodide from `index_url`, by default from where the caller's came; `keep` may lie idle."""

    def __init__(
        self, *, index_url: str | None = None, boot_deadline_s: float = BOOT_DEADLINE_S, keep: int | None = None
    ) -> None:
        config = pyodide_js._api.config  # noqa: SLF001  Pyodide has no public name for it
        self.index_url: str = index_url or config.indexURL
        self.boot_deadline_s = boot_deadline_s
        self.survey = environment.survey()
        self._born = 0
        self._workers: list[Worker] = []
        self._idle: list[Worker] = []
        self._most = keep or host.cpu_count()
        self._is_open = True

    @property
    def size(self) -> int:
        """Workers that live or boot."""
        return len(self._workers)

    def lend(self, count: int, listener: Listener) -> list[Worker]:
        """`count` workers for one session, warm ones first; they may still be booting. None after `shutdown`."""
        if not self._is_open:
            return []
        self._most = max(self._most, count)
        self._refresh()
        self._idle.sort(key=lambda worker: _WARMTH[worker.state])
        workers = [self._idle.pop() for _ in range(min(count, len(self._idle)))]
        workers += self._start(count - len(workers))
        for worker in workers:
            worker.lend(listener)
        return workers

    def give_back(self, worker: Worker, *, kill: bool) -> None:
        """Take a worker back from its session; what it still runs it finishes, with `kill` within a second."""
        worker.take_back(kill)
        self._idle.append(worker)
        while len(self._idle) > self._most:
            self._drop(max(self._idle, key=lambda worker: worker.state == "booting"))  # rather than a warm one

    def forget(self, worker: Worker) -> None:
        """A worker is gone."""
        self._workers.remove(worker)
        if worker in self._idle:
            self._idle.remove(worker)

    def shutdown(self) -> None:
        """End all workers now, for good; what they held is lost."""
        self._is_open = False
        for worker in list(self._workers):
            self._discard(worker, "was shut down with its pool")

    def expel(self, worker: Worker) -> None:
        """End a worker now, whatever it is at; its session hears of it."""
        self._discard(worker, "was ended")

    def _discard(self, worker: Worker, what: str) -> None:
        listener, tickets = worker.listener, worker.held
        self._drop(worker)
        if listener is not None:
            listener(worker, Gone(tickets, WorkerLost(f"worker {worker.name} {what}.")))

    def _drop(self, worker: Worker) -> None:
        self.forget(worker)
        worker.end()

    def _refresh(self) -> None:
        """Give idle workers what was installed since; those for which that is not enough are replaced."""
        self.survey = environment.survey()
        for worker in list(self._idle):
            if worker.survey == self.survey:
                continue
            if worker.survey.is_extended_by(self.survey):
                worker.extend(self.survey, _pack(self.survey, worker.survey))
            else:
                self._drop(worker)

    def _start(self, count: int) -> list[Worker]:
        if not count:
            return []
        packed = _pack(self.survey)
        options = self._options()
        workers = []
        for _ in range(count):
            self._born += 1
            worker = Worker(f"web-{self._born}", self)
            worker.boot(self.index_url, options, packed)
            self._workers.append(worker)
            workers.append(worker)
        return workers

    def _options(self) -> Any:
        """What the caller's own Pyodide was loaded with, as far as it makes a difference."""
        options = {"indexURL": self.index_url, "env": dict(os.environ)}
        options["lockFileContents"] = js.JSON.stringify(pyodide_js.lockfile)
        for name in ("packageBaseUrl", "packageCacheDir"):  # only node has the second
            if place := getattr(pyodide_js._api.config, name, None):  # noqa: SLF001
                options[name] = place
        return to_js(options, dict_converter=js.Object.fromEntries)


def _pack(survey: Survey, known: Survey | None = None) -> Any:
    """What a worker reproduces, all of it or what it does not have yet."""
    packed = link().pack(to_js(survey.files(known)))
    loaded = pyodide_js.loadedPackages.to_py()
    packages = environment.from_distribution(environment.compiled_packages(survey), loaded)
    packed.packages = to_js(packages)
    packed.loadedPackages = pyodide_js.loadedPackages
    packed.path = to_js(list(survey.path))
    packed.folder = survey.folder
    return packed
