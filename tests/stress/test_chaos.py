"""Runs in which tasks raise, hang and end their workers: every index is accounted for once; `make soak` does more."""

from __future__ import annotations

import time
from random import Random
from typing import Any

import pytest

from jobspan import Parallel, delayed, host
from jobspan.testing import chaos

FAULTS: dict[str, list[chaos.Fault]] = {
    "sequential": ["raise"],
    "threads": ["raise", "sleep"],
    "loky": ["raise", "sleep", "die"],
    "multiprocessing": ["raise", "sleep", "die"],
    "web": ["raise", "sleep", "die"],
}
TIMEOUT_S = 0.4
WAYS = ["list", "generator", "generator_unordered"]


@pytest.mark.filterwarnings("ignore:jobspan. a task in a thread has had its time")
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("return_as", WAYS)
def test_every_index_is_accounted_for_once(backend: Any, return_as: str, seed: int) -> None:
    random = Random(seed)
    faults = FAULTS.get(backend, ["raise"]) if isinstance(backend, str) else ["raise"]
    timeout = TIMEOUT_S if "sleep" in faults else None
    count = 200 if host.has_processes() else 40
    share = 0.1 if faults == ["raise"] else 0.03
    script = chaos.draw_script(random, count, faults, share)
    chaos.survive(
        script,
        count,
        retries=random.randrange(4),
        n_jobs=2,
        backend=backend,
        return_as=return_as,
        timeout=timeout,
        batch_size=random.choice(["auto", 1, 7]),
        watched=seed == 1,
        consume=bool if seed == 1 else lambda: time.sleep(random.choice([0.0, 0.0, 0.003])),
    )


@pytest.mark.thread_unsafe(reason="the clock is everybody's")
@pytest.mark.filterwarnings("ignore:jobspan. a task in a thread has had its time")
@pytest.mark.parametrize("name", ["sequential", *(["threads"] if host.has_threads() else [])])
def test_a_clock_that_jumps_changes_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is told of times may be wrong: waiting and time-outs go by a clock that nobody sets."""
    random = Random(3)

    def jumping() -> float:
        return clock() + random.choice([0.0, -3600.0, 3600.0, 1e9])

    clock = time.time
    for place in ("worker.run", "follow.record", "follow.events", "backends.threads"):
        monkeypatch.setattr(f"jobspan.{place}.time", jumping, raising=False)
    monkeypatch.setattr(time, "time", jumping)
    faults: list[chaos.Fault] = ["raise", "sleep"] if name == "threads" else ["raise"]
    script = chaos.draw_script(random, 60, faults, 0.1)
    timeout = TIMEOUT_S if name == "threads" else None
    for watched in (False, True):
        chaos.survive(script, 60, retries=1, n_jobs=2, backend=name, timeout=timeout, watched=watched)
    run = Parallel(2, name, on_event=bool)
    run([delayed(abs)(-1)] * 50)
    report = run.report()
    assert all(part >= 0 for worker in report.workers for part in worker[2:])
    assert report.html()
    assert str(report)


@pytest.mark.filterwarnings("ignore:jobspan. a task in a thread has had its time")
@pytest.mark.parametrize("faults", [["raise", "sleep"], ["die", "raise", "die"], ["die", "die", "die"]])
def test_a_script_is_followed_to_its_end(replacing_backend: Any, faults: list[chaos.Fault]) -> None:
    script = {3: faults, 5: faults[:1]}
    injected = chaos.survive(script, 12, retries=3, n_jobs=2, backend=replacing_backend, timeout=TIMEOUT_S)
    assert injected == len(faults) + 1
