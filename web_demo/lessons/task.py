"""Count prime numbers: one task for each range of numbers."""

from jobspan import Parallel, delayed

STEP = 15_000


def count_primes(start, stop):
    """Count the prime numbers from start up to stop."""
    count = 0
    for number in range(max(start, 2), stop):
        divisors = range(2, int(number**0.5) + 1)
        count += all(number % divisor for divisor in divisors)
    return count


# A task: which function, which arguments. Nothing runs yet.
starts = range(0, 8 * STEP, STEP)
tasks = [delayed(count_primes)(at, at + STEP) for at in starts]

# From the page: the number of workers, show (draws the timeline)
# and draw (writes the results).
pool = Parallel(n_jobs=workers, on_event=show)
counts = await pool.gather(tasks)

draw(counts)
print(f"{sum(counts)} prime numbers below {8 * STEP}")
