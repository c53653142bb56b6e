"""Frames and series of polars.

Invariant: a frame is its columns one by one; a column is its name, its type, its values, and which of them are missing,
however they are cut into chunks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from jobspan.arrays.content.numpy import together
from jobspan.persist.content import Coerce, Content, Take


def find(kind: type) -> Take | None:
    """What takes apart objects of this type; None if it is left to pickle."""
    if issubclass(kind, pl.DataFrame):
        return _take_frame
    return _take_series if issubclass(kind, pl.Series) else None


def list_parts(obj: Any) -> Iterator[tuple[str, Any]]:
    """The columns of a frame and the elements of a series that are objects, each with the step that leads there."""
    if isinstance(obj, pl.DataFrame):
        yield from ((f"[{column.name!r:.40}]", column) for column in obj.get_columns() if column.dtype == pl.Object)
    elif isinstance(obj, pl.Series) and obj.dtype == pl.Object:
        yield from ((f"[{number}]", value) for number, value in enumerate(obj))


def _take_frame(frame: Any, _: Coerce) -> Content:
    return "polars frame", frame.height, together([_series(column) for column in frame.get_columns()])


def _take_series(series: Any, _: Coerce) -> Content:
    return _series(series)


def _series(series: Any) -> tuple[Any, ...]:
    head = "polars series", series.name, repr(series.dtype), len(series)
    physical = series.to_physical() if series.dtype.is_temporal() else series
    if physical.dtype.is_numeric() and not physical.dtype.is_decimal():
        missing = physical.is_null().to_numpy() if physical.null_count() else None
        return *head, missing, physical.fill_null(0).to_numpy()
    return *head, series.to_list()
