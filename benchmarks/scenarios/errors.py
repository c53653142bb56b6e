"""A task raises while another has half a second to go: how soon the caller knows, and what the next call costs."""

from collections.abc import Iterator

from rows import Effort, Row, Scenario, at_most, value
from scenarios.turns import both, side_by_side

TOLD_MS = 6.0


def run(effort: Effort) -> Iterator[Row]:
    """Raise 20 ms into the run."""
    for backend in ("threads", "loky"):
        figures = side_by_side(both("errors:raised", backend=backend, n_jobs=2), effort.few_rounds)
        ours, joblib = figures["jobspan"], figures["joblib"]
        what = f"a task raises, {backend}"
        yield Row(f"{what}: until the caller knows", "ms", ours["told_ms"], "joblib", joblib["told_ms"], value(TOLD_MS))
        limit = at_most(1.0) if backend == "loky" else None
        yield Row(f"{what}: the next call of two tasks", "ms", ours["next_ms"], "joblib", joblib["next_ms"], limit)
        yield Row(
            f"{what}: the next call beside a warm one", "", ours["next_over_warm"], "joblib", joblib["next_over_warm"]
        )


SCENARIO = Scenario(
    "errors", "How soon the caller hears of a failing task, and whether the next call pays for it.", run
)
