"""Large arguments that many tasks share, and large results, on two loky processes."""

from collections.abc import Iterator

from rows import Effort, Row, Scenario, at_most, faster
from scenarios.turns import both, side_by_side

KEYS, NO_OPS = 20_000, 60
ARRAY_BYTES, READERS = 200_000_000, 16
RESULT_BYTES, RESULTS = 25_000_000, 16


def run(effort: Effort) -> Iterator[Row]:
    """Warm workers; the array's first call is over."""
    rounds = effort.few_rounds
    common = {"keys": KEYS, "tasks": NO_OPS}
    for what, batch_size, marked, asked in (
        ("shared(), batch_size=1", 1, True, 10.0),
        ("automatic, batch_size=1", 1, False, 2.0),
    ):
        workloads = both("sharing:constant_dict", **common, batch_size=batch_size, marked=False)
        if marked:
            workloads["jobspan"] = (workloads["jobspan"][0], workloads["jobspan"][1] | {"marked": True})
        figures = side_by_side(workloads, rounds)
        ours, joblib = figures["jobspan"]["wall_ms"], figures["joblib"]["wall_ms"]
        yield Row(f"dict of {KEYS} keys to {NO_OPS} tasks, {what}", "ms", ours, "joblib", joblib, faster(asked))
    for figure, watched, unit, what, limit in (
        ("wall_ms", False, "ms", "second call", 0.2),
        ("peak_mb", True, "MB", "peak memory of the process tree", 1.0),
    ):
        workloads = both("sharing:array", nbytes=ARRAY_BYTES, tasks=READERS, watched=watched)
        figures = side_by_side(workloads, rounds)
        ours, joblib = figures["jobspan"][figure], figures["joblib"][figure]
        yield Row(f"200 MB array read by {READERS} tasks: {what}", unit, ours, "joblib", joblib, at_most(limit))
    figures = side_by_side(both("sharing:results", nbytes=RESULT_BYTES, tasks=RESULTS), rounds)
    ours, joblib = figures["jobspan"]["wall_ms"], figures["joblib"]["wall_ms"]
    yield Row(f"{RESULTS} results of 25 MB", "ms", ours, "joblib", joblib, faster(2.0))


SCENARIO = Scenario("sharing", "What large arguments that tasks share cost, and large results.", run)
