"""Threads: a counter that all tasks share, and a library that only hints at them."""

import os
import threading

from joblib import Parallel, delayed, parallel_config

counts = {}
lock = threading.Lock()


def count(word):
    with lock:
        counts[word] = counts.get(word, 0) + 1


def process_of(_):
    return os.getpid()


def fetch_all(names, n_jobs=2):
    """What a library would write: threads if the user has not said otherwise."""
    return Parallel(n_jobs=n_jobs, prefer="threads")(delayed(process_of)(name) for name in names)


def here(pids):
    return set(pids) == {os.getpid()}


words = ["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog", "and", "the", "cat"]
print(Parallel(n_jobs=2, require="sharedmem")(delayed(count)(word) for word in words) == [None] * len(words))
print(counts["the"], sum(counts.values()))

seen = set()
with parallel_config(backend="loky"):  # sharedmem is a must and wins
    Parallel(n_jobs=2, require="sharedmem")(delayed(seen.add)(i) for i in range(5))
print(sorted(seen))

with parallel_config(require="sharedmem", n_jobs=2):
    Parallel(n_jobs=2)(delayed(seen.add)(i) for i in range(5, 8))
print(sorted(seen))

print(here(fetch_all("abcd")))
with parallel_config(backend="loky"):  # prefer is a hint and loses
    print(here(fetch_all("abcd")))
with parallel_config(backend="threading"):
    print(here(Parallel(n_jobs=2, prefer="processes")(delayed(process_of)(i) for i in range(4))))
print(here(Parallel(n_jobs=2, prefer="processes")(delayed(process_of)(i) for i in range(4))))
print(here(Parallel(n_jobs=2, backend="threading")(delayed(process_of)(i) for i in range(4))))

for arguments in ({"prefer": "sharks"}, {"require": "sharks"}, {"prefer": "processes", "require": "sharedmem"}):
    try:
        Parallel(n_jobs=2, **arguments)
    except ValueError:
        print("refused:", arguments)
try:
    Parallel(n_jobs=2, backend="loky", require="sharedmem")
except ValueError:
    print("refused: loky shares no memory")
