"""What is said when nothing comes back for long."""

from __future__ import annotations

import pytest

from jobspan.drive.watchdog import Watchdog, patience
from jobspan.model import Completion, Task
from jobspan.schedule.core import Pull, Scheduler, Send
from jobspan.schedule.policy import Policy
from jobspan.testing import ScriptedSession


class Silence:
    """A session in which time passes and nothing happens, unless something is put into `facts`."""

    def __init__(self) -> None:
        self.now = 100.0
        self.facts: list[Completion] = []
        self.asked: list[float | None] = []
        self.said: list[str] = []

    def watchdog(self, patience_s: float | None) -> tuple[Watchdog, Scheduler]:
        scheduler = Scheduler(Policy(batch_size=1), 2, 0.0)
        assert isinstance(scheduler.next_order(0.0), Pull)
        scheduler.offer([_sleep(i) for i in range(3)])
        scheduler.close_source()
        while isinstance(order := scheduler.next_order(0.0), Send):
            pass
        assert order is None
        return Watchdog(_Session(self), scheduler, patience_s, clock=lambda: self.now, say=self.said.append), scheduler


class _Session(ScriptedSession):
    def __init__(self, silence: Silence) -> None:
        super().__init__(lambda _: (), 2)
        self.silence = silence

    def poll(self, timeout: float | None, /) -> list[Completion]:
        self.silence.asked.append(timeout)
        if self.silence.facts:
            facts, self.silence.facts = self.silence.facts, []
            return facts
        self.silence.now += 1e9 if timeout is None else timeout
        return []


def _sleep(seconds: int) -> Task:
    import time

    return time.sleep, (seconds,), {}


def test_after_the_patience_it_says_what_is_waited_for() -> None:
    silence = Silence()
    watchdog, _ = silence.watchdog(60.0)
    assert watchdog.poll(None) == []
    (sentence,) = silence.said
    assert "nothing has come back for 60 s" in sentence
    assert "sleep(0)" in sentence
    assert "3 of the 3 tasks" in sentence
    assert "JOBSPAN_WATCHDOG" in sentence


def test_each_sentence_comes_after_twice_the_silence() -> None:
    silence = Silence()
    watchdog, _ = silence.watchdog(60.0)
    begun = silence.now
    told_after = []
    for _ in range(20):
        before = len(silence.said)
        watchdog.poll(None)
        if len(silence.said) > before:
            told_after.append(silence.now - begun)
    assert told_after[:3] == [60.0, 120.0, 240.0]


def test_news_end_the_silence() -> None:
    silence = Silence()
    watchdog, _ = silence.watchdog(60.0)
    watchdog.poll(50.0)
    silence.facts = [Completion(1, [None])]
    assert len(watchdog.poll(None)) == 1
    watchdog.poll(50.0)
    assert silence.said == []


def test_a_shorter_time_out_is_left_alone() -> None:
    silence = Silence()
    watchdog, _ = silence.watchdog(60.0)
    watchdog.poll(5.0)
    assert silence.asked == [5.0]


def test_without_patience_the_session_is_asked_as_it_was() -> None:
    silence = Silence()
    watchdog, _ = silence.watchdog(None)
    watchdog.poll(None)
    assert silence.asked == [None]
    assert silence.said == []


@pytest.mark.parametrize(
    ("text", "seconds"), [("", 60.0), ("5", 5.0), ("0", None), ("-1", None), ("inf", None), ("nan", None)]
)
def test_the_environment_says_how_patient_it_is(text: str, seconds: float | None) -> None:
    assert patience({"JOBSPAN_WATCHDOG": text}) == seconds


def test_nonsense_in_the_environment_is_said() -> None:
    with pytest.warns(UserWarning, match="JOBSPAN_WATCHDOG='soon' is no number"):
        assert patience({"JOBSPAN_WATCHDOG": "soon"}) == 60.0
