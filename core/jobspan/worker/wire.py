"""How batches and outcomes cross to a worker that shares no memory with the caller.

Invariant: one format for every copying backend (loky, executors, Web Workers): pickled plain tuples, with
large buffers beside them where the backend can carry them; what cannot cross becomes an error, never garbage.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from jobspan.errors import RemoteError, UnpicklableError
from jobspan.model import Batch, Completion, Task, Ticket
from jobspan.persist.pickling import BufferSink, dumps, explain, is_picklable, loads
from jobspan.worker.describe import add_note, argument_name, describe_task, is_task, name_of, not_a_task, note_task
from jobspan.worker.run import run_tasks

Buffers: TypeAlias = Sequence[Any]


class BatchEncoder:
    """Pickles the batches of one run.

    A function that several batches call is pickled once: what it captures is what it captured when it was first sent.

    Parameters
    ----------
    level, budget_s, watch
        As for `jobspan.worker.run.run_tasks`, on the worker.
    """

    def __init__(self, *, level: int, budget_s: float | None, watch: bool) -> None:
        self._options = level, budget_s, watch
        self._common: tuple[Any, bytes] = None, b""

    def encode(self, batch: Batch, *, buffer_callback: BufferSink | None = None) -> bytes:
        """Pickle a batch.

        Raises
        ------
        UnpicklableError
            Naming the argument, and the path to the culprit inside it.
        TypeError
            For an item that is not a task.
        """
        try:
            common, items = _compact(batch.tasks)
            function = self._dump_once(common) if common is not None else None
            return dumps((batch.first, self._options, function, items), buffer_callback=buffer_callback)
        except Exception as error:  # a reducer may raise anything, and an item that is no task fails to unpack
            for offset, item in enumerate(batch.tasks):
                if not is_task(item):
                    raise not_a_task(item, batch.first + offset) from None
            raise _explain_batch(batch, error) from error

    def _dump_once(self, function: Any) -> bytes:
        if self._common[0] is not function:
            self._common = function, dumps(function)
        return self._common[1]


def _compact(tasks: Sequence[Task]) -> tuple[Any, list[Any]]:
    """The common function and the argument tuples alone, an eighth of the cost, where nothing else is needed."""
    common = tasks[0][0]
    arguments = [args for function, args, kwargs in tasks if function is common and not kwargs]
    return (common, arguments) if len(arguments) == len(tasks) else (None, list(tasks))


def _explain_batch(batch: Batch, error: Exception) -> UnpicklableError:
    for offset, task in enumerate(batch.tasks):
        if not is_picklable(task):
            function, args, kwargs = task
            found = explain(
                [(f"function {name_of(function)}", function)]
                + [(f"argument {argument_name(task, i)}", value) for i, value in enumerate(args)]
                + [(f"argument {name!r}", value) for name, value in kwargs.items()],
                error,
            )
            add_note(found, f"task {batch.first + offset}: {describe_task(task)}")
            return found
    return explain([], error)


def run_encoded(
    payload: bytes,
    buffers: Buffers = (),
    *,
    worker: str = "",
    started: Callable[[int, float], object] | None = None,
    buffer_callback: BufferSink | None = None,
) -> bytes:
    """Run an encoded batch on the worker and return the encoded outcome."""
    worker = worker or f"process {os.getpid()}"
    try:
        first, (level, budget_s, watch), function, items = loads(payload, buffers=buffers)
        if function is not None:
            common = loads(function)
            items = [(common, args, {}) for args in items]
    except BaseException as error:  # noqa: BLE001  an import that fails on this side is the batch's fault, not the pool's
        add_note(error, f"raised on {worker}, where a batch was unpickled; is the same code there?")
        return _encode_lost(error, worker)
    outcome = run_tasks(
        items,
        first=first,
        worker=worker,
        level=level,
        budget_s=budget_s,
        watch=watch,
        started=started,
    )
    return _encode_outcome(outcome, first, items, worker, buffer_callback)


def _encode_outcome(
    outcome: Completion, first: int, tasks: Sequence[Task], worker: str, buffer_callback: BufferSink | None
) -> bytes:
    values, seconds, spans = outcome.values, outcome.seconds, outcome.spans
    error = None if outcome.error is None else _portable(outcome.error)
    try:
        return dumps((values, error, None, worker, seconds, spans), buffer_callback=buffer_callback)
    except Exception as refusal:  # noqa: BLE001  a reducer may raise anything
        good = next((i for i, value in enumerate(values) if not is_picklable(value)), None)
        if good is None:  # each value for itself can be pickled
            return _encode_lost(refusal, worker)
        index = first + good
        unpicklable = explain([(f"the result of task {index}", values[good])], refusal)
        note_task(unpicklable, index, tasks[good], worker)
        reply = (values[:good], unpicklable, None, worker, seconds, spans[: good + 1])
        return dumps(reply, buffer_callback=buffer_callback)


def _encode_lost(error: BaseException, worker: str) -> bytes:
    return dumps(([], None, _portable(error), worker, 0.0, ()))


def _portable(error: BaseException) -> BaseException:
    """The exception itself if it survives the journey, else a `RemoteError` that tells of it."""
    trace = _format_trace(error)
    try:
        kind = type(loads(dumps(error)))
        obstacle = "" if kind is type(error) else f"it comes back as a {kind.__qualname__}"
    except BaseException as refusal:  # noqa: BLE001  unpickling runs the exception's own code
        obstacle = f"{type(refusal).__name__}: {refusal}"
    if obstacle:
        try:
            text = str(error)
        except Exception:  # noqa: BLE001  the exception's own code; its type and traceback still tell something
            text = "<its text cannot be shown>"
        stand_in = RemoteError(f"{type(error).__module__}.{type(error).__qualname__}: {text}")
        notes = getattr(error, "__notes__", None)
        for note in notes if isinstance(notes, list) else ():
            stand_in.add_note(str(note))
        add_note(stand_in, f"the exception itself cannot be sent ({obstacle}); a __reduce__ of its own would help it")
        error = stand_in
    add_note(error, f"traceback on the worker:\n{trace.rstrip()}")
    return error


def _format_trace(error: BaseException) -> str:
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_globals.get("__name__") == run_tasks.__module__:
        frames = frames.tb_next
    lines = traceback.format_tb(frames)
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        lines += ["caused by:\n", *traceback.format_exception(cause)]
    return "".join(lines)


def decode_reply(ticket: Ticket, payload: bytes, buffers: Buffers = ()) -> Completion:
    """What `run_encoded` returned, as a fact."""
    nbytes = len(payload) + sum(memoryview(buffer).nbytes for buffer in buffers)
    values, error, lost, worker, seconds, spans = loads(payload, buffers=buffers)
    return Completion(ticket, values, error, lost, worker, seconds, nbytes, spans)
