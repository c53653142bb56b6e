"""Tasks on Web Workers, where Python runs in Pyodide.

Batches are encoded when they are submitted and wait here until a worker is ready. A worker gets a second batch while
it runs one only as long as batches are short: behind a long one it would wait while another worker is idle.

Invariant: each ticket is waiting here, held by one worker, or among what has arrived; a
worker's end moves what it held there, as lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

from jobspan import host
from jobspan.backends.base import Closing, OpenRequest, Session, Traits
from jobspan.errors import JobspanError, WorkerBootError, WorkerLost
from jobspan.model import Batch, Completion, Fact, Running, Started, Ticket
from jobspan.web import stopping, waiting
from jobspan.web.sending import Encoded, Sender, decode
from jobspan.worker.wire import BatchEncoder

if TYPE_CHECKING:
    from jobspan.web.executor import WebWorkerExecutor
    from jobspan.web.pool import Pool
    from jobspan.web.worker import News, Reply, TaskStarted, Worker

_SHORT_S = 0.1  # a batch behind one of this length waits hardly longer than for its round trip


def make_shared() -> WebBackend:
    """The backend on the pool that `jobspan.web.warm` warms."""
    return WebBackend(shared=True)


class WebBackend:
    """Runs tasks on Web Workers.

    Parameters
    ----------
    index_url : str, optional
        The folder that workers load Pyodide from, with a slash at the end; by default where the caller's came from.
    boot_deadline_s : float
        A worker that gives no sign of life for this long while it boots is given up.
    shared : bool
        Use the pool that others use too, in place of one of its own.

    Raises
    ------
    ValueError
        Outside Pyodide, or where it can start no workers.
    """

    def __init__(self, *, index_url: str | None = None, boot_deadline_s: float = 60.0, shared: bool = False) -> None:
        if not host.has_web_workers():
            why = "has no workers here" if host.in_pyodide() else "is not what runs this interpreter"
            raise ValueError(
                f"backend='web' runs tasks on Web Workers, by Pyodide in a browser or in node, and Pyodide {why}. "
                f"Leave backend out, and jobspan chooses what there is."
            )
        self._index_url = index_url
        self._boot_deadline_s = boot_deadline_s
        self._shared = shared
        self._made: Pool | None = None

    @property
    def traits(self) -> Traits:
        """Blocking depends on how Python was entered, so this is asked anew each time."""
        return Traits(
            memory="copied",
            blocks=waiting.can_block(self.pool.workers),
            reports_start=True,
            can_kill=True,
            can_expel=True,
            lone_worker=True,
            round_trip_s=1e-3,
            staffs=frozenset({"idle_worker_timeout", "max_tasks_per_worker", "max_worker_rss"}),
        )

    def cpu_count(self) -> int:
        """The CPUs that the browser or node tells of."""
        return host.cpu_count()

    def open(self, request: OpenRequest, /) -> Session:
        """Take up warm workers; missing ones begin to boot."""
        return WebSession(self.pool, request)

    @property
    def pool(self) -> Pool:
        """The workers of this backend."""
        from jobspan.web.pool import Pool, shared_pool  # needs Pyodide

        if self._shared:
            return shared_pool()
        if self._made is None:
            self._made = Pool(index_url=self._index_url, boot_deadline_s=self._boot_deadline_s)
        return self._made

    def shutdown(self) -> None:
        """End the workers now; a later call starts others."""
        pool, self._made = self.pool if self._shared else self._made, None
        if pool is not None:
            pool.shutdown()


class WebExecutorBackend(WebBackend):
    """Runs tasks on the workers of a `WebWorkerExecutor`, which somebody else owns."""

    def __init__(self, executor: WebWorkerExecutor) -> None:
        super().__init__()
        self._executor = executor

    def cpu_count(self) -> int:
        """The workers that the executor may have."""
        return self._executor.max_workers

    @property
    def pool(self) -> Pool:
        """The executor's; raises what its ``submit`` would when it takes nothing any more."""
        return self._executor.pool

    def open(self, request: OpenRequest, /) -> Session:
        """Take up as many workers as the executor has, which run its initializer if they have not."""
        frame, initializer = request.frame, self._executor.initializer
        if initializer is not None:
            if frame.initializer is not None:
                raise ValueError(
                    "both the WebWorkerExecutor and Parallel were given an initializer; leave out that of Parallel, or "
                    "call both functions in that of the executor."
                )
            frame = frame._replace(initializer=initializer)
        width = min(self.cpu_count(), request.n_jobs or self.cpu_count())
        return WebSession(self.pool, request._replace(n_jobs=width, frame=frame))

    def shutdown(self) -> None:
        """Do nothing: that is its owner's."""


class WebSession:
    """Batches on some workers of a pool."""

    def __init__(self, pool: Pool, request: OpenRequest) -> None:
        self._pool = pool
        self._arrived: list[Started | Completion | tuple[Worker, Reply]] = []
        self._signal: Any = None
        self._waiting: deque[Encoded] = deque()
        self._sent_at: dict[Ticket, float] = {}
        self._ahead = 0  # batches to send to a worker that is busy
        self._refused: WorkerBootError | None = None
        self._closed = False
        self._stopped = False
        self.width = request.n_jobs or host.cpu_count()
        frame = request.frame.within(self.width)
        self._firsts: dict[Ticket, int] = {}
        self._on: dict[Worker, tuple[TaskStarted, float]] = {}  # what each is on, and since when, by our clock
        self._watched = request.watch
        self._encoder = BatchEncoder(
            frame, budget_s=request.budget_s, watch=request.watch or request.timed, seed=request.seed, way="message"
        )
        self._sender = Sender(self._encoder)
        self._staff = request.staff
        if request.staff.idle_worker_timeout is not None:
            pool.idle_s = request.staff.idle_worker_timeout
        self._workers = pool.lend(self.width, self._hear, most_new=0)
        stopping.enter(self, self._stop)

    def submit(self, ticket: Ticket, batch: Batch, /) -> None:
        """Encode the batch and send it as soon as a worker can take it."""
        if self._refused is not None:
            self._put(Completion(ticket, [], lost=self._refused, ends_run=True))
            return
        self._firsts[ticket] = batch.first
        try:
            encoded = self._sender.encode(ticket, batch)
        except Exception as error:  # noqa: BLE001  pickling runs users' code
            self._lose(ticket, error)
            return
        self._waiting.append(encoded)
        self._dispatch()

    def _grow(self) -> None:
        """Ask for workers, one for each batch that is not done, until there are as many as were asked for."""
        wanted = min(self.width, len(self._firsts))
        if not self._waiting or len(self._workers) >= wanted:
            return
        self._workers += self._pool.lend(wanted - len(self._workers), self._hear)
        if not self._workers:
            ended = WorkerLost("the workers were shut down while the call went on.")
            for encoded in self._waiting:
                self._put(Completion(encoded.ticket, [], lost=ended, ends_run=True))
            self._waiting.clear()
        self._dispatch()

    def _dispatch(self) -> None:
        while self._waiting and self._workers:
            worker = min(self._workers, key=lambda worker: (not self._is_usable(worker), len(worker.held)))
            if not self._is_usable(worker) or len(worker.held) > self._ahead:
                return
            encoded = self._waiting.popleft()
            self._sent_at[encoded.ticket] = perf_counter()
            self._sender.send(worker, encoded)

    def rereads(self) -> bool:
        """Whether there are large constants, which are looked at again after code of the input ran."""
        return self._encoder.rereads

    def _hear(self, worker: Worker, news: News) -> None:
        from jobspan.web.worker import Gone, Reply, TaskStarted

        match news:
            case TaskStarted(ticket, index, at):
                self._on[worker] = news, perf_counter()
                if self._watched:
                    self._put(Started(ticket, index, worker.name, at))
            case Reply(ticket):
                self._on.pop(worker, None)
                now = perf_counter()
                self._ahead = int(now - self._sent_at.pop(ticket) < _SHORT_S)
                for held in worker.held:
                    self._sent_at[held] = now  # begins only now
                self._put((worker, news))
                if not worker.held and self._is_used_up(worker):
                    self._workers.remove(worker)
                    self._sender.forget(worker)
                    self._pool.discard(worker)
                    self._grow()
            case Gone(tickets, error):
                self._workers.remove(worker)
                self._sender.forget(worker)
                if isinstance(error, WorkerBootError):
                    self._refused = error
                else:
                    self._grow()
                if self._refused is not None:
                    tickets = tickets + [item.ticket for item in self._waiting]
                    self._waiting.clear()
                on, since = self._on.pop(worker, (None, 0.0))
                for position, ticket in enumerate(tickets):
                    begun, spent_s = (0 if position else None), 0.0  # the first alone can have been at work
                    if on is not None and on.ticket == ticket:
                        begun, spent_s = on.index - self._firsts[ticket] + 1, perf_counter() - since
                    self._put(Completion(ticket, [], None, error, worker.name, spent_s, begun=begun))
        self._dispatch()

    def _is_usable(self, worker: Worker) -> bool:
        return worker.is_available and not self._is_used_up(worker)

    def _is_used_up(self, worker: Worker) -> bool:
        tasks, memory = self._staff.max_tasks_per_worker, self._staff.max_worker_rss
        return (tasks is not None and worker.tasks >= tasks) or (memory is not None and worker.memory_bytes > memory)

    def _lose(self, ticket: Ticket, error: BaseException, worker: str = "") -> None:
        self._put(Completion(ticket, [], lost=error, worker=worker))

    def poll(self, timeout: float | None, /) -> Sequence[Fact]:
        """Wait for workers, while the event loop turns.

        Raises
        ------
        KeyboardInterrupt
            If the run was stopped, once what has arrived is taken.
        """
        if not self._has_news():
            waiting.block(self._expect(timeout), self._workers)
        return self._take()

    async def apoll(self, timeout: float | None, /) -> Sequence[Fact]:
        """Await messages of workers; raises as `poll` does."""
        if not self._has_news():
            await self._expect(timeout).promise
        return self._take()

    def _has_news(self) -> bool:
        """Whether something has arrived; else more workers may be needed, which cannot be had after a shutdown."""
        if self._stopped and not self._arrived:
            raise KeyboardInterrupt("stopped")
        if not self._arrived:
            self._grow()
        return bool(self._arrived)

    def _stop(self) -> None:
        self._stopped = True
        self.wake()

    def _expect(self, timeout: float | None) -> Any:
        """A signal for when something arrives; with ``timeout=0`` the event loop turns once, or nothing could."""
        from jobspan.web.link import link

        self._signal = link().signal() if timeout is None else link().signal(1000 * timeout)
        return self._signal

    def _put(self, item: Started | Completion | tuple[Worker, Reply]) -> None:
        self._arrived.append(item)
        self.wake()

    def wake(self) -> None:
        """Make an `apoll` return."""
        if self._signal is not None:
            self._signal.set()
            self._signal = None

    def _take(self) -> list[Fact]:
        items, self._arrived = self._arrived, []
        facts = [item if isinstance(item, Started | Completion) else decode(*item) for item in items]
        for fact in facts:
            if isinstance(fact, Completion):
                self._encoder.done(fact.ticket)
                self._firsts.pop(fact.ticket, None)
        return facts

    def find_running(self) -> list[Running]:
        """The tasks that workers are on."""
        now = perf_counter()
        found = []
        for place, ((ticket, index, _), since) in enumerate(self._on.values()):
            if ticket in self._firsts:
                found.append(Running(ticket, index - self._firsts[ticket], now - since, place))
        return found

    def expel(self, running: Running, /) -> None:
        """End the worker that is on this task."""
        for worker, ((ticket, index, _), _) in list(self._on.items()):
            if ticket == running.ticket and index - self._firsts[ticket] == running.finished:
                self._pool.expel(worker)

    def cancel(self, tickets: Sequence[Ticket], /) -> None:
        """Take back what no worker has."""
        unwanted = set(tickets)
        for encoded in [item for item in self._waiting if item.ticket in unwanted]:
            self._waiting.remove(encoded)
            self._lose(encoded.ticket, JobspanError("the batch was cancelled before a worker had it"))

    def close(self, how: Closing, /) -> None:
        """Give the workers back; with ``kill`` those that are busy end within a second."""
        if self._closed:
            return
        self._closed = True
        stopping.leave(self)
        self._waiting.clear()
        for worker in self._workers:
            self._sender.give_back(self._pool, worker, kill=how == "kill")
        self._workers = []
        self._encoder.close()
        self.wake()
