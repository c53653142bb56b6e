"""What it costs to show how far a run is."""

from collections.abc import Iterator

from rows import Effort, Row, Scenario, at_most
from scenarios.turns import side_by_side

N_JOBS = 2
TASKS = {"trivial tasks": (50_000, 0.0), "tasks of 1 ms": (200, 0.001)}
MOST = 1.02


def run(effort: Effort) -> Iterator[Row]:
    """Compare with the same calls that show nothing."""
    for backend in ("threads", "loky"):
        for kind, (count, seconds) in TASKS.items():
            options = {"backend": backend, "n_jobs": N_JOBS, "n": count, "seconds": seconds}
            figures = side_by_side({"jobspan": ("following:shown", options)}, effort.few_rounds)["jobspan"]
            what = f"{backend}, {count} {kind} with a bar, per task"
            yield Row(what, "µs", figures["shown_us"], "the same without", figures["plain_us"], at_most(MOST))


SCENARIO = Scenario("progress", "What it costs to show how far a run is.", run)
