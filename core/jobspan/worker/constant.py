"""One object that many tasks share, where its bytes are, and what of it outlives the call.

Files of large arrays stay for the next call while the array lives.

Invariant: a file is removed with its constant, or with the object it was kept for; kept files are bounded together.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from typing import Any

from jobspan.persist import segments
from jobspan.persist.segments import Segment
from jobspan.worker.references import Reference

KEPT_NBYTES = 1 << 30
"""Files of arrays that stay for the next call have at most so many bytes, together."""

_CHUNK = 1 << 17


class Constant:
    """One object, and where its bytes are.

    Attributes
    ----------
    obj : object
        None while it is kept for the next call, which must not keep it alive.
    blob : bytes
        Its pickle, without large buffers that lie in the file.
    segment : Segment or None
        The file.
    reference : Reference
        What is sent in its place.
    checked : int
        The epoch in which its contents were last looked at; -1: not yet.
    uses : int
        Tasks that it was sent with.
    last : int
        The last of them.
    in_flight : int
        Batches.
    """

    __slots__ = ("blob", "checked", "in_flight", "last", "obj", "reference", "segment", "uses", "written")

    def __init__(self, obj: Any, blob: bytes, segment: Segment | None, reference: Reference) -> None:
        self.obj = obj
        self.blob = blob
        self.segment = segment
        self.reference = reference
        self.checked = -1
        self.uses = 0
        self.last = -1
        self.in_flight = 0
        self.written: list[Any] | None = None  # what is in the file, mapped, once it was looked at

    @property
    def nbytes(self) -> int:
        """Bytes of all of it."""
        return len(self.blob) + (0 if self.segment is None else self.segment.nbytes)

    @property
    def is_written_to(self) -> bool:
        """Whether tasks may change the file itself, so that there is nothing to compare."""
        return self.reference.mode in ("r+", "w+")

    def holds(self, blob: bytes, buffers: list[Any]) -> bool:
        """Whether a new pickle of the object, and the buffers that stayed out of it, are what was sent."""
        if blob != self.blob:
            return False
        if not buffers or self.segment is None:
            return True
        if self.written is None:
            self.written = segments.read(self.segment, "r")
        written = self.written[-len(buffers) :]
        return all(_is_same(buffer.raw(), there) for buffer, there in zip(buffers, written, strict=True))

    def drop(self) -> None:
        """Remove the file."""
        self.written = None
        if self.segment is not None:
            segments.remove(self.segment)


def _is_same(one: memoryview, other: memoryview) -> bool:
    one, other = one.cast("B"), memoryview(other).cast("B")
    if one.nbytes != other.nbytes:
        return False
    if "numpy" in sys.modules:
        from jobspan.arrays.memmap import is_same

        return is_same(one, other)
    return all(bytes(one[i : i + _CHUNK]) == bytes(other[i : i + _CHUNK]) for i in range(0, one.nbytes, _CHUNK))


_changing = threading.Lock()
_kept: dict[int, tuple[Constant, weakref.ref[Any]]] = {}
"""Constants over large buffers, by the id of the object, which is alive."""


def has_kept() -> bool:
    """Whether anything was kept from earlier calls."""
    return bool(_kept)


def keep(constant: Constant) -> None:
    """Keep the file while the object lives, within bounds."""
    segment, obj = constant.segment, constant.obj
    if segment is None or constant.reference.blob is None or constant.reference.one_for_all or constant.is_written_to:
        constant.drop()
        return
    key = id(obj)
    try:
        reference = weakref.ref(obj, lambda _: _forget(key))
    except TypeError:
        constant.drop()
        return
    constant.obj = None
    with _changing:
        _kept[key] = constant, reference
        room = KEPT_NBYTES
        for other in reversed(list(_kept)):
            found = _kept.get(other)  # None: its object has just gone
            if found is not None and found[0].segment is not None:
                room -= found[0].segment.nbytes
                if room < 0:
                    _forget(other)


def take_kept(value: Any) -> Constant | None:
    """What was kept for this object, which is the caller's from now on."""
    with _changing:
        kept = _kept.pop(id(value), None)
    if kept is None:
        return None
    constant, reference = kept
    if reference() is not value:
        constant.drop()
        return None
    constant.obj = value
    constant.uses, constant.last, constant.in_flight = 1, -1, 0
    return constant


def _forget(key: int) -> None:
    found = _kept.pop(key, None)  # no lock: this may run at any moment, in any thread
    if found is not None:
        found[0].drop()


def _forget_kept() -> None:
    global _changing  # noqa: PLW0603  one per process
    _changing = threading.Lock()
    _kept.clear()  # the files are the parent's


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_kept)
