"""Settings from outside: blocks inside each other, the older parallel_backend, settings without a block."""

import os

from joblib import Parallel, delayed, parallel_backend, parallel_config


def in_this_process():
    pids = Parallel(n_jobs=2)(delayed(os.getpid)() for _ in range(4))
    return set(pids) == {os.getpid()}


def jobs():
    return Parallel().n_jobs


print(jobs(), in_this_process())
with parallel_config(backend="threading"):
    print(jobs(), in_this_process())
    with parallel_config(n_jobs=3):
        print(jobs(), in_this_process())
        with parallel_config(backend="loky"):
            print(jobs(), in_this_process())
        with parallel_config(backend="sequential", n_jobs=2):
            print(jobs(), in_this_process())
        print(Parallel(n_jobs=5).n_jobs, Parallel(n_jobs=None).n_jobs)
    print(jobs(), in_this_process())
print(jobs(), in_this_process())

settings = parallel_config(backend="threading", n_jobs=4)
print(jobs(), in_this_process())
settings.unregister()
print(jobs(), in_this_process())

with parallel_config(n_jobs=2, verbose=5, prefer="threads", max_nbytes="5M", mmap_mode="c", temp_folder=None) as given:
    print(sorted(given))
    print({name: given[name] for name in ("n_jobs", "verbose", "prefer", "max_nbytes", "mmap_mode")})

with parallel_backend("threading", n_jobs=2) as (_, n_jobs):
    print(n_jobs, jobs(), in_this_process())
with parallel_backend("loky"):
    print(jobs(), in_this_process())

try:
    with parallel_config(backend="threading", n_jobs=7):
        raise KeyError("left by an error")
except KeyError:
    print(jobs(), in_this_process())

made_inside = None
with parallel_config(n_jobs=6):
    made_inside = Parallel(backend="threading")
print(made_inside.n_jobs, made_inside(delayed(abs)(-i) for i in range(3)))

for name in ("no such backend", "lokky"):
    for use in (parallel_config, Parallel):
        try:
            use(backend=name)
        except ValueError as error:
            print(use.__name__, name in str(error), "loky" in str(error))
