"""Where a worker's output goes: over a channel to the caller's process, or wherever the worker inherited it to.

On the channel goes a key, then frames: kind, number of the run, length, and text in UTF-8 or a pickled log record.

Invariant: no task fails for want of the channel; where there is none, or it breaks, output takes the inherited way.
"""

from __future__ import annotations

import io
import os
import sys
from _thread import allocate_lock, get_ident
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import socket
    from typing import TextIO

    from jobspan.worker.logs import Logs

Address: TypeAlias = str | tuple[str, int]

STDOUT, STDERR, LOG, MARK = b"o", b"e", b"l", b"m"
NAMELESS = "\0"
"""A local address that begins so is no path: on Linux a socket need not stand in the file system."""
KEY_BYTES = 16
NUMBER_BYTES = 8
HEADER_BYTES = 1 + 2 * NUMBER_BYTES

_PATIENCE_S = 10.0
_LONGEST_LINE = 1 << 20  # longer ones may be mixed with another worker's


class Relay(NamedTuple):
    """What of a worker's output goes to the caller's process during one run.

    Attributes
    ----------
    address : str or (str, int)
        Name of a local socket, or host and port.
    key : bytes
        What the caller knows its workers by.
    route : int
        Number of the run.
    stdout, stderr : bool
        Whether the text of these streams goes there.
    prefix : str
        What stands before each line; ``{pid}`` in it is this process's number.
    logs : Logs, optional
        How the caller has set up `logging`; None where log records stay here.
    """

    address: Address
    key: bytes
    route: int
    stdout: bool = False
    stderr: bool = False
    prefix: str = ""
    logs: Logs | None = None


class _Line:
    """The connection to the caller's process, made when there is something to send."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._owner = 0
        self._socket: socket.socket | None = None
        self._address: Address | None = None
        self._tried: Relay | None = None
        self._unheard = False

    def send(self, relay: Relay, kind: bytes, payload: bytes) -> bool:
        """Send one frame; returns whether that was possible."""
        me = get_ident()
        if self._owner == me:  # a signal handler prints in the middle of a print: its text would be torn into the other
            return False
        with self._lock:
            self._owner = me
            try:
                return self._send(relay, kind, payload)
            finally:
                self._owner = 0

    def _send(self, relay: Relay, kind: bytes, payload: bytes) -> bool:
        if (self._socket is None or self._address != relay.address) and self._tried is not relay:
            self._connect(relay)
        if self._socket is None:
            return False
        route, length = relay.route.to_bytes(NUMBER_BYTES, "big"), len(payload).to_bytes(NUMBER_BYTES, "big")
        try:
            self._socket.sendall(b"".join((kind, route, length, payload)))
        except OSError:
            self._hang_up()
            return False
        except BaseException:  # an interrupt may leave half a frame, after which nothing could be read
            self._hang_up()
            self._tried = None
            raise
        self._unheard = True
        return True

    def _connect(self, relay: Relay) -> None:
        """Try once in each run."""
        import socket

        self._hang_up()
        self._tried = relay
        family = socket.AF_UNIX if isinstance(relay.address, str) else socket.AF_INET
        connection = socket.socket(family)
        try:
            connection.settimeout(_PATIENCE_S)
            connection.connect(relay.address)
            _require_own(connection, relay.address)
            connection.sendall(relay.key)
            connection.settimeout(None)
        except OSError:
            connection.close()
        else:
            self._socket, self._address = connection, relay.address

    def confirm(self, relay: Relay) -> None:
        """Return when the caller's system has all that was sent: a local socket's does at once, TCP's may take time."""
        if self._unheard and isinstance(self._address, tuple) and self.send(relay, MARK, b"") and self._socket:
            try:
                self._socket.settimeout(_PATIENCE_S)
                self._socket.recv(1)
                self._socket.settimeout(None)
            except OSError:
                self._hang_up()
        self._unheard = False

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None


def _require_own(connection: socket.socket, address: Address) -> None:
    """A name that is no path can be taken by another user, once the caller has let go of it."""
    if sys.platform == "linux" and address[0] == NAMELESS:
        import socket
        import struct

        form = struct.Struct("3i")
        _, user, _ = form.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, form.size))
        if user != os.geteuid():
            raise PermissionError("another user listens there")


class _Bytes(io.BufferedIOBase):
    """The bytes of one stream."""

    def __init__(self, stream: Literal["stdout", "stderr"], inherited: TextIO | None) -> None:
        self.name = f"<{stream}>"
        self._stream = stream
        self._kind = STDOUT if stream == "stdout" else STDERR
        self._inherited = inherited
        self._begins_line = True
        self._kept = b""

    def writable(self) -> bool:
        """They can be written."""
        return True

    def fileno(self) -> int:
        """The inherited descriptor, for programs that a task starts."""
        if self._inherited is None:
            raise io.UnsupportedOperation("this process has no such stream")
        return self._inherited.fileno()

    def write(self, data: Any, /) -> int:
        """Keep them until the stream is flushed, as at the end of each line: others write there too."""
        text = bytes(data)
        self._kept += text
        if len(self._kept) > _LONGEST_LINE:
            self.flush()
        return len(text)

    def flush(self) -> None:
        """Send what was kept, or pass it on."""
        text, self._kept = self._kept, b""
        if not text:
            return
        relay = _current
        if (
            relay is None
            or not getattr(relay, self._stream)
            or not _line.send(relay, self._kind, self._prefixed(text, relay.prefix))
        ) and self._inherited is not None:
            self._inherited.write(text.decode(errors="replace"))
            self._inherited.flush()

    def _prefixed(self, text: bytes, prefix: str) -> bytes:
        if not prefix or not text:
            return text
        begin = prefix.replace("{pid}", str(os.getpid())).encode(errors="backslashreplace")
        first, *rest = text.splitlines(keepends=True)
        lines = [begin + first if self._begins_line else first, *(begin + line for line in rest)]
        self._begins_line = text.endswith((b"\n", b"\r"))
        return b"".join(lines)


class _Stream(io.TextIOWrapper):
    """Stands for ``sys.stdout`` or ``sys.stderr``.

    Its type tells a parallel call inside a task that this is not what the workers there inherit.
    """

    def __init__(self, stream: Literal["stdout", "stderr"], inherited: TextIO | None) -> None:
        self.inherited = inherited
        way = _Bytes(stream, inherited)
        super().__init__(way, encoding="utf-8", errors="backslashreplace", newline="\n", line_buffering=True)


_line = _Line()
_is_fork = False
_current: Relay | None = None
_streams: dict[str, _Stream] = {}


def switch(relay: Relay | None) -> None:
    """Send from now on what `relay` says, or nothing."""
    global _current  # noqa: PLW0603  a worker has one caller at a time
    if relay is _current:
        return
    _current = relay
    _place("stdout", wanted=relay is not None and relay.stdout)
    _place("stderr", wanted=relay is not None and relay.stderr)
    logs = None if relay is None else relay.logs
    if logs is not None or "jobspan.worker.logs" in sys.modules:
        from jobspan.worker.logs import follow  # imports logging

        follow(logs, send_record)


def _place(name: Literal["stdout", "stderr"], *, wanted: bool) -> None:
    here = getattr(sys, name)
    stream = _streams.get(name)
    if stream is not None and here is stream:
        if wanted and not stream.closed:
            return
        here = stream.inherited
    if wanted and (stream is None or stream.closed or stream.inherited is not here):
        stream = _streams[name] = _Stream(name, here)
    setattr(sys, name, stream if wanted else here)


def reopen_streams() -> None:
    """Where a task has closed a stream, later ones would fail by printing."""
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is not None and getattr(stream, "closed", False) and stream is not _streams.get(name):
            try:
                again = open(descriptor, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115  stays
            except OSError:  # the task has closed the descriptor, too
                again = open(os.devnull, "w")  # noqa: SIM115  stays open
            setattr(sys, name, again)


def is_fork() -> bool:
    """Whether this process has inherited another's memory."""
    return _is_fork


def leave_streams() -> None:
    """In a worker that was forked, print where it inherited to: the caller's own stream is a copy that nobody reads."""
    if _is_fork:
        sys.stdout, sys.stderr = sys.__stdout__ or sys.stdout, sys.__stderr__ or sys.stderr


def flush() -> None:
    """Send what is not yet a whole line, at the end of a batch."""
    if _current is None:
        return
    for stream in _streams.values():
        with suppress(OSError, ValueError):  # what was inherited is broken or closed, which is not the batch's fault
            stream.flush()
    _line.confirm(_current)


def send_record(record: bytes) -> bool:
    """Send a pickled log record; returns whether that was possible."""
    return _current is not None and _line.send(_current, LOG, record)


def _forget_line() -> None:
    global _line, _is_fork
    _line, _is_fork = _Line(), True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_line)  # frames of two processes would mix on one connection
