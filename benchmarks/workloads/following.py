"""Runs whose progress is shown, in a terminal as far as they can tell."""

import io
import sys
import time
from collections.abc import Callable

from workloads.tasks import burn, identity

Repeat = Callable[[int], dict[str, float]]
_TIMES = 4


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        """Say what decides between a bar and lines."""
        return True


def shown(backend: str, n_jobs: int, n: int, seconds: float) -> Repeat:
    """Return microseconds per task, `shown_us` with a bar and `plain_us` without, of tasks that take `seconds`."""
    from jobspan import Parallel, delayed

    d = delayed(burn if seconds else identity)
    ways = {"plain_us": Parallel(n_jobs, backend), "shown_us": Parallel(n_jobs, backend, progress=True)}

    def timed(parallel: Parallel) -> float:
        begun = time.perf_counter()
        results = parallel(d(seconds) for _ in range(n))
        spent = time.perf_counter() - begun
        if len(results) != n:
            raise AssertionError("there are not as many results as tasks")
        return spent / n * 1e6

    def repeat(_: int) -> dict[str, float]:
        told, sys.stderr = sys.stderr, _Terminal()
        try:
            found = [{name: timed(ways[name]) for name in sorted(ways, reverse=odd)} for odd in (False, True) * _TIMES]
        finally:
            sys.stderr = told
        return {name: min(each[name] for each in found) for name in ways}  # what else runs here takes turns, too

    return repeat
