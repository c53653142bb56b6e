"""Runs that keep their results: with a journal, and with joblib's `Memory` around the function, as one would else."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable

from workloads.tasks import identity

Repeat = Callable[[int], dict[str, float]]


def _timed(run: Callable[[], list[int]], n: int) -> float:
    begun = time.perf_counter()
    results = run()
    spent = time.perf_counter() - begun
    if results != list(range(n)):
        raise AssertionError("the results are not those of the tasks, in order")
    return spent


def journal(backend: str, n_jobs: int, n: int) -> Repeat:
    """Return what a journal adds per task, `more_us`, and what it takes to find all again, `again_s`, `again_us`."""
    from jobspan import Parallel, delayed

    d = delayed(identity)
    plain = Parallel(n_jobs=n_jobs, backend=backend)

    def repeat(_: int) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            kept = Parallel(n_jobs=n_jobs, backend=backend, checkpoint=os.path.join(folder, "run.ckpt"))
            without = _timed(lambda: plain(d(i) for i in range(n)), n)
            first = _timed(lambda: kept(d(i) for i in range(n)), n)
            again = _timed(lambda: kept(d(i) for i in range(n)), n)
        return {"more_us": (first - without) / n * 1e6, "again_s": again, "again_us": again / n * 1e6}

    return repeat


def memory(backend: str, n_jobs: int, n: int) -> Repeat:
    """Return the same of joblib with a cached function."""
    from joblib import Memory, Parallel, delayed

    parallel = Parallel(n_jobs=n_jobs, backend={"threads": "threading"}.get(backend, backend))

    def repeat(_: int) -> dict[str, float]:
        folder = tempfile.mkdtemp()
        try:
            d = delayed(Memory(folder, verbose=0).cache(identity))
            without = _timed(lambda: parallel(delayed(identity)(i) for i in range(n)), n)
            first = _timed(lambda: parallel(d(i) for i in range(n)), n)
            again = _timed(lambda: parallel(d(i) for i in range(n)), n)
        finally:
            shutil.rmtree(folder)
        return {"more_us": (first - without) / n * 1e6, "again_s": again, "again_us": again / n * 1e6}

    return repeat
