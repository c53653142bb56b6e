"""What the caller gets of tasks that failed, and of a run that did.

Invariant: what was finished is never lost: the exception that ends a run brings it along.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

from jobspan.errors import TaskError
from jobspan.model import SKIPPED
from jobspan.schedule.core import Fail
from jobspan.schedule.setbacks import keep

Errors: TypeAlias = str | Callable[[TaskError], Any]
"""``"raise"``, ``"return"``, ``"skip"``, ``"group"``, or what is called for each task that failed."""


def replacement(errors: Errors) -> Callable[[TaskError], Any]:
    """What takes the place of the result of a task that failed."""
    if callable(errors):
        return errors
    return _skip if errors == "skip" else keep


def _skip(_error: TaskError) -> Any:
    return SKIPPED


def kept(values: Sequence[Any]) -> list[Any]:
    """Those that the consumer gets."""
    return [value for value in values if value is not SKIPPED]


def bring_along(fail: Fail, results: Sequence[Any] = ()) -> BaseException:
    """The exception that ends a run, with what was finished in its ``partial``.

    Parameters
    ----------
    fail : Fail
        The end.
    results : sequence
        Those of the first tasks, where they have not been handed out.
    """
    partial = {index: value for index, value in enumerate(results) if value is not SKIPPED} | fail.partial
    attach_partial(fail.error, partial)
    return fail.error


def attach_partial(error: BaseException, partial: dict[int, Any]) -> None:
    """Let the exception bring results by index, unless it is one that takes no attributes."""
    with suppress(Exception):  # the exception's own code; it must be raised all the same
        error.partial = partial  # type: ignore[attr-defined]
