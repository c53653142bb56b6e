"""Tasks that do nothing, so that the time is the library's own.

A repetition returns microseconds per task: `wall_us`, `cpu_us` of the contestant, `tree_us` with its workers.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import Pool, ThreadPool
from typing import Any

from proctree import cpu_of_others_s
from workloads.library import load
from workloads.tasks import call, delayed_tuples, identity

Repeat = Callable[[int], dict[str, float]]


def _timed(run: Callable[[], object], units: int, *, tree: bool) -> dict[str, float]:
    others = cpu_of_others_s() if tree else 0.0
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    others = cpu_of_others_s() - others if tree else 0.0
    return {
        "wall_us": wall / units * 1e6,
        "cpu_us": cpu / units * 1e6,
        "tree_us": (cpu + others) / units * 1e6,
    }


def _checked(results: list[int], n: int) -> None:
    if results != list(range(n)):
        raise AssertionError("the results are not those of the tasks, in order")


def parallel(
    library: str, backend: str | None, n_jobs: int, n: int, *, hoisted: bool, settings: dict[str, Any] | None = None
) -> Repeat:
    """Run `n` tasks in one call, written as `delayed(f)(i)` or with `d = delayed(f)` before the loop."""
    kwargs = settings or {}
    module, name = load(library, backend)
    delayed = module.delayed
    d = delayed(identity)

    def run() -> object:
        if hoisted:
            return module.Parallel(n_jobs=n_jobs, backend=name, **kwargs)(d(i) for i in range(n))
        return module.Parallel(n_jobs=n_jobs, backend=name, **kwargs)(delayed(identity)(i) for i in range(n))

    _checked(list(module.Parallel(n_jobs=n_jobs, backend=name, **kwargs)(d(i) for i in range(n))), n)
    return lambda _: _timed(run, n, tree=backend == "loky")


def messages(library: str, backend: str | None, n_jobs: int, n: int) -> Repeat:
    """Run `n` tasks in one call, each sent on its own."""
    module, name = load(library, backend)
    d = module.delayed(identity)

    def run() -> list[int]:
        results: list[int] = module.Parallel(n_jobs=n_jobs, backend=name, batch_size=1)(d(i) for i in range(n))
        return results

    _checked(run(), n)
    return lambda _: _timed(run, n, tree=True)


def calls(
    library: str, backend: str | None, n_jobs: int, tasks: int, n: int, settings: dict[str, Any] | None = None
) -> Repeat:
    """Make `n` calls of a few tasks, each with a new `Parallel` object; figures are per call."""
    module, name = load(library, backend)
    kwargs = settings or {}
    delayed = module.delayed
    d = delayed(identity)

    def run() -> None:
        for _ in range(n):
            module.Parallel(n_jobs=n_jobs, backend=name, **kwargs)(d(i) for i in range(tasks))

    return lambda _: _timed(run, n, tree=backend == "loky")


def plain_loop(n: int) -> Repeat:
    """A list comprehension over the same tuples: the floor of every sequential run."""
    d = delayed_tuples(identity)
    return lambda _: _timed(lambda: [f(*a, **k) for f, a, k in (d(i) for i in range(n))], n, tree=False)


def thread_pool_map(n_jobs: int, n: int) -> Repeat:
    """`multiprocessing.pool.ThreadPool.map` over the same tuples with the chunk size it chooses itself."""
    pool, d = ThreadPool(n_jobs), delayed_tuples(identity)
    _checked(pool.map(call, (d(i) for i in range(n))), n)
    return lambda _: _timed(lambda: pool.map(call, (d(i) for i in range(n))), n, tree=False)


def process_pool_map(n_jobs: int, n: int) -> Repeat:
    """`multiprocessing.Pool.map` over the same tuples with the chunk size it chooses itself."""
    pool, d = Pool(n_jobs), delayed_tuples(identity)
    _checked(pool.map(call, (d(i) for i in range(n))), n)
    return lambda _: _timed(lambda: pool.map(call, (d(i) for i in range(n))), n, tree=True)


def bare_loky_map(n_jobs: int, n: int, chunk: int | None = None) -> Repeat:
    """`loky`'s `executor.map` with the chunk size of `multiprocessing.Pool` (its own is one task), or a given one."""
    from loky import get_reusable_executor

    d, chunk = delayed_tuples(identity), chunk or -(-n // (4 * n_jobs))

    def run() -> list[int]:
        executor = get_reusable_executor(max_workers=n_jobs, timeout=300)
        return list(executor.map(call, (d(i) for i in range(n)), chunksize=chunk))

    _checked(run(), n)
    return lambda _: _timed(run, n, tree=True)


def bare_loky_calls(n_jobs: int, tasks: int, n: int) -> Repeat:
    """`get_reusable_executor`, one `submit` per task, all results; figures are per such call."""
    from loky import get_reusable_executor

    def run() -> None:
        for _ in range(n):
            executor = get_reusable_executor(max_workers=n_jobs, timeout=300)
            futures = [executor.submit(identity, i) for i in range(tasks)]
            for future in futures:
                future.result()

    return lambda _: _timed(run, n, tree=True)


def thread_executor_calls(n_jobs: int, tasks: int, n: int) -> Repeat:
    """One `ThreadPoolExecutor` kept open, one `submit` per task, all results; figures are per such call."""
    executor = ThreadPoolExecutor(n_jobs)

    def run() -> None:
        for _ in range(n):
            futures = [executor.submit(identity, i) for i in range(tasks)]
            for future in futures:
                future.result()

    return lambda _: _timed(run, n, tree=False)
