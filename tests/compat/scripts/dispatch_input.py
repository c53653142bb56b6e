"""Input made on the fly: how far ahead it is read, when a task is made, what a search leaves undone, batch sizes."""

import threading
import time

from joblib.parallel import Parallel, delayed

produced, finished, lead = [], [], []


def produce(n):
    for i in range(n):
        produced.append(i)
        lead.append(len(produced) - len(finished))
        yield delayed(work)(i)


def work(i):
    time.sleep(0.002)
    finished.append(i)
    return i


def run(**options):
    for record in (produced, finished, lead):
        record.clear()
    return Parallel(require="sharedmem", **options)(produce(40))


print(run(n_jobs=1) == list(range(40)), max(lead))  # each task is made when its turn comes
for pre_dispatch in ("n_jobs", "2*n_jobs", "2 * n_jobs", "1.5*n_jobs", "n_jobs*2", "n_jobs + 1", "3", 4):
    same = run(n_jobs=2, pre_dispatch=pre_dispatch, batch_size=1) == list(range(40))
    print(pre_dispatch, same, max(lead) <= 8)
print(run(n_jobs=2, pre_dispatch="all") == list(range(40)), len(produced))

at_the_end = threading.Event()


def announced(n):
    for _ in range(n):
        yield delayed(at_the_end.wait)(30)
    at_the_end.set()


print(all(Parallel(n_jobs=2, prefer="threads", pre_dispatch="all")(announced(10))))  # all is read before any ends

for bad in ("__import__('os')", "n_jobs +", "2 * cores"):
    try:
        Parallel(n_jobs=2, pre_dispatch=bad)(delayed(abs)(i) for i in range(3))
    except ValueError:
        print("refused:", bad)

for batch_size in (1, 3, 100, "auto"):
    print(batch_size, Parallel(n_jobs=2, batch_size=batch_size)(delayed(pow)(i, 2) for i in range(7)))
for bad in (0, -1, 1.5, "many"):
    try:
        Parallel(n_jobs=2, batch_size=bad)
    except ValueError:
        print("refused: batch_size", bad)
