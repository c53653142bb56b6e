"""One pool for many short loops: the context manager, an error on the way, a generator inside."""

import os
from math import sqrt

from joblib import Parallel, delayed


def pid_of(_):
    return os.getpid()


def reciprocal(x):
    return 1 / x


if __name__ == "__main__":
    with Parallel(n_jobs=2) as parallel:
        total, rounds = 0.0, 0
        while total < 1000:
            total += sum(parallel(delayed(sqrt)(total + i**2) for i in range(5)))
            rounds += 1
    print(round(total, 6), rounds)

    with Parallel(n_jobs=2) as parallel:
        pids = set()
        for _ in range(5):
            pids.update(parallel(delayed(pid_of)(i) for i in range(6)))
        print(0 < len(pids) <= 2, os.getpid() in pids)

    with Parallel(n_jobs=2, prefer="threads") as parallel:
        print(parallel(delayed(abs)(-i) for i in range(4)))
        print(set(parallel(delayed(pid_of)(i) for i in range(4))) == {os.getpid()})

    for options in ({}, {"prefer": "threads"}):
        with Parallel(n_jobs=2, **options) as parallel:
            try:
                parallel(delayed(reciprocal)(x) for x in (1, 2, 0, 4))
            except ZeroDivisionError as error:
                print("caught:", error)
            print(parallel(delayed(reciprocal)(x) for x in (1, 2, 4)))

    with Parallel(n_jobs=2, return_as="generator") as parallel:
        for squares in ([1, 4], [9, 16]):
            print(list(parallel(delayed(sqrt)(x) for x in squares)))

    parallel = Parallel(n_jobs=2)
    with parallel as same:
        print(same is parallel, same(delayed(abs)(-i) for i in range(3)))
    print(parallel(delayed(abs)(-i) for i in range(3)))  # the object is good for more

    with Parallel(n_jobs=1) as parallel:
        print(parallel(delayed(sqrt)(i) for i in (0, 1, 4)))
