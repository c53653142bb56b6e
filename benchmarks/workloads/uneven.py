"""Tasks of log-normal length: how close the makespan comes to the best that anybody could do.

The ideal is `max(sum / width, longest)` of the durations as measured inside the tasks, so a machine that is
slow for a moment is slow for the ideal as well. `greedy` is list scheduling of these durations without any
overhead: the floor for whoever takes tasks in order and does not know their lengths.
"""

import heapq
import math
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor

from workloads.library import load
from workloads.tasks import burn, sleep

MEAN_S = 0.005
SIGMA = 1.0
WORK = {"sleep": sleep, "burn": burn}

Repeat = Callable[[int], dict[str, float]]


def durations(seed: int, count: int) -> list[float]:
    """Return `count` log-normal durations in seconds with a mean of 5 ms."""
    chance = random.Random(seed)
    return [chance.lognormvariate(math.log(MEAN_S) - SIGMA**2 / 2, SIGMA) for _ in range(count)]


def greedy_s(lengths: Sequence[float], width: int) -> float:
    """Return the makespan of list scheduling: whoever is free takes the next task."""
    free = [0.0] * width
    for length in lengths:
        heapq.heapreplace(free, free[0] + length)
    return max(free)


def _reading(makespan: float, measured: Sequence[float], width: int) -> dict[str, float]:
    ideal = max(sum(measured) / width, *measured)
    return {
        "over_ideal": makespan / ideal,
        "greedy": greedy_s(measured, width) / ideal,
        "makespan_ms": makespan * 1e3,
    }


def parallel(library: str, backend: str, width: int, work: str, source: str, count: int) -> Repeat:
    """Run the tasks in one call; `source` is `list` (length known) or `generator` (length unknown)."""
    module, name = load(library, backend)
    d = module.delayed(WORK[work])

    def repeat(seed: int) -> dict[str, float]:
        module.Parallel(n_jobs=width, backend=name)(d(0.001) for _ in range(2 * width))
        lengths = durations(seed, count)
        tasks = [d(x) for x in lengths] if source == "list" else (d(x) for x in lengths)
        start = time.perf_counter()
        measured = module.Parallel(n_jobs=width, backend=name)(tasks)
        return _reading(time.perf_counter() - start, measured, width)

    return repeat


def one_by_one(executor: str, width: int, work: str, count: int) -> Repeat:
    """Submit each task on its own to a plain executor: the best balance, the highest overhead."""
    function = WORK[work]

    def pool() -> Executor:
        if executor == "loky":
            from loky import get_reusable_executor

            reusable: Executor = get_reusable_executor(max_workers=width, timeout=300)
            return reusable
        return ThreadPoolExecutor(width)

    kept = pool()

    def repeat(seed: int) -> dict[str, float]:
        list(kept.map(function, [0.001] * (2 * width)))
        lengths = durations(seed, count)
        start = time.perf_counter()
        measured = list(kept.map(function, lengths))
        return _reading(time.perf_counter() - start, measured, width)

    return repeat
