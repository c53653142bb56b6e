"""Large arguments that many tasks share, and large results.

A repetition is one call; `peak_mb` is the most memory that the process tree held during it, shared pages once.
"""

import threading
import time
from collections.abc import Callable
from typing import Any, Self

from proctree import resident_mb
from workloads.library import load

Repeat = Callable[[int], dict[str, float]]


def nothing(_constant: Any) -> None:
    """The task that only needs its argument to be there."""


def skim(array: Any, index: int) -> float:
    """Read a number in every 64 kB."""
    return float(array[index :: 1 << 13].sum())


def fill(index: int, count: int) -> Any:
    """Make an array of `count` floats."""
    import numpy as np

    return np.full(count, index, dtype=float)


class _Peak:
    """Looks at the memory of the process tree from a thread, every few milliseconds."""

    def __enter__(self) -> Self:
        self.mb = resident_mb()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def _look(self) -> None:
        while not self._over.wait(0.005):
            self.mb = max(self.mb, resident_mb())

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def constant_dict(library: str, keys: int, tasks: int, *, batch_size: Any, marked: bool) -> Repeat:
    """Give the same dictionary to many tasks that do nothing (joblib#1733)."""
    module, _ = load(library)
    table = {f"key {i}": i for i in range(keys)}
    if marked:
        table = module.shared(table)

    def repeat(_: int) -> dict[str, float]:
        begun = time.perf_counter()
        module.Parallel(n_jobs=2, backend="loky", batch_size=batch_size)(
            module.delayed(nothing)(table) for _ in range(tasks)
        )
        return {"wall_ms": (time.perf_counter() - begun) * 1e3}

    repeat(0)
    return repeat


def array(library: str, nbytes: int, tasks: int, *, watched: bool) -> Repeat:
    """Give the same array to many tasks that read a little of it; the first call is over."""
    import numpy as np

    module, _ = load(library)
    large = np.arange(nbytes // 8, dtype=float)

    def call() -> None:
        module.Parallel(n_jobs=2, backend="loky")(module.delayed(skim)(large, i) for i in range(tasks))

    def repeat(_: int) -> dict[str, float]:
        if watched:
            with _Peak() as peak:
                call()
            return {"peak_mb": peak.mb}
        begun = time.perf_counter()
        call()
        return {"wall_ms": (time.perf_counter() - begun) * 1e3}

    call()
    return repeat


def results(library: str, nbytes: int, tasks: int) -> Repeat:
    """Make arrays on the workers and read a number of each."""
    module, _ = load(library)

    def repeat(_: int) -> dict[str, float]:
        begun = time.perf_counter()
        found = module.Parallel(n_jobs=2, backend="loky")(module.delayed(fill)(i, nbytes // 8) for i in range(tasks))
        took = time.perf_counter() - begun
        if [int(each[-1]) for each in found] != list(range(tasks)):
            raise AssertionError("the results are not those of the tasks, in order")
        return {"wall_ms": took * 1e3}

    repeat(0)
    return repeat
