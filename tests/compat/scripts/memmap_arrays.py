"""Arrays on disk and large arrays: read by all workers, written by all workers, mapped instead of copied."""

import os
import tempfile

import numpy as np
from joblib import Parallel, delayed, parallel_config


def column_sum(data, column):
    return float(data[:, column].sum())


def fill(data, means, row):
    means[row] = data[row].mean()


def strided(view):
    return view.shape, float(view.sum())


def describe(array):
    return array.shape, str(array.dtype), float(array.sum())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        data = np.memmap(os.path.join(folder, "data"), dtype="float64", shape=(200, 50), mode="w+")
        data[:] = np.arange(10_000).reshape(200, 50)
        print(Parallel(n_jobs=2)(delayed(column_sum)(data, i) for i in range(5)))
        print(Parallel(n_jobs=2)(delayed(strided)(view) for view in (data[::7, ::3], data[:, 5], data.T, data[3:9])))

        for backend in ("loky", "threading"):
            means = np.memmap(os.path.join(folder, backend), dtype="float64", shape=200, mode="w+")
            Parallel(n_jobs=2, backend=backend)(delayed(fill)(data, means, row) for row in range(200))
            print(backend, np.array_equal(means, data.mean(axis=1)), float(means[-1]))
            del means

        read_only = np.memmap(os.path.join(folder, "data"), dtype="float64", shape=(200, 50), mode="r")
        print(Parallel(n_jobs=2)(delayed(column_sum)(read_only, i) for i in range(3)))
        del data, read_only

    small, large = np.ones(1000), np.ones(1_000_000)
    print(Parallel(n_jobs=2)(delayed(describe)(array) for array in (small, large)))
    print(Parallel(n_jobs=2, max_nbytes=None)(delayed(describe)(array) for array in (small, large)))
    for limit in ("4K", 8000, 7999, "100M"):
        print(limit, Parallel(n_jobs=2, max_nbytes=limit)(delayed(describe)(array) for array in (small, large)))
    with parallel_config(max_nbytes="1K"), tempfile.TemporaryDirectory() as folder:
        print(Parallel(n_jobs=2, temp_folder=folder)(delayed(describe)(small) for _ in range(2)))
    print(Parallel(n_jobs=2)([delayed(describe)(np.asfortranarray(large.reshape(1000, 1000)).astype("float32"))]))
    try:
        Parallel(n_jobs=2, max_nbytes="a lot")
    except ValueError:
        print("refused: max_nbytes")
