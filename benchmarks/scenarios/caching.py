"""What a cached call costs, beside joblib's, diskcache's and cachier's."""

from collections.abc import Iterator

from rows import Asked, Effort, Row, Scenario, at_most, faster, value
from scenarios.turns import Workload, side_by_side

ITEMS = 10_000
MANY = 100_000
KEYS = 200


def beside(function: str, *libraries: str, **options: object) -> dict[str, Workload]:
    """Return the same workload for each of these."""
    return {name: (f"caching:{function}", {"library": name, **options}) for name in libraries}


def rows(
    what: str, unit: str, figure: str, figures: dict[str, dict[str, object]], asked: dict[str, Asked | None]
) -> Iterator[Row]:
    """Return a row for each peer."""
    for peer, limit in asked.items():
        yield Row(what, unit, figures["jobspan"][figure], peer, figures[peer][figure], limit)  # type: ignore[arg-type]  # samples


def run(effort: Effort) -> Iterator[Row | str]:
    """The same functions, cached by each."""
    figures = side_by_side(beside("hit", "jobspan", "joblib", "diskcache", calls=500), effort.rounds)
    asked: dict[str, Asked | None] = {"joblib": faster(5.0), "diskcache": at_most(1.0)}
    yield from rows("hit, small arguments (CPU)", "µs", "cpu_us", figures, asked)
    layered: dict[str, Workload] = {
        "jobspan": ("caching:hit", {"library": "jobspan", "calls": 2000, "in_process": 100}),
        "joblib": ("caching:hit", {"library": "joblib", "calls": 500}),
    }
    figures = side_by_side(layered, effort.few_rounds)
    yield from rows("hit with in_process=100 (CPU)", "µs", "cpu_us", figures, {"joblib": value(2.0)})
    figures = side_by_side(beside("miss", "jobspan", "joblib", "diskcache", calls=300), effort.rounds)
    asked = {"joblib": None, "diskcache": at_most(1.5)}
    yield from rows("miss, small arguments (CPU)", "µs", "cpu_us", figures, asked)
    yield from rows("miss, small arguments (time)", "µs", "us", figures, {"diskcache": None})
    figures = side_by_side(beside("decorate", "jobspan", "joblib", calls=200), effort.few_rounds)
    yield from rows("decorating", "µs", "us", figures, {"joblib": value(10.0)})
    figures = side_by_side(beside("first_hit", "jobspan", "joblib"), effort.few_rounds)
    yield from rows(
        "first hit of a fresh session, import included", "ms", "with_import_ms", figures, {"joblib": at_most(1 / 3)}
    )
    yield from rows("first hit of a fresh session, after the import", "ms", "ms", figures, {"joblib": None})
    figures = side_by_side(beside("upkeep", "jobspan", "joblib", "diskcache", items=ITEMS), 2)
    yield from rows(f"reduce_size of {ITEMS} entries to half", "s", "reduce_s", figures, {"joblib": value(1.0)})
    yield from rows("clear of the rest", "s", "clear_s", figures, {"joblib": value(0.6), "diskcache": None})
    yield from rows("files an entry", "", "files", figures, {"joblib": value(1.0)})
    yield from rows("bytes of the disk an entry", "", "bytes", figures, {"joblib": value(4200.0), "diskcache": None})
    figures = side_by_side(beside("large_argument", "jobspan", "joblib", megabytes=100), effort.few_rounds)
    yield from rows("hit with an argument of 100 MB", "ms", "ms", figures, {"joblib": None})
    yield Row(
        "the same, beside the digest alone",
        "ms",
        figures["jobspan"]["ms"],
        "its digest",
        figures["jobspan"]["digest_ms"],
        at_most(1.1),
    )
    figures = side_by_side(beside("explain", "jobspan", items=MANY), effort.few_rounds)
    ours = figures["jobspan"]
    yield Row(
        f"explain among {MANY} entries, one argument differs",
        "ms",
        ours["near_ms"],
        "all differ",
        ours["far_ms"],
        value(50.0),
    )
    yield Row(
        f"explain among {MANY} entries, all arguments differ",
        "ms",
        ours["far_ms"],
        "one differs",
        ours["near_ms"],
        value(50.0),
    )
    figures = side_by_side(beside("race", "jobspan", "joblib", "diskcache", keys=KEYS), 2)
    asked = {"joblib": value(0.0), "diskcache": None}
    yield from rows(f"2 processes on {KEYS} keys: computed twice", "keys", "twice", figures, asked)


SCENARIO = Scenario("caching", "What a cached call costs.", run)
