"""The workers of this interpreter: started when asked for, lent to one session at a time, kept warm between.

Invariant: a worker is lent, idle in the pool, or gone.
"""

from __future__ import annotations

import os
from typing import Any

import js
import pyodide_js
from pyodide.ffi import to_js

from jobspan import host
from jobspan.errors import WorkerLost, say_once
from jobspan.web import environment, images
from jobspan.web.environment import Survey
from jobspan.web.link import link
from jobspan.web.worker import Gone, Listener, Worker

BOOT_DEADLINE_S = 60.0
"""A worker that boots has to give a sign of life this often."""

IDLE_S = 300.0
"""A worker that had nothing to do for so many seconds ends."""

MOST_IDLE_BYTES = 512 << 20
"""A worker whose memory has grown beyond this is not kept for later runs."""

_WARMTH = {"booting": 0, "finishing": 1, "idle": 2}  # of those that are not lent: the warmest are lent first


class Pool:
    """Workers that run Pyodide from `index_url`, by default from where the caller's came; `keep` may lie idle."""

    def __init__(
        self, *, index_url: str | None = None, boot_deadline_s: float = BOOT_DEADLINE_S, keep: int | None = None
    ) -> None:
        config = pyodide_js._api.config  # noqa: SLF001  Pyodide has no public name for it
        self.index_url: str = index_url or config.indexURL
        self.boot_deadline_s = boot_deadline_s
        self.idle_s = IDLE_S
        self.survey = Survey("", (), {}, {})
        self.is_open = True
        self.deaths_at_boot = 0  # in a row
        self._born = 0
        self._workers: list[Worker] = []
        self._idle: list[Worker] = []
        self._most = keep or host.cpu_count()
        self._images: Any = None

    @property
    def size(self) -> int:
        """Workers that live or boot."""
        return len(self._workers)

    @property
    def workers(self) -> tuple[Worker, ...]:
        """The workers that live or boot, the oldest first."""
        return tuple(self._workers)

    def lend(self, count: int, listener: Listener, *, most_new: int | None = None) -> list[Worker]:
        """`count` workers for one session, warm ones first; they may still be booting. None after `shutdown`.

        Of new ones, no more than `most_new` are started.
        """
        if not self.is_open:
            return []
        self._most = max(self._most, count)
        if self._idle or most_new != 0:
            self._refresh()
        self._idle.sort(key=lambda worker: _WARMTH[worker.state])
        workers = [self._idle.pop() for _ in range(min(count, len(self._idle)))]
        missing = count - len(workers)
        workers += self._start(missing if most_new is None else min(missing, most_new))
        for worker in workers:
            worker.lend(listener)
        return workers

    def warm(self, count: int) -> list[Worker]:
        """`count` workers that nobody has asked for yet, started where there are fewer."""
        self._most = max(self._most, count)
        self._refresh()
        missing = count - len(self._workers)
        self._idle += self._start(max(0, missing))
        return self._workers[:count]

    def give_back(self, worker: Worker, *, kill: bool) -> None:
        """Take a worker back from its session; what it still runs it finishes, with `kill` within a second."""
        worker.take_back(kill)
        if worker.memory_bytes > MOST_IDLE_BYTES and worker.state == "idle":
            self.discard(worker)
            return
        self._idle.append(worker)
        while len(self._idle) > self._most:
            self.discard(max(self._idle, key=lambda worker: worker.state == "booting"))  # rather than a warm one

    def forget(self, worker: Worker) -> None:
        """A worker is gone."""
        self._workers.remove(worker)
        if worker in self._idle:
            self._idle.remove(worker)

    def boot_without_image(self, reason: str) -> None:
        """Images cannot be made or used here: each worker boots by itself."""
        if self._images is not None:
            self._images.refuse()
        say_once(f"each worker boots Python by itself, which takes seconds, since memory images do not work: {reason}")

    def shutdown(self) -> None:
        """End all workers now, for good; what they held is lost."""
        self.is_open = False
        for worker in list(self._workers):
            self._lose(worker, "was shut down with its pool")

    def expel(self, worker: Worker) -> None:
        """End a worker now, whatever it is at; its session hears of it."""
        self._lose(worker, "was ended")

    def _lose(self, worker: Worker, what: str) -> None:
        listener, tickets = worker.listener, worker.held
        self.discard(worker)
        if listener is not None:
            listener(worker, Gone(tickets, WorkerLost(f"worker {worker.name} {what}.")))

    def discard(self, worker: Worker) -> None:
        """End a worker that is of no use any more, without telling anybody."""
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
                self.discard(worker)

    def _start(self, count: int) -> list[Worker]:
        if not count:
            return []
        packed = _pack(self.survey)
        options = self._options()
        self._images = images.find(self.index_url)
        workers = []
        for _ in range(count):
            self._born += 1
            worker = Worker(f"web-{self._born}", self)
            worker.boot(options, packed, self._images)
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
    packed.home = to_js(images.home())
    return packed


_shared: list[Pool] = []


def shared_pool() -> Pool:
    """The pool of all calls that do not ask for one of their own; another one after it was shut down."""
    if not _shared or not _shared[0].is_open:
        _shared[:] = [Pool()]
    return _shared[0]
