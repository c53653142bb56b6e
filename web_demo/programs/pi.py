"""Estimate pi by darts: pi/4 of them land in the quarter circle."""

from random import Random

from jobspan import Parallel, delayed

BATCHES = 48
DARTS = 250_000  # thrown in each batch


def count_hits(seed):
    """Count the darts that land within 1 of the square's corner."""
    random = Random(seed).random
    squares = (random() ** 2 + random() ** 2 for _ in range(DARTS))
    return sum(square < 1 for square in squares)


# From the page: the number of workers, show (draws the timeline)
# and draw (draws the result).
pool = Parallel(
    n_jobs=workers,
    return_as="generator_unordered",  # each as soon as it is there
    on_event=show,
)
tasks = [delayed(count_hits)(seed) for seed in range(BATCHES)]

hits = darts = 0
async for count in pool.stream(tasks):
    hits += count
    darts += DARTS
    draw(4 * hits / darts, darts)
