"""Numbers rounded, for values that are to be the same where they are nearly so.

Invariant: only floats change, and nothing that the caller has is altered; what is rounded has the type it had.
"""

from __future__ import annotations

from importlib import import_module
from math import isfinite
from typing import Any

from jobspan.persist.sketches.numbers import holds_arrays


def quantize(value: Any, digits: int | None = None, tol: float | None = None) -> Any:
    """A value with its floats rounded, to be hashed in place of it.

    Parameters
    ----------
    value : object
        A number, an array of numpy, a frame or series of pandas or polars, or these in lists, tuples, sets and dicts.
        Anything else is left as it is, and so are whole numbers, the keys of dicts, NaN and infinities. ``-0.0``
        becomes ``0.0``.
    digits : int or None
        Round to so many decimals; 2 makes 1.234 into 1.23, -1 makes 12.0 into 10.0.
    tol : float or None
        Or round to multiples of this.

    Notes
    -----
    Where numbers are rounded there are borders: two that are as near as one likes, but on two sides of one, become two
    different ones.

    Raises
    ------
    ValueError
        If not exactly one of the two is given, or `tol` is no positive number.

    Examples
    --------
    >>> quantize({"rate": 0.1 + 0.2, "steps": 3}, digits=6)
    {'rate': 0.3, 'steps': 3}
    >>> quantize([0.98, -0.01], tol=0.25)
    [1.0, 0.0]
    """
    if (digits is None) == (tol is None):
        raise ValueError(
            "quantize takes either digits= or tol=: to how many decimals, or to multiples of what numbers are rounded."
        )
    if tol is not None and not 0 < tol < float("inf"):
        raise ValueError(f"tol={tol!r} is no positive number, so there are no multiples of it to round to.")
    return _Rounding(digits, tol).round(value, ())


class _Rounding:
    """How to round, and with what adapter.

    Parameters
    ----------
    digits, tol : int or float or None
        As above.
    """

    def __init__(self, digits: int | None, tol: float | None) -> None:
        self._digits = digits
        self._tol = tol

    def round(self, value: Any, inside: tuple[int, ...]) -> Any:
        """Round a value, which is inside of others with these ids: one that contains itself is left as it is."""
        kind = type(value)
        if kind is float:
            return self._round_float(value)
        if kind is complex:
            return complex(self._round_float(value.real), self._round_float(value.imag))
        if holds_arrays(kind):
            return import_module("jobspan.arrays.quantize").quantize(value, self._digits, self._tol)
        if id(value) in inside:
            return value
        inside = (*inside, id(value))
        if kind is dict:
            return {key: self.round(each, inside) for key, each in value.items()}
        if kind in {list, tuple, set, frozenset}:
            return kind(self.round(each, inside) for each in value)
        if isinstance(value, tuple) and hasattr(value, "_make"):
            return kind._make(self.round(each, inside) for each in value)
        return value

    def _round_float(self, number: float) -> float:
        if self._digits is not None:
            return round(number, self._digits) + 0.0
        assert self._tol is not None, "one of the two was given"
        times = number / self._tol
        return round(times) * self._tol + 0.0 if isfinite(times) else number
