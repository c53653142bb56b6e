"""What a run knows of time: which tasks have had theirs, and when the whole of it has.

A task's time begins when its worker begins with it, so the scheduler asks what the workers are on, and when: not before
the oldest task that it saw could be late. What a worker begins later is late later.

Invariant: only a task that was seen running for its whole time is late, and each is ordered to be ended once.
"""

from __future__ import annotations

from collections.abc import Sequence

from jobspan.errors import task_timeout, time_out
from jobspan.model import Batch, Completion, Running, Ticket
from jobspan.schedule.policy import Policy
from jobspan.worker.describe import call_of


class Timers:
    """The limits of one run.

    Parameters
    ----------
    policy : Policy
        The rules of the run.
    now : float
        When it began.
    """

    def __init__(self, policy: Policy, now: float) -> None:
        self._timeout_s = policy.timeout_s
        self._deadline_s = policy.deadline_s
        self._deadline = None if policy.deadline_s is None else now + policy.deadline_s
        self._next_look = now + (policy.timeout_s or 0.0)
        self._expelled: dict[Ticket, Running] = {}

    def waits_s(self, now: float) -> list[float]:
        """Seconds until something has to be done."""
        waits = []
        if self._timeout_s is not None:
            waits.append(max(0.0, self._next_look - now))
        if self._deadline is not None:
            waits.append(max(0.0, self._deadline - now))
        return waits

    def is_time_to_look(self, now: float) -> bool:
        """Whether a task may be late."""
        return self._timeout_s is not None and now >= self._next_look

    def find_late(self, running: Sequence[Running], now: float) -> list[Running]:
        """Those that have had their time and were not named before."""
        assert self._timeout_s is not None, "or nobody would look"
        others = [each for each in running if each.ticket not in self._expelled]
        late = [each for each in others if each.elapsed_s >= self._timeout_s]
        self._expelled.update((each.ticket, each) for each in late)
        left = [self._timeout_s - each.elapsed_s for each in others if each.elapsed_s < self._timeout_s]
        self._next_look = now + min(left, default=self._timeout_s)
        return late

    def judge(self, batch: Batch, completion: Completion) -> Completion:
        """What came back, or, if its worker was ended for want of time, how long the task had taken."""
        late = self._expelled.pop(completion.ticket, None)
        if late is None or completion.lost is None or self._timeout_s is None:  # it was done in the last moment
            return completion
        index, task = batch.first + late.finished, batch.tasks[late.finished]
        lost = task_timeout(index, late.elapsed_s, call_of(task), batch.attempt, completion.worker, self._timeout_s)
        return completion._replace(lost=lost, begun=late.finished + 1)

    def is_over(self, now: float) -> bool:
        """Whether the whole run has had its time."""
        return self._deadline is not None and now >= self._deadline

    def explain(self, done: int, pulled: int) -> TimeoutError:
        """What to raise then."""
        return time_out(
            f"deadline={self._deadline_s:g} seconds have passed; {done} of the {pulled} tasks taken from the input "
            f"were handed out until then. What else was finished is in this error's 'partial'."
        )
