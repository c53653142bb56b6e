"""Arrays and tables of Arrow.

Invariant: an array is its type, its values, and which of them are missing, however they are cut into chunks, and
wherever in their buffers they begin.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from jobspan.arrays.content.numpy import together
from jobspan.persist.chunks import Plain
from jobspan.persist.content import Coerce, Content, Take, choose


def find(kind: type) -> Take | None:
    """What takes apart objects of this type; None if it is left to pickle."""
    return choose(kind, _TAKES)


def _take_array(array: Any, _: Coerce) -> Content:
    return "arrow array", type(array).__name__, *_values(array)


def _take_table(table: Any, _: Coerce) -> Content:
    columns = together([_values(column) for column in table.columns])
    return "arrow table", type(table).__name__, _schema(table.schema), table.num_rows, columns


def _schema(schema: Any) -> tuple[Any, ...]:
    fields = [(field.name, str(field.type), field.nullable, field.metadata) for field in schema]
    return "schema", fields, schema.metadata


def _values(array: Any) -> tuple[Any, ...]:
    kind = array.type
    head = str(kind), len(array)
    if pa.types.is_integer(kind) or pa.types.is_float32(kind) or pa.types.is_float64(kind):
        missing = array.is_null().to_numpy(zero_copy_only=False) if array.null_count else None
        whole = array.fill_null(0) if array.null_count else array
        return *head, missing, whole.to_numpy(zero_copy_only=False)
    if kind in _TEXTS:
        return *head, *_texts(array)
    return *head, array.to_pylist()


def _texts(array: Any) -> tuple[Any, ...]:
    """Which are missing, the length of each in bytes, and all of them one after the other."""
    missing = None
    if array.null_count:
        missing, array = array.is_null().to_numpy(zero_copy_only=False), array.fill_null("")
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    array = array.cast(pa.large_string())
    if not len(array):
        return missing, b"", b""
    _, ends, letters = array.buffers()
    ends = np.frombuffer(ends, np.int64)[array.offset : array.offset + len(array) + 1]
    return missing, np.diff(ends), Plain(letters[ends[0] : ends[-1]] if letters is not None else b"")


_TEXTS = (pa.string(), pa.large_string())

_TAKES: tuple[tuple[type, Take], ...] = (
    (pa.Table, _take_table),
    (pa.RecordBatch, _take_table),
    (pa.Array, _take_array),
    (pa.ChunkedArray, _take_array),
    (pa.Scalar, lambda scalar, _: ("arrow scalar", str(scalar.type), scalar.as_py())),
    (pa.Schema, lambda schema, _: _schema(schema)),
    (pa.DataType, lambda kind, _: ("arrow type", str(kind))),
    (pa.Buffer, lambda buffer, _: ("arrow buffer", memoryview(buffer).cast("B"))),
)
