"""Arrays from the buffers of a file: what its pickle calls by these names, so they stay as they are for ever.

Invariant: an array is made over the memory that it is given, never of a copy.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np


def array(buffer: Any, dtype: Any, shape: tuple[int, ...], order: Literal["C", "F"]) -> Any:
    """An array whose memory is in one piece."""
    if type(buffer) is np.memmap:
        return buffer.view(dtype).reshape(shape, order=order)
    return np.ndarray(shape, dtype, buffer, order=order)


def strided(buffer: Any, dtype: Any, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Any:
    """A view with gaps."""
    if type(buffer) is np.memmap:
        element = buffer[offset : offset + dtype.itemsize].view(dtype)
        return np.lib.stride_tricks.as_strided(element, shape, strides, subok=True)
    return np.ndarray(shape, dtype, buffer, offset, strides)


def subclass(kind: type, array: Any, state: dict[str, Any] | None) -> Any:
    """An array of a class derived from numpy's."""
    made = array.view(kind)
    if state:
        vars(made).update(state)
    return made


def masked(kind: type, data: Any, mask: Any, fill_value: Any, is_hard: bool, state: dict[str, Any]) -> Any:
    """A masked array; `mask` is None where nothing is."""
    made: Any = np.ma.array(data, mask=np.ma.nomask if mask is None else mask, copy=False, keep_mask=False)
    made = made.view(kind)
    vars(made).update(state)
    made.fill_value = fill_value
    if is_hard:
        made.harden_mask()
    return made


def as_native(array: Any) -> Any:
    """The array in this machine's byte order."""
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="), copy=False)


def as_subclass(array: Any, kind: Any) -> Any:
    """The array as one of a class derived from numpy's."""
    return array if kind in (np.ndarray, np.memmap) else array.view(kind)


def count_bytes(dtype: Any, shape: tuple[int, ...]) -> int:
    """How many bytes such an array has."""
    nbytes: int = dtype.itemsize
    for length in shape:
        if length < 0:
            raise ValueError(f"no array has the shape {shape}")
        nbytes *= int(length)
    return nbytes


def from_bytes(data: Any, dtype: Any, shape: tuple[int, ...], order: Literal["C", "F"]) -> Any:
    """An array of these bytes, which can be written to."""
    return np.ndarray(shape, dtype, data if isinstance(data, bytearray) else bytearray(data), order=order)


def map_part(path: str, mode: Any, start: int, dtype: Any, shape: tuple[int, ...], order: Literal["C", "F"]) -> Any:
    """An array that is mapped, from somewhere in a file."""
    return np.memmap(path, dtype, mode, start, shape, order)
