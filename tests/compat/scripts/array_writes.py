"""Tasks that write into their arguments: what the caller sees of it, and where it is refused."""

import numpy as np
from joblib import Parallel, delayed

SMALL, LARGE = 100, 300_000


def first_after_adding(array, amount):
    array[0] += amount
    return float(array[0])


def is_writable(array):
    return bool(array.flags.writeable)


def append(items, item):
    items.append(item)
    return len(items)


if __name__ == "__main__":
    small = np.zeros(SMALL)
    print(Parallel(n_jobs=2)(delayed(first_after_adding)(small, i) for i in range(1, 6)), small[0])

    large = np.zeros(LARGE)
    private = Parallel(n_jobs=2, mmap_mode="c")
    print(private(delayed(first_after_adding)(large, i) for i in range(1, 6)), large[0])
    copied = Parallel(n_jobs=2, max_nbytes=None)
    print(copied(delayed(first_after_adding)(large, i) for i in range(1, 6)), large[0])
    unmapped = Parallel(n_jobs=2, mmap_mode=None)
    print(unmapped(delayed(float)(array[7]) for array in (large, small)))

    try:
        Parallel(n_jobs=2, mmap_mode="r")(delayed(first_after_adding)(large, i) for i in range(4))
    except ValueError as error:
        print("ValueError:", error)
    for mode in ("r", "c", "r+"):
        print(mode, Parallel(n_jobs=2, mmap_mode=mode)(delayed(is_writable)(array) for array in (small, large)))
    print(large[0], large.sum())

    shared = np.zeros(4)
    Parallel(n_jobs=2, require="sharedmem")(delayed(shared.__setitem__)(i, i * i) for i in range(4))
    print(shared)
    Parallel(n_jobs=1)(delayed(first_after_adding)(shared, 10) for _ in range(2))
    print(shared)

    items = ["a"]
    print(Parallel(n_jobs=2, batch_size=1)(delayed(append)(list(items), i) for i in range(4)), items)

    results = Parallel(n_jobs=2)(delayed(np.full)(LARGE, i) for i in range(3))
    results[0][0] = 5  # results are the caller's own
    print([int(result[0]) for result in results], [type(result).__name__ for result in results])
