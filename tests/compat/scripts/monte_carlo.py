"""Estimating pi: seeds that make the result the same on any number of workers, with a command line around it."""

import argparse
import random

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs


def hits(n, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.random(n), rng.random(n)
    return int(np.count_nonzero(x * x + y * y < 1))


def walk(steps, seed):
    rng = random.Random(seed)
    return sum(rng.choice((-1, 1)) for _ in range(steps))


def legacy(max_value, random_state):
    return np.random.RandomState(random_state).randint(max_value, size=5).tolist()


def estimate(samples, chunks, seed, **options):
    seeds = np.random.SeedSequence(seed).spawn(chunks)
    inside = Parallel(**options)(delayed(hits)(samples // chunks, child) for child in seeds)
    return 4 * sum(inside) / (samples // chunks * chunks)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=200_000)
    parser.add_argument("--chunks", type=int, default=8)
    parser.add_argument("--seed", type=int, default=12)
    options = parser.parse_args(arguments)

    print("workers:", effective_n_jobs(2))
    runs = [{"n_jobs": 1}, {"n_jobs": 2}, {"n_jobs": 2, "prefer": "threads"}, {"n_jobs": 2, "batch_size": 3}]
    estimates = [estimate(options.samples, options.chunks, options.seed, **run) for run in runs]
    print(len(set(estimates)), round(estimates[0], 6))

    print(Parallel(n_jobs=2)(delayed(walk)(1000, seed) for seed in range(8)))
    print(Parallel(n_jobs=2)(delayed(legacy)(10, state) for state in (0, 1, 0, np.int64(1))))
    fresh = Parallel(n_jobs=2)(delayed(legacy)(10**9, None) for _ in range(6))
    print("all different:", len({tuple(numbers) for numbers in fresh}))


if __name__ == "__main__":
    main([])
    main(["--samples", "1000", "--chunks", "3"])
