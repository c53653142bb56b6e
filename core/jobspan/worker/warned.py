"""Warnings of tasks on workers: let through as the caller's filters say, counted, and handed back.

Filters travel without the classes in them, so that no worker imports a module for a filter's sake. What the caller
would show once, or once for each place, is let through every time: how often is for the caller to know.

Invariant: outside of batches the interpreter's filters and ``warnings.showwarning`` are what they were; several batches
at the same time, in threads of one worker, each hear of their own warnings.
"""

from __future__ import annotations

import sys
import warnings
from _thread import allocate_lock
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, TypeAlias

from jobspan.model import Warned

Filter: TypeAlias = tuple[str, Any, type[Warning] | str, Any, int]
"""As in ``warnings.filters``, with a category's name in the place of one that is no builtin."""

Filters: TypeAlias = tuple[Filter, ...]
_Counts: TypeAlias = dict[tuple[type[Warning], str, str, int, str], int]

_SILENT = ("ignore", "error")
_PER_THREAD = bool(getattr(sys.flags, "context_aware_warnings", False))

_last: tuple[Any, Filters] = None, ()


def _present_filters() -> list[Any]:
    """The list that counts here; from Python 3.14 on a context may have its own."""
    own = getattr(warnings, "_get_filters", None)
    filters: list[Any] = warnings.filters if own is None else own()  # type: ignore[assignment]  # a list it is
    return filters


def current_filters() -> Filters:
    """The caller's filters, ready to travel; the same object as last time while they have not changed."""
    global _last  # noqa: PLW0603  a memory of one
    present = (*_present_filters(), (warnings.defaultaction, None, Warning, None, 0))  # type: ignore[attr-defined]
    known, travelling = _last
    if present != known:
        travelling = tuple(
            (action if action in _SILENT else "always", text, _portable_category(category), module, line)
            for action, text, category, module, line in present
        )
        _last = present, travelling
    return travelling


def _name(category: type[Warning]) -> type[Warning] | str:
    # Not its __qualname__, which cloudpickle does not keep for a class that it sends by value.
    return category if category.__module__ == "builtins" else f"{category.__module__}:{category.__name__}"


def _portable_category(category: type[Warning] | _Named) -> type[Warning] | str:
    return category.name if isinstance(category, _Named) else _name(category)  # named: those of a call around this one


class _Named:
    """Stands in a filter for the category of this name, which may not exist here yet."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __subclasscheck__(self, category: type) -> bool:
        return any(_name(kind) == self.name for kind in category.__mro__)


@cache
def _named(name: str) -> _Named:
    return _Named(name)


def arrived(filters: Filters) -> tuple[Any, ...]:
    """What travelled, as it stands in ``warnings.filters``."""
    return tuple(
        (action, text, _named(category) if isinstance(category, str) else category, module, line)
        for action, text, category, module, line in filters
    )


class _Ear:
    """What the batches that run at the same time in one worker share."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._batches = 0
        self._show: Any = None
        self._filters: Any = None
        self.counts: ContextVar[_Counts | None] = ContextVar("jobspan_warnings", default=None)

    def open(self, filters: list[Any]) -> None:
        with self._lock:
            self._batches += 1
            if self._batches == 1:
                self._show, warnings.showwarning = warnings.showwarning, self._hear
                self._filters = warnings.filters
            if not _PER_THREAD:
                _set_filters(filters)

    def close(self) -> None:
        with self._lock:
            self._batches -= 1
            if not self._batches:
                warnings.showwarning = self._show
                if not _PER_THREAD:
                    _set_filters(self._filters)

    def _hear(
        self, message: Any, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
    ) -> None:
        counts = self.counts.get()
        if counts is None:  # of a thread that no task started in its own context
            self._show(message, category, filename, lineno, file, line)
        else:
            which = category, str(message), filename, lineno, _find_module(filename, lineno)
            counts[which] = counts.get(which, 0) + 1


def _find_module(filename: str, lineno: int) -> str:
    """The module whose code warned, which filters may name; empty where it does not call us."""
    frame = sys._getframe(2)  # noqa: SLF001  `inspect` would have to be imported for the same
    while frame.f_code.co_filename != filename or frame.f_lineno != lineno:
        if frame.f_back is None:
            return ""
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", ""))


def _set_filters(filters: Any) -> None:
    warnings.filters = []
    warnings.resetwarnings()  # else what was shown once stays silent
    warnings.filters = filters


_ear = _Ear()


@contextmanager
def heard(filters: tuple[Any, ...], warned: list[Warned]) -> Iterator[None]:
    """Let `filters` that have `arrived` hold, and put what is warned of into `warned` at the end."""
    counts: _Counts = {}
    token = _ear.counts.set(counts)
    meant = list(filters)  # a task may change it
    _ear.open(meant)
    try:
        if _PER_THREAD:
            with warnings.catch_warnings():
                _present_filters()[:] = meant
                yield
        else:
            yield
    finally:
        _ear.close()
        _ear.counts.reset(token)
        if counts:
            warned += _portable(counts)


def _portable(counts: _Counts) -> Iterator[Warned]:
    from jobspan.persist.pickling import is_picklable

    for (category, text, filename, lineno, module), times in counts.items():
        if is_picklable(category):
            yield Warned(category, text, filename, lineno, times, module)
        else:
            named = f"{category.__module__}.{category.__qualname__}: {text}"
            yield Warned(UserWarning, named, filename, lineno, times, module)
