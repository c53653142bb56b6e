"""How outcomes cross back from a worker that shares no memory with the caller.

Invariant: what cannot cross becomes an error, never garbage; one unpicklable value costs no other task its result.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pickle import PickleBuffer
from typing import Any, NamedTuple, TypeAlias

from jobspan.model import Completion, Task, Ticket, Warned
from jobspan.persist import segments
from jobspan.persist.exceptions import portable, with_cause
from jobspan.persist.pickling import BufferSink, Reducer, dumps, explain, is_picklable, loads
from jobspan.persist.segments import Segment
from jobspan.worker.describe import FAR_TRACE, add_lines, add_note, note_task, trace_of

Reply: TypeAlias = bytes | tuple[bytes, Segment]
"""An encoded outcome; with the file that holds its large buffers, if it has any."""


class Results(NamedTuple):
    """Where workers on this machine write large buffers of results, and how many bytes are large."""

    folder: str
    least: int


def encode_reply(
    outcome: Completion,
    first: int,
    tasks: Sequence[Task],
    results: Results | None,
    buffer_callback: BufferSink | None,
) -> Reply:
    """Pickle what became of a batch, large buffers into a file where there is room, or to `buffer_callback`."""
    if results is None or buffer_callback is not None:
        return _encode(outcome, first, tasks, buffer_callback)
    large: list[PickleBuffer] = []
    payload = _encode(outcome, first, tasks, large.append, results.least)
    if not large:
        return payload
    try:
        return payload, segments.write([buffer.raw() for buffer in large], folder=results.folder)
    except OSError:  # no room there: the pipe takes everything
        return _encode(outcome, first, tasks, None)


def _encode(
    outcome: Completion, first: int, tasks: Sequence[Task], buffer_callback: BufferSink | None, least: int = 0
) -> bytes:
    values, worker, seconds, spans = outcome.values, outcome.worker, outcome.seconds, outcome.spans
    begin = outcome.begin
    warned = tuple(map(tuple, outcome.warned))
    error = None if outcome.error is None else _portable(outcome.error)
    reducer = _mapped_reducer(least)
    try:
        reply = (values, error, None, worker, seconds, spans, warned, begin)
        return dumps(reply, buffer_callback=buffer_callback, least=least, reducer=reducer)
    except Exception as refusal:  # noqa: BLE001  a reducer may raise anything
        good = next((i for i, value in enumerate(values) if not is_picklable(value)), None)
        if good is None:  # each value for itself can be pickled
            return encode_lost(refusal, worker)
        index = first + good
        unpicklable = explain([(f"the result of task {index}", values[good])], refusal)
        note_task(unpicklable, index, tasks[good], worker)
        reply = (values[:good], unpicklable, None, worker, seconds, spans[: good + 1], warned, begin)
        return dumps(reply, buffer_callback=buffer_callback, least=least, reducer=reducer)


def _mapped_reducer(least: int) -> Reducer | None:
    """On this machine, arrays over files that the user has mapped come back as such."""
    if not least or "numpy" not in sys.modules:
        return None
    from jobspan.arrays.memmap import reduce_mapped

    return reduce_mapped


def encode_lost(error: BaseException, worker: str) -> bytes:
    """A batch that did not come to run."""
    return dumps(([], None, _portable(error), worker, 0.0, (), (), 0.0))


def _portable(error: BaseException) -> Any:
    """The exception as it can be sent, with the traceback here, and what it was raised from.

    The frames are let go: they hold all that the task had in memory, and would be held in a circle with the exception.
    """
    trace = trace_of(error).rstrip()
    error.__traceback__ = None
    sent = portable(error)
    if trace:
        add_note(sent, f"{FAR_TRACE}{trace}")
    return with_cause(sent, error.__cause__)


def decode_reply(ticket: Ticket, reply: Reply, buffers: Sequence[Any] = ()) -> Completion:
    """What a worker sent back, as a fact."""
    if isinstance(reply, bytes):
        payload = reply
    else:
        payload, segment = reply
        try:
            buffers = segments.read(segment, "c")
        finally:
            segments.remove(segment)  # who has it mapped keeps it
    nbytes = len(payload) + sum(memoryview(buffer).nbytes for buffer in buffers)
    values, error, lost, worker, seconds, spans, warned, begin = loads(payload, buffers=buffers)
    if error is not None:
        add_lines(error)
    told = [Warned(*each) for each in warned]
    return Completion(ticket, values, error, lost, worker, seconds, nbytes, spans, told, begin=begin)


def discard_reply(reply: Any) -> None:
    """Remove what a reply that nobody takes has left in a file."""
    if isinstance(reply, tuple) and len(reply) == 2 and isinstance(reply[1], Segment):
        segments.remove(reply[1])
