"""Measure how much faster all workers are than one."""

from time import perf_counter

from jobspan import Parallel, delayed

ALL_STEPS = 2_000_000  # the work that is cut into tasks
MOST_TASKS = 250  # of small ones, fewer steps will do
ROUNDS = 3  # the fastest counts: other programs run, too


def work(steps):
    """Do some arithmetic, step by step."""
    x = 1
    for _ in range(steps):
        x = x * 5 % 65_521
    return x


def work_through(steps, count):
    """Do the work of so many tasks in one go."""
    return [work(steps) for _ in range(count)]


async def measure(pool, tasks):
    """Return how long a run of these tasks takes."""
    seconds = []
    for _ in range(ROUNDS):
        begin = perf_counter()
        await pool.gather(tasks)
        seconds.append(perf_counter() - begin)
    return min(seconds)


# From the page: workers, batch ("auto" or 1), sizes (of a task, in
# steps) and draw (draws the point).
one = Parallel(n_jobs=1)
all_workers = Parallel(n_jobs=workers, batch_size=batch)
for steps in sizes:
    count = max(workers, min(ALL_STEPS // steps, MOST_TASKS))
    at_once = delayed(work_through)(steps, count)
    task = delayed(work)(steps)
    alone = await measure(one, [at_once])
    together = await measure(all_workers, [task] * count)
    draw(steps, count, alone, together)
