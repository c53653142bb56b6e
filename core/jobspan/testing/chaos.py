"""Tasks that fail by a script, and what a run with such tasks has to give, for any backend.

A script says of each input what its attempts do, one after the other: raise, take too long, end their worker. After
those the task returns its index.

Invariant: what is expected follows from the script and the settings alone, not from who ran what when.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any, Literal, TypeAlias

from jobspan.captured import delayed
from jobspan.errors import TaskError, TaskTimeout, WorkerLost
from jobspan.model import Event
from jobspan.parallel import Parallel
from jobspan.schedule.setbacks import MOST_DEATHS
from jobspan.worker.context import attempt

Fault: TypeAlias = Literal["raise", "sleep", "die"]
Script: TypeAlias = Mapping[int, Sequence[Fault]]

_TOO_LONG = 5  # times the time-out


class ScriptedError(Exception):
    """What a scripted task raises."""


def misbehave(faults: Sequence[Fault], index: int, too_long_s: float) -> int:
    """What the task does at this attempt."""
    now = attempt()
    match faults[now - 1] if now <= len(faults) else None:
        case "raise":
            raise ScriptedError(index, now)
        case "sleep":
            time.sleep(too_long_s)  # what it is there for: the time-out ends it
        case "die":
            os._exit(3)
    return index


def draw_script(random: Random, count: int, faults: Sequence[Fault], share: float = 0.1) -> dict[int, list[Fault]]:
    """A script in which about this share of `count` inputs misbehaves."""
    bad = [index for index in range(count) if random.random() < share]
    return {index: random.choices(faults, k=random.randint(1, 3)) for index in bad}


def survive(
    script: Script,
    count: int,
    *,
    retries: int,
    timeout: float | None = None,
    consume: Callable[[], object] = bool,
    watched: bool = False,
    **settings: Any,
) -> int:
    """Run `count` tasks, and return how many faults were injected and survived.

    Parameters
    ----------
    consume : callable
        Called for each result; one that takes its time makes a slow consumer.
    watched : bool
        Check what the run's events tell, too.

    Raises
    ------
    AssertionError
        If an index is not accounted for exactly once, as its result or as the error that the script leads to.
    """
    too_long_s = _TOO_LONG * (timeout or 0)
    calls = (delayed(misbehave)(tuple(script.get(index, ())), index, too_long_s) for index in range(count))
    events: list[Event] = []
    on_event = events.append if watched else None
    run = Parallel(errors="return", retries=retries, backoff=0, timeout=timeout, on_event=on_event, **settings)
    results = []
    for result in run(calls):
        results.append(result)
        consume()
    assert len(results) == count, f"{count} tasks have given {len(results)} results"
    if settings.get("return_as") == "generator_unordered":
        results.sort(key=lambda each: each.index if isinstance(each, TaskError) else each)
    injected = 0
    for index, result in enumerate(results):
        happened = list(_happening(script.get(index, ()), retries))
        injected += len(happened)
        if len(happened) > retries or happened.count("die") == MOST_DEATHS:
            _check_error(index, result, happened)
        else:
            assert result == index, f"task {index} has given {result!r}"
    if watched:
        _check_events(events, results)
    report = run.report()
    failed = sum(isinstance(result, TaskError) for result in results)
    assert (report.done, report.failed) == (count - failed, failed), str(report)
    return injected


def _check_events(events: Sequence[Event], results: Sequence[Any]) -> None:
    """Each task is told of once as finished: done, or at its end without another attempt."""
    ends: Counter[int] = Counter()
    for event in events:
        if event.kind == "retried":
            ends[event.index] -= 1
        elif event.kind != "started":
            ends[event.index] += 1
    assert ends == Counter(range(len(results))), {index: count for index, count in ends.items() if count != 1}
    done = {event.index for event in events if event.kind == "done"}
    assert done == {index for index, result in enumerate(results) if not isinstance(result, TaskError)}


def _happening(faults: Sequence[Fault], retries: int) -> Iterator[Fault]:
    """The faults that come about before the task is given up."""
    deaths = 0
    for fault in faults[: retries + 1]:
        yield fault
        deaths += fault == "die"
        if deaths == MOST_DEATHS:
            return


def _check_error(index: int, result: Any, happened: Sequence[Fault]) -> None:
    assert isinstance(result, TaskError), f"task {index} should have failed, and has given {result!r}"
    assert (result.index, result.attempt) == (index, len(happened)), str(result)
    kind = {"raise": ScriptedError, "sleep": TaskTimeout, "die": WorkerLost}[happened[-1]]
    assert isinstance(result.error, kind), str(result)
