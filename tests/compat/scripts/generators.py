"""Results as they come: summing up without a list, in order or not, while the input is a generator too."""

import inspect
import threading

from joblib import Parallel, delayed


def block(size, seed):
    return [(seed * 7919 + i * i) % 1009 for i in range(size)]


def in_the_end(index, last, ended):
    if index == 0:
        ended.wait(30)
    elif index == last:
        ended.set()
    return index


if __name__ == "__main__":
    parallel = Parallel(n_jobs=2, return_as="generator")
    results = parallel(delayed(pow)(i, 2) for i in range(10))
    print(inspect.isgenerator(results), next(results), next(results), list(results), list(results))

    total, longest = 0, 0
    for rows in parallel(delayed(block)(1000 + i, i) for i in range(12)):
        total += sum(rows)
        longest = max(longest, len(rows))
    print(total, longest)

    ended = threading.Event()
    unordered = Parallel(n_jobs=2, prefer="threads", return_as="generator_unordered", batch_size=1)
    order = list(unordered(delayed(in_the_end)(i, 5, ended) for i in range(6)))
    print(sorted(order), order.index(0) >= order.index(5) - 1)

    processes = Parallel(n_jobs=2, return_as="generator_unordered")
    print(sorted(processes(delayed(pow)(i, 3) for i in range(20))))

    lazy = Parallel(n_jobs=1, return_as="generator")(delayed(print)("task", i) for i in range(3))
    print("nothing has run")
    print(next(lazy), "one has run")
    print(list(lazy), "all have run")

    for kind in ("generator", "generator_unordered"):
        print(list(Parallel(n_jobs=2, return_as=kind)([])), list(Parallel(return_as=kind)([])))
    try:
        Parallel(n_jobs=2, return_as="set")
    except ValueError as error:
        print("ValueError", "return_as" in str(error))
