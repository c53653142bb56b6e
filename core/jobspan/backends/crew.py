"""One pool of worker processes: what kind it is, whether its workers live, and how they are made to stop.

Invariant: a `Kind` holds all that must be the same for a pool to serve another call, and a pool's kind never changes;
its workers are those that `Pool.muster` found last.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from multiprocessing import connection
from time import monotonic
from typing import Any, NamedTuple

from jobspan import host
from jobspan.backends.base import OpenRequest
from jobspan.backends.copying import UNKNOWN_DEATH
from jobspan.backends.life import At, Board, serve
from jobspan.backends.line import Line, has_lines
from jobspan.backends.shortage import Shortage
from jobspan.persist.pickling import dumps

GRACE_S = 0.05
"""What nobody wants any more may take so long to stop, before its workers are killed."""

_NOT_TO_BLAME = frozenset({None, 0, -signal.SIGTERM})  # by this signal a broken pool ends its other workers


class Kind(NamedTuple):
    """What has to be the same for a pool to serve another call.

    Attributes
    ----------
    width : int
        Workers.
    occupied : int
        Tasks that run beside each other here, over all levels of nesting: the CPUs are divided by it.
    threads : int or None
        Threads that libraries may use in a worker, if the user gave a number.
    said : tuple of (str, str)
        Those of `jobspan.host.THREAD_LIMITS` that the caller's environment sets.
    initializer : bytes or None
        What the workers run first, pickled.
    has_line : bool
        Whether batches reach its workers by a `jobspan.backends.line.Line`, rather than by the executor's own ways.
    is_isolated : bool
        Whether the end of one worker leaves the others alone.
    """

    width: int
    occupied: int
    threads: int | None
    said: tuple[tuple[str, str], ...]
    initializer: bytes | None
    has_line: bool
    is_isolated: bool = False

    def environment(self) -> dict[str, str]:
        """Variables for the workers: the user's number, or what the user's environment says, or their share."""
        share = str(self.threads or max(1, host.cpu_count() // self.occupied))
        said = () if self.threads else dict(self.said)
        return {name: share for name in host.THREAD_LIMITS if name not in said}


def kind_of(request: OpenRequest, width: int) -> Kind:
    """The kind of pool that a request asks for."""
    initializer = request.frame.initializer
    try:
        ran = None if initializer is None else dumps(initializer)
    except Exception:  # noqa: BLE001  it runs users' code; what cannot be pickled is refused with the first batch
        ran = None
    occupied = request.frame.place.width * width
    said = tuple((name, os.environ[name]) for name in host.THREAD_LIMITS if name in os.environ)
    threads, is_isolated = request.staff.inner_max_num_threads, request.isolate or request.timed
    return Kind(width, occupied, threads, said, ran, has_lines(), is_isolated)


class Pool:
    """An executor and its workers.

    Parameters
    ----------
    executor : Executor
        loky's, or a `concurrent.futures.ProcessPoolExecutor`; both keep their processes in one and the same place.
    kind : Kind
        What it is.
    board : Board, optional
        Shared with the workers, if they can be made to leave off what nobody wants.
    line : Line, optional
        How batches reach the workers, for a pool that has one of its own.
    """

    def __init__(self, executor: Any, kind: Kind, board: Board | None, line: Line | None) -> None:
        self.executor = executor
        self.kind = kind
        self.line = line
        self.expires = 0.0
        self.has_ended = False
        self.weighed = 0.0
        self.tasks_given = 0
        self.batches_given = 0
        self.crew: list[Any] = []
        self._memory = Shortage()
        self.board = board
        self._ending = threading.Lock()
        self.muster()

    def start(self, ended: Callable[[Future[None]], object]) -> None:
        """Start all workers; where there is a line they serve it until its end, of which `ended` is told."""
        if not self.kind.has_line:
            self.executor.submit(int)
        else:
            for _ in range(self.kind.width):
                self.executor.submit(serve).add_done_callback(ended)
        self.muster()
        if self.board is not None:
            for place, worker in enumerate(self.crew):
                self.board.seat(place, worker.pid)

    def muster(self) -> None:
        """Take stock of the workers."""
        self._take_stock(list((getattr(self.executor, "_processes", None) or {}).values()))

    def _take_stock(self, crew: list[Any]) -> None:
        self.crew = crew
        self._watch = _Watch([worker.sentinel for worker in crew])

    def next_number(self) -> int:
        """A number for one more batch."""
        self.batches_given += 1
        return self.batches_given

    def is_sound(self) -> bool:
        """Whether all workers are alive."""
        # Both, since `is_alive` errs while another thread, the executor's own, is asking after the same process.
        return (
            bool(self.crew)
            and (self.line is None or self.line.broken is None)
            and all(worker.is_alive() for worker in self.crew)
            and not self._watch.has_ended()
        )

    def describe_ends(self) -> str:
        """How workers ended that did not end by themselves, in words."""
        codes = {worker.exitcode for worker in self.crew} - {None, 0}
        foreign = codes - _NOT_TO_BLAME or codes
        return " and ".join(sorted(map(self._describe_end, foreign))) or UNKNOWN_DEATH

    def find_culprit(self) -> int | None:
        """The place of the worker whose end has broken the pool, if it is clear which it was."""
        ended = [place for place, worker in enumerate(self.crew) if worker.exitcode not in _NOT_TO_BLAME]
        return ended[0] if len(ended) == 1 else None

    def _describe_end(self, code: int) -> str:
        if code >= 0:
            return f"it ended with exit code {code}, as os._exit({code}) in a task does"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"it was ended by {name}{self._memory.explain() if name == 'SIGKILL' else ''}"

    def read(self, place: int) -> At | None:
        """What the worker of this place is on, where workers have places on the board; None while that changes."""
        return None if self.board is None else self.board.read(place)

    def take_ended(self) -> list[int]:
        """The places whose worker has ended since this was asked last, in a pool where they can be replaced."""
        return []

    def name_of(self, place: int) -> str:
        """What tasks know the worker of this place as."""
        return f"process {self.crew[place].pid}" if place < len(self.crew) else ""

    def expel(self, _place: int) -> None:
        """End the worker of this place, and what it has started, whatever it is at."""
        self.end(kill=True)

    def hold(self) -> None:
        """From now on its work is somebody's: if the interpreter ends meanwhile, nothing waits for it."""

    def release(self) -> None:
        """Its workers are idle."""

    def recall(self) -> bool:
        """Ask the workers to leave off all that they were given; whether they can be asked."""
        if self.board is None:
            return False
        self.board.unwanted = self.batches_given
        try:
            for worker in self.crew:
                if not worker.is_alive():  # its number may be another's by now
                    return False
                os.kill(worker.pid, signal.SIGINT)
        except ProcessLookupError:
            return False
        return True

    def end_line(self) -> None:
        """Tell the workers that no more batches will come, if they wait for any: they go on to their own end."""
        if self.line is not None:
            self.line.end()

    def close_line(self) -> None:
        """Close the sockets of this process, when no session has the pool any more."""
        if self.line is not None:
            self.line.close()

    def end(self, *, kill: bool, wait: bool = False) -> None:
        """End the workers; without `kill` they are told to go, and waited for only with `wait`."""
        raise NotImplementedError  # each kind of executor has its own way to end


def place_of(kind: Kind, place: int | None) -> int | None:
    """Where on its pool's board a worker tells what it is on; a number only where each has a place of its own."""
    return 0 if place is None and kind.width == 1 else place


class _Watch:
    """Looks whether one of some processes has ended, by their sentinels."""

    def __init__(self, sentinels: Sequence[int]) -> None:
        self._sentinels = sentinels
        if hasattr(select, "poll"):
            self._poll = select.poll()
            for sentinel in sentinels:
                self._poll.register(sentinel, select.POLLIN)

    def has_ended(self) -> bool:
        if hasattr(select, "poll"):
            return bool(self._poll.poll(0))
        return bool(connection.wait(self._sentinels, timeout=0))


def stop(under_way: Sequence[tuple[Pool, Sequence[Future[Any]]]]) -> list[bool]:
    """Make pools leave off what they were given; for each whether nothing of it runs any more."""
    kept = [(pool.recall(), [future for future in futures if not future.cancel()]) for pool, futures in under_way]
    deadline = monotonic() + GRACE_S
    return [asked and not wait(futures, timeout=max(0.0, deadline - monotonic())).not_done for asked, futures in kept]
