"""Digests of large arrays that nobody changes, kept for as long as this process lives.

What nobody changes: an array whose memory is read-only, down to the object that owns it; a file that is mapped for
reading only, for as long as its size and its time of change are the same.

Invariant: a digest is forgotten when the memory that it is of is let go.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Iterable
from mmap import mmap
from typing import Any

import numpy as np

from jobspan.persist.chunks import Data

_MOST = 1000
_SETTLED_S = 2.0  # a file that was changed so recently may change again within the same tick of its clock

_digests: dict[Any, bytes] = {}


class Remembered(Data):
    """The bytes of such an array.

    Parameters
    ----------
    data : Data
        The bytes.
    token : hashable
        What stands for the memory, from `token_of`.
    array : numpy.ndarray
        The array.
    """

    def __init__(self, data: Data, token: Any, array: Any) -> None:
        super().__init__(data.nbytes, data.itemsize)
        self._data = data
        self._token = token
        self._owner = _owner_of(array)

    def read(self, start: int, end: int, /) -> Iterable[Any]:
        """The bytes of these elements."""
        return self._data.read(start, end)

    @property
    def digests(self) -> bytes:
        """The digests of its pieces, made once."""
        known = _digests.get(self._token)
        return super().digests if known is None else known

    @digests.setter
    def digests(self, made: bytes) -> None:
        self._digests = made
        while len(_digests) >= _MOST:
            _digests.pop(next(iter(_digests)), None)
        _digests[self._token] = made
        if not isinstance(self._owner, np.memmap):
            weakref.finalize(self._owner, _digests.pop, self._token, None).atexit = False

    def has_digests(self) -> bool:
        """Whether they are made already."""
        return self._token in _digests


def token_of(array: Any) -> Any:
    """What stands for the memory of an array that nobody changes; None if somebody may."""
    owner = _owner_of(array)
    if owner is None:
        return None
    memory = array.__array_interface__
    layout = memory["data"][0], array.shape, array.strides, array.dtype.itemsize
    if not isinstance(owner, np.memmap):
        return id(owner), layout
    start = owner.__array_interface__["data"][0]
    file = _stamp(owner)
    return None if file is None else (file, owner.offset + layout[0] - start, layout[1:])


def _owner_of(array: Any) -> Any:
    """The array at the bottom, if all on the way to it are read-only."""
    while not array.flags.writeable:
        base = array.base
        if base is None or isinstance(base, mmap):
            return array
        if not isinstance(base, np.ndarray):
            return array if isinstance(base, bytes) else None
        array = base
    return None


def _stamp(owner: Any) -> Any:
    """Which file a memmap shows, in which state; None if that cannot be told."""
    if owner.mode != "r" or owner.filename is None:
        return None
    try:
        now = os.stat(owner.filename)
    except OSError:
        return None
    if time.time() - now.st_mtime < _SETTLED_S:
        return None
    return now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns
