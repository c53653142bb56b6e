"""A fresh script on two loky processes: time to its first result, and from there to its end."""

from collections.abc import Callable, Iterator

from measure import HERE, Reading, cold, take_turns
from rows import Effort, Row, Scenario, at_most

SCRIPT = str(HERE / "cold_start.py")
WHAT = {
    "first_ms": "fresh script on loky: first result",
    "exit_ms": "fresh script on loky: from there to the end of the process",
    "gone_ms": "fresh script on loky: from there until its workers are gone too",
    "cpu_ms": "fresh script on loky: CPU, with the processes it waited for",
}
ASKED = {
    ("joblib", "first_ms"): at_most(0.55),
    ("loky", "first_ms"): at_most(1.2),
    ("loky", "exit_ms"): at_most(1.1),
}
PEERS = {"joblib": "joblib", "loky": "bare loky", "process_pool": "ProcessPoolExecutor (spawn)"}


def run(effort: Effort) -> Iterator[Row]:
    """Time the scripts from outside, from the start of the interpreter."""

    def script(name: str) -> Callable[[int], Reading]:
        return lambda _: cold([SCRIPT, name])

    samples = take_turns({name: script(name) for name in ("jobspan", *PEERS)}, effort.rounds)
    ours = samples["jobspan"]
    for peer, label in PEERS.items():
        for figure, what in WHAT.items():
            yield Row(what, "ms", ours[figure], label, samples[peer][figure], ASKED.get((peer, figure)))


SCENARIO = Scenario("cold", "How long a fresh script waits for its first result, and for its end.", run)
