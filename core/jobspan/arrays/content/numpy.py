"""Arrays, scalars and random generators of numpy.

Invariant: an array is its type, its shape, and its elements in the order of its memory, C or Fortran; where there are
gaps, as in a slice, in C order. What a copy of it would not have makes no difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from jobspan.arrays.content.remembered import Remembered, token_of
from jobspan.persist.chunks import CHUNK, Data, Plain, make_digests
from jobspan.persist.content import Coerce, Content, Take, choose


def find(kind: type) -> Take | None:
    """What takes apart objects of this type; None if it is left to pickle."""
    return choose(kind, _TAKES)


def list_parts(obj: Any) -> Iterator[tuple[str, Any]]:
    """The objects in an array, each with the step that leads there."""
    if isinstance(obj, np.ma.MaskedArray):
        yield ".data", np.ma.getdata(obj)
    elif isinstance(obj, np.ndarray | np.void) and obj.dtype.names is not None:
        yield from ((f"[{name!r}]", obj[name]) for name in obj.dtype.names if obj.dtype[name].hasobject)
    elif isinstance(obj, np.ndarray) and obj.dtype == object:
        for index in np.ndindex(obj.shape):
            yield f"[{', '.join(map(str, index)) or '()'}]", obj[index]


def data_of(array: Any) -> Data | bytes:
    """The bytes of an array's elements in C order, of which no more than a piece at a time is copied.

    Its type must be one whose elements are bytes in its own memory.
    """
    if array.nbytes <= CHUNK:
        copied: bytes = array.tobytes()
        return copied
    if array.flags.c_contiguous:
        data: Data = Plain(array.reshape(-1).view(np.uint8), array.dtype.itemsize)
    else:
        data = _Scattered(array)
    token = token_of(array)
    return data if token is None else Remembered(data, token, array)


def together(columns: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Columns of a frame, with all CPUs at all of their arrays."""
    taken = [
        tuple(_take_plain(part, Coerce()) if type(part) is np.ndarray else part for part in column)
        for column in columns
    ]
    parts = (part[-1] for column in taken for part in column if type(part) is tuple and part)
    make_digests(part for part in parts if isinstance(part, Data))
    return taken


class _Scattered(Data):
    """The elements of an array that do not lie one after the other in memory, in C order."""

    def __init__(self, array: Any) -> None:
        super().__init__(array.nbytes, array.dtype.itemsize)
        self._array = array

    def read(self, start: int, end: int, /) -> Iterator[Any]:
        """Copies of them."""
        for part in cut(self._array, start, end):
            yield np.ascontiguousarray(part).reshape(-1).view(np.uint8)


def cut(array: Any, start: int, end: int) -> Iterator[Any]:
    """Parts that hold the elements from `start` up to `end`, one after the other in C order."""
    if array.ndim == 1:
        yield array[start:end]
        return
    row = array[0].size
    first, left = divmod(start, row)
    if left:
        upto = min(end - first * row, row)
        yield from cut(array[first], left, upto)
        first += 1
    last, rest = divmod(end, row)
    if first < last:
        yield array[first:last]
    if rest and last >= first:
        yield from cut(array[last], 0, rest)


def _take_array(array: Any, coerce: Coerce) -> Content:
    kind = type(array)
    if kind is np.ndarray:
        return _take_plain(array, coerce)
    described = _take_plain(array.view(np.ndarray), coerce)
    if kind is np.memmap and coerce.mmap:
        return described
    if kind is np.memmap:
        return "memmap", *described
    return "subclass", kind, _state_of(array), *described


def _state_of(array: Any) -> Any:
    """What a subclass adds to an array."""
    return getattr(array, "__dict__", None) or None


def _take_plain(array: Any, coerce: Coerce) -> tuple[Any, ...]:
    flags = array.flags
    is_fortran = not flags.c_contiguous and flags.f_contiguous and not coerce.order
    head = "array", describe(array.dtype), array.shape, "F" if is_fortran else "C"
    if is_fortran:
        array = array.T
    if _is_bytes(array.dtype):
        return *head, data_of(array)
    if array.dtype.names is not None:
        return *head, [np.ascontiguousarray(array[name]) for name in array.dtype.names]
    return *head, array.ravel().tolist()


@lru_cache
def _is_bytes(dtype: Any) -> bool:
    """Whether the memory of an element holds its content, all of it and nothing else."""
    if dtype.hasobject or dtype.char == "T":
        return False
    if dtype.names is None:
        return dtype.subdtype is None or _is_bytes(dtype.subdtype[0])
    fields = [field[0] for field in dtype.fields.values()]
    return sum(field.itemsize for field in fields) == dtype.itemsize and all(map(_is_bytes, fields))


@lru_cache
def describe(dtype: Any) -> Any:
    """A type of elements, in plain values."""
    if dtype.subdtype is not None:
        return "subarray", describe(dtype.subdtype[0]), dtype.subdtype[1]
    if dtype.names is not None:
        fields = [(name, describe(dtype.fields[name][0]), *dtype.fields[name][1:]) for name in dtype.names]
        return "fields", dtype.itemsize, fields
    own = getattr(dtype, "na_object", None)  # of numpy's variable-length strings
    return dtype.str if own is None else (dtype.str, own)


def _take_masked(array: Any, _: Coerce) -> Content:
    data, mask = np.ma.getdata(array), np.ma.getmaskarray(array)
    return "masked", type(array), data, mask, array.fill_value, array.hardmask


def _take_scalar(scalar: Any, coerce: Coerce) -> Content:
    return "scalar", *_take_plain(np.asarray(scalar), coerce)[1:]


_TAKES: tuple[tuple[type, Take], ...] = (
    (type(np.ma.masked), lambda masked, _: ("masked constant", type(masked))),
    (np.ma.MaskedArray, _take_masked),
    (np.ndarray, _take_array),
    (np.generic, _take_scalar),
    (np.dtype, lambda dtype, _: ("dtype", describe(dtype))),
    (np.ufunc, lambda function, _: ("ufunc", function.__name__, function.nin, function.nout)),
    (np.random.Generator, lambda generator, _: ("Generator", generator.bit_generator)),
    (np.random.BitGenerator, lambda bits, _: ("BitGenerator", bits.state, bits.seed_seq)),
    (np.random.RandomState, lambda state, _: ("RandomState", state.get_state(legacy=False))),
    (
        np.random.SeedSequence,
        lambda seed, _: ("SeedSequence", seed.entropy, seed.spawn_key, seed.pool_size, seed.n_children_spawned),
    ),
)
