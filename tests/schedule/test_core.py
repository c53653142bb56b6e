"""The scheduler, without a thread, a clock or a wait."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobspan.errors import TaskError, TaskTimeout, WorkerLost
from jobspan.model import SKIPPED, Batch, Completion, Running, Task
from jobspan.schedule.chances import Backoff
from jobspan.schedule.core import Emit, Fail, Finish, Look, Order, Pull, Scheduler, Send
from jobspan.schedule.policy import Policy


def number(index: int) -> Task:
    return (int, (index,), {})


class World:
    """Plays input, workers and consumer for a scheduler; every choice is drawn, so that Hypothesis can shrink it."""

    def __init__(self, draw: Any, policy: Policy, width: int, tasks: int) -> None:
        self.draw = draw
        self.policy = policy
        self.width = width
        self.tasks = tasks
        self.now = 0.0
        self.scheduler = Scheduler(policy, width, self.now)
        self.pulled = 0
        self.flying: dict[int, Batch] = {}
        self.held: list[Emit] = []
        self.emitted: list[int] = []
        self.consumed = 0
        self.source_error: Exception | None = None
        self.failing: dict[int, Exception] = {}
        self.scripts: dict[int, list[str]] = {}
        self.attempts: dict[int, int] = {}

    def play(self) -> Fail | Finish:
        for _ in range(100 * self.tasks + 100):
            order = self.scheduler.next_order(self.now)
            if isinstance(order, Fail | Finish):
                return order
            if order is None:
                self.wait()
            else:
                self.obey(order)
        raise AssertionError("the run does not come to an end")

    def obey(self, order: Order) -> None:
        match order:
            case Pull(limit):
                assert limit > 0
                given = min(limit, self.tasks - self.pulled, self.draw(st.integers(1, limit)))
                if given:
                    self.scheduler.offer([number(i) for i in range(self.pulled, self.pulled + given)])
                    self.pulled += given
                if self.pulled == self.tasks:
                    self.scheduler.close_source(self.source_error)
                if self.policy.window is not None:
                    assert self.pulled - self.consumed <= self.policy.window
            case Send(ticket, batch):
                assert batch.tasks
                assert [args[0] for _, args, _ in batch.tasks] == list(
                    range(batch.first, batch.first + len(batch.tasks))
                )
                assert ticket not in self.flying
                self.flying[ticket] = batch
                assert len(self.flying) <= self.most_in_flight()
            case Emit(values, _):
                assert values
                self.emitted += values
                self.held.append(order)

    def most_in_flight(self) -> int:
        if self.policy.inline:
            return 1
        one_size = self.policy.batch_size is not None and self.policy.window is None
        return (8 if one_size else 2) * self.width

    def wait(self) -> None:
        choices = ["work"] * bool(self.flying) + ["consume"] * bool(self.held)
        patience = self.scheduler.patience(self.now)
        assert choices or patience is not None, (
            "stuck: nothing is in flight, or will be, and the consumer has everything"
        )
        assert self.scheduler.is_stalled(self.now) == (not self.flying and patience is None)
        if not choices:
            self.now += patience or 0.0
            return
        self.now += 0.01
        if self.draw(st.sampled_from(choices)) == "consume":
            emit = self.held.pop(0)
            self.consumed += len(emit.values)
            self.scheduler.consumed(len(emit.values), emit.nbytes)
        else:
            self.come_back(self.draw(st.sampled_from(sorted(self.flying))))

    def come_back(self, ticket: int) -> None:
        batch = self.flying.pop(ticket)
        indices = range(batch.first, batch.first + len(batch.tasks))
        if (scripted := next((i for i in indices if self.scripts.get(i)), None)) is not None:
            self.come_back_badly(ticket, batch, scripted)
            return
        bad = next((i for i in indices if i in self.failing), None)
        limit = len(indices) if bad is None else bad - batch.first
        done = self.draw(st.integers(1, limit)) if limit else 0
        error = self.failing[bad] if bad is not None and done == limit else None
        seconds = self.draw(st.floats(0, 1))
        values = list(indices[:done])
        self.scheduler.complete(
            Completion(ticket, values, error, None, "w", seconds, self.draw(st.integers(0, 50)) * done), self.now
        )

    def come_back_badly(self, ticket: int, batch: Batch, bad: int) -> None:
        """What the script says of task `bad`, the first of the batch that has one, becomes of it."""
        position = bad - batch.first
        self.attempts[bad] = batch.attempt
        match self.scripts[bad][0]:
            case "raise":
                completion = Completion(ticket, list(range(batch.first, bad)), ValueError(bad))
            case "die":
                completion = Completion(ticket, [], lost=WorkerLost("gone"), begun=position + 1)
            case "vanish" if len(batch.tasks) > 1:  # nobody knows who it was, so nobody is charged
                self.scheduler.complete(Completion(ticket, [], lost=WorkerLost("gone")), self.now)
                return
            case "vanish":
                completion = Completion(ticket, [], lost=WorkerLost("gone"))
        del self.scripts[bad][0]
        self.scheduler.complete(completion, self.now)


policies = st.builds(
    Policy,
    ordered=st.booleans(),
    batch_size=st.none() | st.integers(1, 20),
    window=st.none() | st.integers(1, 30),
    held_bytes=st.none() | st.integers(1, 500),
    round_trip_s=st.floats(1e-6, 1e-2),
    inline=st.booleans(),
    timeout_s=st.none() | st.just(1e9),
    deadline_s=st.none(),
    tolerant=st.just(False),
    groups=st.just(False),
    retries=st.just(0),
    backoff=st.just(Backoff()),
)


@given(st.data(), policies, st.integers(1, 5), st.integers(0, 120))
def test_every_index_is_emitted_once_and_the_run_ends(data: Any, policy: Policy, width: int, tasks: int) -> None:
    world = World(data.draw, policy, width, tasks)
    assert world.play() == Finish()
    if policy.ordered:
        assert world.emitted == list(range(tasks))
    else:
        assert sorted(world.emitted) == list(range(tasks))


scripts = st.dictionaries(st.integers(0, 19), st.lists(st.sampled_from(["raise", "die", "vanish"]), max_size=4))


@given(st.data(), policies, st.integers(1, 5), scripts, st.integers(0, 4), st.booleans())
def test_every_index_is_accounted_for_once_whatever_fails_and_dies(
    data: Any, policy: Policy, width: int, script: dict[int, list[str]], retries: int, groups: bool
) -> None:
    policy = policy._replace(tolerant=True, retries=retries, groups=groups, retry_on=(Exception,))
    world = World(data.draw, policy, width, 20)
    world.scripts = {index: list(events) for index, events in script.items()}
    end = world.play()
    lasting = {
        index: events
        for index, events in script.items()
        if len(events) > retries or sum(event != "raise" for event in events) >= 3
    }
    if groups and lasting:
        assert isinstance(end, Fail)
        assert isinstance(end.error, BaseExceptionGroup)
        assert len(end.error.exceptions) == len(lasting)
        assert sorted(value for value in world.emitted if value is not SKIPPED) == sorted(set(range(20)) - set(lasting))
        return
    assert end == Finish()
    errors = {value.index: value for value in world.emitted if isinstance(value, TaskError)}
    assert set(errors) == set(lasting)
    for index, events in lasting.items():
        last = events[errors[index].attempt - 1]
        assert isinstance(errors[index].error, ValueError if last == "raise" else WorkerLost)
        assert errors[index].attempt == world.attempts[index]
    found = [value.index if isinstance(value, TaskError) else value for value in world.emitted]
    assert (found if policy.ordered else sorted(found)) == list(range(20))


@given(st.data(), policies, st.integers(1, 5), st.integers(1, 120))
def test_a_failing_task_ends_the_run_and_nothing_is_emitted_twice(
    data: Any, policy: Policy, width: int, tasks: int
) -> None:
    world = World(data.draw, policy, width, tasks)
    bad = data.draw(st.sets(st.integers(0, tasks - 1), min_size=1, max_size=3))
    world.failing = {index: ValueError(index) for index in bad}
    end = world.play()
    assert isinstance(end, Fail)
    assert end.error in world.failing.values()
    assert len(set(world.emitted)) == len(world.emitted)
    assert not bad & set(world.emitted)
    assert not set(end.partial) & {*bad, *world.emitted}
    if policy.ordered:
        assert world.emitted == list(range(len(world.emitted)))


@given(st.data(), policies, st.integers(1, 5), st.integers(0, 120))
def test_an_input_that_raises_ends_the_run(data: Any, policy: Policy, width: int, tasks: int) -> None:
    world = World(data.draw, policy, width, tasks)
    world.source_error = OSError("the input")
    end = world.play()
    assert isinstance(end, Fail)
    assert end.error is world.source_error
    assert all(index == value and index not in world.emitted for index, value in end.partial.items())


def orders(scheduler: Scheduler, now: float = 0.0) -> list[Order]:
    """What the scheduler orders, given an input that never ends."""
    found = []
    index = 0
    while (order := scheduler.next_order(now)) is not None:
        found.append(order)
        if isinstance(order, Pull):
            scheduler.offer([number(index + i) for i in range(order.limit)])
            index += order.limit
    return found


def sends(found: list[Order]) -> list[Send]:
    return [order for order in found if isinstance(order, Send)]


def test_the_first_batches_are_one_task_each() -> None:
    found = sends(orders(Scheduler(Policy(), 3, 0.0)))
    assert [len(send.batch.tasks) for send in found] == [1] * 6


def test_batches_grow_until_they_are_worth_their_round_trip() -> None:
    scheduler = Scheduler(Policy(round_trip_s=1e-3), 1, 0.0)
    flying = sends(orders(scheduler))
    sizes = []
    for _ in range(12):
        send = flying.pop(0)
        count = len(send.batch.tasks)
        sizes.append(count)
        scheduler.complete(Completion(send.ticket, list(range(count)), seconds=count * 1e-5), 0.0)
        flying += sends(orders(scheduler))
    assert sizes[:2] == [1, 1]
    assert 1990 <= max(sizes) <= 2000  # 20 ms of tasks of 10 µs


def test_batches_shrink_towards_the_end() -> None:
    scheduler = Scheduler(Policy(round_trip_s=4e-3), 2, 0.0)
    scheduler.offer([number(i) for i in range(1000)])
    scheduler.close_source()
    sizes = []
    while (order := scheduler.next_order(0.0)) != Finish():
        if isinstance(order, Send):
            sizes.append(len(order.batch.tasks))
        if order is None or isinstance(order, Send):
            for ticket in list(scheduler.in_flight):
                batch = scheduler.find_batch(ticket)
                assert batch is not None
                scheduler.complete(Completion(ticket, list(batch.tasks), seconds=1e-3 * len(batch.tasks)), 0.0)
    peak = sizes.index(max(sizes))
    assert max(sizes) > 40
    assert sizes[peak:] == sorted(sizes[peak:], reverse=True)
    assert sizes[-3] == 4  # tasks of 1 ms that last one round trip


def test_results_for_a_slow_consumer_stay_below_the_limit() -> None:
    scheduler = Scheduler(Policy(held_bytes=1000), 2, 0.0)
    held = 0
    for _ in range(100):
        for order in orders(scheduler):
            if isinstance(order, Emit):
                held += order.nbytes
        if scheduler.is_stalled(0.0):
            break
        ticket = scheduler.in_flight[0]
        batch = scheduler.find_batch(ticket)
        assert batch is not None
        count = len(batch.tasks)
        scheduler.complete(Completion(ticket, [0] * count, seconds=1e-6, nbytes=100 * count), 0.0)
    assert scheduler.is_stalled(0.0)
    assert 500 <= held <= 1000


def test_a_late_completion_is_ignored() -> None:
    scheduler = Scheduler(Policy(), 1, 0.0)
    (send, *_) = sends(orders(scheduler))
    scheduler.complete(Completion(send.ticket, ["once"]), 0.0)
    scheduler.complete(Completion(send.ticket, ["twice"]), 0.0)
    assert [order.values for order in orders(scheduler) if isinstance(order, Emit)] == [["once"]]


def test_a_lost_batch_fails_the_run() -> None:
    scheduler = Scheduler(Policy(), 1, 0.0)
    (send, *_) = sends(orders(scheduler))
    error = RuntimeError("gone")
    scheduler.complete(Completion(send.ticket, [], lost=error), 0.0)
    assert scheduler.next_order(0.0) == Fail(error, {})


@pytest.mark.parametrize("ordered", [True, False])
def test_what_was_finished_is_handed_out_before_the_failure(ordered: bool) -> None:
    scheduler = Scheduler(Policy(ordered=ordered, batch_size=2), 1, 0.0)
    (send, *_) = sends(orders(scheduler))
    error = ValueError()
    scheduler.complete(Completion(send.ticket, ["first"], error), 0.0)
    assert scheduler.next_order(0.0) == Emit(["first"], 0)
    assert scheduler.next_order(0.0) == Fail(error, {})


def test_a_task_that_takes_too_long_is_ended_and_the_others_of_its_batch_go_again() -> None:
    scheduler = Scheduler(Policy(timeout_s=5.0, batch_size=3, tolerant=True), 1, 100.0)
    assert isinstance(scheduler.next_order(100.0), Pull)
    scheduler.offer([number(i) for i in range(3)])
    scheduler.close_source()
    (send,) = sends(orders(scheduler, 100.0))
    assert scheduler.patience(101.0) == 4.0
    assert scheduler.next_order(105.0) == Look()
    assert scheduler.find_late([Running(send.ticket, 1, 2.0, 0)], 105.0) == []
    assert scheduler.next_order(105.0) is None
    assert scheduler.patience(105.0) == 3.0
    late = Running(send.ticket, 1, 5.0, 0)
    assert scheduler.next_order(108.0) == Look()
    assert scheduler.find_late([late], 108.0) == [late]
    assert scheduler.find_late([late], 108.1) == []  # it is being ended
    scheduler.complete(Completion(send.ticket, [], lost=WorkerLost("ended")), 108.2)
    again = sends(orders(scheduler, 108.2))
    assert [(each.batch.first, len(each.batch.tasks)) for each in again] == [(0, 1), (2, 1)]
    for each in again:
        scheduler.complete(Completion(each.ticket, [each.batch.first]), 108.3)
    values = []
    while isinstance(emit := scheduler.next_order(108.3), Emit):
        values += emit.values
    assert values[::2] == [0, 2]
    assert isinstance(values[1], TaskTimeout)
    assert (values[1].index, values[1].elapsed, values[1].limit) == (1, 5.0, 5.0)


def test_a_task_that_was_done_in_the_last_moment_is_done() -> None:
    scheduler = Scheduler(Policy(timeout_s=5.0), 1, 0.0)
    (send, *_) = sends(orders(scheduler))
    assert scheduler.find_late([Running(send.ticket, 0, 5.0, 0)], 5.0)
    scheduler.complete(Completion(send.ticket, ["done"]), 5.0)
    assert scheduler.next_order(5.0) == Emit(["done"], 0)


def test_values_that_were_saved_from_a_lost_batch_are_kept() -> None:
    scheduler = Scheduler(Policy(batch_size=3, tolerant=True), 1, 0.0)
    (send, *_) = sends(orders(scheduler))
    scheduler.complete(Completion(send.ticket, ["first"], lost=WorkerLost("left"), begun=2), 0.0)
    assert scheduler.next_order(0.0) == Emit(["first"], 0)
    emit = scheduler.next_order(0.0)
    assert isinstance(emit, Emit)
    assert isinstance(emit.values[0], TaskError)
    (again, *_) = sends(orders(scheduler))
    assert (again.batch.first, len(again.batch.tasks)) == (2, 1)


def test_a_run_ends_at_its_deadline() -> None:
    scheduler = Scheduler(Policy(deadline_s=5.0), 1, 100.0)
    orders(scheduler, 100.0)
    assert scheduler.patience(101.0) == 4.0
    last = scheduler.next_order(105.0)
    assert isinstance(last, Fail)
    assert isinstance(last.error, TimeoutError)
    assert "deadline=5 seconds have passed; 0 of the" in str(last.error)


def test_batches_of_one_epoch_have_no_code_of_the_input_between_them() -> None:
    def epochs(*, ran_code: bool) -> list[int]:
        scheduler = Scheduler(Policy(batch_size=1), 2, 0.0)
        for index in range(4):
            assert isinstance(scheduler.next_order(0.0), Pull)
            scheduler.offer([number(index)], ran_code=ran_code)
            found.append(scheduler.next_order(0.0))
        return [send.batch.epoch for send in found if isinstance(send, Send)]

    found: list[Order | None] = []
    assert epochs(ran_code=True) == [1, 2, 3, 4]
    found.clear()
    assert epochs(ran_code=False) == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("seconds", "batch_size", "window", "most"),
    [(1e-6, 1, None, 16), (1e-4, 1, None, 8), (0.5, 1, None, 4), (1e-6, None, None, 4), (1e-6, 1, 1000, 4)],
)
def test_very_short_batches_of_a_given_size_are_sent_further_ahead(
    seconds: float, batch_size: int | None, window: int | None, most: int
) -> None:
    scheduler = Scheduler(Policy(batch_size=batch_size, window=window, round_trip_s=3e-4), 2, 0.0)
    flying: list[Send] = []
    deepest = offered = 0
    for _ in range(500):
        match scheduler.next_order(0.0):
            case Pull(limit):
                scheduler.offer([number(offered + i) for i in range(limit)])
                offered += limit
            case Send() as send:
                flying.append(send)
                deepest = max(deepest, len(flying))
            case Emit(values, nbytes):
                scheduler.consumed(len(values), nbytes)
            case _:
                ticket, batch = flying.pop(0)
                count = len(batch.tasks)
                scheduler.complete(Completion(ticket, [0] * count, None, None, "w", seconds * count, 0), 0.0)
    assert deepest == most


def test_a_task_goes_again_after_its_backoff_with_its_attempt() -> None:
    scheduler = Scheduler(Policy(retries=2, backoff=Backoff(1.0), window=1), 1, 0.0)
    (send,) = sends(orders(scheduler))
    scheduler.complete(Completion(send.ticket, [], OSError()), 10.0)
    assert scheduler.next_order(10.0) is None
    assert not scheduler.is_stalled(10.0)
    assert scheduler.patience(10.0) == 1.0
    again = scheduler.next_order(11.0)
    assert isinstance(again, Send)
    assert (again.batch.first, again.batch.attempt) == (0, 2)
    error = OSError()
    scheduler.complete(Completion(again.ticket, [], error), 11.0)
    assert scheduler.patience(11.0) == 2.0
    last = scheduler.next_order(13.0)
    assert isinstance(last, Send)
    scheduler.complete(Completion(last.ticket, [], error), 13.0)
    assert scheduler.next_order(13.0) == Fail(error, {})


def test_what_is_not_to_be_retried_fails_at_once() -> None:
    scheduler = Scheduler(Policy(retries=2, retry_on=(OSError,)), 1, 0.0)
    (send, *_) = sends(orders(scheduler))
    error = ValueError()
    scheduler.complete(Completion(send.ticket, [], error), 0.0)
    assert scheduler.next_order(0.0) == Fail(error, {})


def test_innocents_of_a_loss_go_again_and_only_the_task_that_had_begun_is_charged() -> None:
    scheduler = Scheduler(Policy(batch_size=4, tolerant=True), 1, 0.0)
    assert isinstance(scheduler.next_order(0.0), Pull)
    scheduler.offer([number(i) for i in range(4)])
    scheduler.close_source()
    (send,) = sends(orders(scheduler))
    scheduler.complete(Completion(send.ticket, [], lost=WorkerLost("gone"), begun=2, worker="w"), 0.0)
    again = orders(scheduler)
    assert [(each.batch.first, len(each.batch.tasks), each.batch.attempt) for each in sends(again)] == [
        (0, 1, 1),
        (2, 2, 1),
    ]
    for each in sends(again):
        scheduler.complete(Completion(each.ticket, [0] * len(each.batch.tasks)), 0.0)
    values = []
    while isinstance(emit := scheduler.next_order(0.0), Emit):
        values += emit.values
    assert [type(value) for value in values] == [int, TaskError, int, int]
    assert values[1].index == 1
    assert "task 1 was running there: int(1), attempt 1" in values[1].error.__notes__[0]


def test_a_run_that_nothing_can_carry_on_ends() -> None:
    scheduler = Scheduler(Policy(tolerant=True, retries=3), 1, 0.0)
    (send, *_) = sends(orders(scheduler))
    error = WorkerLost("all of them")
    scheduler.complete(Completion(send.ticket, [], lost=error, ends_run=True), 0.0)
    assert scheduler.next_order(0.0) == Fail(error, {})


def test_known_results_for_a_slow_consumer_stay_below_the_limit_too() -> None:
    scheduler = Scheduler(Policy(held_bytes=1000), 1, 0.0)
    known, held = 0, []
    while (order := scheduler.next_order(0.0)) is not None:
        if isinstance(order, Pull):
            scheduler.know([known], 400)
            known += 1
        elif isinstance(order, Emit):
            held.append(order)
    assert known == 3  # the third went over the limit
    assert scheduler.is_stalled(0.0)
    for emit in held:
        scheduler.consumed(len(emit.values), emit.nbytes)
    assert isinstance(scheduler.next_order(0.0), Pull)
