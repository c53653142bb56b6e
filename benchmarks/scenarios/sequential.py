"""Trivial tasks one after the other in the caller: CPU per task and per call."""

from collections.abc import Iterator

from rows import Effort, Row, Scenario, faster
from scenarios.turns import both, side_by_side

TASKS = 20_000
CALLS = 500


def run(effort: Effort) -> Iterator[Row]:
    """Compare jobspan with joblib; the plain loop over the same tuples is the floor."""
    tasks = {"backend": None, "n_jobs": 1, "n": TASKS}
    figures = side_by_side(both("trivial:parallel", hoisted=False, **tasks), effort.rounds)
    what = f"sequential, `delayed(f)(i)`, {TASKS} tasks, CPU per task"
    yield Row(what, "µs", figures["jobspan"]["cpu_us"], "joblib", figures["joblib"]["cpu_us"], faster(2.5))

    loop = ("trivial:plain_loop", {"n": TASKS})
    figures = side_by_side(both("trivial:parallel", hoisted=True, **tasks) | {"loop": loop}, effort.rounds)
    what = f"sequential, `d = delayed(f)` hoisted, {TASKS} tasks, CPU per task"
    ours = figures["jobspan"]["cpu_us"]
    yield Row(what, "µs", ours, "joblib", figures["joblib"]["cpu_us"], faster(1.0))
    yield Row(what, "µs", ours, "list comprehension over the tuples", figures["loop"]["cpu_us"])

    one = both("trivial:calls", backend=None, n_jobs=1, tasks=1, n=CALLS)
    figures = side_by_side(one, effort.rounds)
    what = "sequential, a call of one task, CPU"
    yield Row(what, "µs", figures["jobspan"]["cpu_us"], "joblib", figures["joblib"]["cpu_us"], faster(5.0))


SCENARIO = Scenario("sequential", "What jobspan adds to a task that does nothing, without any parallelism.", run)
