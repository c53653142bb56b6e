"""`dump` and `load`, beside joblib's, and numpy's `save`."""

from collections.abc import Iterator

from rows import Asked, Effort, Row, Scenario, Sense, faster, value
from scenarios.turns import both, side_by_side

GB = 10**9
SMALL, ARRAYS = 100_000, 625
MAP_MS = 0.2
# Loading by lz4 takes 87 ms of CPU for 200 MB: some 52 are lz4's own, 12 touch new memory for the first time, 11 copy
# its pieces, 10 check sums, the rest reads. joblib takes 110. So what is asked takes a second CPU that is idle.
PACKED: tuple[tuple[str, int, object], ...] = (("zlib", 100_000_000, ["zlib", 3]), ("lz4", 200_000_000, ["lz4", 1]))


def run(effort: Effort) -> Iterator[Row]:
    """All in memory's file system: what is measured is the work, and no disk."""
    rounds = effort.few_rounds
    workloads = both("files:files", what="large", size=GB)
    workloads["numpy"] = ("files:files", {"library": "numpy", "what": "large", "size": GB})
    figures = side_by_side(workloads, rounds)
    ours, joblib, numpy = figures["jobspan"], figures["joblib"], figures["numpy"]
    yield Row("dump an array of 1 GB", "ms", ours["dump_ms"], "numpy.save", numpy["dump_ms"], faster(0.9))
    yield Row("dump an array of 1 GB", "ms", ours["dump_ms"], "joblib", joblib["dump_ms"])
    yield Row("load an array of 1 GB", "ms", ours["load_ms"], "joblib", joblib["load_ms"], faster(1.0))
    yield Row("map an array of 1 GB", "ms", ours["map_ms"], "joblib", joblib["map_ms"], value(MAP_MS))
    figures = side_by_side(both("files:files", what="small", size=SMALL), rounds)
    ours, joblib = figures["jobspan"], figures["joblib"]
    what = f"dict of {SMALL} arrays of 160 bytes"
    yield Row(f"dump a {what}", "ms", ours["dump_ms"], "joblib", joblib["dump_ms"], faster(5.0))
    yield Row(f"load a {what}", "ms", ours["load_ms"], "joblib", joblib["load_ms"], faster(5.0))
    for codec, size, compress in PACKED:
        figures = side_by_side(both("files:files", what="compressible", size=size, compress=compress), rounds)
        ours, joblib = figures["jobspan"], figures["joblib"]
        for way in ("dump", "load"):
            times = ours[f"{way}_ms"], "joblib", joblib[f"{way}_ms"]
            yield Row(f"{way} {size // 10**6} MB of ints by {codec}", "ms", *times, faster(1.6))
    figures = side_by_side(both("files:aligned", arrays=ARRAYS), 2)
    ours, joblib = figures["jobspan"]["unaligned"], figures["joblib"]["unaligned"]
    none = Asked(Sense.VALUE, 0.0)
    yield Row(f"{ARRAYS} mapped arrays: not at 64 bytes", "", ours, "joblib", joblib, none)


SCENARIO = Scenario("files", "What files cost.", run)
