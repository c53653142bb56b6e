"""What goes into a file: an object's pickle, and the memory of its buffers, each stretch of it once.

Invariant: every buffer of the pickle is a place in a segment; the segments of a plan share no memory.
"""

from __future__ import annotations

import copyreg
import io
import pickle
import sys
from array import array
from collections.abc import Callable, Sequence
from itertools import chain
from pickle import PickleBuffer
from typing import Any, NamedTuple

from jobspan.errors import UnpicklableError
from jobspan.file.layout import PIECE, align
from jobspan.persist.culprit import find_culprit, name_kind

PROTOCOL = 5
LEAST_BYTES = 1024
"""Smaller buffers stay in the pickle."""

_SMALL = 1 << 16  # segments of fewer bytes than this share one, until that has as many as a piece


class Plan(NamedTuple):
    """What goes into a file.

    Attributes
    ----------
    pickle : memoryview
        The pickle, without its buffers.
    segments : sequence of sequences of memoryview
        The memory beside it: each segment is one or more stretches that lie one after the other.
    buffers : array of int
        Where each of the pickle's buffers is, three numbers for each: in which segment, of which 0 is the pickle, from
        where, and how many bytes.
    """

    pickle: memoryview
    segments: Sequence[Sequence[memoryview]]
    buffers: array[int]


class _Pickler(pickle.Pickler):
    """With places for ``reducer_override`` and ``dispatch_table``."""


def make_plan(obj: Any, alignment: int) -> Plan:
    """Pickle an object; its large buffers are left where they are, and will begin at multiples of `alignment`.

    Raises
    ------
    UnpicklableError
        Naming what in it cannot be pickled.
    """
    if "numpy" not in sys.modules:
        text, buffers = _dump(obj, None)
        return Plan(text, *_pack([[buffer] for buffer in buffers], None, alignment))
    from jobspan.arrays.reduce import Reducer, find_inside

    arrays = Reducer()
    text, buffers = _dump(obj, arrays)
    if arrays.sparse and (whole := find_inside(arrays.sparse, buffers)):  # views of what is in the file anyway
        arrays = Reducer(whole)
        text, buffers = _dump(obj, arrays)
    if arrays.views or arrays.large < len(buffers):
        return Plan(text, *_pack(*_share(buffers), alignment))
    return Plan(text, *_pack([[buffer] for buffer in buffers], None, alignment))


def _dump(obj: Any, reducer: Callable[[Any], Any] | None) -> tuple[memoryview, list[memoryview]]:
    target, buffers = io.BytesIO(), []

    def keep_out(buffer: PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < LEAST_BYTES:
            return True
        buffers.append(raw)
        return False

    pickler = _Pickler(target, PROTOCOL, buffer_callback=keep_out)
    if reducer is not None:
        pickler.reducer_override = reducer  # type: ignore[method-assign]  # the pickler looks for it at itself
    if "tblib" in sys.modules:
        pickler.dispatch_table = _ordinary_reducers()
    try:
        pickler.dump(obj)
    except Exception as error:  # pickling runs users' code; what it raised is the cause of what is raised here
        raise _explain(obj, error) from error
    return memoryview(target.getvalue()), buffers


def _ordinary_reducers() -> dict[type, Any]:
    """Those of `copyreg`, without tblib's for exceptions, which dask brings along: a file would take tblib to read."""
    return {kind: reduce for kind, reduce in copyreg.dispatch_table.items() if not issubclass(kind, BaseException)}


def _explain(obj: Any, error: Exception) -> Exception:
    if isinstance(error, MemoryError):
        return error
    path, culprit, _ = find_culprit(obj, "the object", _is_picklable)
    return UnpicklableError(
        f"{path} cannot be pickled, so it cannot be dumped: it is {name_kind(culprit)} ({type(error).__name__}: "
        f"{error}). Leave it out, or give its class a __reduce__ or __getstate__ method."
    )


def _is_picklable(obj: Any) -> bool:
    try:
        pickle.dumps(obj, PROTOCOL)
    except Exception:  # noqa: BLE001  it runs users' code
        return False
    return True


def _share(buffers: Sequence[memoryview]) -> tuple[list[list[memoryview]], list[tuple[int, int, int]]]:
    """Segments of buffers that overlap in memory, and where each buffer is, as `_pack` wants it."""
    from jobspan.arrays.reduce import address_of

    starts = [address_of(buffer) for buffer in buffers]
    segments: list[list[memoryview]] = []
    places = [(0, 0, 0)] * len(buffers)
    begin = end = -1  # of the memory of the last segment
    for number in sorted(range(len(buffers)), key=lambda number: (starts[number], -buffers[number].nbytes)):
        start, buffer = starts[number], buffers[number]
        if start >= end:
            segments.append([buffer])
            begin, end = start, start + buffer.nbytes
        elif start + buffer.nbytes > end:
            segments[-1].append(buffer[end - start :])
            end = start + buffer.nbytes
        places[number] = len(segments) - 1, start - begin, buffer.nbytes
    return segments, places


def _pack(
    segments: Sequence[list[memoryview]], places: Sequence[tuple[int, int, int]] | None, alignment: int
) -> tuple[list[Sequence[memoryview]], array[int]]:
    """Small segments one after the other in one, since each costs a write, and later a read.

    `places` says where the buffers are, in which segment, from where, and how many bytes; None: each is a segment.
    """
    packed: list[Sequence[memoryview]] = []
    room: list[memoryview] = []
    gap = memoryview(bytes(alignment))
    filled = PIECE
    numbers, starts, sizes = array("Q"), array("Q"), array("Q")
    for segment in segments:
        nbytes = segment[0].nbytes if len(segment) == 1 else sum(stretch.nbytes for stretch in segment)
        if nbytes >= _SMALL:
            packed.append(segment)
            number, start = len(packed), 0
        else:
            if filled >= PIECE:
                room, filled = [], 0
                packed.append(room)
                shared = len(packed)
            number, start = shared, align(filled, alignment)
            if start > filled:
                room.append(gap[: start - filled])
            room += segment
            filled = start + nbytes
        numbers.append(number)
        starts.append(start)
        sizes.append(nbytes)
    if places is not None:
        moved = [(numbers[old], starts[old] + start, nbytes) for old, start, nbytes in places]
        return packed, array("Q", chain.from_iterable(moved))
    table = array("Q", bytes(24 * len(segments)))
    table[0::3], table[1::3], table[2::3] = numbers, starts, sizes
    return packed, table
