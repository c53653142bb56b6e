"""What a worker process does: it runs batches, ends with its parent, and leaves off what nobody wants any more.

A batch carries its number, and the caller can say on a `Board` up to which number batches are not wanted. Those that
have not begun are not run. A signal tells the worker to look at the board, and ends the batch that is running as
Ctrl-C would: the worker stays as it is, warm. Who cannot be reached that way is for the caller to kill. A worker that
has a place on the board also tells there which task it is on, so that the caller knows what a worker's end has cost.

Invariant: the signal does nothing outside an unwanted batch, nor while a module is being imported, which would be left
in pieces; a Ctrl-C in the terminal, which workers receive too, is the caller's to act upon.
"""

from __future__ import annotations

import gc
import mmap
import os
import signal
import sys
import threading
import time
from _thread import start_new_thread
from collections.abc import Callable, Mapping
from functools import partial
from multiprocessing.context import get_spawning_popen
from types import FrameType
from typing import Any, NamedTuple, cast

from jobspan.backends.line import FarEnd, Message
from jobspan.errors import JobspanError
from jobspan.worker.context import PROBE
from jobspan.worker.describe import add_note
from jobspan.worker.relay import is_fork, leave_streams
from jobspan.worker.reply import Reply, encode_lost
from jobspan.worker.run import FINISHED, NUMBER, SINCE, Slot
from jobspan.worker.wire import run_encoded

ORPHAN_CHECK_S = 1.0
LOKY_LEAK_LIMIT = "LOKY_MAX_MEMORY_LEAK_SIZE"
"""loky ends workers that have grown by so many bytes, and warns; read when a worker starts."""

_NUMBER = 8  # bytes
_SLOT = 4  # numbers: those of a `Slot`, and the process whose it is
_PROCESS = 3  # the place of the latter
_NEVER = float("inf")
_AGAIN_S = 0.001  # until what nothing can be raised in is over
_IMPORT_SYSTEM = "<frozen importlib"


class Stopped(KeyboardInterrupt):
    """Ends a task whose result nobody waits for any more."""


class At(NamedTuple):
    """Where a worker is.

    Attributes
    ----------
    number : int
        The batch that it began last; it may have answered.
    finished : int
        How many of its tasks are finished.
    since : float
        When the next one began, by `time.perf_counter`; infinite before the first of them.
    """

    number: int
    finished: int
    since: float

    def count_begun(self, number: int, count: int) -> int | None:
        """How many of the `count` tasks of batch `number` a worker that ended here had begun; None if all were done."""
        if self.number != number or self.since == _NEVER:
            return 0
        return self.finished + 1 if self.finished < count else None


class Board:
    """Numbers in memory that the caller and its workers share.

    The caller writes up to which number batches are not wanted any more, and each worker what it is on.

    Parameters
    ----------
    places : int
        For how many workers.
    file : int, optional
        The descriptor of a file of such numbers; without it one is made that has no name.
    """

    def __init__(self, places: int, file: int | None = None) -> None:
        self._places = places
        size = _NUMBER * (1 + _SLOT * places)
        self._file = _make_file(size) if file is None else file
        self._numbers = memoryview(mmap.mmap(self._file, size)).cast("d")

    def __reduce__(self) -> tuple[Callable[..., Board], tuple[Any, ...]]:
        if get_spawning_popen() is None:
            raise JobspanError("a Board reaches workers only while they are started.")
        from multiprocessing.reduction import DupFd

        return _attach, (self._places, DupFd(self._file))

    def __del__(self, close: Callable[[int], None] = os.close) -> None:  # `os` may have gone before, at exit
        close(self._file)

    @property
    def unwanted(self) -> int:
        """Batches up to this number are not wanted any more."""
        return int(self._numbers[0])

    @unwanted.setter
    def unwanted(self, number: int) -> None:
        self._numbers[0] = number

    def slot(self, place: int) -> Slot:
        """What the worker of this place is on."""
        start = 1 + _SLOT * place
        slot: Any = self._numbers[start : start + _SLOT]
        return cast("Slot", slot)

    def seat(self, place: int, process: int) -> None:
        """Give this place to the worker with this process number."""
        self.slot(place)[_PROCESS] = process

    def find_slot(self, process: int) -> Slot | None:
        """The slot that was given to this process, if there is one yet."""
        for place in range(self._places):
            slot = self.slot(place)
            if slot[_PROCESS] == process:
                return slot
        return None

    def read(self, place: int) -> At | None:
        """What the worker of this place is on; None while that changes."""
        slot = self.slot(place)
        number, finished, since = slot[NUMBER], slot[FINISHED], slot[SINCE]
        return At(int(number), int(finished), since) if (slot[NUMBER], slot[FINISHED]) == (number, finished) else None


def _make_file(size: int) -> int:
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("jobspan")
        os.truncate(file, size)
        return file
    import tempfile

    with tempfile.TemporaryFile() as unnamed:
        unnamed.truncate(size)
        return os.dup(unnamed.fileno())


def _attach(places: int, file: Any) -> Board:
    return Board(places, file.detach())


_board: Board | None = None
_slot: Slot | None = None
_far_end: FarEnd | None = None
_running = 0  # the number of the batch that is being run and may be ended, 0: none
_begun = 0  # the number of the batch that was begun last


def begin_work(
    parent: int, board: Board | None, place: int | None, far_end: FarEnd | None, environment: Mapping[str, str]
) -> None:
    """What a worker does before its first batch.

    Parameters
    ----------
    parent : int
        The process to follow.
    board : Board, optional
        Where unwanted batches are told of.
    place : int, optional
        Where on the board to note what this worker is on, if that is known before it starts.
    far_end : FarEnd, optional
        Where `serve` finds batches.
    environment : mapping
        Variables to set, for workers that were not started with them.
    """
    global _board, _slot, _far_end, _running, _begun
    os.environ.update(environment)
    os.environ.pop(LOKY_LEAK_LIMIT, None)  # was meant for this worker only
    slot = None if board is None or place is None else board.slot(place)
    _board, _slot, _far_end, _running, _begun = board, slot, far_end, 0, 0
    PROBE.set(_is_unwanted)
    leave_streams()
    signal.signal(signal.SIGINT, _look_at_board)
    sys.unraisablehook = partial(_stop_again, sys.unraisablehook)
    if hasattr(signal, "pthread_sigmask"):  # it may have been started with the signal blocked
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if sys.platform != "win32":
        threading.Thread(target=_follow, args=(parent,), name="jobspan-orphan-watch", daemon=True).start()


def _follow(parent: int) -> None:
    """End this process when its parent has ended."""
    try:
        watched = os.pidfd_open(parent)  # Linux
    except (AttributeError, OSError):
        while os.getppid() == parent:
            time.sleep(ORPHAN_CHECK_S)
    else:
        import select

        death = select.poll()
        death.register(watched, select.POLLIN)
        death.poll()
    os._exit(1)


def _is_unwanted() -> bool:
    return _board is not None and 0 < _begun <= _board.unwanted


def _look_at_board(_signal: int, frame: FrameType | None) -> None:
    global _running  # noqa: PLW0603  see above
    if _board is None or not 0 < _running <= _board.unwanted:
        return
    while frame is not None:
        if frame.f_code.co_filename.startswith(_IMPORT_SYSTEM):
            return
        frame = frame.f_back
    _running = 0  # only once: what cleans up after it is not disturbed
    raise Stopped("the call that this task belongs to has ended")


def _stop_again(otherwise: Callable[[Any], object], unraisable: Any) -> None:
    """Where nothing can be raised, as in ``__del__`` and callbacks of weak references, stop the task a moment later."""
    global _running  # noqa: PLW0603  what a worker is at, one per process
    if not isinstance(unraisable.exc_value, Stopped):
        otherwise(unraisable)
        return
    _running = _begun
    start_new_thread(_signal_soon, (threading.get_ident(),))


def _signal_soon(thread: int) -> None:
    time.sleep(_AGAIN_S)
    signal.pthread_kill(thread, signal.SIGINT)


def run_wanted(number: int, payload: bytes) -> Reply | None:
    """Run the encoded batch of this number; None, which nobody will look at, if it is not wanted any more."""
    global _running, _begun, _slot  # noqa: PLW0603  what a worker is at, one per process
    try:
        _begun = _running = number  # before the board is looked at: from here on the signal does it
        try:
            if _board is not None:
                if number <= _board.unwanted:
                    return None
                if _slot is None:
                    _slot = _board.find_slot(os.getpid())
            if _slot is not None:
                _slot[SINCE], _slot[FINISHED] = _NEVER, 0
                _slot[NUMBER] = number
            return run_encoded(payload, slot=_slot)
        finally:
            _running = 0
    except Stopped:
        return None


def serve() -> None:
    """Run what comes down the line, until its end."""
    assert _far_end is not None, "begin_work comes first"
    while (message := _far_end.take()) is not None:
        reply = _run(message)
        try:
            _far_end.answer(message.number, reply)
        except OSError as error:
            add_note(error, "raised when a worker sent a long reply through a file in memory")
            _far_end.answer(message.number, encode_lost(error, f"process {os.getpid()}"))
    _far_end.close()
    if not is_fork():  # where what the caller had in memory would be collected, and its locks may be held for ever
        gc.collect()
        gc.freeze()  # or the interpreter would look for garbage again several times, which takes most of its end


def _run(message: Message) -> Reply | None:
    if message.error is not None:
        return encode_lost(message.error, f"process {os.getpid()}")
    return run_wanted(message.number, message.payload)
