"""Throw two dice very often, and count how often each sum comes."""

from collections import Counter
from random import Random

from jobspan import Parallel, delayed

TASKS = 40
THROWS = 50_000  # in each task; in the first one ten times


def throw(seed, throws):
    """Throw two dice so often; return how often each sum came."""
    die = Random(seed).choice
    sides = (1, 2, 3, 4, 5, 6)
    return Counter(die(sides) + die(sides) for _ in range(throws))


throws = [10 * THROWS, *[THROWS] * (TASKS - 1)]
tasks = [delayed(throw)(seed, n) for seed, n in enumerate(throws)]
total = Counter()

# From the page: workers, take (what you chose), show (draws the
# timeline) and draw (draws the total).
if take == "list":
    pool = Parallel(n_jobs=workers, on_event=show)
    for counts in await pool.gather(tasks):  # when all are done
        total += counts
        draw(total)
else:
    pool = Parallel(n_jobs=workers, return_as=take, on_event=show)
    async for counts in pool.stream(tasks):  # as they come
        total += counts
        draw(total)
