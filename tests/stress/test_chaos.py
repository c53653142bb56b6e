"""Runs in which tasks raise, hang and end their workers: every index is accounted for once; `make soak` does more."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from jobspan import host
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
    )


@pytest.mark.filterwarnings("ignore:jobspan. a task in a thread has had its time")
@pytest.mark.parametrize("faults", [["raise", "sleep"], ["die", "raise", "die"], ["die", "die", "die"]])
def test_a_script_is_followed_to_its_end(replacing_backend: Any, faults: list[chaos.Fault]) -> None:
    script = {3: faults, 5: faults[:1]}
    injected = chaos.survive(script, 12, retries=3, n_jobs=2, backend=replacing_backend, timeout=TIMEOUT_S)
    assert injected == len(faults) + 1
