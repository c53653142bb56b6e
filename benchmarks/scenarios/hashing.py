"""What a digest costs, beside joblib's."""

from collections.abc import Iterator

from rows import Asked, Effort, Row, Scenario, faster, value
from scenarios.turns import both, side_by_side

EXTRA_MB = 64.0
ASKED: tuple[tuple[str, str, int, Asked | None], ...] = (
    ("array", "array of 1 GB", 1, faster(4.0)),
    ("slice", "every other column of an array of 200 MB", 1, None),
    ("ints", "list of 10⁶ ints", 1, faster(8.0)),
    ("texts", "dict of 10⁵ strings", 1, faster(5.0)),
    ("frame", "frame of 10⁶ × 5 floats", 1, faster(4.0)),
    ("arguments", "five small arguments", 10_000, value(4.0)),
    ("arguments_with_array", "three small arguments, one an array", 10_000, None),
)


def run(effort: Effort) -> Iterator[Row]:
    """The same objects, again and again."""
    for what, described, calls, asked in ASKED:
        figures = side_by_side(both("hashing:digest", what=what, calls=calls), effort.few_rounds)
        ours, joblib = figures["jobspan"]["us"], figures["joblib"]["us"]
        yield Row(f"digest of {described}", "µs", ours, "joblib", joblib, asked)
    figures = side_by_side(both("hashing:memory", what="array"), effort.few_rounds)
    ours, joblib = figures["jobspan"]["extra_mb"], figures["joblib"]["extra_mb"]
    yield Row("array of 1 GB: memory on top of it", "MB", ours, "joblib", joblib, value(EXTRA_MB))


SCENARIO = Scenario("hashing", "What a digest costs.", run)
