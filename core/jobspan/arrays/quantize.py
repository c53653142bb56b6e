"""Arrays and frames rounded, for `persist/quantize`.

Invariant: what comes back has the types, the shape and the order in memory of what came.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def quantize(value: Any, digits: int | None, tol: float | None) -> Any:
    """Round the floats of an array, a scalar, a frame or a series; anything else comes back as it is."""
    if isinstance(value, np.inexact):
        return _round(np.asarray(value), digits, tol)[()]
    if isinstance(value, np.ndarray):
        return _round_array(value, digits, tol)
    if hasattr(value, "iloc"):
        return _round_pandas(value, digits, tol)
    if hasattr(value, "get_columns"):
        rounded = [_round_polars(column, digits, tol) for column in value.get_columns()]
        return value.with_columns(rounded)
    return _round_polars(value, digits, tol) if hasattr(value, "to_physical") else value


def _round_array(array: Any, digits: int | None, tol: float | None) -> Any:
    if array.dtype.kind not in "fc":
        return array
    copy = array.copy("K")
    plain = np.asarray(copy)
    plain[...] = _round(plain, digits, tol)
    return copy


def _round(array: Any, digits: int | None, tol: float | None) -> Any:
    if array.dtype.kind == "c":
        rounded = np.empty_like(array)
        rounded.real, rounded.imag = _round(array.real, digits, tol), _round(array.imag, digits, tol)
        return rounded
    with np.errstate(over="ignore", invalid="ignore"):
        if tol is None:
            rounded = np.round(array, digits or 0)
        else:
            rounded = np.rint(array / array.dtype.type(tol)) * array.dtype.type(tol)
    return np.where(np.isfinite(rounded), rounded, array) + array.dtype.type(0)  # too large to have decimals


def _round_pandas(value: Any, digits: int | None, tol: float | None) -> Any:
    if not hasattr(value, "columns"):
        return value.copy() if not _has_floats(value.dtype) else _round_column(value, digits, tol)
    copy = value.copy()
    for number in range(value.shape[1]):
        column = value.iloc[:, number]
        if _has_floats(column.dtype):
            copy.isetitem(number, _round_column(column, digits, tol))
    return copy


def _has_floats(dtype: Any) -> bool:
    return getattr(dtype, "kind", "O") in "fc" and (isinstance(dtype, np.dtype) or getattr(dtype, "_is_numeric", False))


def _round_column(column: Any, digits: int | None, tol: float | None) -> Any:
    if isinstance(column.dtype, np.dtype):
        copy = column.copy()
        copy.iloc[:] = _round(column.to_numpy(), digits, tol)
        return copy
    return column.round(digits) + 0.0 if tol is None else (column / tol).round() * tol + 0.0


def _round_polars(column: Any, digits: int | None, tol: float | None) -> Any:
    if not column.dtype.is_float():
        return column
    missing = column.is_null()
    rounded = _round(column.fill_null(0.0).to_numpy(), digits, tol)
    made = type(column)(column.name, rounded, dtype=column.dtype)
    return made.set(missing, None) if missing.any() else made
