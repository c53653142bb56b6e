"""What it costs to keep every result in a journal, and to take a run up again from it."""

from collections.abc import Iterator

from rows import Effort, Row, Scenario, value
from scenarios.turns import side_by_side

N_JOBS, TASKS, MEMORY_TASKS = 2, 100_000, 500
MORE_US, AGAIN_S = 20.0, 2.0


def run(effort: Effort) -> Iterator[Row]:
    """Compare with joblib's `Memory`, whose files cost too much for as many tasks: figures are per task."""
    for backend in ("sequential", "threads", "loky"):
        options = {"backend": backend, "n_jobs": N_JOBS}
        figures = side_by_side(
            {
                "jobspan": ("checkpoint:journal", {**options, "n": TASKS}),
                "joblib": ("checkpoint:memory", {**options, "n": MEMORY_TASKS}),
            },
            max(2, effort.few_rounds // 2),
        )
        ours, joblib = figures["jobspan"], figures["joblib"]
        what = f"{backend}, {TASKS} trivial tasks"
        peer = "joblib.Memory"
        yield Row(
            f"{what}: what a checkpoint adds to each", "µs", ours["more_us"], peer, joblib["more_us"], value(MORE_US)
        )
        less = f"{peer}, {MEMORY_TASKS} tasks"
        yield Row(f"{what}: all found in a checkpoint", "s", ours["again_s"], less, joblib["again_s"], value(AGAIN_S))
        yield Row(f"{what}: each found in a checkpoint", "µs", ours["again_us"], peer, joblib["again_us"])


SCENARIO = Scenario("checkpoint", "What it costs to keep results, and to take a run up again.", run)
