"""Arrays as `rebuild` makes them, of parts that are not trusted.

numpy's own ways to set the state of arrays and types believe what they are told, and can be made to read memory that is
not theirs; so nothing of that is used here.

Invariant: an array is made only of bytes that are there, and of a type whose elements hold no objects; one that holds
objects, only of a list with as many elements as it has.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from jobspan.arrays import rebuild

_KINDS = "biufcSUV"
_UNITS = frozenset(["Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as", "generic"])
_DEEPEST = 20
_LARGEST = 1 << 20


class Marker:
    """Stands for a class of arrays, which the file may name and not call."""

    def __init__(self, kind: type) -> None:
        self.kind = kind


def kind_of(stand_in: Any) -> type:
    """The class of arrays, or of their elements, that a file means by what it names."""
    means = getattr(stand_in, "means", None)
    if type(means) is not Marker:
        raise ValueError("no class of arrays")
    return means.kind


def _kind_of_arrays(stand_in: Any) -> Any:
    kind = kind_of(stand_in)
    if not issubclass(kind, np.ndarray):
        raise ValueError("no class of arrays")  # noqa: TRY004  of what the file says
    return kind


def _dtype(code: Any, _align: Any = False, _copy: Any = False) -> Any:
    if type(code) is not str:
        if kind_of(code) is not np.record:
            raise ValueError("no type of elements")
        return np.dtype(np.record)
    if len(code) > 12 or code[:1] not in {*_KINDS, "M", "m", "O", "b", "?"}:
        raise ValueError("no type of elements")
    return _bounded(np.dtype(code))


def _set_dtype(dtype: Any, state: Any) -> Any:
    """The type that a pickled state describes."""
    version, order, subarray, names, fields, size, alignment, _flags, *metadata = state
    if version not in (3, 4) or order not in ("<", ">", "|", "="):
        raise ValueError("no state of a type")
    if subarray is not None:
        base, shape = subarray
        made = np.dtype((_known(base), _shape(shape)))
        if _depth(made) > _DEEPEST:
            raise ValueError("a type is nested too deeply")
    elif names is not None:
        formats = [_known(fields[name][0]) for name in names]
        offsets = [_length(fields[name][1]) for name in names]
        _check_places(formats, offsets, _length(size))
        made = np.dtype({"names": list(names), "formats": formats, "offsets": offsets, "itemsize": size})
        if _depth(made) > _DEEPEST:
            raise ValueError("a type is nested too deeply")
        if alignment > 1:
            made = _aligned(made)
    elif dtype.kind in "mM" and metadata:
        unit, count, *_ = metadata[0][1]
        unit = unit.decode() if type(unit) is bytes else unit
        if unit not in _UNITS:
            raise ValueError("no unit of time")
        made = np.dtype(f"{dtype.kind}8" + ("" if unit == "generic" else f"[{_length(count)}{unit}]"))
    elif dtype.kind in "SUV" and size >= 0:
        made = np.dtype(f"{dtype.kind}{_length(size) // (4 if dtype.kind == 'U' else 1)}")
    else:
        made = dtype
    if _bounded(made).names is not None and dtype.type is np.record:
        return np.dtype((np.record, made))
    return made.newbyteorder(order) if order in "<>" and made.names is None else made


def _check_places(formats: list[Any], offsets: list[int], size: int) -> None:
    """Raise unless fields lie in their record, and, where there are objects, not in each other."""
    places = sorted((offset, offset + each.itemsize) for offset, each in zip(offsets, formats, strict=True))
    if any(end > size for _, end in places):
        raise ValueError("a field lies outside of its record")
    overlap = any(start < end for (_, end), (start, _) in pairwise(places))
    if overlap and any(each.hasobject for each in formats):
        raise ValueError("objects lie in other fields")


def _bounded(dtype: Any) -> Any:
    """The type itself, unless a single element takes more memory than a file of few bytes should get."""
    if dtype.itemsize > _LARGEST:
        raise ValueError("elements of too many bytes")
    return dtype


def _aligned(dtype: Any) -> Any:
    """The same type, known to be aligned, if it is."""
    whole = {name: dtype.fields[name] for name in dtype.names}
    formats, offsets = [field[0] for field in whole.values()], [field[1] for field in whole.values()]
    described = {"names": list(dtype.names), "formats": formats, "offsets": offsets, "itemsize": dtype.itemsize}
    try:
        return np.dtype(described, align=True)  # type: ignore[call-overload]  # numpy's stubs know no align here
    except ValueError:
        return dtype


def _depth(dtype: Any) -> int:
    if dtype.subdtype is not None:
        return 1 + _depth(dtype.subdtype[0])
    return 1 + max((_depth(field[0]) for field in (dtype.fields or {}).values()), default=0)


def _plain(dtype: Any) -> Any:
    """The type itself, if its elements are bytes."""
    if _known(dtype).hasobject:
        raise ValueError("elements that are no bytes")
    return dtype


def _known(dtype: Any) -> Any:
    """The type itself, if its elements are bytes, objects, or records of both."""
    if not isinstance(dtype, np.dtype) or dtype.char == "T":
        raise ValueError("no elements of a known type")
    return dtype


def _length(number: Any) -> int:
    if type(number) is not int or number < 0:
        raise ValueError("no length")
    return number


def _shape(shape: Any) -> tuple[int, ...]:
    if type(shape) is not tuple or len(shape) > 64:
        raise ValueError("no shape")
    return tuple(map(_length, shape))


def _order(order: Any) -> Any:
    if order not in ("C", "F"):
        raise ValueError("no order")
    return order


def _array(buffer: Any, dtype: Any, shape: Any, order: Any) -> Any:
    _plain(dtype)
    _fits(buffer, dtype, _shape(shape))
    return rebuild.array(buffer, dtype, shape, _order(order))


def _fits(buffer: Any, dtype: Any, shape: tuple[int, ...]) -> None:
    if _bytes_of(buffer).nbytes != math.prod(shape) * dtype.itemsize:
        raise ValueError("an array has another size than its bytes")


def _bytes_of(buffer: Any) -> memoryview:
    """The memory of a buffer of a file, or of bytes in its pickle: of an array, it might be that of objects."""
    is_mapped = type(buffer) is np.memmap and buffer.dtype == np.uint8 and buffer.ndim == 1
    if type(buffer) not in (bytes, bytearray, memoryview) and not is_mapped:
        raise ValueError("no bytes to make an array of")
    view = memoryview(buffer)
    if view.format != "B" or view.ndim != 1 or not view.contiguous:
        raise ValueError("no plain bytes to make an array of")
    return view


def _strided(buffer: Any, dtype: Any, shape: Any, strides: Any, offset: Any) -> Any:
    whole = _bytes_of(buffer)  # numpy looks whether all of it lies inside
    checked = np.ndarray(_shape(shape), _plain(dtype), whole, _length(offset), tuple(strides))
    return rebuild.strided(buffer, dtype, shape, strides, offset) if type(buffer) is np.memmap else checked


def _subclass(kind: Any, array: Any, state: Any) -> Any:
    found = _kind_of_arrays(kind)
    if type(array) not in (np.ndarray, np.memmap) or found is np.ma.MaskedArray or not set(state or ()) <= {"_getitem"}:
        raise ValueError("no array of a known class")
    return array.view(found)


def _masked(kind: Any, data: Any, mask: Any, fill_value: Any, is_hard: Any, own: Any) -> Any:
    found = _kind_of_arrays(kind)
    if found is not np.ma.MaskedArray:
        raise ValueError("no masked array")
    if not isinstance(data, np.ndarray) or not set(own) <= {"_optinfo", "_basedict"}:
        raise ValueError("no parts of a masked array")
    if mask is not None and (not isinstance(mask, np.ndarray) or mask.shape != data.shape):
        raise ValueError("a mask of another shape")
    return rebuild.masked(found, data, mask, fill_value, bool(is_hard), {})


def _reconstruct(kind: Any, shape: Any, code: Any) -> Any:
    found = _kind_of_arrays(kind)
    if found is np.ma.MaskedArray or shape != (0,) or code not in (b"b", "b"):
        raise ValueError("no empty array")
    return np.ndarray((0,), np.int8).view(found)


def _reconstruct_masked(kind: Any, base: Any, shape: Any, code: Any) -> Any:
    if _kind_of_arrays(kind) is not np.ma.MaskedArray:
        raise ValueError("no masked array")
    return np.ma.array(_reconstruct(base, shape, code))


def _set_masked(base: Any, state: Any, spend: Callable[[int], None]) -> Any:
    """The masked array that a pickled state describes; `base` is the class of what it masks."""
    _version, shape, dtype, is_fortran, data, mask, fill_value = state
    if fill_value is not None and not (isinstance(fill_value, np.ndarray) and fill_value.shape == ()):
        raise ValueError("no value to fill with")
    array = _set_array((1, shape, dtype, is_fortran, data), spend).view(base)
    hidden = _set_array((1, shape, np.ma.make_mask_descr(dtype), is_fortran, mask), spend)
    return rebuild.masked(np.ma.MaskedArray, array, hidden, fill_value, False, {})


def _set_array(state: Any, spend: Callable[[int], None]) -> Any:
    """The array that a pickled state describes."""
    _version, shape, dtype, is_fortran, data = state
    shape, order = _shape(shape), "F" if is_fortran else "C"
    if type(data) is list:
        if len(data) != math.prod(shape):
            raise ValueError("a list that is no array")
        spend(len(data) * _known(dtype).itemsize)
        made = _of_objects(data, dtype).reshape(shape)  # they stand in C order, whatever the array's is
        return made.copy("F") if is_fortran else made
    if type(data) is not bytes:
        raise ValueError("elements that are no bytes")
    _fits(data, _plain(dtype), shape)
    return rebuild.from_bytes(data, dtype, shape, order)  # type: ignore[arg-type]  # one of the two


def _of_objects(items: list[Any], dtype: Any) -> Any:
    """An array of these, or of records with these in their fields."""
    if not dtype.hasobject or dtype.subdtype is not None:
        raise ValueError("a list that is no array")
    flat = np.empty(len(items), dtype)
    for number, each in enumerate(items):
        if dtype.names is not None and (type(each) is not tuple or len(each) != len(dtype.names)):
            raise ValueError("a record with other fields")
        flat[number] = each
    return flat


def _scalar(dtype: Any, data: Any) -> Any:
    if _known(dtype).names is not None and dtype.hasobject:
        if type(data) is not np.ndarray or data.shape != () or data.dtype != dtype:
            raise ValueError("no record")
        return data[()]
    if type(data) is not bytes or len(data) != _plain(dtype).itemsize:
        raise ValueError("no bytes of a scalar")
    return np.ndarray((), dtype, data)[()]


def check_record(state: Any) -> dict[str, Any]:
    """What joblib told of an array; raises unless it could have told this."""
    if type(state) is not dict or not all(type(name) is str for name in state):
        raise ValueError("nothing that tells of an array")
    dtype, kind = state["dtype"], _kind_of_arrays(state["subclass"])
    _known(dtype)
    if kind is np.ma.MaskedArray or type(state["allow_mmap"]) is not bool:
        raise ValueError("nothing that tells of an array")
    _shape(state["shape"])
    _order(state["order"])
    if type(state.get("numpy_array_alignment_bytes")) not in (int, type(None)):
        raise ValueError("nothing that tells of an array")
    return {**state, "subclass": kind}


def set_state(obj: Any, state: Any, spend: Callable[[int], None]) -> Any:
    """An array or a type with this state, in a new object; `spend` raises if that takes too many bytes."""
    if type(state) is not tuple:
        raise ValueError("no state")
    if isinstance(obj, np.dtype):
        return _set_dtype(obj, state)
    if type(obj) is np.ma.MaskedArray:
        return _set_masked(obj.baseclass, state, spend)
    array = _set_array(state, spend)
    return array if type(obj) is np.ndarray else array.view(type(obj))


CHECKED: dict[str, Callable[..., Any] | Marker] = {
    "array": _array,
    "strided": _strided,
    "subclass": _subclass,
    "masked": _masked,
    "dtype": _dtype,
    "_reconstruct": _reconstruct,
    "_mareconstruct": _reconstruct_masked,
    "scalar": _scalar,
    "_frombuffer": _array,
    "ndarray": Marker(np.ndarray),
    "recarray": Marker(np.recarray),
    "record": Marker(np.record),
    "rec.recarray": Marker(np.recarray),
    "rec.record": Marker(np.record),
    "matrix": Marker(np.matrix),
    "MaskedArray": Marker(np.ma.MaskedArray),
}
"""What a pickle of arrays names."""
