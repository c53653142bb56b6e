"""How the arrays of numpy go into a file: their memory beside the pickle, shared parts once.

Invariant: an array comes back with the elements, the type and the strides it had, over the same memory as those that it
shared it with; but where a view shows little of its memory and nothing else in the file does, its elements are copied.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection
from pickle import PickleBuffer
from typing import Any

import numpy as np

from jobspan.arrays import rebuild

_SMALL = 1024  # bytes: views of so few are copied
_DENSE = 2  # a view's memory is kept where it is no more than so many times its elements


class Reducer:
    """Says how to pickle arrays.

    Attributes
    ----------
    sparse : list of numpy.ndarray
        Views that were copied, since they show little of their memory.
    views : int
        How many arrays there were that do not own their memory.
    large : int
        How many there were whose memory does not stay in the pickle.

    Parameters
    ----------
    whole : set of int
        The ids of views whose memory is kept, however little of it they show.
    """

    def __init__(self, whole: Collection[int] = ()) -> None:
        self.sparse: list[Any] = []
        self.views = 0
        self.large = 0
        self._whole = whole

    def __call__(self, obj: Any) -> Any:
        """What ``reducer_override`` returns for it."""
        if not isinstance(obj, np.ndarray) or obj.dtype.hasobject or obj.dtype.char == "T":
            return NotImplemented
        kind = type(obj)
        if kind is np.ndarray:
            return self._reduce(obj)
        if kind is np.memmap:
            return self._reduce(obj.view(np.ndarray))
        if isinstance(obj, np.ma.MaskedArray):
            return self._reduce_masked(obj)
        if kind.__reduce__ is np.ndarray.__reduce__ and kind.__reduce_ex__ is np.ndarray.__reduce_ex__:
            return rebuild.subclass, (kind, obj.view(np.ndarray), getattr(obj, "__dict__", None) or None)
        return NotImplemented

    def _reduce(self, array: Any) -> Any:
        flags = array.flags
        self.views += array.base is not None
        self.large += array.nbytes >= _SMALL
        if flags.c_contiguous:
            return rebuild.array, (_memory(array), array.dtype, array.shape, "C")
        if flags.f_contiguous:
            return rebuild.array, (_memory(array.T), array.dtype, array.shape, "F")
        if array.nbytes < _SMALL:
            return rebuild.array, (_memory(np.ascontiguousarray(array)), array.dtype, array.shape, "C")
        low, high = np.lib.array_utils.byte_bounds(array)
        if high - low > _DENSE * array.nbytes and id(array) not in self._whole:
            self.sparse.append(array)
            return rebuild.array, (_memory(np.ascontiguousarray(array)), array.dtype, array.shape, "C")
        offset = array.__array_interface__["data"][0] - low
        memory = PickleBuffer(np.asarray(_Stretch(array, low, high - low)))
        return rebuild.strided, (memory, array.dtype, array.shape, array.strides, offset)

    def _reduce_masked(self, array: Any) -> Any:
        if type(array).__reduce__ is not np.ma.MaskedArray.__reduce__:
            return NotImplemented
        mask = None if array.mask is np.ma.nomask else np.ma.getmaskarray(array)
        own = {name: value for name, value in vars(array).items() if name in ("_optinfo", "_basedict")}
        data = np.ma.getdata(array, subok=False)
        return rebuild.masked, (type(array), data, mask, array.fill_value, bool(array.hardmask), own)


def _memory(array: Any) -> PickleBuffer:
    """That of an array in C order."""
    try:
        return PickleBuffer(array)
    except ValueError:  # numpy shows no buffer of times
        return PickleBuffer(array.reshape(-1).view(np.uint8))


class _Stretch:
    """Memory of an array from one address on, which lives as long as the array does."""

    def __init__(self, array: Any, start: int, nbytes: int) -> None:
        self._array = array
        self.__array_interface__ = {
            "data": (start, not array.flags.writeable),
            "shape": (nbytes,),
            "typestr": "|u1",
            "version": 3,
        }


def address_of(buffer: memoryview) -> int:
    """Where the memory of a buffer begins."""
    start: int = np.frombuffer(buffer, np.uint8).__array_interface__["data"][0]
    return start


def find_inside(views: list[Any], buffers: list[memoryview]) -> set[int]:
    """The ids of those views whose memory is that of the buffers."""
    starts: list[int] = []
    ends: list[int] = []
    for start, nbytes in sorted((address_of(buffer), buffer.nbytes) for buffer in buffers):
        if starts and start <= ends[-1]:
            ends[-1] = max(ends[-1], start + nbytes)
        else:
            starts.append(start)
            ends.append(start + nbytes)
    found = set()
    for view in views:
        low, high = np.lib.array_utils.byte_bounds(view)
        number = bisect_right(starts, low) - 1
        if number >= 0 and high <= ends[number]:
            found.add(id(view))
    return found
