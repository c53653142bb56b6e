"""The socket where worker processes deliver what they print and log, and the thread that reads from it.

One for all workers of a process. The thread ends when nobody has been there for a while.

Invariant: what is read is written to the streams of the run it belongs to, in the order in which each worker sent it;
what belongs to no run any more, from threads that a task left behind, to the streams of that moment.
"""

from __future__ import annotations

import atexit
import os
import selectors
import socket
import sys
import threading
import traceback
from contextlib import suppress
from contextvars import Context, copy_context
from hmac import compare_digest
from itertools import count
from typing import Any, NamedTuple

from jobspan.worker.relay import (
    HEADER_BYTES,
    KEY_BYTES,
    LOG,
    MARK,
    NAMELESS,
    NUMBER_BYTES,
    STDERR,
    STDOUT,
    Address,
    Relay,
)

_IDLE_S = 60.0
_PATIENCE_S = 10.0  # for a stream of the user's that waits for a lock that the caller holds
_BACKLOG = 128
_CHUNK = 1 << 18
_ALL_THERE_IS = 1 << 24  # more than the system keeps for one connection


class _Route(NamedTuple):
    """Where the output of one run goes."""

    stdout: Any
    stderr: Any
    context: Context


class _Peer:
    """A worker's connection, and what of a frame has come so far."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.buffer = bytearray()
        self.is_known = False


class Hub:
    """The socket that workers connect to, their connections, and the thread that reads from them."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # of one thread: what a stream's write sets off may end another run
        self.is_closed = False
        self._key = os.urandom(KEY_BYTES)
        self._routes: dict[int, _Route] = {}
        self._peers: frozenset[_Peer] = frozenset()  # never changed, only replaced: a fork may come at any time
        self._thread: threading.Thread | None = None
        self._listener, self._address = _listen()
        self._ear, self._bell = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        for each in (self._listener, self._ear, self._bell):
            each.setblocking(False)
        for each in (self._listener, self._ear):
            self._selector.register(each, selectors.EVENT_READ)

    def open_route(self) -> Relay:
        """Begin a run."""
        route = next(_numbers)
        self._routes[route] = _Route(sys.stdout, sys.stderr, copy_context())
        return Relay(self._address, self._key, route)

    def close_route(self, route: int) -> None:
        """Write what has been sent, and forget the run."""
        if route not in self._routes or not self.lock.acquire(timeout=_PATIENCE_S):
            return
        try:
            self._accept()
            for peer in self._peers:
                self._receive(peer, _ALL_THERE_IS)
            self._routes.pop(route, None)
        finally:
            self.lock.release()

    def start(self) -> None:
        """Read from now on."""
        if self._thread is not None:
            return
        with self.lock:
            if self._thread is None and not self.is_closed:
                thread = threading.Thread(target=self._serve, name="jobspan-relay", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the system has no more threads, or the interpreter is ending
                    self.close()
                else:
                    self._thread = thread

    def _serve(self) -> None:
        try:
            while not self.is_closed:
                events = self._selector.select(_IDLE_S)
                with self.lock:
                    if not events and not self._routes and not self._peers:
                        self.close()
                        return
                    for key, _ in events:
                        if key.data is not None:
                            self._receive(key.data, _CHUNK)
                        elif key.fileobj is self._listener:
                            self._accept()
                        else:
                            self._ear.recv(_CHUNK)
        finally:  # whatever happened: workers whose connection is closed print where they otherwise would
            self.close()

    def _accept(self) -> None:
        with suppress(OSError):  # there is nobody, or no longer
            while not self.is_closed:
                connection, _ = self._listener.accept()
                connection.setblocking(False)
                peer = _Peer(connection)
                self._peers |= {peer}
                self._selector.register(connection, selectors.EVENT_READ, peer)
                self._ring()

    def _receive(self, peer: _Peer, at_most: int) -> None:
        while at_most > 0 and peer in self._peers:
            try:
                data = peer.connection.recv(_CHUNK)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._drop(peer)
                return
            at_most -= len(data)
            peer.buffer += data
            self._read_frames(peer)

    def _read_frames(self, peer: _Peer) -> None:
        buffer = peer.buffer
        if not peer.is_known:
            if len(buffer) < KEY_BYTES:
                return
            if not compare_digest(buffer[:KEY_BYTES], self._key):
                self._drop(peer)
                return
            del buffer[:KEY_BYTES]
            peer.is_known = True
        while len(buffer) >= HEADER_BYTES:
            kind = bytes(buffer[:1])
            route = int.from_bytes(buffer[1 : 1 + NUMBER_BYTES], "big")
            end = HEADER_BYTES + int.from_bytes(buffer[1 + NUMBER_BYTES : HEADER_BYTES], "big")
            if len(buffer) < end:
                return
            payload = bytes(buffer[HEADER_BYTES:end])
            del buffer[:end]
            if kind == MARK:
                with suppress(OSError):
                    peer.connection.send(MARK)
            else:
                _deliver(kind, payload, self._routes.get(route))

    def _drop(self, peer: _Peer) -> None:
        self._peers -= {peer}
        self._selector.unregister(peer.connection)
        peer.connection.close()

    def close(self) -> None:
        """Take nobody in any more; the sockets are closed by the thread that waits for them, if there is one."""
        with self.lock:
            if not self.is_closed and isinstance(self._address, str) and not self._address.startswith(NAMELESS):
                with suppress(OSError):
                    os.unlink(self._address)
            self.is_closed = True
            if self._thread is None or self._thread is threading.current_thread():
                self.close_sockets()
                self._selector.close()
            else:
                self._ring()

    def close_sockets(self) -> None:
        """Close what others see, in the child of a fork, too.

        There the thread may have held any lock, and with the GIL off every dict has one: the selector is not touched.
        """
        for each in (*(peer.connection for peer in self._peers), self._listener, self._ear, self._bell):
            each.close()

    def _ring(self) -> None:
        """End the thread's wait: where there is no epoll, it does not see what changes meanwhile."""
        with suppress(OSError):
            self._bell.send(b"!")


def _listen() -> tuple[socket.socket, Address]:
    """A socket that processes of this machine can find."""
    if hasattr(socket, "AF_UNIX"):
        listener = socket.socket(socket.AF_UNIX)
        try:
            path = _local_name()
            listener.bind(path)
            listener.listen(_BACKLOG)
        except OSError:  # a path that is too long, for one
            listener.close()
        else:
            return listener, path
    listener = socket.socket(socket.AF_INET)
    listener.bind(("127.0.0.1", 0))
    listener.listen(_BACKLOG)
    return listener, listener.getsockname()


def _local_name() -> str:
    name = f"jobspan-{os.urandom(8).hex()}"
    if sys.platform == "linux":
        return NAMELESS + name  # no file, so that none is left, however this process ends
    from multiprocessing.util import get_temp_dir  # only the user may enter it, and it is removed at exit

    return os.path.join(get_temp_dir(), name)


def _deliver(kind: bytes, payload: bytes, route: _Route | None) -> None:
    stdout, stderr, context = route or _Route(None, None, Context())
    context = context.copy()  # so that it may be entered again while it is in use
    try:
        if kind == LOG:
            from jobspan.worker.logs import handle

            context.run(handle, payload)
        elif kind == STDOUT:
            context.run(_write, payload.decode(errors="replace"), stdout, sys.stdout, sys.__stdout__)
        elif kind == STDERR:
            context.run(_write, payload.decode(errors="replace"), stderr, sys.stderr, sys.__stderr__)
    except Exception:  # noqa: BLE001  the user's filters and handlers; the thread goes on for the others
        context.run(_write, traceback.format_exc(), stderr, sys.stderr, sys.__stderr__)


def _write(text: str, *streams: Any) -> None:
    """Write to the first of them that takes it: the one that is meant may have been closed meanwhile."""
    for stream in streams:
        if stream is not None:
            with suppress(Exception):
                stream.write(text)
                return


_numbers = count(1)  # never used again, not in a forked child either
_hub: Hub | None = None
_making = threading.RLock()


def open_route() -> Relay:
    """Begin a run, whose output goes to the caller's streams of this moment."""
    global _hub  # noqa: PLW0603  one per process
    with _making:
        if _hub is None:
            atexit.register(_close_hub)
        while True:
            hub = _hub = Hub() if _hub is None or _hub.is_closed else _hub
            with hub.lock:
                if not hub.is_closed:
                    return hub.open_route()


def find_hub() -> Hub | None:
    """The hub of this process, if it has one."""
    return _hub


def _close_hub() -> None:
    if _hub is not None:
        _hub.close()


def _forget_hub() -> None:
    global _hub, _making
    hub, _hub, _making = _hub, None, threading.RLock()
    if hub is not None:
        hub.close_sockets()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_hub)  # its thread reads in the parent
