"""The rules of `jobspan.backends.base`, one test each, for any backend; needs pytest.

Invariant: knows only the protocol, so that it holds for backends that are not ours.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from jobspan import host
from jobspan.backends.base import Backend, ExpellingSession, OpenRequest, Session
from jobspan.errors import UnpicklableError, WorkerLost
from jobspan.model import Batch, Completion, Fact, Started, Task

_PATIENCE_S = 60.0  # for workers to start; a test that waits this long has failed

Poll = Callable[[Session, float | None], list[Fact]]


def call(function: Callable[..., Any], *args: Any) -> Task:
    """A task."""
    return function, args, {}


class BackendContract:
    """Subclass it, and override the `backend` fixture.

    Examples
    --------
    A module with these lines runs every rule on a backend::

        class TestMyBackend(BackendContract):
            @pytest.fixture
            def backend(self):
                return MyBackend()
    """

    @pytest.fixture
    def backend(self) -> Backend:
        """The backend to test."""
        raise NotImplementedError("override the 'backend' fixture")

    @pytest.fixture(params=["poll", "apoll"])
    def poll(self, request: pytest.FixtureRequest, backend: Backend) -> Poll:
        """Both ways to wait."""
        if request.param == "apoll":
            return lambda session, timeout: list(asyncio.run(_apoll(session, timeout)))
        if not backend.traits.blocks:
            pytest.skip("this backend cannot block here")
        return lambda session, timeout: list(session.poll(timeout))

    @pytest.fixture
    def session(self, backend: Backend) -> Iterator[Session]:
        """A session of two workers that watches and measures."""
        session = backend.open(OpenRequest(n_jobs=2, watch=True, measure=True, budget_s=None))
        yield session
        session.close("kill")

    def _collect(self, session: Session, poll: Poll, tickets: int) -> tuple[dict[int, Completion], list[Started]]:
        """Poll until so many tickets are complete."""
        completions: dict[int, Completion] = {}
        starts: list[Started] = []
        deadline = time.monotonic() + _PATIENCE_S
        while len(completions) < tickets:
            assert time.monotonic() < deadline, "the session does not complete what was submitted"
            for fact in poll(session, _PATIENCE_S):
                if isinstance(fact, Started):
                    starts.append(fact)
                else:
                    assert fact.ticket not in completions, "a ticket was completed twice"
                    completions[fact.ticket] = fact
        return completions, starts

    def test_rule_1_every_ticket_yields_exactly_one_completion(self, session: Session, poll: Poll) -> None:
        for ticket in range(6):
            session.submit(ticket, Batch(10 * ticket, [call(pow, i, 2) for i in range(3)]))
        completions, _ = self._collect(session, poll, 6)
        assert sorted(completions) == list(range(6))
        assert all(fact.values == [0, 1, 4] and fact.lost is None for fact in completions.values())
        assert poll(session, 0.0) == []

    def test_rule_1_a_batch_that_cannot_be_sent_comes_back_as_lost(
        self, backend: Backend, session: Session, poll: Poll
    ) -> None:
        if backend.traits.memory == "shared":
            pytest.skip("nothing is pickled where memory is shared")
        session.submit(1, Batch(0, [call(print, {"lock": threading.Lock()})]))
        completion = self._collect(session, poll, 1)[0][1]
        assert isinstance(completion.lost, UnpicklableError)
        assert "['lock']" in str(completion.lost)

    def test_rule_1_a_batch_comes_back_when_its_time_is_up(self, backend: Backend, poll: Poll) -> None:
        session = backend.open(OpenRequest(n_jobs=1, budget_s=0.05))
        try:
            session.submit(1, Batch(0, [call(time.sleep, 0.04)] * 20))
            completion = self._collect(session, poll, 1)[0][1]
            assert 1 <= len(completion.values) < 20
            assert completion.error is None
        finally:
            session.close("release")

    def test_rule_2_submit_neither_runs_nor_waits(self, session: Session, poll: Poll) -> None:
        for ticket in range(8):
            session.submit(ticket, Batch(ticket, [call(time.sleep, 0.1)]))
        assert not [fact for fact in poll(session, 0.0) if isinstance(fact, Completion) and fact.ticket > 3]
        self._collect(session, poll, 8)

    def test_rule_3_poll_returns_nothing_at_the_timeout(self, session: Session, poll: Poll) -> None:
        assert poll(session, 0.0) == []
        assert poll(session, 0.02) == []

    def test_rule_3_wake_ends_a_wait_in_another_thread(self, backend: Backend, session: Session) -> None:
        if backend.traits.inline or not host.has_threads():
            pytest.skip("nobody else could wait")
        answers: list[list[Fact]] = []
        waiting = threading.Thread(target=lambda: answers.append(list(session.poll(_PATIENCE_S))), daemon=True)
        waiting.start()
        session.wake()
        waiting.join(_PATIENCE_S / 2)
        assert answers == [[]]

    def test_rule_4_cancelling_and_closing_twice_is_harmless(self, session: Session) -> None:
        session.submit(1, Batch(0, [call(time.sleep, 0.01)]))
        session.cancel([1, 2])
        session.cancel([1])
        session.close("kill")
        session.close("release")

    def test_rule_5_a_failing_task_does_not_lose_what_was_finished(self, session: Session, poll: Poll) -> None:
        session.submit(7, Batch(30, [call(int, "1"), call(int, "x"), call(int, "2")]))
        completion = self._collect(session, poll, 1)[0][7]
        assert completion.values == [1]
        assert isinstance(completion.error, ValueError)
        assert any("task 31" in note and "'x'" in note for note in completion.error.__notes__)

    def test_rule_7_a_task_that_is_expelled_ends_alone(self, backend: Backend, poll: Poll) -> None:
        if not backend.traits.can_expel:
            pytest.skip("this backend cannot tell what its workers are on")
        session = cast("ExpellingSession", backend.open(OpenRequest(n_jobs=2, timed=True)))
        try:
            session.submit(1, Batch(0, [call(abs, -1), call(time.sleep, 10), call(abs, -2)]))
            deadline = time.monotonic() + _PATIENCE_S
            while not [each for each in session.find_running() if each[:2] == (1, 1)]:
                assert time.monotonic() < deadline, "the session does not tell what its workers are on"
                poll(session, 0.02)
            (running,) = session.find_running()
            session.expel(running)
            session.submit(2, Batch(3, [call(abs, -3)] * 3))
            completions, _ = self._collect(session, poll, 2)
            assert completions[1].lost is not None
            assert not completions[1].ends_run
            assert completions[1].values in ([], [1])
            assert completions[2].values == [3, 3, 3]
        finally:
            session.close("kill")

    def test_rule_7_a_worker_that_ends_is_replaced_and_tells_what_it_was_on(self, backend: Backend, poll: Poll) -> None:
        if not (backend.traits.can_expel and backend.traits.memory == "copied"):
            pytest.skip("its workers do not end, or are not replaced")
        session = backend.open(OpenRequest(n_jobs=2, isolate=True))
        try:
            session.submit(1, Batch(0, [call(abs, -1), call(os._exit, 5), call(abs, -2)]))
            session.submit(2, Batch(3, [call(time.sleep, 0.3)]))
            completions, _ = self._collect(session, poll, 2)
            assert isinstance(completions[1].lost, WorkerLost)
            assert completions[1].begun in (2, None)
            assert completions[2].values == [None]
            for ticket in range(3, 7):
                session.submit(ticket, Batch(ticket, [call(abs, -ticket)]))
            assert all(fact.values for fact in self._collect(session, poll, 4)[0].values())
        finally:
            session.close("kill")

    def test_starts_and_spans_are_reported(self, backend: Backend, session: Session, poll: Poll) -> None:
        session.submit(1, Batch(5, [call(time.sleep, 0.01), call(time.sleep, 0.01)]))
        completions, starts = self._collect(session, poll, 1)
        (completion,) = completions.values()
        assert len(completion.spans) == 2
        assert all(start <= end for start, end in completion.spans)
        assert completion.worker
        assert completion.seconds >= 0.01
        if backend.traits.reports_start:
            assert [start.index for start in starts] == [5, 6]

    def test_sizes_are_measured(self, session: Session, poll: Poll) -> None:
        session.submit(1, Batch(0, [call(bytes, 1_000_000)]))
        assert self._collect(session, poll, 1)[0][1].nbytes >= 1_000_000


async def _apoll(session: Session, timeout: float | None) -> list[Fact]:
    return list(await session.apoll(timeout))
