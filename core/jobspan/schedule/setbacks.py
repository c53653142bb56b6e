"""What becomes of tasks that fail, and of batches that are lost.

Invariant: a loss costs an attempt of the one task that had begun on that worker, or of a suspect that was lost alone;
all others go again as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from jobspan.errors import InitializerError, TaskError, TaskTimeout, WorkerBootError
from jobspan.model import SKIPPED, Batch, Completion, Setback
from jobspan.schedule.chances import Chances
from jobspan.schedule.policy import Policy
from jobspan.worker.describe import add_note, call_of, task_error

_HOPELESS = (InitializerError, WorkerBootError)  # the next worker would fare no better
MOST_DEATHS = 3
"""A task under which so many workers died gets no more, however many attempts it has left."""


def keep(error: TaskError) -> TaskError:
    """The error itself takes the place of the result."""
    return error


class Substitute(NamedTuple):
    """What takes the place of the result of a task that failed for good."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    value: Any


Kind: TypeAlias = Literal["failed", "timed out", "lost"]

Outcome: TypeAlias = Substitute | Batch | BaseException
"""What takes a place, tasks that go back to the others, or what ends the run; None: the task gets another chance."""


class Setbacks:
    """What one run knows of its failures.

    Parameters
    ----------
    policy : Policy
        The rules of the run.
    chances : Chances
        Takes the tasks that go again alone.
    replace : callable
        Takes a `TaskError`, and returns what takes the place of the result where the policy is tolerant.
    """

    def __init__(self, policy: Policy, chances: Chances, replace: Callable[[TaskError], Any]) -> None:
        self._policy = policy
        self._chances = chances
        self._replace = replace
        self._deaths: dict[int, int] = {}  # of workers, by the index of the task that they were on
        self.failures: list[BaseException] = []
        """Those of tasks that failed for good, where the policy groups them."""
        self._news: list[Setback] = []

    def fail(
        self, batch: Batch, position: int, error: BaseException, worker: str, now: float, kind: Kind = "failed"
    ) -> Outcome | None:
        """The task at this position has raised `error`, or had its time."""
        policy = self._policy
        again = batch.attempt <= policy.retries and isinstance(error, policy.retry_on)
        self._note(kind, batch, position, error, again=batch.attempt + 1 if again else 0)
        if again:
            self._chances.retry(batch.first + position, batch.tasks[position], batch.attempt, now)
            return None
        return self._give_up(batch, position, error, worker)

    def take_news(self) -> Sequence[Setback]:
        """The attempts that have come to nothing since this was last asked."""
        if not self._news:
            return ()
        news, self._news = self._news, []
        return news

    def _note(self, kind: Kind, batch: Batch, position: int, error: BaseException, *, again: int) -> None:
        self._news.append(Setback(batch.first + position, kind, error, again))

    def _give_up(self, batch: Batch, position: int, error: BaseException, worker: str) -> Outcome:
        if not self._policy.tolerant or isinstance(error, KeyboardInterrupt):
            return error
        index = batch.first + position
        if self._policy.groups:
            self.failures.append(error)
            return Substitute(index, SKIPPED)
        try:
            told = error if isinstance(error, TaskTimeout) else task_error(batch, position, error, worker)
            return Substitute(index, self._replace(told))
        except BaseException as raised:  # noqa: BLE001  whatever the user's function raises ends the run
            return raised

    def lose(self, batch: Batch, completion: Completion, now: float) -> Iterator[Outcome]:
        """The batch has not come back, for the reason that the completion gives."""
        from jobspan.errors import WorkerLost  # takes long to import

        lost, begun = completion.lost, completion.begun
        assert lost is not None, "or nothing was lost"
        died = isinstance(lost, WorkerLost)
        is_own = died or isinstance(lost, TaskTimeout)
        done, count = len(completion.values), len(batch.tasks)
        if completion.ends_run or isinstance(lost, _HOPELESS) or not (is_own or self._policy.tolerant):
            for position in range(done, count if begun is None else begun):
                self._note("lost", batch, position, lost, again=0)
            yield lost
            return
        if begun is None and count - done > 1:  # each of them alone, to find out which it was
            for position in range(done, count):
                self._note("lost", batch, position, lost, again=batch.attempt)
            self._chances.repeat(batch.part(done, count))
            return
        begun = count if begun is None else begun
        at = begun - 1
        for position in range(done, at):  # their results are lost with the worker
            self._note("lost", batch, position, lost, again=batch.attempt)
        yield from self._spare(batch.part(done, at))
        yield from self._spare(batch.part(max(done, begun), count))
        if at < done:
            return
        if isinstance(lost, TaskTimeout):
            if (outcome := self.fail(batch, at, lost, completion.worker, now, "timed out")) is not None:
                yield outcome
            return
        again = died and self._has_chance(batch, at, lost)
        self._note("lost", batch, at, lost, again=batch.attempt + 1 if again else 0)
        if again:
            self._chances.retry(batch.first + at, batch.tasks[at], batch.attempt, now)
        else:
            yield self._give_up(batch, at, lost, completion.worker)

    def _has_chance(self, batch: Batch, position: int, lost: BaseException) -> bool:
        """Whether the task under which a worker died goes again."""
        index = batch.first + position
        deaths = self._deaths[index] = self._deaths.get(index, 0) + 1
        call = call_of(batch.tasks[position])
        add_note(lost, f"task {index} was running there: {call}, attempt {batch.attempt}")
        return batch.attempt <= self._policy.retries and deaths < MOST_DEATHS

    def _spare(self, batch: Batch) -> Iterator[Batch]:
        """Let tasks that are not to blame go again, at the same attempt."""
        if not batch.tasks:
            return
        if batch.attempt == 1:
            yield batch
        else:
            self._chances.repeat(batch)
