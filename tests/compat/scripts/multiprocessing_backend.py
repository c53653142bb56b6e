"""The older process backend: a pool per call or per block, start methods, an initializer, recycled workers."""

import multiprocessing
import os

import numpy as np
from joblib import Parallel, delayed, parallel_config

state = {"greeting": "none"}


def pid_of(_):
    return os.getpid()


def square(x):
    return x * x


def set_greeting(greeting):
    state["greeting"] = greeting


def greeting_for(name):
    return f"{state['greeting']} {name}"


def total(array):
    return float(array.sum())


if __name__ == "__main__":
    print(Parallel(n_jobs=2, backend="multiprocessing")(delayed(square)(i) for i in range(12)))
    with parallel_config(backend="multiprocessing"):
        print(Parallel(n_jobs=2)(delayed(square)(i) for i in range(5)), Parallel()(delayed(square)(i) for i in (7,)))
    pids = Parallel(n_jobs=2, backend="multiprocessing")(delayed(pid_of)(i) for i in range(20))
    print(os.getpid() in pids, 0 < len(set(pids)) <= 2)

    with Parallel(n_jobs=2, backend="multiprocessing") as parallel:
        first = set(parallel(delayed(pid_of)(i) for i in range(10)))
        second = set(parallel(delayed(pid_of)(i) for i in range(10)))
        print(len(first | second) <= 2)
        print(parallel(delayed(total)(array) for array in (np.ones(10), np.ones(500_000))))

    for method in multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context(method)
        print(method, Parallel(n_jobs=2, backend=context)(delayed(square)(i) for i in range(4)))

    greeted = Parallel(n_jobs=2, backend="multiprocessing", initializer=set_greeting, initargs=("hello",))
    print(greeted(delayed(greeting_for)(name) for name in ("Ada", "Alan")), state["greeting"])

    recycled = Parallel(n_jobs=2, backend="multiprocessing", maxtasksperchild=1, batch_size=1)
    print(len(set(recycled(delayed(pid_of)(i) for i in range(5)))))

    try:
        Parallel(n_jobs=2, backend="multiprocessing")(delayed(int)(text) for text in ("1", "x"))
    except ValueError as error:
        print(error)
    print(Parallel(n_jobs=2, backend="multiprocessing")(delayed(square)(i) for i in range(3)))
