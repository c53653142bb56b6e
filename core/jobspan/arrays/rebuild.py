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
