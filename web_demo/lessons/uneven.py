"""Tasks of different lengths: who waits for whom?"""

from jobspan import Parallel, delayed

LENGTHS = [3, 2, 4, 1, 3, 18, 2, 4, 3, 1, 2, 5]


def work(length):
    """Work for a time that grows with length."""
    total = 0
    for i in range(length * 800_000):
        total += i % 7
    return total


made = []


def make_tasks(lengths):
    """Make one task after the other, when it is asked for."""
    for length in lengths:
        made.append(length)
        yield delayed(work)(length)


# From the page: workers, order, batch and ready (what you chose),
# show (draws the timeline) and draw (fills the table).
lengths = {
    "mixed": LENGTHS,
    "longest first": sorted(LENGTHS, reverse=True),
    "longest last": sorted(LENGTHS),
}[order]

pool = Parallel(
    n_jobs=workers,
    batch_size=batch,  # so many tasks travel together
    pre_dispatch=ready,  # so many are made ahead
    return_as="generator_unordered",
    on_event=show,
)
made_before_first = None
async for _ in pool.stream(make_tasks(lengths)):
    if made_before_first is None:
        made_before_first = len(made)

draw(made_before_first)
