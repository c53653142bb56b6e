"""The sockets by which batches reach a pool's workers, and replies come back.

One pair for batches, one for replies. All workers read from the same end, so a message goes to whoever is free first,
and the system sees to it that one gets it, whole: no lock that a dying worker could hold, no thread, no queue behind a
worker that is busy. What is long goes along as the descriptor of a file without a name, which is gone when nobody has
it open.

Invariant: a number that was posted comes back at most once, from `Line.take` or `Line.withdraw`.
"""

from __future__ import annotations

import os
import pickle
import select
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from multiprocessing.context import get_spawning_popen
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from jobspan.errors import JobspanError
from jobspan.worker.reply import Reply

if TYPE_CHECKING:
    import asyncio

_HEAD = struct.Struct("=QQB")  # number, bytes in a file of their own, kind
_PLAIN, _NOTHING, _WITH_SEGMENT = range(3)
_MOST = 1 << 16  # bytes that go in a message, rather than in a file
_FULL = 1 << 20  # bytes of messages that may wait in a socket, where the system allows it
_DESCRIPTOR = struct.Struct("=i")
_ROOM = _MOST + _HEAD.size


class Message(NamedTuple):
    """One message; `error` is why it could not be read."""

    number: int
    payload: bytes
    kind: int = _PLAIN
    error: OSError | None = None

    def reply(self) -> Reply | None:
        """What a worker sent; None for a batch that it was told not to run.

        Raises
        ------
        OSError
            If it could not be read.
        """
        if self.error is not None:
            raise self.error
        if self.kind == _WITH_SEGMENT:
            reply: Reply = pickle.loads(self.payload)
            return reply
        return None if self.kind == _NOTHING else self.payload


def has_lines() -> bool:
    """Whether this system has such sockets; on others a full one refuses messages instead of making them wait."""
    return sys.platform == "linux" and hasattr(os, "memfd_create")


def _send(end: socket.socket, number: int, payload: bytes, kind: int = _PLAIN, flags: int = 0) -> None:
    """Send one message.

    Raises
    ------
    BlockingIOError
        With ``MSG_DONTWAIT``, where it would have to wait.
    """
    if len(payload) <= _MOST:
        end.send(_HEAD.pack(number, 0, kind) + payload, flags)
        return
    file = os.memfd_create("jobspan")
    try:
        view, done = memoryview(payload), 0
        while done < len(view):
            done += os.write(file, view[done:])
        attached = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, _DESCRIPTOR.pack(file))]
        end.sendmsg([_HEAD.pack(number, len(view), kind)], attached, flags)
    finally:
        os.close(file)


def _receive(end: socket.socket, flags: int = 0) -> Message | None:
    """Take one message; None for one that only wakes, and at the end of all."""
    data, attached, _, _ = end.recvmsg(_ROOM, socket.CMSG_SPACE(_DESCRIPTOR.size), flags)
    if not data:
        return None
    number, size, kind = _HEAD.unpack_from(data)
    if not size:
        return Message(number, data[_HEAD.size :], kind)
    try:
        return Message(number, _read_attached(attached, size), kind)
    except OSError as error:  # most likely this process has too many files open
        return Message(number, b"", kind, error)


def _read_attached(attached: list[tuple[int, int, bytes]], size: int) -> bytes:
    if not attached:
        raise OSError("a long message has come without its file; are too many files open?")
    (file,) = _DESCRIPTOR.unpack(attached[0][2])
    try:
        parts, done = [], 0
        while done < size:
            part = os.pread(file, size - done, done)
            if not part:
                raise OSError("a long message is shorter than it was")
            parts.append(part)
            done += len(part)
        return b"".join(parts)
    finally:
        os.close(file)


class FarEnd:
    """A worker's ends of a line."""

    def __init__(self, batches: socket.socket, replies: socket.socket) -> None:
        self._batches = batches
        self._replies = replies

    def __reduce__(self) -> tuple[Callable[..., FarEnd], tuple[Any, ...]]:
        if get_spawning_popen() is None:
            raise JobspanError("a line's far end reaches workers only while they are started.")
        from multiprocessing.reduction import DupFd

        return _attach, (DupFd(self._batches.fileno()), DupFd(self._replies.fileno()))

    def copy(self) -> FarEnd:
        """The same with sockets of its own."""
        return FarEnd(self._batches.dup(), self._replies.dup())

    def take(self) -> Message | None:
        """Wait for a batch; None when there will be no more."""
        return _receive(self._batches)

    def close(self) -> None:
        """Let go of it."""
        self._batches.close()
        self._replies.close()

    def answer(self, number: int, reply: Reply | None) -> None:
        """Send what became of a batch, when the caller has room for it.

        Raises
        ------
        OSError
            Where a long reply finds no room.
        """
        if reply is None:
            _send(self._replies, number, b"", _NOTHING)
        elif isinstance(reply, bytes):
            _send(self._replies, number, reply)
        else:
            _send(self._replies, number, pickle.dumps(reply, pickle.HIGHEST_PROTOCOL), _WITH_SEGMENT)


def _attach(batches: Any, replies: Any) -> FarEnd:
    return FarEnd(socket.socket(fileno=batches.detach()), socket.socket(fileno=replies.detach()))


class Line:
    """The caller's side: one thread posts and takes, any may wake."""

    def __init__(self) -> None:
        self._batches, far_batches = _make_pair()
        self._replies, far_replies = _make_pair()
        self._far_batches, self._far_replies = far_batches, far_replies
        self.far_end = FarEnd(far_batches, far_replies)
        self._pending: deque[tuple[int, bytes]] = deque()  # posted, and no room in the socket yet
        self._ready = select.poll()
        self._ready.register(self._replies, select.POLLIN)
        self.broken: BaseException | None = None
        """Why not all workers are there any more."""

    def lose(self, served: Future[None]) -> None:
        """A worker serves no longer: take note, and end the wait."""
        if self.broken is None:
            self.broken = _why(served)
            self.wake()

    def post(self, number: int, payload: bytes) -> None:
        """Send a batch, now or when there is room.

        Raises
        ------
        OSError
            Where a long one finds no room.
        """
        if not self._pending:
            try:
                _send(self._batches, number, payload, flags=socket.MSG_DONTWAIT)
            except BlockingIOError:
                pass
            except ConnectionError:
                self._break()
            else:
                return
            self._ready.register(self._batches, select.POLLOUT)
        self._pending.append((number, payload))

    def _break(self) -> None:
        """Nobody takes batches any more: its pool was ended meanwhile."""
        if self.broken is None:
            self.broken = JobspanError("the workers were ended")
            self.wake()

    def _send_pending(self) -> None:
        try:
            while self._pending:
                _send(self._batches, *self._pending[0], flags=socket.MSG_DONTWAIT)
                self._pending.popleft()
        except BlockingIOError:
            return
        except ConnectionError:
            self._break()
            return
        self._ready.unregister(self._batches)

    def take(self, timeout: float | None) -> list[Message]:
        """Wait for at least one reply, at most `timeout` seconds, or until woken."""
        deadline = None if timeout is None else monotonic() + timeout
        left = timeout
        while True:
            events = self._ready.poll(None if left is None else max(0.0, left) * 1e3)
            if self._pending:
                self._send_pending()
            replies = self._replies.fileno()
            if not events or self.broken is not None or any(ready == replies for ready, _ in events):
                return self._drain() if events else []
            left = None if deadline is None else deadline - monotonic()

    async def arrival(self, timeout: float | None) -> None:
        """Await until `take` has something to take, or was woken, at most `timeout` seconds."""
        import asyncio

        loop, arrived = asyncio.get_running_loop(), asyncio.Event()
        timer = None if timeout is None else loop.call_later(timeout, arrived.set)
        loop.add_reader(self._replies, arrived.set)
        if self._pending:
            loop.add_writer(self._batches, self._send_awaiting, loop)
        try:
            await arrived.wait()
        finally:
            loop.remove_reader(self._replies)
            loop.remove_writer(self._batches)
            if timer is not None:
                timer.cancel()

    def _send_awaiting(self, loop: asyncio.AbstractEventLoop) -> None:
        self._send_pending()
        if not self._pending:
            loop.remove_writer(self._batches)

    def _drain(self) -> list[Message]:
        found: list[Message] = []
        try:
            while True:
                message = _receive(self._replies, socket.MSG_DONTWAIT)
                if message is not None:
                    found.append(message)
        except BlockingIOError:
            return found

    def withdraw(self) -> list[Message]:
        """Take back the batches that no worker has taken."""
        back = [Message(number, payload) for number, payload in self._pending]
        if back:
            self._pending.clear()
            self._ready.unregister(self._batches)
        with suppress(BlockingIOError):
            while (message := _receive(self._far_batches, socket.MSG_DONTWAIT)) is not None:
                back.append(message)
        return back

    def wake(self) -> None:
        """Make a take in another thread return; one that finds replies does so anyway."""
        with suppress(OSError):  # full, so there are replies; or closed
            self._far_replies.send(b"", socket.MSG_DONTWAIT)

    def end(self) -> None:
        """Tell the workers that there will be no more batches."""
        with suppress(OSError):  # it is closed
            self._far_batches.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        """Close this process's sockets; nobody may be waiting for them."""
        for each in (self._batches, self._far_batches, self._replies, self._far_replies):
            each.close()


def _make_pair() -> tuple[socket.socket, socket.socket]:
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for end in pair:
        for direction in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            end.setsockopt(socket.SOL_SOCKET, direction, _FULL)  # cut down to what the system allows
    return pair


def _why(served: Future[None]) -> BaseException:
    if served.cancelled():
        return JobspanError("the workers were ended before they had begun")
    return served.exception() or JobspanError("the workers were ended")
