"""Parses what users write for numbers: a small grammar, never ``eval``.

Invariant: every function returns a plain number or raises a `ValueError` that names the setting and what it accepts.
"""

from __future__ import annotations

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
    """Tasks meant by a ``pre_dispatch``: a number, ``"all"`` (None) or a multiple of ``n_jobs``.

    >>> parse_window("2*n_jobs", 4), parse_window(10, 4), parse_window("all", 4), parse_window("1.5 * n_jobs", 4)
    (8, 10, None, 6)
    """
    if text == "all":
        return None
    try:
        if isinstance(text, str):
            factor, star, unit = text.partition("*")
            if unit.strip() == "n_jobs" or (not star and factor.strip() == "n_jobs"):
                window = int(float(factor if star else 1) * n_jobs)
            else:
                window = int(text)
        else:
            window = int(text)
    except (TypeError, ValueError, OverflowError):
        window = 0
    if window < 1:
        raise ValueError(f"pre_dispatch={text!r} is not a positive number, 'all' or a multiple like '2*n_jobs'.")
    return window


def parse_batch_size(value: Any) -> int | None:
    """Tasks per batch: a positive whole number, or ``"auto"`` (None)."""
    if value == "auto":
        return None
    if isinstance(value, int) and value > 0:
        return value
    raise ValueError(f"batch_size={value!r} is not 'auto' or a positive whole number.")
