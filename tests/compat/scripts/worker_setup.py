"""Preparing the workers: an initializer with arguments, and how many threads the numeric libraries may use."""

import os

from joblib import Parallel, cpu_count, delayed, parallel_config

VARIABLES = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"]


def prepare(language, level=1):
    os.environ["WORKER_LANGUAGE"] = f"{language} {level}"


def greet(name):
    words = {"en 1": "hello", "fr 1": "salut", "fr 2": "bonjour"}
    return f"{words[os.environ['WORKER_LANGUAGE']]} {name}"


def limits():
    return [os.environ.get(variable) for variable in VARIABLES]


def fails_to_start():
    raise RuntimeError("no licence")


if __name__ == "__main__":
    for variable in VARIABLES:
        os.environ.pop(variable, None)

    for language, level in (("en", 1), ("fr", 1), ("fr", 2)):
        with parallel_config(backend="loky", n_jobs=2, initializer=prepare, initargs=(language, level)):
            print(Parallel()(delayed(greet)(name) for name in ("Ada", "Alan", "Grace")))
            print(Parallel(n_jobs=2)(delayed(greet)(name) for name in ("Kurt",)))
    print(Parallel(n_jobs=2, initializer=prepare, initargs=("en",))(delayed(greet)(name) for name in ("Emmy",)))
    print("WORKER_LANGUAGE" in os.environ)

    share = str(max(cpu_count() // 2, 1))
    print(Parallel(n_jobs=2)(delayed(limits)() for _ in range(2)) == [[share] * len(VARIABLES)] * 2)
    for threads in (1, 3):
        with parallel_config(backend="loky", inner_max_num_threads=threads):
            print(Parallel(n_jobs=2)(delayed(limits)() for _ in range(2)))
    os.environ["OMP_NUM_THREADS"] = "7"  # the user's own choice stands
    with parallel_config(backend="loky", n_jobs=2):
        print([values[0] for values in Parallel()(delayed(limits)() for _ in range(2))])

    try:
        with parallel_config(backend="loky", n_jobs=2, initializer=fails_to_start):
            Parallel()(delayed(abs)(i) for i in range(4))
    except Exception:
        print("the workers could not start")
    print(Parallel(n_jobs=2, idle_worker_timeout=20)(delayed(abs)(-i) for i in range(3)))
