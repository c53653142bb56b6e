"""A task that raises while another goes on: when the caller hears of it, and what the next call costs.

The clock is the same for all processes of a machine, so the task tells when it raised.
"""

import time
from collections.abc import Callable

from workloads.library import load
from workloads.tasks import identity

SHORT_S, LONG_S = 0.02, 0.5


class Raised(Exception):
    """Tells when it was raised, in seconds since the epoch."""


def raise_or_sleep(index: int) -> None:
    """Raise in one task, some time after the others have begun."""
    time.sleep(SHORT_S if index == 1 else LONG_S)  # the work of the tasks: one fails while the other is busy
    raise Raised(time.time())


def raised(library: str, backend: str, n_jobs: int) -> Callable[[int], dict[str, float]]:
    """Return `told_ms`, from the raising to the caller's `except`, and `next_ms`, for a call of two tasks after it."""
    module, name = load(library, backend)
    d = module.delayed(raise_or_sleep)

    def call() -> float:
        begun = time.perf_counter()
        module.Parallel(n_jobs=n_jobs, backend=name)(module.delayed(identity)(i) for i in range(2))
        return time.perf_counter() - begun

    def repeat(_: int) -> dict[str, float]:
        call()
        before = min(call() for _ in range(3))
        try:
            module.Parallel(n_jobs=n_jobs, backend=name)(d(i) for i in range(2))
        except Raised as error:
            told = time.time() - error.args[0]
        after = call()
        return {"told_ms": told * 1e3, "next_ms": after * 1e3, "next_over_warm": after / before}

    return repeat
