"""One task after the other, in the caller's thread, with nothing to schedule and nobody watching.

Invariant: what it does is what the sequential backend does through the scheduler, an order of magnitude cheaper;
the contract's behaviour tests run on both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from jobspan.drive.failures import attach_partial
from jobspan.follow.record import Recorder
from jobspan.model import Batch, Setback, Task
from jobspan.worker.context import PLACE
from jobspan.worker.describe import CALLER, add_note, is_task, not_a_task, note_task
from jobspan.worker.run import run_tasks

if TYPE_CHECKING:
    from jobspan.drive.checkpoint import Resumption

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
            _note_input(error, index)
        elif not is_task(task):
            raise not_a_task(task, index) from None
        else:
            note_task(error, index, task, CALLER)
        attach_partial(error, dict(enumerate(results)))
        raise
    return results


def run_kept(calls: Iterable[Task], resumption: Resumption, record: Recorder) -> list[Any]:
    """The same with a journal: what is known is not called, and what is called is kept, and noted in a record."""
    results: list[Any] = []
    complete = False
    place = PLACE.get()
    try:
        for index, task in enumerate(_noting(calls)):
            if (known := resumption.find(index, task)) is not None:
                record.known(index, 1)
                results += known
                continue
            batch = Batch(index, (task,))
            record.sent(index, batch)
            done = run_tasks(batch.tasks, ticket=index, first=index, worker=CALLER, place=place)
            setbacks = () if done.error is None else (Setback(index, "failed", done.error, 0),)
            record.hear(done, batch, setbacks)
            if done.error is not None:
                raise done.error  # noqa: TRY301  for the clause below
            resumption.hear(done, batch, setbacks)
            results += done.values
        complete = True
    except BaseException as error:
        attach_partial(error, dict(enumerate(results)))
        raise
    finally:
        record.end(complete)
        resumption.end(complete)
    return results


def _noting(calls: Iterable[Task]) -> Iterator[Task]:
    index = -1
    try:
        for index, task in enumerate(calls):  # noqa: B007  it is what the note says
            yield task
    except Exception as error:
        _note_input(error, index + 1)
        raise


def _note_input(error: Exception, count: int) -> None:
    add_note(error, f"raised by the input of tasks, after {count} of them")
