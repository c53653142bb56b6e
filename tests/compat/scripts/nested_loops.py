"""Loops in loops: rows in columns, three levels deep, and a library that is parallel by itself."""

from joblib import Parallel, delayed, parallel_config


def cell(row, column):
    return 10 * row + column


def whole_row(row, n_jobs, prefer=None):
    return Parallel(n_jobs=n_jobs, prefer=prefer)(delayed(cell)(row, column) for column in range(4))


def distances(points, n_jobs=None):
    """Library code: parallel only if it is told to be."""
    parallel = Parallel(n_jobs=n_jobs)
    return parallel.n_jobs, parallel(delayed(abs)(a - b) for a in points for b in points)


def deep(level):
    if level == 0:
        return 1
    return 1 + sum(Parallel(n_jobs=2)(delayed(deep)(level - 1) for _ in range(2)))


def collect(n):
    """Tasks below a process's task share that process's memory."""
    found = set()
    Parallel(n_jobs=2, require="sharedmem")(delayed(found.add)(n * i) for i in range(4))
    return sorted(found)


if __name__ == "__main__":
    for outer in ("loky", "threading"):
        for inner, prefer in ((1, None), (2, None), (2, "threads")):
            with parallel_config(backend=outer):
                print(Parallel(n_jobs=2)(delayed(whole_row)(row, inner, prefer) for row in range(3)))

    print(Parallel(n_jobs=2)(delayed(distances)([1, 5, n]) for n in range(2)))
    with parallel_config(backend="threading", n_jobs=2):  # is for this level: inside, unset is 1 again
        print(Parallel()(delayed(distances)([1, 5, n]) for n in range(2)))
        print(distances([3, 4]))

    print(Parallel(n_jobs=2)(delayed(deep)(3) for _ in range(2)))
    print(Parallel(n_jobs=2, prefer="threads")(delayed(deep)(3) for _ in range(2)))
    print(Parallel(n_jobs=2)(delayed(collect)(n) for n in (1, 3)))
    print(Parallel(n_jobs=1)(delayed(whole_row)(row, 2) for row in range(2)))
