"""Log-normal tasks of 5 ms: makespan against the ideal, `max(sum / width, longest)` as measured."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rows import Effort, Row, Scenario, value
from scenarios.turns import Workload, both, side_by_side


@dataclass(frozen=True, slots=True)
class Case:
    """Where the tasks run, and what they do there."""

    backend: str
    width: int
    work: str
    count: int
    peer: str


CASES = (
    Case("threads", 4, "sleep", 800, "ThreadPoolExecutor"),
    Case("loky", 2, "burn", 400, "loky"),
)


def run(effort: Effort) -> Iterator[Row | str]:
    """Give all contestants the same durations in a round, others in the next; each takes about a second."""
    for case in CASES:
        common: dict[str, Any] = {"width": case.width, "work": case.work, "count": case.count}
        by_hand = f"{case.peer}, one task at a time"
        one_by_one: Workload = ("uneven:one_by_one", {"executor": case.peer, **common})
        for source in ("generator", "list"):
            workloads = both("uneven:parallel", backend=case.backend, source=source, **common)
            workloads[by_hand] = one_by_one
            figures = side_by_side(workloads, max(3, effort.rounds // 2))
            ours = figures["jobspan"]["over_ideal"]
            what = f"uneven tasks, {case.backend} × {case.width}, {case.work}, {source}: makespan / ideal"
            yield Row(what, "", ours, "joblib", figures["joblib"]["over_ideal"], value(1.05))
            yield Row(what, "", ours, by_hand, figures[by_hand]["over_ideal"])
            greedy = figures["jobspan"]["greedy"].median
            yield f"{what}: list scheduling of the same durations without overhead gives {greedy:.3f}."


SCENARIO = Scenario("uneven", "How close uneven tasks come to the shortest possible time.", run)
