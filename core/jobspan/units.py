"""Parses what users write for numbers: a small grammar, never ``eval``.

Invariant: every function returns a plain number or raises a `ValueError` that names the setting and what it accepts.
"""

from __future__ import annotations

from operator import index
from typing import Any


def parse_n_jobs(value: Any) -> int | None:
    """``None``, or a whole number other than 0 (floats are cut off, text is read), as joblib does.

    >>> parse_n_jobs("-2"), parse_n_jobs(2.7), parse_n_jobs(None)
    (-2, 2, None)
    """
    if value is None:
        return None
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"n_jobs could not be converted to int: {value!r}; give a whole number or None.") from None
    if number == 0:
        raise ValueError("n_jobs == 0 in Parallel has no meaning; give 1 for no parallelism, -1 for all CPUs.")
    return number


def resolve_n_jobs(number: int, cpus: int) -> int:
    """Workers meant by a non-zero `number` where there are `cpus`: -1 is all, -2 all but one, never below 1.

    >>> resolve_n_jobs(-1, 8), resolve_n_jobs(-2, 8), resolve_n_jobs(-20, 8), resolve_n_jobs(3, 2)
    (8, 7, 1, 3)
    """
    return number if number > 0 else max(1, cpus + 1 + number)


def parse_window(text: Any, n_jobs: int) -> int | None:
    """Tasks meant by a ``pre_dispatch``: a number, ``"all"`` (None), or sums and products of numbers and ``n_jobs``.

    >>> parse_window("2*n_jobs", 4), parse_window(10, 4), parse_window("all", 4), parse_window("1.5 * n_jobs + 1", 4)
    (8, 10, None, 7)
    """
    if text == "all":
        return None
    try:
        window = int(_Sum(text, n_jobs).value if isinstance(text, str) else text)
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        window = 0
    if window < 1 and isinstance(text, str) and "n_jobs" in text and n_jobs < _MANY:
        return min(1, parse_window(text, _MANY) or 1)  # "n_jobs // 4" on a small machine
    if window < 1:
        raise ValueError(
            f"pre_dispatch={text!r} is not a positive number, 'all', or a sum of products like '2*n_jobs' or "
            f"'3 * n_jobs + 1'."
        )
    return window


_MANY = 1000


class _Sum:
    """Reads ``term (+|- term)*``, a term being ``factor (*|/|// factor)*``, a factor a number, a name or ``(sum)``."""

    def __init__(self, text: str, n_jobs: int) -> None:
        for sign in ("//", "*", "/", "+", "-", "(", ")"):
            text = text.replace(sign, f" {sign} ")
        self._words = text.replace("/  /", "//").split()
        self._n_jobs = n_jobs
        self.value = self._sum()
        if self._words:
            raise ValueError(self._words[0])

    def _sum(self) -> float:
        value = self._product()
        while self._words[:1] in (["+"], ["-"]):
            value += self._product() if self._words.pop(0) == "+" else -self._product()
        return value

    def _product(self) -> float:
        value = self._factor()
        while self._words[:1] in (["*"], ["/"], ["//"]):
            match self._words.pop(0):
                case "*":
                    value *= self._factor()
                case "/":
                    value /= self._factor()
                case _:
                    value //= self._factor()
        return value

    def _factor(self) -> float:
        match self._words.pop(0) if self._words else "":
            case "n_jobs":
                return self._n_jobs
            case "(":
                value = self._sum()
                if not self._words or self._words.pop(0) != ")":
                    raise ValueError("a bracket is not closed")
                return value
            case word:
                return float(word)


def parse_batch_size(value: Any) -> int | None:
    """Tasks per batch: a positive whole number, or ``"auto"`` (None)."""
    if value == "auto":
        return None
    try:
        size = index(value)
    except TypeError:
        size = 0
    if size > 0:
        return size
    raise ValueError(f"batch_size={value!r} is not 'auto' or a positive whole number.")


_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_nbytes(value: Any, setting: str) -> int | None:
    """Bytes meant by a number or by text like ``"1M"``, in powers of 1024 as joblib reads them; None stays None.

    >>> parse_nbytes("1.5K", "max_nbytes"), parse_nbytes("2 GB", "max_nbytes"), parse_nbytes(10, "max_nbytes")
    (1536, 2147483648, 10)
    """
    if value is None:
        return None
    try:
        if isinstance(value, str):
            text = value.strip().upper()
            text = text.removesuffix("IB") if text.endswith("IB") else text.removesuffix("B")
            unit = text[-1:] if text[-1:] in _UNITS else ""
            nbytes = int(float(text.removesuffix(unit)) * _UNITS[unit])
        else:
            nbytes = int(value)
    except (TypeError, ValueError, OverflowError):
        nbytes = -1
    if nbytes < 0:
        raise ValueError(f"{setting}={value!r} is not a number of bytes; give a number, text like '10M', or None.")
    return nbytes


_SECONDS = {"": 1.0, "ms": 1e-3, "s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_seconds(value: Any, setting: str) -> float | None:
    """A positive number of seconds, or text like ``"30s"``, ``"2min"``, ``"1.5 h"``; None stays None.

    >>> parse_seconds(30, "timeout"), parse_seconds("2min", "timeout"), parse_seconds("100 ms", "timeout")
    (30.0, 120.0, 0.1)
    """
    if value is None:
        return None
    seconds = _read_seconds(value)
    if 0 < seconds < float("inf"):
        return seconds
    raise ValueError(f"{setting}={value!r} is not a positive number of seconds, text like '30s' or '2min', or None.")


def _read_seconds(value: Any) -> float:
    """The number of seconds; not a number where it is none."""
    if isinstance(value, str):
        number = value.strip().rstrip("abcdefghijklmnopqrstuvwxyz ")
        unit = value.strip()[len(number) :].strip()
        try:
            return float(number) * _SECONDS[unit]
        except (KeyError, ValueError):
            return float("nan")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else float("nan")


def parse_backoff(value: Any) -> tuple[float, float]:
    """Seconds before the second attempt and at most, from one of them or both.

    >>> parse_backoff("100ms"), parse_backoff((1, "1min")), parse_backoff(0)
    ((0.1, 30.0), (1.0, 60.0), (0.0, 30.0))
    """
    pair = value if isinstance(value, tuple) and len(value) == 2 else (value, _LONGEST_BACKOFF_S)
    first, most = map(_read_seconds, pair)
    if not (0 <= first < float("inf") and 0 <= most < float("inf")):
        raise ValueError(
            f"backoff={value!r} is not a number of seconds, text like '100ms', or a tuple of the first and longest wait"
            f" (seconds before the second attempt, doubled before each further one)."
        )
    return first, max(first, most)


_LONGEST_BACKOFF_S = 30.0


def parse_exceptions(value: Any, setting: str) -> tuple[type[BaseException], ...]:
    """Types of exceptions, from one or a tuple of them, which may be empty."""
    types = tuple(value) if isinstance(value, tuple | list) else (value,)
    if all(isinstance(each, type) and issubclass(each, BaseException) for each in types):
        return types
    raise TypeError(f"{setting}={value!r} is no exception type or tuple of them; write {setting}=(OSError,).")


def parse_seed(value: Any) -> int | None:
    """A whole number that is not negative, or None."""
    if value is None:
        return None
    try:
        seed = index(value)
    except TypeError:
        seed = -1
    if seed < 0:
        raise ValueError(f"seed={value!r} is not a whole number from 0 on, or None.")
    return seed


def parse_count(value: Any, setting: str) -> int | None:
    """A positive whole number, or None."""
    if value is None or (isinstance(value, int) and value > 0):
        return value
    raise ValueError(f"{setting}={value!r} is not a positive whole number, or None.")
