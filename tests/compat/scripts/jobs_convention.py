"""How many workers there will be: None, negative numbers, floats, text, zero, and the limit from the environment."""

import os

from joblib import Parallel, cpu_count, delayed, effective_n_jobs, parallel_config

cpus = cpu_count()
print(cpus >= 1, cpu_count(only_physical_cores=True) <= cpus)
print(effective_n_jobs(1), effective_n_jobs(3), effective_n_jobs(None))
print(effective_n_jobs() == effective_n_jobs(-1) == cpus)
print(effective_n_jobs(-2) == max(1, cpus - 1), effective_n_jobs(-1000))

print(Parallel().n_jobs, Parallel(n_jobs=None).n_jobs, Parallel(n_jobs=-1).n_jobs)
print(Parallel(n_jobs=2.9).n_jobs, Parallel(n_jobs="3").n_jobs)

for bad in ("many", "2.5"):
    try:
        Parallel(n_jobs=bad)
    except ValueError as error:
        print("refused:", bad, "could not be converted to int" in str(error))

try:
    Parallel(n_jobs=0)(delayed(abs)(i) for i in range(3))
except ValueError as error:
    print("refused: 0", "n_jobs == 0" in str(error))

with parallel_config(n_jobs=2):
    print(effective_n_jobs(None), effective_n_jobs(3), Parallel().n_jobs, Parallel(n_jobs=1).n_jobs)
with parallel_config(backend="sequential"):
    print(effective_n_jobs(-1), effective_n_jobs(4))
with parallel_config(backend="threading", n_jobs=3):
    print(effective_n_jobs(None), effective_n_jobs(-1) == cpus)

print(Parallel(n_jobs=cpus + 2, prefer="threads")(delayed(abs)(-i) for i in range(8)))  # more than there are CPUs
print(Parallel(n_jobs=-100)(delayed(abs)(-i) for i in range(3)))

os.environ["LOKY_MAX_CPU_COUNT"] = "1"
print(cpu_count(), effective_n_jobs(-1))
