"""The calls that an executor was given and that are not done, and the workers that they need.

From the first call that comes until nothing is left to do, workers are lent from the pool as there are calls for them,
and what many calls share is kept on them; then they go back.

Invariant: each call waits here, or is on one worker which has no other; what becomes of it is said to its future once,
after the worker has its next call.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, NamedTuple

from jobspan.errors import InitializerError, JobspanError, WorkerBootError, WorkerLost, say_once
from jobspan.model import Batch, Completion, Task, Ticket
from jobspan.web.futures import WebFuture
from jobspan.web.sending import Encoded, Sender, decode
from jobspan.worker.constants import Way
from jobspan.worker.context import PLACE, Place
from jobspan.worker.frame import Frame
from jobspan.worker.prepare import Initializer
from jobspan.worker.wire import BatchEncoder

if TYPE_CHECKING:
    from jobspan.web.pool import Pool
    from jobspan.web.worker import News, Worker


class Several(NamedTuple):
    """Calls that travel together."""

    tasks: tuple[Task, ...]


class Part(NamedTuple):
    """What became of several calls: values of the first of them, and the exception of the one after these."""

    values: list[Any]
    error: BaseException | None


class _Call(NamedTuple):
    """One that was submitted, or several together."""

    future: WebFuture[Any]
    encoded: Encoded
    is_one: bool


class Calls:
    """What one executor has to do.

    Parameters
    ----------
    width : int
        How many workers it may have.
    initializer : (callable, tuple), optional
        What each of them calls first.
    index_url, boot_deadline_s
        As for `jobspan.web.pool.Pool`.
    """

    def __init__(
        self, width: int, initializer: Initializer | None, *, index_url: str | None, boot_deadline_s: float
    ) -> None:
        self.width = width
        self.broken: JobspanError | None = None
        self.is_open = True
        level, outer, _ = PLACE.get()
        self._frame = Frame(Place(level + 1, outer * width), initializer)
        self._where: dict[str, Any] = {"index_url": index_url, "boot_deadline_s": boot_deadline_s}
        self._made: Pool | None = None
        self._sender: Sender | None = None  # while there is something to do
        self._encoding = 0
        self._workers: list[Worker] = []
        self._waiting: OrderedDict[Ticket, _Call] = OrderedDict()
        self._running: dict[Ticket, _Call] = {}
        self._missed: WorkerBootError | None = None
        self._next = 0

    @property
    def pool(self) -> Pool:
        """The workers, lent or not."""
        if self._made is None:
            from jobspan.web.pool import Pool  # needs Pyodide

            self._made = Pool(keep=self.width, **self._where)
        return self._made

    def check_open(self) -> None:
        """Raise the error of an executor that takes nothing any more."""
        if not self.is_open:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if self.broken is not None:
            raise _break(self.broken)

    def add(self, tasks: tuple[Task, ...], *, is_one: bool, anew: bool) -> WebFuture[Any]:
        """Take up calls that travel together; `anew` if what functions capture may have changed since the last."""
        self.check_open()
        self._tell_of_missed()
        ticket, self._next = self._next, self._next + len(tasks)
        future: WebFuture[Any] = WebFuture()
        try:
            encoded = self._encode(ticket, tasks, anew=anew)
        except Exception as error:  # noqa: BLE001  pickling runs users' code; it is the future's, as elsewhere
            self._advance()
            future.started()
            future.set_exception(error)
            return future
        self._waiting[ticket] = _Call(future, encoded, is_one)
        future.enqueued(lambda _: self._take_back(ticket))
        self._advance()
        return future

    def _encode(self, ticket: Ticket, tasks: tuple[Task, ...], *, anew: bool) -> Encoded:
        if self._sender is None:
            self._sender = Sender(self._make_encoder("message"))
        if anew:
            self.look_again()
        # Where a reducer lets the event loop turn, other calls may come before this one is pickled: they go alone.
        sender = Sender(self._make_encoder("batch")) if self._encoding else self._sender
        self._encoding += 1
        try:
            # An epoch of its own: between two calls the caller may have changed any argument.
            return sender.encode(ticket, Batch(ticket, tasks, epoch=ticket))
        finally:
            self._encoding -= 1

    def _make_encoder(self, way: Way) -> BatchEncoder:
        return BatchEncoder(self._frame, budget_s=None, watch=False, way=way)

    def look_again(self) -> None:
        """What functions capture may have changed."""
        if self._sender is not None:
            self._sender.encoder.look_again()

    def _take_back(self, ticket: Ticket) -> None:
        if self._waiting.pop(ticket, None) is not None:
            self._done(ticket)
            self._advance()

    def _advance(self) -> None:
        """Give workers what waits, get workers for the rest, and let go of all when there is nothing left."""
        for worker in self._workers:
            if self._waiting and worker.is_available and not worker.held:
                ticket, call = self._waiting.popitem(last=False)
                self._running[ticket] = call
                assert self._sender is not None
                self._sender.send(worker, call.encoded)
                call.future.started()
        free = sum(not worker.held for worker in self._workers)
        missing = min(len(self._waiting) - free, self.width - len(self._workers))
        if missing > 0:
            lent = self.pool.lend(missing, self._hear)
            self._workers += lent
            if any(worker.is_available for worker in lent):
                self._advance()
        elif not (self._waiting or self._running or self._encoding):
            self._rest()

    def _rest(self) -> None:
        """Give the workers back, and end them if nothing will come any more."""
        sender, self._sender = self._sender, None
        workers, self._workers = self._workers, []
        if sender is not None:
            for worker in workers:
                sender.give_back(self.pool, worker, kill=False)
            sender.encoder.close()
        if not self.is_open and self._made is not None:
            self._made.shutdown()

    def _hear(self, worker: Worker, news: News) -> None:
        from jobspan.web.worker import Gone, Reply

        match news:
            case Reply(ticket):
                completion = decode(worker, news)
                call = self._running.pop(ticket)
                self._done(ticket)
                failed = completion.lost if isinstance(completion.lost, InitializerError) else None
                dropped = [] if failed is None else self._break(failed)
                self._advance()
                _settle(call, completion if failed is None else completion._replace(lost=_break(failed)))
                _fail(dropped, failed)
            case Gone(tickets, error):
                self._workers.remove(worker)
                if self._sender is not None:
                    self._sender.forget(worker)
                lost = [self._running.pop(ticket) for ticket in tickets]
                for ticket in tickets:
                    self._done(ticket)
                dropped = self._miss(error) if isinstance(error, WorkerBootError) else []
                self._advance()
                for call in lost:
                    call.future.set_exception(error)
                _fail(dropped, error)
            case _:
                self._advance()

    def _miss(self, error: WorkerBootError) -> list[_Call]:
        """A worker could not start: go on with those that could, if there are any."""
        if not self._workers:
            return self._break(error)
        self.width = len(self._workers)
        self._missed = error
        return []

    def _break(self, reason: JobspanError) -> list[_Call]:
        """Take no more calls, and drop those that wait."""
        self.broken = reason
        dropped = list(self._waiting.values())
        for ticket in self._waiting:
            self._done(ticket)
        self._waiting.clear()
        return dropped

    def _done(self, ticket: Ticket) -> None:
        if self._sender is not None:
            self._sender.encoder.done(ticket)

    def close(self, *, cancel: bool = False) -> None:
        """Take no more calls; workers end when those that were taken are done. With `cancel`, only those that run."""
        self.is_open = False
        if cancel:
            for call in list(self._waiting.values()):
                call.future.cancel()
        self._advance()
        self._tell_of_missed()

    def _tell_of_missed(self) -> None:
        """Where the caller can hear of it, which it cannot while a worker's message is read."""
        missed, self._missed = self._missed, None
        if missed is not None and self.broken is None:
            say_once(f"an executor goes on with {self.width} of the workers that it was to have: {missed}")

    def terminate(self) -> None:
        """End everything now."""
        self.close(cancel=True)
        while self._workers:  # with the last call the others go by themselves
            self.pool.expel(self._workers[0])

    def outstanding(self) -> list[Future[Any]]:
        """The futures that are not done."""
        return [call.future for calls in (self._running, self._waiting) for call in calls.values()]


def _settle(call: _Call, completion: Completion) -> None:
    future, error = call.future, completion.lost
    if error is None and call.is_one:
        error = completion.error
    if error is not None:
        future.set_exception(error)
    elif call.is_one:
        future.set_result(completion.values[0])
    else:
        future.set_result(Part(completion.values, completion.error))


def _fail(calls: Iterable[_Call], reason: JobspanError | None) -> None:
    for call in calls:
        if not call.future.done():  # a callback may have cancelled it
            assert reason is not None
            call.future.started()
            call.future.set_exception(_break(reason))


def _break(reason: JobspanError) -> WorkerLost:
    """The error of a pool that is broken, a new one for each who meets it."""
    lost = WorkerLost(f"this executor runs nothing any more: {reason} Make another one, without what is wrong there.")
    lost.__cause__ = reason
    return lost
