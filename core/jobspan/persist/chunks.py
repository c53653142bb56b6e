"""Large buffers in pieces of a fixed size, worked on by as many threads as there are CPUs.

What works on a piece lets go of the GIL, as `hashlib` and the compressors do, so that threads help where there is one.

Invariant: how data is cut depends on its length and the size of its elements alone, so that everybody cuts alike.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from hashlib import sha256
from itertools import islice
from typing import Any, TypeVar

from jobspan import host

CHUNK = 1 << 20
"""Bytes of a piece, or a little less: it holds whole elements."""

_ENOUGH = 4  # fewer pieces than this are done before threads have started

T = TypeVar("T")


class Data:
    """Bytes that can be had in pieces, from several threads at once.

    Parameters
    ----------
    nbytes : int
        How many.
    itemsize : int
        How many of them an element has.
    """

    def __init__(self, nbytes: int, itemsize: int) -> None:
        self.nbytes = nbytes
        self.itemsize = max(1, itemsize)
        self._digests: bytes | None = None

    def read(self, start: int, end: int, /) -> Iterable[Any]:
        """The bytes of the elements from `start` up to `end`, as one buffer or several."""
        raise NotImplementedError  # each kind of memory has its own way

    @property
    def digests(self) -> bytes:
        """The SHA-256 of each piece, one after the other."""
        if self._digests is None:
            make_digests([self])
        assert self._digests is not None, "it was made"
        return self._digests

    @digests.setter
    def digests(self, made: bytes) -> None:
        self._digests = made

    def has_digests(self) -> bool:
        """Whether they are made already."""
        return self._digests is not None

    def digest_piece(self, number: int) -> bytes:
        """The SHA-256 of one piece."""
        step = self._elements_per_piece()
        found = sha256()
        for part in self.read(number * step, min((number + 1) * step, self.nbytes // self.itemsize)):
            found.update(part)
        return found.digest()

    def count_pieces(self) -> int:
        """How many there are."""
        return -(-self.nbytes // (self._elements_per_piece() * self.itemsize))

    def _elements_per_piece(self) -> int:
        return max(1, CHUNK // self.itemsize)


class Plain(Data):
    """The bytes of a buffer whose memory is in one piece.

    Parameters
    ----------
    buffer : bytes-like
        The object whose bytes these are.
    itemsize : int
        Bytes of an element.
    """

    def __init__(self, buffer: Any, itemsize: int = 1) -> None:
        view = memoryview(buffer)
        super().__init__(view.nbytes, itemsize)
        self._bytes = view.cast("B") if view.nbytes else b""  # without bytes there may be any shape

    def read(self, start: int, end: int, /) -> Iterable[Any]:
        """The bytes of these elements."""
        return (self._bytes[start * self.itemsize : end * self.itemsize],)


def make_digests(several: Iterable[Data]) -> None:
    """Make those that are not made yet, with all CPUs at all of them."""
    wanted = [data for data in several if not data.has_digests()]
    pieces = [(data, number) for data in wanted for number in range(data.count_pieces())]
    found = iter(in_threads(lambda number: pieces[number][0].digest_piece(pieces[number][1]), len(pieces)))
    for data in wanted:
        data.digests = b"".join(islice(found, data.count_pieces()))


def in_threads(work: Callable[[int], T], pieces: int) -> list[T]:
    """What `work` returns for each of so many numbers, in their order.

    Raises whatever `work` raises first, when nothing of it runs any more.
    """
    threads = _threads_for(pieces)
    if threads < 2:
        return list(map(work, range(pieces)))
    results: list[Any] = [None] * pieces
    errors: list[BaseException] = []
    numbers = iter(range(pieces))
    taking = threading.Lock()

    def run() -> None:
        try:
            while not errors:
                with taking:
                    number = next(numbers, None)
                if number is None:
                    return
                results[number] = work(number)
        except BaseException as error:  # noqa: BLE001  raised again below, in the caller's thread
            errors.append(error)

    helpers = [threading.Thread(target=run, name="jobspan-chunks", daemon=True) for _ in range(threads - 1)]
    for helper in helpers:
        helper.start()
    run()
    for helper in helpers:
        helper.join()
    if errors:
        raise errors[0]
    return results


def _threads_for(pieces: int) -> int:
    """In a worker the CPUs are divided, by the variables that numerical libraries go by."""
    if pieces < _ENOUGH or not host.has_threads():
        return 1
    said = [text for name in host.THREAD_LIMITS if (text := os.environ.get(name, "")).isdecimal()]
    return max(1, min([pieces, host.cpu_count(), *map(int, said)]))
