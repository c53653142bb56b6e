"""The numbers of arrays and frames, for sketches: measured in pieces, by as many threads as there are CPUs.

Invariant: what is measured is what `persist/folds` measures, but for the rounding of floats; no more than a few pieces
are copied at a time.
"""

from __future__ import annotations

from array import array as plain_array
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from jobspan.arrays.content.numpy import cut
from jobspan.persist.chunks import in_threads
from jobspan.persist.sketches.folds import (
    GROUPS,
    MOST,
    MULTIPLIER,
    PERIOD,
    SHIFTS,
    STRIDE,
    WIDTH,
    Measures,
    column_signs,
    scramble,
)
from jobspan.persist.sketches.numbers import MOST_PARTS, Part

_PIECES = 8  # that a thread takes at a time
_FEW = 16  # places at which a word is found; more do not tell where a sequence begins
_TEMPORAL = "mM"

_U64 = np.uint64
_FIRST, _SECOND = map(_U64, SHIFTS)
_XOR: Any = np.bitwise_xor  # numpy's own annotations have no reduce for it
_RAMP = np.arange(PERIOD, dtype=_U64) * _U64(STRIDE)


def plain_number(value: Any) -> Any:
    """Python's number for one of numpy's; None for anything else."""
    if isinstance(value, np.number | np.bool) and value.dtype.itemsize // (1 + (value.dtype.kind == "c")) <= 8:
        return value.item() if value.dtype.kind not in _TEMPORAL else None
    return None


def take(value: Any, path: str) -> tuple[str, list[Part]]:
    """The form and the parts of an array, a frame or a series; no parts if it has no numbers."""
    if isinstance(value, np.ma.MaskedArray):
        (form, data), (_, mask) = _take_array(value.data, path), _take_array(np.ma.getmaskarray(value), f"{path}.mask")
        return f"masked {form}", [*data, *mask]
    if isinstance(value, np.ndarray):
        return _take_array(np.asarray(value), path)
    name = type(value).__name__
    columns = _columns_of_pandas(value) if hasattr(value, "iloc") else _columns_of_polars(value)
    if columns:
        return _take_frame(name, len(value), columns, path)
    return name, []


def _take_array(array: Any, path: str) -> tuple[str, list[Part]]:
    form = f"{array.dtype} array of shape {array.shape}"
    if not array.dtype.isnative:
        form = f"{array.dtype.str} array of shape {array.shape}"
    return form, [_Arrays([array], path, _place_in(array.shape, path))] if _is_numeric(array.dtype) else []


def _place_in(shape: tuple[int, ...], path: str) -> Callable[[int], str]:
    if len(shape) < 2:
        return lambda index: f"{path}[{index}]"
    return lambda index: f"{path}[{', '.join(str(int(each)) for each in np.unravel_index(index, shape))}]"


def _is_numeric(dtype: Any) -> bool:
    kind, size = dtype.kind, dtype.itemsize
    return kind in "iub" or kind in _TEMPORAL or (kind == "f" and size <= 8) or (kind == "c" and size <= 16)


def _take_frame(name: str, rows: int, columns: list[tuple[str, Any, Any]], path: str) -> tuple[str, list[Part]]:
    """Of a frame: each column a part; together those of a type, where there are many, or they are short."""
    form = f"{name} of {rows} rows: " + ", ".join(f"{label} {dtype}".strip() for label, _, dtype in columns)
    numeric = [(label, array) for label, array, _ in columns if array is not None and _is_numeric(array.dtype)]
    size = sum(array.nbytes for _, array in numeric)
    most = min(MOST_PARTS // 2, max(4, size // 1024))
    if len(numeric) > most:
        numeric.sort(key=lambda column: column[1].dtype.str)
    together = -(-len(numeric) // most) if numeric else 1
    parts: list[Part] = []
    for _, same in groupby(numeric, lambda column: column[1].dtype.str):
        own = list(same)
        for first in range(0, len(own), together):
            labels, arrays = zip(*own[first : first + together], strict=True)
            parts.append(_Arrays(arrays, _name(path, labels), _row_of(path, labels, rows)))
    return form, parts


def _name(path: str, labels: Sequence[str]) -> str:
    return path + (f"[{labels[0]!r}]" if len(labels) == 1 else f"[{labels[0]!r} … {labels[-1]!r}]")


def _row_of(path: str, labels: Sequence[str], rows: int) -> Callable[[int], str]:
    def place(index: int) -> str:
        column, row = divmod(index, rows)
        return f"{path}[{labels[column]!r}] row {row}" if labels[column] else f"{path} row {row}".strip()

    return place


def _columns_of_pandas(value: Any) -> list[tuple[str, Any, Any]]:
    """For each column its label, its values if they are numbers, its type; none of what has no columns."""
    if not hasattr(value, "columns"):
        return [("", _of_pandas(value), value.dtype)]
    columns = [value.iloc[:, number] for number in range(value.shape[1])]
    return [(str(label), _of_pandas(each), each.dtype) for label, each in zip(value.columns, columns, strict=True)]


def _columns_of_polars(value: Any) -> list[tuple[str, Any, Any]]:
    """As `_columns_of_pandas`."""
    if hasattr(value, "get_columns"):
        return [(each.name, _of_polars(each), each.dtype) for each in value.get_columns()]
    return [("", _of_polars(value), value.dtype)] if hasattr(value, "to_physical") else []


def _of_pandas(column: Any) -> Any:
    """The values of a column as an array; None if they are no numbers. What is missing is NaN."""
    dtype, values = column.dtype, column.array
    if isinstance(dtype, np.dtype):
        return np.asarray(values)
    if hasattr(values, "asi8"):
        return values.asi8
    if getattr(dtype, "kind", "O") in "iufb" and getattr(dtype, "_is_numeric", False):
        return values.to_numpy(np.float64, na_value=np.nan)
    return None


def _of_polars(column: Any) -> Any:
    """As `_of_pandas`."""
    if column.dtype.is_temporal():
        column = column.to_physical().fill_null(np.iinfo(np.int32).min)
    elif column.dtype.is_decimal() or not (column.dtype.is_numeric() or str(column.dtype) == "Boolean"):
        return None
    return column.to_numpy()


class _Arrays(Part):
    """Numbers of arrays of one type, each in C order."""

    def __init__(self, arrays: Sequence[Any], path: str, place: Callable[[int], str]) -> None:
        dtype = arrays[0].dtype
        self.width = 2 if dtype.kind == "c" else 1
        kind = {"f": "f", "c": "f", "u": "u", "b": "u"}.get(dtype.kind, "i")
        self._arrays = [each.reshape(-1) if each.flags.c_contiguous else each for each in arrays]
        self._sizes = [each.size for each in arrays]
        self._place = place
        super().__init__(path, kind, dtype.itemsize // self.width, sum(self._sizes) * self.width)

    def measure(self, start: int, moduli: Sequence[int], /) -> Measures:
        return _measure(self._read, self.size, start, moduli)

    def _read(self, start: int, end: int) -> Any:
        """The numbers from `start` up to `end`, as doubles, or whole numbers of 64 bits."""
        each = self.width
        first, last = start // each, -(-end // each)
        found, begin = [], 0
        for array, size in zip(self._arrays, self._sizes, strict=True):
            low, high = max(first, begin) - begin, min(last, begin + size) - begin
            if low < high:
                found += [part.reshape(-1) for part in cut(array, low, high)]
            begin += size
        numbers = found[0] if len(found) == 1 else np.concatenate(found)
        if each == 2:
            numbers = np.ascontiguousarray(numbers, numbers.dtype.newbyteorder("="))
            numbers = numbers.view(f"f{self.itemsize}")[start - first * 2 : end - first * 2]
        if numbers.dtype.kind in _TEMPORAL:
            numbers = numbers.astype(numbers.dtype.newbyteorder("=")).view(np.int64)
        wide = {"f": np.float64, "i": np.int64, "u": _U64}[self.kind]
        return np.ascontiguousarray(numbers, wide)

    def words(self, indexes: Sequence[int], /) -> list[int]:
        if indexes and indexes[-1] - indexes[0] + 1 == len(indexes):
            return list(map(int, self._read(indexes[0], indexes[-1] + 1).view(_U64)))
        return [int(self._read(index, index + 1).view(_U64)[0]) for index in indexes]

    def find(self, word: int, /) -> list[int]:
        found: list[int] = []
        for start in range(0, self.size, PERIOD):
            words = self._read(start, min(start + PERIOD, self.size)).view(_U64)
            found += (np.flatnonzero(words == _U64(word)) + start).tolist()
            if len(found) > _FEW:
                break
        return found[:_FEW]

    def place(self, index: int, /) -> str:
        return self._place(index // self.width)


def measure_plain(numbers: plain_array[Any], start: int, moduli: Sequence[int]) -> Measures:
    """Measure an array of Python's own, of type "d" or "q"."""
    wide = np.frombuffer(numbers, np.float64 if numbers.typecode == "d" else np.int64)
    return _measure(lambda first, end: wide[first:end], len(wide), start, moduli)


class _Sums:
    """What adds up over the pieces.

    Parameters
    ----------
    moduli : sequence of int
        How many cells each table has.
    """

    def __init__(self, moduli: Sequence[int]) -> None:
        self.folds = np.zeros((GROUPS, 2, WIDTH))  # the rows with their signs, and as they are
        self.counts = np.zeros((GROUPS, 2, WIDTH))  # likewise of ones in the place of numbers
        self.nans = self.infinities = self.unordered = 0
        self.tables = [np.zeros(modulus, _U64) for modulus in moduli]

    def add(self, other: _Sums) -> None:
        """Add those of other pieces."""
        for name in ("folds", "counts", "nans", "infinities", "unordered"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.tables = [table ^ more for table, more in zip(self.tables, other.tables, strict=True)]

    def fold_piece(self, numbers: Any, first_row: int) -> None:
        """Add signed rows, and the rows themselves."""
        floats = numbers if numbers.dtype == np.float64 else numbers.astype(np.float64)
        rows = -(-len(floats) // (WIDTH * GROUPS)) * GROUPS
        sides = _sides(first_row, rows)
        missing = rows * WIDTH - len(floats)
        if missing:
            floats = np.concatenate([floats, np.zeros(missing)])
        with np.errstate(invalid="ignore", over="ignore"):
            summed = _add_rows(sides, floats)
        if (abs(summed) < MOST).all() and not missing:
            self.counts += sides.sum(axis=2)[:, :, None]
        else:
            self.nans += int(np.isnan(floats).sum())
            self.infinities += int(np.isinf(floats).sum())
            usable = abs(floats) < MOST
            summed = _add_rows(sides, np.where(usable, floats, 0.0))
            usable[len(numbers) :] = False
            self.counts += _add_rows(sides, usable.astype(np.float64))
        self.folds += summed

    def mix_piece(self, words: Any, start: int, room: Any) -> None:
        """Add words to the tables; `room` is for two pieces."""
        mixed, other = room[0, : len(words)], room[1, : len(words)]
        np.right_shift(words, _FIRST, out=mixed)
        np.bitwise_xor(mixed, words, out=mixed)
        np.multiply(mixed, _U64(MULTIPLIER), out=mixed)
        np.right_shift(mixed, _SECOND, out=other)
        np.bitwise_xor(mixed, other, out=mixed)
        self.unordered += int(np.dot(mixed, mixed))
        np.add(mixed, _RAMP[: len(words)], out=mixed)
        for table in self.tables:
            size = len(table)
            whole = len(words) // size * size
            cells = _XOR.reduce(mixed[:whole].reshape(-1, size))
            cells[: len(words) - whole] ^= mixed[whole:]
            turn = start % size
            table[turn:] ^= cells[: size - turn]
            table[:turn] ^= cells[size - turn :]


def _sides(first: int, rows: int) -> Any:
    """For each group the signs of its rows, and ones; as `folds.signs` has them, but quicker."""
    skipped = first & 63
    blocks = b"".join(scramble(block).to_bytes(8, "little") for block in range(first >> 6, (first + rows + 63) >> 6))
    bits = np.unpackbits(np.frombuffer(blocks, np.uint8), bitorder="little")[skipped : skipped + rows]
    sides = np.ones((GROUPS, 2, rows // GROUPS))
    sides[:, 0] -= 2.0 * (bits == 0).reshape(-1, GROUPS).T
    return sides


def _add_rows(sides: Any, numbers: Any) -> Any:
    """For each group the sums of its rows, by their signs."""
    return sides @ numbers.reshape(-1, GROUPS, WIDTH).transpose(1, 0, 2)


def _measure(read: Callable[[int, int], Any], count: int, start: int, moduli: Sequence[int]) -> Measures:
    block = PERIOD * _PIECES

    def work(number: int) -> _Sums:
        sums = _Sums(moduli)
        end = min((number + 1) * block, count)
        room = np.empty((2, min(PERIOD, end - number * block)), _U64)
        for first in range(number * block, end, PERIOD):
            numbers = read(first, min(first + PERIOD, end))
            sums.fold_piece(numbers, first // WIDTH)
            sums.mix_piece(numbers.view(_U64), start + first, room)
        return sums

    total = _Sums(moduli)
    for sums in in_threads(work, -(-count // block)):
        total.add(sums)
    mean = float(total.folds[:, 1].sum()) / max(1.0, float(total.counts[:, 1].sum()))
    fold = ((total.folds[:, 0] - mean * total.counts[:, 0]) * np.array(column_signs())).sum(axis=0)[:count]
    cells = tuple(np.concatenate(total.tables).tolist())
    return Measures(tuple(fold.tolist()), mean, total.nans, total.infinities, total.unordered & ((1 << 64) - 1), cells)
