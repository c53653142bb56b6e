"""Arrays over a file that the user has mapped travel by the file's name, never as data.

So tasks in several processes write into one shared `numpy.memmap`. Private mappings (mode ``"c"``) hold what is in no
file, and travel as data like any other array.

Invariant: an array that is rebuilt shows the same bytes of the same file, with the same shape and strides.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def reduce_mapped(obj: Any) -> Any:
    """How to pickle `obj` if it is an array over a mapped file, else ``NotImplemented``."""
    if not isinstance(obj, np.ndarray) or obj.dtype.hasobject:
        return NotImplemented
    owner = _find_owner(obj)
    if owner is None:
        return NotImplemented
    low, high = np.lib.array_utils.byte_bounds(obj)
    start = owner.__array_interface__["data"][0]
    mode = "r" if owner.mode == "r" or not obj.flags.writeable else "r+"  # "w+" would empty the file
    position = int(owner.offset) + low - start
    first = obj.__array_interface__["data"][0] - low
    described = (str(owner.filename), mode, position, high - low, first)
    return rebuild, (*described, obj.dtype, obj.shape, obj.strides, isinstance(obj, np.memmap))


def _find_owner(array: np.ndarray[Any, Any]) -> np.memmap[Any, Any] | None:
    """The `numpy.memmap` that opened the file whose bytes these are."""
    found: Any = None
    base: Any = array
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap):
            found = base
        base = base.base
    return found if found is not None and found.filename is not None and found.mode != "c" and array.size else None


def rebuild(
    filename: str,
    mode: Any,
    position: int,
    nbytes: int,
    first: int,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    is_memmap: bool,
) -> np.ndarray[Any, Any]:
    """Map the file again.

    Parameters
    ----------
    position, nbytes : int
        Where in the file the array's bytes are.
    first : int
        Offset of the array's first element among them.
    is_memmap : bool
        Whether the array was a `numpy.memmap` itself.

    Raises
    ------
    FileNotFoundError
        If the file has gone.
    """
    try:
        mapped = np.memmap(filename, dtype=np.uint8, mode=mode, offset=position, shape=(nbytes,))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            error.errno, "the file of a memory-mapped array has gone, so its data cannot be reached", filename
        ) from None
    if not is_memmap:
        return np.ndarray(shape, dtype, buffer=mapped, offset=first, strides=strides)
    element = mapped[first : first + dtype.itemsize].view(dtype)  # a memmap like all that is made of one
    return np.lib.stride_tricks.as_strided(element, shape, strides, subok=True)


def map_whole(path: str, mode: Any) -> np.memmap[Any, Any]:
    """All bytes of a file."""
    return np.memmap(path, np.uint8, mode)


def is_same(one: memoryview, other: memoryview) -> bool:
    """Whether two stretches of the same length hold the same bytes, at the memory's speed."""
    step = 1 << 18  # both stay in the cache
    here, there = np.frombuffer(one, np.uint8), np.frombuffer(other, np.uint8)
    whole = len(here) // 8 * 8
    words, others = here[:whole].view(np.uint64), there[:whole].view(np.uint64)
    count = step // 8
    return bool((here[whole:] == there[whole:]).all()) and all(
        bool((words[i : i + count] == others[i : i + count]).all()) for i in range(0, len(words), count)
    )
