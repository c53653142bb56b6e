"""Smooth a line of heights, slowly; and keep the result."""

from math import exp, sin
from time import perf_counter

from jobspan import Memory, Parallel, delayed

FINE = 16_000  # points that each mean is made of
memory = Memory("course", verbose=0)


def smooth_part(heights, start, stop, width):
    """Return weighted means around each place of a part."""
    smoothed = []
    for i in range(start, stop):
        sums = weights = 0.0
        for k in range(FINE):
            away = 6 * k / FINE - 3
            j = round(i + away * width) % len(heights)
            weight = exp(-away * away / 2)
            sums += weight * heights[j]
            weights += weight
        smoothed.append(sums / weights)
    return smoothed


@memory.cache(ignore=["pool"])  # who works does not matter
async def smooth(heights, width, pool):
    """Smooth all parts, each as a task."""
    starts = range(0, len(heights), 20)
    task = delayed(smooth_part)
    tasks = [task(heights, at, at + 20, width) for at in starts]
    parts = await pool.gather(tasks)
    return [height for part in parts for height in part]


# From the page: workers, change (what you chose), show (draws the
# timeline) and draw (draws both lists, and the explanation).
pool = Parallel(n_jobs=workers, on_event=show)
waves = [4 * sin(i / 9) + 2 * sin(i / 4) for i in range(120)]
heights = [round(10 + wave, 2) for wave in waves]

begin = perf_counter()
smoothed = await smooth(heights, 2, pool)
seconds = perf_counter() - begin

# And now a second call: is it in the cache?
second, width = list(heights), 2
if change == "one number":
    second[42] += 3
elif change == "rounding noise":
    second = [height + 0.1 + 0.2 - 0.3 for height in heights]
elif change == "the width":
    width = 3
elif change == "the order":
    second.reverse()

why = smooth.explain(second, width, pool)
draw(heights, second, seconds, bool(why), str(why))
