"""Frames, series and indexes of pandas.

Invariant: a frame is its columns one by one, whatever blocks it keeps them in; a column is its type, its values, and
which of them are missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from jobspan.arrays.content.numpy import together
from jobspan.persist.content import Coerce, Content, Take, choose


def find(kind: type) -> Take | None:
    """What takes apart objects of this type; None if it is left to pickle."""
    return choose(kind, _TAKES)


def list_parts(obj: Any) -> Iterator[tuple[str, Any]]:
    """What a frame, a series or an index holds beside numbers, each with the step that leads there."""
    if isinstance(obj, pd.DataFrame):
        for number, (name, dtype) in enumerate(obj.dtypes.items()):
            if str(dtype) == "object":
                yield (f"[{name!r:.40}]" if obj.columns.is_unique else f".iloc[:, {number}]"), obj.iloc[:, number]
        yield ".columns", obj.columns
    if isinstance(obj, pd.DataFrame | pd.Series):
        yield ".index", obj.index
        yield ".attrs", obj.attrs
    if isinstance(obj, pd.Series | pd.Index) and str(obj.dtype) == "object":
        step = ".iloc[{}]" if isinstance(obj, pd.Series) else "[{}]"
        yield from ((step.format(number), value) for number, value in enumerate(obj))


def _take_frame(frame: Any, _: Coerce) -> Content:
    columns = together([_column(frame.iloc[:, number].array) for number in range(frame.shape[1])])
    return "frame", type(frame), frame.columns, frame.index, columns, *_said(frame)


def _take_series(series: Any, _: Coerce) -> Content:
    return "series", type(series), series.name, series.index, _column(series.array), *_said(series)


def _said(obj: Any) -> tuple[Any, ...]:
    """What the user has said about a frame or series."""
    return obj.attrs, obj.flags.allows_duplicate_labels


def _take_range(index: Any, _: Coerce) -> Content:
    return "range index", index.start, index.stop, index.step, index.name


def _take_multi_index(index: Any, _: Coerce) -> Content:
    levels = [index.get_level_values(number) for number in range(index.nlevels)]
    return "multi-index", list(index.names), [_column(level.array) for level in levels]


def _take_index(index: Any, _: Coerce) -> Content:
    return "index", type(index).__name__, index.name, _column(index.array), str(getattr(index, "freq", None))


def _column(values: Any) -> tuple[Any, ...]:
    """The values of a column, as arrays of numpy where they are numbers."""
    dtype = values.dtype
    if isinstance(dtype, np.dtype) or isinstance(values, pd.arrays.NumpyExtensionArray):
        return "numpy", np.asarray(values)
    if isinstance(dtype, pd.CategoricalDtype):
        return "categories", _take_index(dtype.categories, Coerce()), dtype.ordered, np.asarray(values.codes)
    if isinstance(dtype, pd.DatetimeTZDtype):
        return "times", str(dtype), np.asarray(values.asi8)
    if isinstance(getattr(dtype, "numpy_dtype", None), np.dtype) and dtype.numpy_dtype.kind in "iufb":
        missing = np.asarray(values.isna())
        return "numbers", str(dtype), missing, values.to_numpy(dtype.numpy_dtype, na_value=dtype.numpy_dtype.type(0))
    if getattr(dtype, "storage", None) == "pyarrow":
        return "texts", str(dtype), values.__arrow_array__()
    return "objects", str(dtype), values.astype(object).tolist()


_TAKES: tuple[tuple[type, Take], ...] = (
    (pd.DataFrame, _take_frame),
    (pd.Series, _take_series),
    (pd.RangeIndex, _take_range),
    (pd.MultiIndex, _take_multi_index),
    (pd.Index, _take_index),
    (pd.api.extensions.ExtensionArray, lambda values, _: ("values", _column(values))),
)
