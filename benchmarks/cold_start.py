"""The first result of a fresh script on two processes: `cold_start.py jobspan|joblib|loky|process_pool`.

The task is defined in the script itself, as in a user's first script. The first line of output marks the
first result. A contestant imports nothing that belongs to another.
"""

import sys


def square(x: int) -> int:
    """Return the square."""
    return x * x


def jobspan() -> list[int]:
    """Run two tasks on jobspan's loky."""
    from jobspan import Parallel, delayed

    return list(Parallel(n_jobs=2, backend="loky")(delayed(square)(i) for i in range(2)))


def joblib() -> list[int]:
    """Run two tasks on joblib's loky."""
    from joblib import Parallel, delayed

    return list(Parallel(n_jobs=2, backend="loky")(delayed(square)(i) for i in range(2)))


def loky() -> list[int]:
    """Run two tasks on bare loky."""
    from loky import get_reusable_executor

    executor = get_reusable_executor(max_workers=2)
    return [future.result() for future in [executor.submit(square, i) for i in range(2)]]


def process_pool() -> list[int]:
    """Run two tasks on the standard library's processes, each a new interpreter as in loky."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    executor = ProcessPoolExecutor(2, mp_context=get_context("spawn"))
    return [future.result() for future in [executor.submit(square, i) for i in range(2)]]


CONTESTANTS = {run.__name__: run for run in (jobspan, joblib, loky, process_pool)}

if __name__ == "__main__":
    if CONTESTANTS[sys.argv[1]]() != [0, 1]:
        sys.exit("wrong results")
    sys.stdout.write("first result\n")
    sys.stdout.flush()
