"""Retries, time-outs and isolated workers: what they cost while nothing fails, and what a death costs."""

from collections.abc import Iterator

from rows import Effort, Row, Scenario, at_most, value
from scenarios.turns import Workload, both, side_by_side

GUARDED = {"retries": 3, "errors": "return", "timeout": 60}
N_JOBS, TASKS, CALLS = 2, 20_000, 30
MOST_US, KNOWN_MS = 5.0, 500.0


def _trivial(backend: str, settings: dict[str, object]) -> Workload:
    options = {"library": "jobspan", "backend": backend, "n_jobs": N_JOBS, "n": TASKS, "hoisted": True}
    return "trivial:parallel", {**options, "settings": settings}


def run(effort: Effort) -> Iterator[Row | str]:
    """Compare with the same calls without them, with joblib, and with bare loky."""
    for backend in ("threads", "loky"):
        figures = side_by_side({"guarded": _trivial(backend, GUARDED), "plain": _trivial(backend, {})}, effort.rounds)
        more = figures["guarded"]["wall_us"].minus(figures["plain"]["wall_us"])
        what = f"{backend}, retries, time-out and errors='return': what they add to a trivial task"
        yield Row(what, "µs", more, "the task without them", figures["plain"]["wall_us"], value(MOST_US))
    calls = {"n_jobs": N_JOBS, "tasks": 2, "n": CALLS}
    figures = side_by_side(
        {
            "isolated": ("trivial:calls", {"library": "jobspan", "backend": "loky", "settings": GUARDED, **calls}),
            "bare loky": ("trivial:bare_loky_calls", calls),
        },
        effort.rounds,
    )
    ours, loky = figures["isolated"]["wall_us"], figures["bare loky"]["wall_us"]
    yield Row("loky, isolated workers, warm call of two tasks", "µs", ours, "bare loky", loky, at_most(1.7))
    figures = side_by_side(both("faults:killed", n_jobs=N_JOBS), effort.few_rounds)
    ours, joblib = figures["jobspan"]["told_ms"], figures["joblib"]["told_ms"]
    yield Row("a worker is killed: until the caller knows", "ms", ours, "joblib", joblib, value(KNOWN_MS))
    figures = side_by_side({"jobspan": ("faults:survived", {"n_jobs": N_JOBS})}, effort.few_rounds)
    calm, death = figures["jobspan"]["calm_ms"], figures["jobspan"]["death_ms"]
    yield Row("a worker dies and the run goes on: what it costs", "ms", death, "80 tasks of 10 ms in peace", calm)


SCENARIO = Scenario("faults", "What guarding against failures costs, and what a worker's death costs.", run)
