"""How batches cross to a worker that shares no memory with the caller, and are run there.

Invariant: one format for every copying backend (loky, executors, Web Workers): pickled plain tuples, with
large buffers beside them where the backend can carry them; every task gets objects of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from pickle import PickleBuffer
from types import MethodType
from typing import Any, NamedTuple, TypeAlias

from jobspan.errors import UnpicklableError
from jobspan.model import Batch, Task, Ticket, Transfer, Warned
from jobspan.persist import segments
from jobspan.persist.pickling import BufferSink, dumps, explain, is_picklable, load_referring, loads
from jobspan.persist.segments import Segment
from jobspan.worker.constants import LEAST_NBYTES, Constants, Way, are_atomic
from jobspan.worker.describe import add_note, argument_name, describe_task, is_task, name_of, not_a_task
from jobspan.worker.frame import Frame, established, unpack
from jobspan.worker.references import Key, Reference, fetch
from jobspan.worker.reply import Reply, Results, encode_lost, encode_reply
from jobspan.worker.run import Slot, run_tasks
from jobspan.worker.script import set_task
from jobspan.worker.shared import has_shared
from jobspan.worker.shared import sweep as sweep_shared

Buffers: TypeAlias = Sequence[Any]
Options: TypeAlias = tuple[bytes, float | None, bool, tuple[str, int] | None, int | None]
"""The frame, the time budget, whether to watch, what makes a `Results`, and the seed."""

_MANY_FUNCTIONS = 256


class Apart(NamedTuple):
    """Tasks that are each pickled for itself.

    Attributes
    ----------
    items : list of (bytes, int)
        For each a pickle of its function's number, arguments, keywords, and method if it is one; and the number of the
        first of its buffers.
    references : list of Reference
        What they refer to by number.
    segment : Segment or None
        The file with the large buffers that stayed out of them.
    mode : str or None
        How it is mapped.
    """

    items: list[tuple[bytes, int]]
    references: list[Reference]
    segment: Segment | None
    mode: str | None


class _Tasks(Sequence[Task]):
    """The tasks of a batch, each unpickled when it is its turn: no more copies than needed, and in the tasks' time."""

    def __init__(self, apart: Apart, functions: Sequence[Any], buffers: Buffers, worker: str) -> None:
        self._apart = apart
        self._functions = functions
        self._buffers = buffers if apart.segment is None else segments.read(apart.segment, apart.mode)
        self._worker = worker

    def __len__(self) -> int:
        return len(self._apart.items)

    def __getitem__(self, index: Any) -> Any:
        item, first = self._apart.items[index]
        fetched: dict[int, Any] = {}  # within one task, what is given twice is one object

        def find(number: int) -> Any:
            if number not in fetched:
                fetched[number] = fetch(self._apart.references[number])
            return fetched[number]

        try:
            number, args, kwargs, method = load_referring(item, buffers=self._buffers[first:], fetch=find)
        except IndexError:
            raise
        except BaseException as error:
            add_note(error, f"raised on {self._worker}, where the task was unpickled; is the same code there?")
            raise
        return self._functions[number] if method is None else method, args, kwargs


class _Within:
    """What a function refers to while it is pickled: objects that were marked by `shared`."""

    active = True

    def __init__(self, constants: Constants) -> None:
        self._constants = constants
        self.found = False

    def refer(self, obj: Any) -> Reference | None:
        reference = self._constants.refer_within(obj)
        self.found = self.found or reference is not None
        return reference

    def define(self, _obj: Any) -> bool:
        return False


class _Dumped(NamedTuple):
    """A function as it was last pickled, and what stands for it in batches."""

    function: Any  # which keeps its id from being given to another
    blob: bytes
    sent: bytes | Reference
    look: int


class BatchEncoder:
    """Pickles the batches of one run.

    A function that several batches call is pickled once: what it captures is what it captured when it was first sent,
    or when it was last looked at again.

    Parameters
    ----------
    frame : Frame
        What the tasks find around them.
    budget_s, watch, seed
        As for `jobspan.worker.run.run_tasks`, on the worker.
    transfer : Transfer
        How large arguments and results travel.
    way : {"file", "message", "batch"}
        How what many tasks share comes to the workers: see `jobspan.worker.constants`.
    """

    def __init__(
        self,
        frame: Frame,
        *,
        budget_s: float | None,
        watch: bool,
        seed: int | None = None,
        transfer: Transfer = Transfer(),  # noqa: B008  a tuple
        way: Way = "batch",
    ) -> None:
        self._frame = frame
        self._options: Options | None = None
        self._budget_s = budget_s
        self._watch = watch
        self._seed = seed
        self._transfer = transfer
        self._way = way
        self._setter = None if frame.initializer is None else set_task
        self._constants = Constants(transfer, way, self._setter)
        self.needs: tuple[Key, ...] = ()
        """What of `messages` a worker needs for the batch that was encoded last."""
        self._functions: dict[int, _Dumped] = {}
        self._look = 0

    def encode(self, batch: Batch, *, ticket: Ticket = 0, buffer_callback: BufferSink | None = None) -> bytes:
        """Pickle a batch, which will be sent as `ticket`.

        Raises
        ------
        UnpicklableError
            Naming the argument, and the path to the culprit inside it.
        TypeError
            For an item that is not a task.
        OSError
            Where large buffers find no room.
        """
        if self._options is None:
            self._options = self._frame.packed(), self._budget_s, self._watch, self._results(), self._seed
        try:
            common, arguments = _compact(batch.tasks)
            if common is not None and are_atomic(arguments):
                function = self._dump_function(common)
                self._need([function])
                return dumps((batch.first, batch.attempt, self._options, (function,), arguments))
            return self._encode_each(batch, ticket, buffer_callback)
        except segments.NoRoomError:
            raise
        except Exception as error:  # a reducer may raise anything, and an item that is no task fails to unpack
            for offset, item in enumerate(batch.tasks):
                if not is_task(item):
                    raise not_a_task(item, batch.first + offset) from None
            raise _explain_batch(batch, error) from error

    def _encode_each(self, batch: Batch, ticket: Ticket, buffer_callback: BufferSink | None) -> bytes:
        """Pickle each task for itself: what one task changes in its arguments, no other may see."""
        constants = self._constants
        constants.begin(batch.epoch)
        callback, least = buffer_callback, 0
        if callback is None and constants.maps:
            callback, least = constants.large.append, self._transfer.max_nbytes or 0
        numbers: dict[int, int] = {}
        functions: list[bytes | Reference] = []
        items: list[tuple[bytes, int]] = []
        count = 0

        def take(buffer: PickleBuffer) -> None:
            nonlocal count
            count += 1
            if callback is not None:
                callback(buffer)

        for index, (function, args, kwargs) in enumerate(batch.tasks, batch.first):
            first, method = count, None
            if type(function) is MethodType:  # a new one each time, of the same object
                method = function
                constants.watch(index, (function.__self__, *args, *kwargs.values()))
            else:
                constants.watch(index, (*args, *kwargs.values()))
                if id(function) not in numbers:
                    numbers[id(function)] = len(functions)
                    functions.append(self._dump_function(function))
            item = (numbers.get(id(function), 0), args, kwargs, method)
            data = dumps(
                item,
                buffer_callback=None if callback is None else take,
                least=least,
                reducer=constants.reducer,
                references=constants,
                function_setter=self._setter,
            )
            items.append((data, first))
        segment = constants.write_large()
        constants.send(ticket, segment)
        apart = Apart(items, constants.references(), segment, self._transfer.mmap_mode)
        self._need([*functions, *apart.references])
        return dumps((batch.first, batch.attempt, self._options, tuple(functions), apart))

    def look_again(self) -> None:
        """Pickle functions anew for the batches that follow: what they capture may have changed."""
        self._look += 1

    def _dump_function(self, function: Any) -> bytes | Reference:
        """A function is pickled once for the run; one with much in its closure or globals is referred to."""
        known = self._functions.get(id(function))
        if known is not None and known.look == self._look:
            return known.sent
        large: list[PickleBuffer] = []
        callback, least = (large.append, LEAST_NBYTES) if self._way == "file" else (None, 0)
        within = _Within(self._constants) if has_shared() else None
        blob = dumps(
            function,
            buffer_callback=callback,
            least=least,
            reducer=self._constants.reducer,
            references=within,
            function_setter=self._setter,
        )
        sent: bytes | Reference = blob
        if known is not None and known.blob == blob and not large:
            sent = known.sent
        elif self._way != "batch" and (large or (len(blob) >= LEAST_NBYTES and known is None)):
            sent = self._constants.fix(function, blob, large)  # not one that changes: each would stay to the end
        elif within is not None and within.found:
            sent = self._constants.inline(blob)
        if len(self._functions) >= _MANY_FUNCTIONS:
            self._functions.clear()
        self._functions[id(function)] = _Dumped(function, blob, sent, self._look)
        return sent

    def _need(self, dumped: Sequence[bytes | Reference]) -> None:
        if self._way == "message":
            referred = {each.key for each in dumped if isinstance(each, Reference) and each.blob is None}
            self.needs = tuple(referred | self._constants.within_functions)

    @property
    def messages(self) -> Mapping[Key, bytes]:
        """Pickles that a worker is sent before the first batch that needs them, as long as batches may need them."""
        return self._constants.messages

    def _results(self) -> tuple[str, int] | None:
        """How workers send large results; a plain tuple, since it goes with every batch."""
        folder, least = self._transfer.temp_folder, self._transfer.max_nbytes
        return (segments.folder_for(folder), least) if self._way == "file" and least else None

    @property
    def rereads(self) -> bool:
        """Whether there are constants that take time to compare."""
        return self._constants.rereads

    def done(self, ticket: Ticket) -> None:
        """The batch of this ticket came back."""
        self._constants.done(ticket)

    def close(self) -> None:
        """The run is over."""
        self._constants.close()
        sweep_shared()


def _compact(tasks: Sequence[Task]) -> tuple[Any, list[Any]]:
    """The common function and the argument tuples alone, an eighth of the cost, where nothing else is needed."""
    common = tasks[0][0]
    arguments = [args for function, args, kwargs in tasks if function is common and not kwargs]
    return (common, arguments) if len(arguments) == len(tasks) else (None, [])


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
    slot: Slot | None = None,
) -> Reply:
    """Run an encoded batch on the worker and return the encoded outcome."""
    worker = worker or f"process {os.getpid()}"
    warned: list[Warned] = []
    try:
        first, attempt, (framed, budget_s, watch, results, seed), dumped, items = loads(payload)
        frame = unpack(framed)
    except BaseException as error:  # noqa: BLE001  what cannot be read here is the batch's fault
        return _not_unpickled(error, worker)
    try:
        with established(frame, warned):
            try:
                functions = [loads(each) if isinstance(each, bytes) else fetch(each) for each in dumped]
                tasks: Sequence[Task]
                if isinstance(items, Apart):
                    tasks = _Tasks(items, functions, buffers, worker)
                else:
                    tasks = [(functions[0], args, {}) for args in items]
            except BaseException as error:  # noqa: BLE001  an import that fails here is the batch's fault, not the pool's
                return _not_unpickled(error, worker)
            outcome = copy_context().run(  # what tasks set does not outlast the batch
                run_tasks,
                tasks,
                first=first,
                worker=worker,
                place=frame.place,
                attempt=attempt,
                seed=seed,
                budget_s=budget_s,
                watch=watch,
                started=started,
                slot=slot,
            )
    except Exception as error:  # noqa: BLE001  an initializer, or a provider's functions: the tasks' errors are outcomes
        return encode_lost(error, worker)
    if warned:
        outcome = outcome._replace(warned=warned)
    return encode_reply(outcome, first, tasks, None if results is None else Results(*results), buffer_callback)


def _not_unpickled(error: BaseException, worker: str) -> Reply:
    add_note(error, f"raised on {worker}, where a batch was unpickled; is the same code there?")
    return encode_lost(error, worker)
