"""A consumer that stalls after the first result of a generator: what piles up behind it."""

from collections.abc import Iterator

from rows import Effort, Row, Scenario, value
from scenarios.turns import both, side_by_side

HELD_MB = 8.0


def run(effort: Effort) -> Iterator[Row]:
    """Offer 200 results of 1 MB and stall for a second."""
    for backend in ("threads", "loky"):
        workloads = both("consumer:stalled", backend=backend, n_jobs=2, count=200, stall_s=1.0)
        figures = side_by_side(workloads, effort.few_rounds)
        ours, joblib = figures["jobspan"], figures["joblib"]
        what = f"stalled consumer, {backend}"
        limit = value(HELD_MB)
        yield Row(f"{what}: results run, not taken", "MB", ours["held_mb"], "joblib", joblib["held_mb"], limit)
        yield Row(f"{what}: memory of the process tree", "MB", ours["tree_mb"], "joblib", joblib["tree_mb"])


SCENARIO = Scenario("consumer", "What piles up while the consumer of a generator is slow.", run)
