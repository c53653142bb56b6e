"""Arguments that many tasks share: serialised once for a call, written once, and referred to afterwards.

A `Constants` watches the arguments of one run by identity; what workers make of a reference is in `references`.

Invariant: a task never sees other contents than the object had when its batch was sent: before a constant is referred
to after code of the input ran, it is pickled again and compared, and written anew if it has changed.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import chain, count
from typing import Any, TypeAlias

from jobspan.model import Ticket, Transfer
from jobspan.persist import segments
from jobspan.persist.pickling import Reducer, dumps
from jobspan.persist.segments import Segment
from jobspan.worker.references import Reference
from jobspan.worker.shared import is_shared

LEAST_NBYTES = 1 << 16
"""Smaller objects go along with each task."""

KEPT_NBYTES = 1 << 30
"""Files of arrays that stay for the next call have at most so many bytes, together."""

ATOMIC = frozenset({int, float, complex, bool, str, bytes, type(None)})
"""Types whose values cannot be changed, so that tasks may as well get the same object."""

_MANY = 8
_CHUNK = 1 << 17


def are_atomic(arguments: Sequence[tuple[Any, ...]]) -> bool:
    """Whether none of the arguments of these tasks can be changed, or is large."""
    if any(type(value) in (str, bytes) and len(value) >= LEAST_NBYTES for value in arguments[0]):
        return False
    others = set(map(type, chain.from_iterable(arguments))) - ATOMIC
    return not others or ("numpy" in sys.modules and all(map(_is_number, others)))


def _is_number(kind: type) -> bool:
    numpy = sys.modules["numpy"]
    return issubclass(kind, numpy.number | numpy.bool_)


class _Constant:
    """One object, and where its bytes are."""

    __slots__ = ("blob", "checked", "in_flight", "last", "obj", "reference", "segment", "uses", "written")

    def __init__(self, obj: Any, blob: bytes, segment: Segment | None, reference: Reference) -> None:
        self.obj = obj
        self.blob = blob
        self.segment = segment
        self.reference = reference
        self.checked = -1  # the epoch in which its contents were last looked at
        self.uses = 0  # tasks that it was sent with
        self.last = -1
        self.in_flight = 0  # batches
        self.written: list[Any] | None = None  # what is in the file, mapped, once it was looked at

    @property
    def is_written_to(self) -> bool:
        """Whether tasks may change the file itself, so that there is nothing to compare."""
        return self.reference.mode in ("r+", "w+")


Watched: TypeAlias = dict[int, Any]


class Constants:
    """The constants of one run.

    Parameters
    ----------
    transfer : Transfer
        How large buffers travel.
    is_local : bool
        Whether the workers can open files of this machine; else everything goes along with each batch.
    """

    active = False
    """Whether there is anything to refer to."""

    rereads: bool
    """Whether there are constants in files, which take time to compare."""

    maps: bool
    """Whether workers map large buffers from files."""

    def __init__(self, transfer: Transfer, *, is_local: bool) -> None:
        self._transfer = transfer
        self.maps = bool(is_local and transfer.max_nbytes and transfer.mmap_mode)
        self._may_write = is_local  # workers can open files
        self.rereads = is_local and bool(_kept)  # of an earlier call, perhaps this one's too
        self._run = f"{os.getpid()}-{next(_runs)}"
        self._numbers = count()
        self._by_id: dict[int, _Constant] = {}
        self._outdated: list[_Constant] = []
        self._small: Watched = {}
        self._recent: deque[Watched] = deque(maxlen=_MANY)
        self._flying: dict[Ticket, tuple[list[_Constant], Segment | None]] = {}
        # of the batch that is being encoded
        self._epoch = 0
        self._index = 0
        self._used: dict[int, _Constant] = {}
        self._watched: Watched = {}
        self.large: list[pickle.PickleBuffer] = []

    # Encoding a batch

    def begin(self, epoch: int) -> None:
        """A batch is to be encoded."""
        self._epoch = epoch
        self._used = {}
        self._watched = {}
        self._recent.append(self._watched)
        self.large = []

    def watch(self, index: int, values: Iterable[Any]) -> None:
        """Look at the arguments of the task of this index, before it is pickled."""
        self._index = index
        for value in values:
            kind = type(value)
            if kind not in ATOMIC or (kind in (str, bytes) and len(value) >= LEAST_NBYTES):
                self._watch(value)
                if kind is tuple and len(value) <= _MANY:
                    for inner in value:
                        if type(inner) not in ATOMIC:
                            self._watch(inner)

    def _watch(self, value: Any) -> None:
        key = id(value)
        if key in self._by_id or key in self._small:
            return
        one_for_all = is_shared(value)
        nbytes = getattr(value, "nbytes", 0)
        is_large = self.maps and isinstance(nbytes, int) and nbytes >= (self._transfer.max_nbytes or 0) > 0
        if one_for_all or is_large or (self._may_write and any(key in recent for recent in self._recent)):
            self._adopt(value, one_for_all=one_for_all, whatever_size=one_for_all or is_large)
        else:
            self._watched[key] = value

    def _adopt(self, value: Any, *, one_for_all: bool, whatever_size: bool) -> None:
        key = id(value)
        found = None if one_for_all else self._take_kept(value)
        if found is None:
            try:
                found = self._make(value, one_for_all, whatever_size)
            except Exception:  # noqa: BLE001  what is wrong with it is told where its task is pickled
                return
        if found is None:
            if len(self._small) > 64 * _MANY:
                self._small.clear()
            self._small[key] = value
        else:
            self._by_id[key] = found
            self.active = True

    def _make(self, value: Any, one_for_all: bool, whatever_size: bool) -> _Constant | None:
        blob, buffers = self._pickle(value)
        nbytes = len(blob) + sum(buffer.raw().nbytes for buffer in buffers)
        if nbytes < LEAST_NBYTES and not whatever_size:
            return None
        segment: Segment | None = None
        inner: bytes | None = blob
        if self._may_write and (buffers or len(blob) >= LEAST_NBYTES):
            inner = blob if len(blob) < LEAST_NBYTES else None
            parts = [buffer.raw() for buffer in buffers]
            segment = segments.write([blob, *parts] if inner is None else parts, self._transfer.temp_folder)
        mode = "r" if one_for_all else self._transfer.mmap_mode if self.maps else None
        reference = Reference((self._run, next(self._numbers)), inner, segment, mode, one_for_all)
        constant = _Constant(value, blob, segment, reference)
        constant.checked = self._epoch
        return constant

    def _pickle(self, value: Any) -> tuple[bytes, list[pickle.PickleBuffer]]:
        buffers: list[pickle.PickleBuffer] = []
        least = LEAST_NBYTES if self._may_write else sys.maxsize
        return dumps(value, buffer_callback=buffers.append, least=least, reducer=self.reducer), buffers

    @property
    def reducer(self) -> Reducer | None:
        """How arrays over mapped files travel to workers that can open these files."""
        if not self._may_write or "numpy" not in sys.modules:
            return None
        from jobspan.arrays.memmap import reduce_mapped

        return reduce_mapped

    def refer(self, obj: Any) -> int | None:
        """The number, in this batch, of the constant that `obj` is; None if it is none."""
        constant = self._by_id.get(id(obj))
        if constant is None:
            return None
        if constant.checked != self._epoch and not (constant.reference.one_for_all or constant.is_written_to):
            constant = self._check(constant)
        if constant.last < self._index:
            constant.last = self._index
            constant.uses += 1
            self.rereads = self.rereads or (constant.uses > 1 and constant.segment is not None)
        self._used[id(constant)] = constant
        return list(self._used).index(id(constant))

    def define(self, _obj: Any) -> bool:
        """Functions and classes go along with the function of the tasks."""
        return False

    def _check(self, constant: _Constant) -> _Constant:
        """The constant, or a new one if the object has changed since."""
        if not self._is_unchanged(constant):
            self._outdated.append(constant)
            obj = constant.obj
            constant = self._make(obj, one_for_all=False, whatever_size=True) or constant
            self._by_id[id(obj)] = constant
        constant.checked = self._epoch
        return constant

    def _is_unchanged(self, constant: _Constant) -> bool:
        blob, buffers = self._pickle(constant.obj)
        if blob != constant.blob:
            return False
        if not buffers or constant.segment is None:
            return True
        if constant.written is None:
            constant.written = segments.read(constant.segment, "r")
        written = constant.written[-len(buffers) :]
        return all(_is_same(buffer.raw(), there) for buffer, there in zip(buffers, written, strict=True))

    def references(self) -> list[Reference]:
        """What the batch refers to, in the order of the numbers that `refer` gave."""
        return [constant.reference for constant in self._used.values()]

    def write_large(self) -> Segment | None:
        """Write the large buffers that stayed out of the batch."""
        if not self.large:
            return None
        return segments.write([buffer.raw() for buffer in self.large], self._transfer.temp_folder)

    def send(self, ticket: Ticket, segment: Segment | None) -> None:
        """The batch goes out as `ticket`."""
        used = list(self._used.values())
        for constant in used:
            constant.in_flight += 1
        if used or segment is not None:
            self._flying[ticket] = used, segment

    def fix(self, obj: Any, blob: bytes, buffers: Sequence[pickle.PickleBuffer]) -> Reference:
        """A large function, which is referred to until the run ends."""
        parts = [buffer.raw() for buffer in buffers]
        segment = segments.write([blob, *parts], self._transfer.temp_folder)
        mode = self._transfer.mmap_mode if self.maps else None
        reference = Reference((self._run, next(self._numbers)), None, segment, mode, one_for_all=False)
        self._outdated.append(_Constant(obj, b"", segment, reference))
        return reference

    # Afterwards

    def done(self, ticket: Ticket) -> None:
        """A batch came back: what only it needed is removed."""
        used, segment = self._flying.pop(ticket, ((), None))
        if segment is not None:
            segments.remove(segment)
        for constant in used:
            constant.in_flight -= 1
            if constant.uses == 1 and not constant.in_flight and self._by_id.get(id(constant.obj)) is constant:
                del self._by_id[id(constant.obj)]
                _keep(constant)

    def close(self) -> None:
        """The run is over: what the next call may want again is kept, the rest is removed."""
        for _, segment in self._flying.values():
            if segment is not None:
                segments.remove(segment)
        for constant in self._outdated:
            _drop(constant)
        for constant in self._by_id.values():
            _keep(constant)
        self._flying, self._outdated, self._by_id = {}, [], {}
        self._small.clear()
        self._recent.clear()
        self.active = False

    def _take_kept(self, value: Any) -> _Constant | None:
        with _kept_lock:
            kept = _kept.pop(id(value), None)
        if kept is None:
            return None
        constant, reference = kept
        if reference() is not value:
            _drop(constant)
            return None
        constant.obj = value
        key = self._run, next(self._numbers)
        mode = self._transfer.mmap_mode if self.maps else None
        constant.reference = constant.reference._replace(key=key, mode=mode)
        constant.uses, constant.last, constant.in_flight, constant.checked = 1, -1, 0, self._epoch
        if self._is_unchanged(constant):
            return constant
        _drop(constant)
        return None


_runs = count(1)
_kept_lock = threading.Lock()
_kept: dict[int, tuple[_Constant, weakref.ref[Any]]] = {}
"""Constants over large buffers, by the id of the object, which is alive."""


def _keep(constant: _Constant) -> None:
    """Keep the file while the object lives, within bounds."""
    segment, obj = constant.segment, constant.obj
    if segment is None or constant.reference.blob is None or constant.reference.one_for_all or constant.is_written_to:
        _drop(constant)
        return
    key = id(obj)
    try:
        reference = weakref.ref(obj, lambda _: _forget(key))
    except TypeError:
        _drop(constant)
        return
    constant.obj = None
    with _kept_lock:
        _kept[key] = constant, reference
        room = KEPT_NBYTES
        for other in reversed(list(_kept)):
            found = _kept.get(other)  # None: its object has just gone
            if found is not None and found[0].segment is not None:
                room -= found[0].segment.nbytes
                if room < 0:
                    _forget(other)


def _forget(key: int) -> None:
    found = _kept.pop(key, None)  # no lock: this may run at any moment, in any thread
    if found is not None:
        _drop(found[0])


def _drop(constant: _Constant) -> None:
    constant.written = None
    if constant.segment is not None:
        segments.remove(constant.segment)


def _is_same(one: memoryview, other: memoryview) -> bool:
    one, other = one.cast("B"), memoryview(other).cast("B")
    if one.nbytes != other.nbytes:
        return False
    if "numpy" in sys.modules:
        from jobspan.arrays.memmap import is_same

        return is_same(one, other)
    return all(bytes(one[i : i + _CHUNK]) == bytes(other[i : i + _CHUNK]) for i in range(0, one.nbytes, _CHUNK))


def _forget_kept() -> None:
    global _kept_lock  # noqa: PLW0603  one per process
    _kept_lock = threading.Lock()
    _kept.clear()  # the files are the parent's


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_kept)
