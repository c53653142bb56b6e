"""Add up the digits of many numbers, while workers die."""

from jobspan import Parallel, delayed

STEP = 400_000
TASKS = 16


def add_digits(start):
    """Add the digits of all numbers of a range."""
    numbers = range(start, start + STEP)
    digits = (digit for number in numbers for digit in str(number))
    return sum(map(int, digits))


starts = range(0, TASKS * STEP, STEP)
tasks = [delayed(add_digits)(start) for start in starts]

# From the page: the number of workers, show (draws the timeline)
# and draw (writes the result).
pool = Parallel(
    n_jobs=workers,
    retries=3,  # a task may be tried again so often
    on_event=show,
)
sums = await pool.gather(tasks)

draw(sum(sums), len(sums))
