"""A run that can be taken up again: results go into a journal as they come, and what is there is not run again.

Invariant: a result is in the journal once it is 5 ms old and another came; a task that is found there is never sent.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from itertools import groupby
from time import monotonic
from typing import Any, NamedTuple

from jobspan import host
from jobspan.errors import JobspanError, say_once
from jobspan.follow.listener import Listener
from jobspan.model import Batch, Completion, Fact, Setback, Task
from jobspan.persist.hashing import SIZE, digest
from jobspan.persist.journal import Journal, Key, Mirror, read_journal
from jobspan.persist.pickling import dumps, loads
from jobspan.schedule.core import Scheduler
from jobspan.worker.describe import call_of

_BY = ("content", "index")
_OFTEN_S = 0.005
_SMALL_NBYTES = 100_000  # of results that may be taken from the journal many at a time
_MANY_FUNCTIONS = 256
_BY_INDEX = bytes(SIZE)


class Checkpoint(NamedTuple):
    """Where the results of a run are kept, for ``Parallel(checkpoint=...)``.

    Attributes
    ----------
    path : str or path-like
        The journal, a file that only grows.
    by : {"content", "index"}
        How a task is known again: by its function and arguments, and its place among tasks of the same; or by its
        position in the input alone, whatever it is.

    Examples
    --------
    >>> import tempfile, os
    >>> from jobspan import Checkpoint, Parallel, delayed
    >>> path = os.path.join(tempfile.mkdtemp(), "run.ckpt")
    >>> Parallel(checkpoint=Checkpoint(path, by="index"))(delayed(abs)(-i) for i in range(3))
    [0, 1, 2]
    >>> Checkpoint(path).results()
    {0: 0, 1: 1, 2: 2}
    """

    path: str | os.PathLike[str]
    by: str = "content"

    def check(self) -> None:
        """Raise a ValueError for what means nothing."""
        if self.by not in _BY:
            raise ValueError(f"by={self.by!r} is none of {', '.join(map(repr, _BY))}.")

    def results(self) -> dict[int, Any]:
        """What is there by now, by the position that each task had when it was done; also while a run goes on.

        It is unpickled, which runs code that a file of somebody else's may bring: read your own only.
        """
        if not os.path.exists(self.path) and (mirror := find_mirror(self)) is not None:
            mirror.close()  # which has brought the file back
        return {record.index: loads(data) for record, data in read_journal(self.path)}

    def remove(self) -> None:
        """Forget all results, so that the next run begins anew."""
        with suppress(FileNotFoundError):
            os.remove(self.path)
        if _is_fleeting(self):
            from jobspan.web.mirror import forget

            forget(_locate(self))
            if (mirror := find_mirror(self)) is not None:
                mirror.close()


def _locate(wanted: Any) -> str:
    return os.path.abspath(wanted.path if isinstance(wanted, Checkpoint) else wanted)


def _is_fleeting(wanted: Any) -> bool:
    if not host.in_pyodide():
        return False
    from jobspan.web.mirror import is_fleeting, is_on_drive

    return is_fleeting(_locate(wanted)) or is_on_drive(_locate(wanted))


async def open_mirror(wanted: Any) -> Mirror | None:
    """The browser's copy of a checkpoint, which outlives the page; None where the file does, or nothing can.

    Raises
    ------
    JobspanError
        If it is in use.
    """
    if not _is_fleeting(wanted):
        return None
    from jobspan.web import mirror

    return await mirror.open_mirror(_locate(wanted))


def find_mirror(wanted: Any) -> Mirror | None:
    """The same, for callers that cannot await; where they cannot wait either, that is said, and there is none."""
    if not _is_fleeting(wanted):
        return None
    if not host.can_run_sync():
        say_once(
            f"the checkpoint {_locate(wanted)} lasts until the page is reloaded: this interpreter cannot wait for the "
            f"browser's storage (no JSPI here). 'await Parallel(...).gather(tasks)' keeps it."
        )
        return None
    from pyodide.ffi import run_sync

    found: Mirror | None = run_sync(open_mirror(wanted))
    return found


class Resumption(Listener):
    """One run's use of a journal, and a listener of it.

    Parameters
    ----------
    wanted : path-like or Checkpoint
        Where its results are kept.
    seed : int, optional
        Of the run, whose tasks are then other tasks than those of another seed, and at another position.
    mirror : Mirror, optional
        A copy that outlives the page.
    """

    def __init__(self, wanted: Any, seed: int | None = None, mirror: Mirror | None = None) -> None:
        self._seed = seed
        self._wanted = wanted if isinstance(wanted, Checkpoint) else Checkpoint(wanted)
        self._mirror = mirror
        self._journal: Journal | None = None  # opened with the first tasks: what never begins leaves nothing open
        self._functions: dict[int, tuple[Any, bytes]] = {}
        self._seen: dict[bytes, int] = {}
        self._unwritten: list[tuple[Key, int, bytes]] = []
        self._written_at = 0.0
        self._keys: dict[int, Key] = {}  # of tasks that were pulled and are not done, by index

    def offer(self, scheduler: Scheduler, listeners: Sequence[Listener], tasks: list[Task], *, ran_code: bool) -> None:
        """Give the scheduler these tasks, or their results where these are known, which listeners are told.

        Raises
        ------
        JobspanError
            If the journal cannot be continued, or for a task that could not be known again.
        """
        is_new = self._journal is None
        journal = self._open()
        if is_new and 0 < journal.mean_nbytes < _SMALL_NBYTES:
            scheduler.pull_ahead()
        pairs = [(self._key_of(index, task), task) for index, task in enumerate(tasks, scheduler.pulled)]
        self._keys.update((index, key) for index, (key, _) in enumerate(pairs, scheduler.pulled) if key not in journal)
        for known, group in groupby(pairs, key=lambda pair: pair[0] in journal):
            if known:
                found = [journal.read(key) for key, _ in group]
                first = scheduler.pulled
                scheduler.know([loads(data) for data in found], sum(map(len, found)))
                for listener in listeners:
                    listener.known(first, len(found))
            else:
                scheduler.offer([task for _, task in group], ran_code=ran_code)

    def _open(self) -> Journal:
        if self._journal is None:
            self._journal = Journal(self._wanted.path, self._mirror)
        return self._journal

    def find(self, index: int, task: Task) -> tuple[Any] | None:
        """The result of a task, if it is known; else it is about to be run.

        Raises
        ------
        JobspanError
            As `offer` does.
        """
        journal = self._journal or self._open()
        key = self._key_of(index, task)
        if key in journal:
            return (loads(journal.read(key)),)
        self._keys[index] = key
        return None

    def _key_of(self, index: int, task: Task) -> Key:
        if self._wanted.by == "index":
            return _BY_INDEX, index
        try:
            function, args, kwargs = task
            stream = () if self._seed is None else (self._seed, index)
            content = digest((self._digest_function(function), args, kwargs, *stream))
        except Exception as error:
            raise JobspanError(
                f"task {index}, {call_of(task)}, could not be known again when the run is taken up: it cannot be "
                f"pickled ({type(error).__name__}: {error}). Write checkpoint=Checkpoint(path, by='index') to go "
                f"by its position."
            ) from error
        seen = self._seen
        ordinal = seen.get(content, 0)
        seen[content] = ordinal + 1
        return content, ordinal

    def _digest_function(self, function: Any) -> bytes:
        """What a function captures counts as it was when it was first seen."""
        known = self._functions.get(id(function))
        if known is None:
            if len(self._functions) >= _MANY_FUNCTIONS:
                self._functions.clear()
            known = self._functions[id(function)] = function, digest(function)
        return known[1]

    def hear(self, fact: Fact, batch: Batch | None, _setbacks: Sequence[Setback], /) -> None:
        """Write the results that have come."""
        if batch is None or not isinstance(fact, Completion) or not fact.values:
            return
        for index, value in enumerate(fact.values, batch.first):
            key = self._keys.pop(index)
            try:
                self._unwritten.append((key, index, dumps(value)))
            except Exception as error:  # noqa: BLE001  the value's own code
                say_once(
                    f"the result of task {index} cannot be pickled ({type(error).__name__}: {error}), so it is not in "
                    f"the checkpoint, and the task will be run again."
                )
        if monotonic() - self._written_at > _OFTEN_S:  # a task that takes no time shall not pay for a write of its own
            self._write()

    def _write(self) -> None:
        if self._journal is None or not self._unwritten:
            return
        entries, self._unwritten, self._written_at = self._unwritten, [], monotonic()
        try:
            self._journal.append(entries)
        except OSError as error:
            say_once(
                f"the checkpoint {self._journal.path} cannot be written ({error}); the run goes on, and what is done "
                f"meanwhile will be run again."
            )

    def end(self, _complete: bool, /) -> None:
        """The run is over."""
        self._write()
        if self._journal is not None:
            self._journal.close()
        elif self._mirror is not None:
            self._mirror.close()
