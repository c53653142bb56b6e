"""One task after the other, in the caller's thread, with nothing to schedule and nobody watching.

Invariant: what it does is what the sequential backend does through the scheduler, an order of magnitude cheaper;
the contract's behaviour tests run on both.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jobspan.drive.failures import attach_partial
from jobspan.model import Task
from jobspan.worker.describe import CALLER, add_note, is_task, not_a_task, note_task

_NONE = object()


def run_straight(calls: Iterable[Task]) -> list[Any]:
    """Call each task and list the results."""
    results: list[Any] = []
    append = results.append
    task: Any = _NONE
    try:
        for task in calls:
            function, args, kwargs = task
            append(function(*args, **kwargs))
            task = _NONE  # noqa: PLW2901  tells a failing task from a failing input
    except KeyboardInterrupt as interrupt:
        attach_partial(interrupt, dict(enumerate(results)))
        raise
    except Exception as error:
        index = len(results)
        if task is _NONE:
            add_note(error, f"raised by the input of tasks, after {index} of them")
        elif not is_task(task):
            raise not_a_task(task, index) from None
        else:
            note_task(error, index, task, CALLER)
        attach_partial(error, dict(enumerate(results)))
        raise
    return results
