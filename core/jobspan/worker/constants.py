"""Arguments that many tasks share: serialised once for a call, brought to each worker once, and referred to afterwards.

A `Constants` watches the arguments of one run by identity; what workers make of a reference is in `references`.

Invariant: a task never sees other contents than the object had when its batch was sent: before a constant is referred
to after code of the input ran, it is pickled again and compared, and brought anew if it has changed.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, count
from typing import Any, Literal, TypeAlias

from jobspan.model import Ticket, Transfer
from jobspan.persist import segments
from jobspan.persist.pickling import Reducer, Setter, dumps
from jobspan.persist.segments import Segment
from jobspan.worker.constant import KEPT_NBYTES, Constant, has_kept, keep, take_kept
from jobspan.worker.references import Key, Reference
from jobspan.worker.shared import has_shared, is_shared

Way: TypeAlias = Literal["file", "message", "batch"]
"""How constants come to workers: in files of this machine, in messages that the session sends before the first batch
that refers to them, or in each batch again, where nothing is known of the workers."""

LEAST_NBYTES = 1 << 16
"""Smaller objects go along with each task."""

TAUGHT_NBYTES = 1 << 27
"""Workers that are sent constants keep at most so many bytes that no batch under way needs, besides the latest."""

ATOMIC = frozenset({int, float, complex, bool, str, bytes, type(None)})
"""Types whose values cannot be changed, so that tasks may as well get the same object."""

_MANY = 8


def are_atomic(arguments: Sequence[tuple[Any, ...]]) -> bool:
    """Whether none of the arguments of these tasks can be changed, or is large."""
    if any(type(value) in (str, bytes) and len(value) >= LEAST_NBYTES for value in arguments[0]):
        return False
    others = set(map(type, chain.from_iterable(arguments))) - ATOMIC
    return not others or ("numpy" in sys.modules and all(map(_is_number, others)))


def _is_number(kind: type) -> bool:
    numpy = sys.modules["numpy"]
    return issubclass(kind, numpy.number | numpy.bool_)


Watched: TypeAlias = dict[int, Any]


class Constants:
    """The constants of one run.

    Parameters
    ----------
    transfer : Transfer
        How large buffers travel.
    way : {"file", "message", "batch"}
        How constants come to workers.
    function_setter : callable, optional
        As for `jobspan.persist.pickling.dumps`.
    """

    active = False
    """Whether there is anything to refer to."""

    rereads: bool
    """Whether there are constants that take time to compare."""

    maps: bool
    """Whether workers map large buffers from files."""

    def __init__(self, transfer: Transfer, way: Way, function_setter: Setter | None = None) -> None:
        self._transfer = transfer
        self._way = way
        self._function_setter = function_setter
        self.maps = bool(way == "file" and transfer.max_nbytes and transfer.mmap_mode)
        self.rereads = way == "file" and has_kept()  # of an earlier call, perhaps what this one uses too
        self._run = f"{os.getpid()}-{next(_runs)}"
        self._numbers = count()
        self._by_id: dict[int, Constant] = {}
        self._idle: dict[int, Constant] = {}  # those that no batch in flight refers to, the longest unused first
        self._outdated: dict[int, Constant] = {}
        self._functions: list[Constant] = []
        self._small: Watched = {}
        self._recent: deque[Watched] = deque(maxlen=_MANY)
        self._flying: dict[Ticket, tuple[list[Constant], Segment | None]] = {}
        self._messages: dict[Key, bytes] = {}
        self.within_functions: set[Key] = set()
        """What functions refer to, so that every batch needs it."""
        # of the batch that is being encoded
        self._epoch = 0
        self._index = 0
        self._used: dict[int, Constant] = {}
        self._watched: Watched = {}
        self.large: list[pickle.PickleBuffer] = []

    # Encoding a batch

    def begin(self, epoch: int) -> None:
        """A batch is to be encoded."""
        self._epoch = epoch
        self._used = {}
        self._watched = {}
        self._recent.append(self._watched)
        self.active = self.active or has_shared()
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
        if one_for_all or is_large or (self._way != "batch" and any(key in recent for recent in self._recent)):
            self._adopt(value, one_for_all=one_for_all, whatever_size=one_for_all or is_large)
        else:
            self._watched[key] = value

    def _adopt(self, value: Any, *, one_for_all: bool, whatever_size: bool) -> None:
        key = id(value)
        if key in self._by_id:
            return
        found = self._take_kept(value) if self._way == "file" and not one_for_all else None
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

    def _make(self, value: Any, one_for_all: bool, whatever_size: bool) -> Constant | None:
        blob, buffers = self._pickle(value)
        nbytes = len(blob) + sum(buffer.raw().nbytes for buffer in buffers)
        if nbytes < LEAST_NBYTES and not whatever_size:
            return None
        segment: Segment | None = None
        inner: bytes | None = None if self._way == "message" else blob
        if self._way == "file" and (buffers or len(blob) >= LEAST_NBYTES):
            inner = blob if len(blob) < LEAST_NBYTES else None
            parts = [buffer.raw() for buffer in buffers]
            segment = segments.write([blob, *parts] if inner is None else parts, self._transfer.temp_folder)
        mode = "r" if one_for_all else self._mode
        constant = Constant(value, blob, segment, Reference(self._next_key(), inner, segment, mode, one_for_all))
        constant.checked = self._epoch
        self._announce(constant)
        return constant

    @property
    def _mode(self) -> str | None:
        return self._transfer.mmap_mode if self.maps else None

    def _next_key(self) -> Key:
        return self._run, next(self._numbers)

    def _announce(self, constant: Constant) -> None:
        if self._way == "message":
            self._messages[constant.reference.key] = constant.blob

    def _pickle(self, value: Any) -> tuple[bytes, list[pickle.PickleBuffer]]:
        buffers: list[pickle.PickleBuffer] = []
        least = LEAST_NBYTES if self._way == "file" else sys.maxsize
        data = dumps(
            value,
            buffer_callback=buffers.append,
            least=least,
            reducer=self.reducer,
            function_setter=self._function_setter,
        )
        return data, buffers

    @property
    def reducer(self) -> Reducer | None:
        """How arrays over mapped files travel to workers that can open these files."""
        if self._way != "file" or "numpy" not in sys.modules:
            return None
        from jobspan.arrays.memmap import reduce_mapped

        return reduce_mapped

    def refer(self, obj: Any) -> int | None:
        """The number, in this batch, of the constant that `obj` is; None if it is none."""
        constant = self._by_id.get(id(obj)) or self._adopt_shared(obj)
        if constant is None:
            return None
        if constant.checked != self._epoch and not (constant.reference.one_for_all or constant.is_written_to):
            constant = self._check(constant)
        if constant.last < self._index:
            constant.last = self._index
            constant.uses += 1
            self.rereads = self.rereads or (constant.uses > 1 and constant.nbytes >= LEAST_NBYTES)
        self._idle.pop(id(constant), None)
        self._used[id(constant)] = constant
        return list(self._used).index(id(constant))

    def _adopt_shared(self, obj: Any) -> Constant | None:
        if not is_shared(obj):
            return None
        self._adopt(obj, one_for_all=True, whatever_size=True)
        return self._by_id.get(id(obj))

    def refer_within(self, obj: Any) -> Reference | None:
        """The reference to `obj` in a function, if it was marked by `shared`: it holds until the run ends."""
        constant = self._adopt_shared(obj)
        if constant is None:
            return None
        self.within_functions.add(constant.reference.key)
        return constant.reference

    def define(self, _obj: Any) -> bool:
        """Functions and classes go along with the function of the tasks."""
        return False

    def _check(self, constant: Constant) -> Constant:
        """The constant, or a new one if the object has changed since."""
        obj = constant.obj
        if not constant.holds(*self._pickle(obj)):
            if constant.in_flight:
                self._outdated[id(constant)] = constant
            else:
                self._idle.pop(id(constant), None)
                self._drop(constant)
            constant = self._make(obj, one_for_all=False, whatever_size=True) or constant
            self._by_id[id(obj)] = constant
        constant.checked = self._epoch
        return constant

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

    def inline(self, blob: bytes) -> Reference:
        """A small function that refers to what is shared."""
        return Reference(self._next_key(), blob, None, None, one_for_all=False)

    def fix(self, obj: Any, blob: bytes, buffers: Sequence[pickle.PickleBuffer]) -> Reference:
        """A large function, which is referred to until the run ends."""
        segment: Segment | None = None
        if self._way == "file":
            segment = segments.write([blob, *(buffer.raw() for buffer in buffers)], self._transfer.temp_folder)
        reference = Reference(self._next_key(), None, segment, self._mode, one_for_all=False)
        constant = Constant(obj, blob, segment, reference)
        self._functions.append(constant)
        self._announce(constant)
        return reference

    @property
    def messages(self) -> Mapping[Key, bytes]:
        """What workers that are to be sent constants have to be sent, as far as it is still referred to."""
        return self._messages

    # Afterwards

    def done(self, ticket: Ticket) -> None:
        """A batch came back: what only it needed is removed."""
        used, segment = self._flying.pop(ticket, ((), None))
        if segment is not None:
            segments.remove(segment)
        for constant in used:
            constant.in_flight -= 1
            if constant.in_flight:
                continue
            if self._outdated.pop(id(constant), None) is not None:
                self._drop(constant)
            elif constant.reference.one_for_all:
                pass  # stays to the end of the run, which the user wants
            elif constant.uses == 1 and self._way == "file":
                self._let_go(constant)
            elif id(constant.obj) in self._by_id:
                self._idle[id(constant)] = constant
        self._bound_idle()

    def _bound_idle(self) -> None:
        """An input may bring ever new constants: those unused for longest give way."""
        most = TAUGHT_NBYTES if self._way == "message" else KEPT_NBYTES
        excess = sum(constant.nbytes for constant in self._idle.values()) - most
        while excess > 0 and len(self._idle) > 1:
            longest = self._idle.pop(next(iter(self._idle)))
            excess -= longest.nbytes
            self._let_go(longest)

    def _let_go(self, constant: Constant) -> None:
        if self._by_id.pop(id(constant.obj), None) is not None:
            self._messages.pop(constant.reference.key, None)
            keep(constant)

    def _drop(self, constant: Constant) -> None:
        self._messages.pop(constant.reference.key, None)
        constant.drop()

    def close(self) -> None:
        """The run is over: what the next call may want again is kept, the rest is removed."""
        for _, segment in self._flying.values():
            if segment is not None:
                segments.remove(segment)
        for constant in (*self._outdated.values(), *self._functions):
            constant.drop()
        for constant in self._by_id.values():
            keep(constant)
        for state in (self._flying, self._outdated, self._by_id, self._idle, self._messages, self._small):
            state.clear()
        self._functions.clear()
        self._recent.clear()
        self.active = False

    def _take_kept(self, value: Any) -> Constant | None:
        constant = take_kept(value)
        if constant is None:
            return None
        constant.reference = constant.reference._replace(key=self._next_key(), mode=self._mode)
        constant.checked = self._epoch
        if constant.holds(*self._pickle(value)):
            return constant
        constant.drop()
        return None


_runs = count(1)
