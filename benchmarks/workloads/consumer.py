"""A consumer that takes one result of a generator and then stalls: how much piles up meanwhile.

What piles up is counted exactly: each task leaves a byte in a file when it runs, so `held_mb` is tasks run
minus results taken, each of 1 MB. `tree_mb` is the memory of the process tree at the end of the stall.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from proctree import resident_mb
from workloads.library import load
from workloads.tasks import megabyte


def stalled(library: str, backend: str, n_jobs: int, count: int, stall_s: float) -> Callable[[int], dict[str, float]]:
    """Take the first of `count` results of 1 MB, wait, look, then take the others and check them."""
    module, name = load(library, backend)
    d = module.delayed(megabyte)

    def repeat(_: int) -> dict[str, float]:
        with tempfile.NamedTemporaryFile() as log:
            for _result in module.Parallel(n_jobs=n_jobs, backend=name, return_as="generator")(
                d(i, log.name) for i in range(2 * n_jobs)
            ):
                pass
            before = Path(log.name).stat().st_size
            results = module.Parallel(n_jobs=n_jobs, backend=name, return_as="generator")(
                d(i, log.name) for i in range(count)
            )
            next(results)
            time.sleep(stall_s)
            run = Path(log.name).stat().st_size - before
            tree_mb = resident_mb()
            for i, result in enumerate(results, 1):
                if result[0] != i % 251:
                    raise AssertionError("a result is missing or out of order")
            return {"held_mb": float(run - 1), "tree_mb": tree_mb}

    return repeat
