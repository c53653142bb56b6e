"""A loop that goes on: where it begins, when its state is saved, and what was asked for meanwhile.

Invariant: what is saved is the state after `Run.end_step`, with the number of steps that are whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Generic, NamedTuple, TypeVar

from jobspan.errors import CheckpointMismatch, DamagedFileError, say_once
from jobspan.memory.origin import Origin
from jobspan.memory.snapshots import Snapshot, Snapshots
from jobspan.memory.state import State

T = TypeVar("T")


class How(NamedTuple):
    """When to save, what to keep, and whether to go on: as `Steps` was told."""

    every_steps: int | None
    every_s: float
    keep: int | None
    resume: bool | str
    compress: Any
    clock: Callable[[], float]


class Plan(NamedTuple, Generic[T]):
    """What a loop is to do.

    Attributes
    ----------
    items : iterable
        One for each step.
    facts : dict
        What must not have changed when it is taken up again, by name.
    origin : Origin
        Of which code and arguments it is.
    initial : dict
        The state to begin with.
    """

    items: Iterable[T]
    facts: dict[str, Any]
    origin: Origin
    initial: dict[str, Any]


class Run:
    """One loop, from when it is taken up to when it is over or left.

    Parameters
    ----------
    name : str
        The checkpoint's.
    how : How
        When to save.
    plan : Plan
        What to do.
    snapshots : Snapshots
        Where to.

    Attributes
    ----------
    state : State
        What its steps change.
    wish : {"", "save", "finish"}
        What was asked for in the step that is going on.
    is_finished : bool
        Whether a step was the last because it said so.
    is_over : bool
        Whether there are no more steps, for whatever reason.
    """

    def __init__(self, name: str, how: How, plan: Plan[Any], snapshots: Snapshots) -> None:
        self.state = State(**plan.initial)
        self.wish = ""
        self.is_finished = False
        self.is_over = False
        self._name = name
        self._how = how
        self._plan = plan
        self._snapshots = snapshots
        self._done = 0
        self._saved: int | None = None
        self._tried = 0
        self._tried_at = 0.0

    def begin(self) -> None:
        """Find the state to begin with.

        Raises
        ------
        CheckpointMismatch
            If what was saved is of another loop.
        """
        if self._how.resume is False:
            self._snapshots.clear()
        for snapshot in self._snapshots.find_latest():
            difference = self._explain_difference(snapshot)
            if difference and self._how.resume != "force":
                raise CheckpointMismatch(self._refuse(snapshot, difference))
            try:
                found = snapshot.read()
            except DamagedFileError as error:
                self._snapshots.set_aside(snapshot.path, error)
                continue
            self.state = State(**found)
            self.is_finished = snapshot.facts["finished"]
            self._done = snapshot.facts["done"]
            self._saved = None if difference else self._done
            break
        self._tried, self._tried_at = self._done, self._how.clock()
        if self._done:
            self.save()  # if it was another loop's, it is this one's from now on

    def _explain_difference(self, snapshot: Snapshot) -> str:
        facts = snapshot.facts
        then = Origin(facts["where"], facts["code"], facts["arguments"])
        found = self._plan.origin.explain_difference(then, snapshot.python)
        if found:
            return found
        before, now = facts["plan"], self._plan.facts
        return ", ".join(
            f"its {name} was {before.get(name)}, and is {now.get(name)}"
            for name in before | now
            if before.get(name) != now.get(name)
        )

    def _refuse(self, snapshot: Snapshot, difference: str) -> str:
        saved = time.strftime("%Y-%m-%d %H:%M", time.localtime(snapshot.facts["saved_at"]))
        return (
            f"the checkpoint {self._name!r} is of another loop: {difference}. It was saved at {saved}, after "
            f"{snapshot.facts['done']} steps, in {snapshot.path}. To go on from it all the same, write resume='force'; "
            f"to begin anew, resume=False; or give this loop another name."
        )

    def remaining(self) -> Iterator[Any]:
        """What is left to do.

        Raises
        ------
        CheckpointMismatch
            If more steps were done than there are now.
        """
        if self.is_finished:
            return iter(())
        items = self._plan.items
        if isinstance(items, range) and len(items) >= self._done:
            return iter(items[self._done :])
        rest = iter(items)
        found = sum(1 for _ in islice(rest, self._done))
        if found < self._done and self._how.resume != "force":
            raise CheckpointMismatch(
                f"the checkpoint {self._name!r} is the state after {self._done} steps, and this loop has only {found}. "
                f"Give it as many, or another name, or begin anew (resume=False)."
            )
        return rest

    def end_step(self) -> None:
        """Count a step that is whole, and save the state if it is time to."""
        self._done += 1
        self.is_finished = self.wish == "finish"
        if self.wish or self._is_due():
            self.save()
        self.wish = ""

    def _is_due(self) -> bool:
        if self._how.every_steps is not None:
            return self._done - self._tried >= self._how.every_steps
        return self._how.clock() - self._tried_at >= self._how.every_s

    def save(self) -> None:
        """Save the state after the last step that is whole, unless it was saved already."""
        if self._saved == self._done:
            return
        facts = {
            "done": self._done,
            "finished": self.is_finished,
            "saved_at": time.time(),
            "plan": self._plan.facts,
            **self._plan.origin._asdict(),
        }
        try:
            self._snapshots.save(self._done, facts, self.state)
            self._saved = self._done
        except OSError as error:
            say_once(
                f"the checkpoint {self._name!r} cannot be written ({error}); the loop goes on, and what it does "
                f"meanwhile will be done again if it has to be taken up."
            )
        self._tried, self._tried_at = self._done, self._how.clock()
