"""Loops that are taken up again: nothing is lost but what was not saved, nothing is wrong, whatever ended the loop."""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
import random
import re
import runpy
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobspan import (
    CheckpointMismatch,
    DamagedFileError,
    FallbackWarning,
    JobspanError,
    UnhashableError,
    UnpicklableError,
    host,
    inspect,
    load,
)
from jobspan.memory import snapshots
from jobspan.memory.state import State
from jobspan.memory.steps import Steps

needs_processes = pytest.mark.skipif(
    not host.has_processes(), reason="starts interpreters; there are no processes here"
)


class Interrupted(Exception):
    """What ends a loop in these tests."""


def walk(steps: Steps, stop: int, fail_at: int | None = None) -> list[int]:
    """A loop whose state depends on all of its steps and their order; the steps that it did are returned, or raised."""
    did: list[int] = []
    for step, state in steps.range(stop, total=0, rng=random.Random(7), seen=[]):
        did.append(step)
        state.total += step
        if step == fail_at:
            raise Interrupted(did)
        state.total = state.total * 31 % 1_000_003 + state.rng.randrange(100)
        state.seen.append(state.total)
    return did


def facts_of(state: State) -> tuple[Any, ...]:
    return state.total, list(state.seen), state.rng.getstate()


def interrupt(steps: Steps, stop: int, fail_at: int) -> list[int]:
    with pytest.raises(Interrupted) as caught:
        walk(steps, stop, fail_at)
    did: list[int] = caught.value.args[0]
    return did


def files(steps: Steps) -> list[str]:
    return sorted(path.name for path in steps.folder.iterdir() if not path.name.startswith("."))


@pytest.fixture(autouse=True)
def _no_disk_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `fsync` is for, the end of a machine, is not tested here, and it takes most of the time."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Steps]:
    """Steps of one name, as by another process each time."""

    def make(name: str = "walk", **options: Any) -> Steps:
        return Steps(tmp_path, name, **{"of": "a walk", **options})

    return make


@pytest.fixture
def expected(tmp_path: Path) -> tuple[Any, ...]:
    """What a walk of twelve steps comes to if nothing interrupts it."""
    steps = Steps(tmp_path / "expected", "walk", of="a walk")
    assert walk(steps, 12) == list(range(12))
    return facts_of(steps.state)


@pytest.mark.parametrize("every", [1, 2, 5, 100])
def test_an_exception_at_any_step_costs_what_was_not_saved(
    make: Callable[..., Steps], expected: tuple[Any, ...], every: int
) -> None:
    for fail_at in range(12):
        name = f"{fail_at}"
        assert interrupt(make(name, every=every), 12, fail_at) == list(range(fail_at + 1))
        steps = make(name, every=every)
        assert walk(steps, 12) == list(range(fail_at // every * every, 12))
        assert facts_of(steps.state) == expected


def test_a_loop_that_fails_at_each_step_comes_to_the_same(
    make: Callable[..., Steps], expected: tuple[Any, ...]
) -> None:
    for fail_at in range(12):
        assert interrupt(make(), 12, fail_at) == ([fail_at - 1, fail_at] if fail_at else [0])
    steps = make()
    assert walk(steps, 12) == [11]
    assert facts_of(steps.state) == expected


def test_a_loop_that_is_over_does_nothing_and_has_its_state(
    make: Callable[..., Steps], expected: tuple[Any, ...]
) -> None:
    assert walk(make(every=5), 12) == list(range(12))
    for _ in range(2):
        steps = make(every=5)
        assert walk(steps, 12) == []
        assert facts_of(steps.state) == expected


def test_a_loop_that_is_over_goes_on_if_there_are_more_steps(
    make: Callable[..., Steps], expected: tuple[Any, ...]
) -> None:
    assert walk(make(), 5) == list(range(5))
    steps = make()
    assert walk(steps, 12) == list(range(5, 12))
    assert facts_of(steps.state) == expected


def test_the_last_few_are_kept(make: Callable[..., Steps]) -> None:
    for keep, kept in ((1, ["9.job"]), (2, ["8.job", "9.job"]), (None, [f"{n}.job" for n in range(1, 10)])):
        steps = make(f"keep {keep}", keep=keep)
        walk(steps, 9)
        assert files(steps) == kept


def test_the_state_is_saved_every_so_many_steps_and_at_the_end(make: Callable[..., Steps]) -> None:
    steps = make(every=4, keep=None)
    walk(steps, 10)
    assert files(steps) == ["10.job", "4.job", "8.job"]


class Clock:
    """Says what it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_state_is_saved_every_so_many_seconds(make: Callable[..., Steps]) -> None:
    clock = Clock()
    steps = make(every="1min", keep=None, clock=clock)
    for step, state in steps.range(10):
        state.at = step
        clock.now += 25
    assert files(steps) == ["10.job", "3.job", "6.job", "9.job"]
    assert load(steps.folder / "6.job") == {"at": 5}


def test_a_save_that_takes_long_does_not_become_due_by_itself(
    make: Callable[..., Steps], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    write = snapshots.dump_telling

    def slow(*args: Any) -> None:
        clock.now += 500
        write(*args)

    monkeypatch.setattr(snapshots, "dump_telling", slow)
    steps = make(every="1min", keep=None, clock=clock)
    for _ in steps.range(8):
        clock.now += 20
    assert files(steps) == ["3.job", "6.job", "8.job"]


def test_a_step_that_is_left_by_break_is_done_again(make: Callable[..., Steps]) -> None:
    for step, state in make(every=2).range(9, seen=()):
        state.seen += (step,)
        if step == 4:
            break
    for step, state in make(every=2).range(9, seen=()):
        assert step == 4
        assert state.seen == (0, 1, 2, 3)
        break


def test_saving_by_hand_is_at_the_end_of_the_step(make: Callable[..., Steps]) -> None:
    steps = make(every=100)
    for step, state in steps.range(9, seen=()):
        if step == 3:
            steps.save()
            assert files(steps) == []
        if step == 6:
            break
        state.seen += (step,)
    assert files(steps) == ["4.job"]
    assert load(steps.folder / "4.job") == {"seen": (0, 1, 2, 3)}


def test_a_loop_may_finish_before_its_end(make: Callable[..., Steps]) -> None:
    steps = make(every=100)
    did = []
    for step, state in steps.range(9):
        did.append(step)
        state.at = step
        if step == 3:
            steps.finish()
            steps.save()  # which does not undo it
            continue
    assert did == [0, 1, 2, 3]
    again = make()
    assert list(again.range(9)) == list(again.range(100)) == []
    assert again.state.at == 3


def test_what_is_asked_for_in_a_step_that_is_left_is_said_to_come_to_nothing(make: Callable[..., Steps]) -> None:
    steps = make()
    loop = iter(steps.range(3))
    next(loop)
    steps.finish()
    with pytest.warns(FallbackWarning, match=r"finish\(\) of .* Write 'continue'"):
        loop.close()  # as a break does
    with pytest.raises(JobspanError, match="no loop of the checkpoint 'walk' is going on"):
        steps.save()
    assert [step for step, _ in make().range(3)] == [0, 1, 2]


def test_elements_of_an_iterable_are_left_out_if_they_are_done(make: Callable[..., Steps]) -> None:
    taken = []

    def words() -> Any:
        for word in ("one", "two", "three", "four"):
            taken.append(word)
            yield word

    for word, state in make().each(words(), text=""):
        if word == "three":
            break
        state.text += word
    steps = make()
    for word, state in steps.each(words()):
        state.text += word
    assert steps.state == {"text": "onetwothreefour"}
    assert taken == ["one", "two", "three", "one", "two", "three", "four"]
    with pytest.raises(CheckpointMismatch, match="after 4 steps, and this loop has only 3"):
        list(make().each("abc"))


def test_a_loop_may_have_no_end(make: Callable[..., Steps]) -> None:
    steps = make()
    for step, _state in steps.each(itertools.count()):
        if step == 20:
            steps.finish()
    assert files(steps) == ["20.job", "21.job"]
    assert list(make().each(itertools.count())) == []


def test_a_range_may_begin_anywhere_and_go_backwards(make: Callable[..., Steps]) -> None:
    assert [step for step, _ in make().range(10, 4, -2)] == [10, 8, 6]
    assert [step for step, _ in make().range(10, 0, -2)] == [4, 2]
    with pytest.raises(CheckpointMismatch, match="its start was 10, and is 0, its step was -2, and is 1"):
        list(make().range(10))
    with pytest.raises(CheckpointMismatch, match="its kind was range, and is each"):
        list(make().each([1]))


def test_fewer_steps_than_were_done_are_refused(make: Callable[..., Steps]) -> None:
    walk(make(), 6)
    with pytest.raises(CheckpointMismatch, match="after 6 steps, and this loop has only 3"):
        walk(make(), 3)
    assert walk(make(resume="force"), 3) == []


def test_values_to_begin_with_are_copied(make: Callable[..., Steps]) -> None:
    weights = [0]
    for _, state in make().range(3, weights=weights, again=weights):
        state.weights.append(1)
        assert state.weights is state.again
    assert weights == [0]


# --- code and arguments -----------------------------------------------------------------------------------------


def fit(folder: Any, rate: float, **options: Any) -> list[int]:
    steps = Steps(folder, "fit", **options)
    return [step for step, _ in steps.range(3)]


def test_other_arguments_are_refused(tmp_path: Path) -> None:
    assert fit(str(tmp_path), 0.1) == [0, 1, 2]
    assert fit(str(tmp_path), 0.1) == []
    with pytest.raises(CheckpointMismatch, match="of its arguments, rate is not as before") as caught:
        fit(str(tmp_path), 0.2)
    told = str(caught.value)
    assert "after 3 steps" in told
    assert "resume='force'" in told
    assert str(tmp_path) in told
    assert fit(str(tmp_path), 0.2, resume=False) == [0, 1, 2]
    with pytest.raises(CheckpointMismatch, match="rate, options are not as before"):
        fit(str(tmp_path), 0.1)


def test_what_is_said_to_count_counts_in_the_place_of_arguments(tmp_path: Path) -> None:
    assert fit(str(tmp_path), 0.1, of=[1, max]) == [0, 1, 2]
    assert fit(str(tmp_path), 0.2, of=[1, max]) == []
    with pytest.raises(CheckpointMismatch, match=r"what it depends on \(of=\) is not what it was"):
        fit(str(tmp_path), 0.1, of=[1, min])
    with pytest.raises(CheckpointMismatch, match=r"\(of=\)"):
        fit(str(tmp_path), 0.1)


def test_other_code_is_refused(tmp_path: Path) -> None:
    def first() -> int:
        return sum(1 for _ in Steps(tmp_path, "loop").range(3))

    def second() -> int:
        return sum(2 for _ in Steps(tmp_path, "loop").range(3)) // 2

    def forcing() -> int:
        return sum(3 for _ in Steps(tmp_path, "loop", resume="force").range(3))

    assert first() == 3
    with pytest.raises(CheckpointMismatch, match=r"the code of .*second is not what it was"):
        second()
    assert first() == 0
    assert forcing() == 0
    with pytest.raises(CheckpointMismatch, match=r"the code of .*first is not what it was"):
        first()  # it has become the other's


RATE = 0.1


def test_other_values_around_the_function_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make_loop(depth: int) -> Callable[[], list[float]]:
        def loop() -> list[float]:
            return [RATE * depth for _ in Steps(tmp_path, "loop").range(2)]

        return loop

    assert len(make_loop(3)()) == 2
    assert make_loop(3)() == []
    with pytest.raises(CheckpointMismatch, match=r"of what .*loop uses, depth is not as before"):
        make_loop(4)()
    monkeypatch.setitem(globals(), "RATE", 0.2)
    with pytest.raises(CheckpointMismatch, match=r"of what .*loop uses, RATE is not as before"):
        make_loop(3)()


def test_what_is_in_the_state_is_not_taken_for_a_global_of_that_name(tmp_path: Path) -> None:
    script = """
    from jobspan.memory.steps import Steps
    def walk():
        steps = Steps(folder, "walk")
        for step, state in steps.range(3, total=0):
            state.total += step
        return steps.state.total
    total = walk()
    """
    for total in (None, 0, 17):
        found: dict[str, Any] = {"folder": tmp_path, "total": total}
        exec(textwrap.dedent(script), found)
        assert found["total"] == 3


def test_the_lines_of_a_script_are_not_looked_at(tmp_path: Path) -> None:
    script = "from jobspan.memory.steps import Steps\ndid = [step for step, _ in Steps(folder, 'loop').range(stop)]"
    for stop, did in ((2, [0, 1]), (4, [2, 3])):
        found: dict[str, Any] = {"folder": tmp_path, "stop": stop}
        exec(f"{script}\nstop = {stop}", found)
        assert found["did"] == did


def test_an_argument_that_has_no_content_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnhashableError, match=r"the same argument rate .* checkpoint\(..., of="):
        fit(str(tmp_path), (each for each in ()))  # type: ignore[arg-type]


def test_a_decorated_function_is_given_its_steps(tmp_path: Path) -> None:
    did: list[int] = []

    @Steps(tmp_path, "fit", every=2)
    def fit(steps: Steps, rate: float, stop: int = 4, *, fail_at: Any = None) -> float:
        for step, state in steps.range(stop, total=0.0):
            did.append(step)
            if step in trouble:
                raise Interrupted
            state.total += rate
        total: float = steps.state.total
        return total

    trouble = [3]
    with pytest.raises(Interrupted):
        fit(0.5)
    trouble.clear()
    assert fit(0.5) == 2
    assert fit(rate=0.5, stop=4) == 2
    assert did == [0, 1, 2, 3, 2, 3]
    assert fit.__name__ == "fit"
    with pytest.raises(TypeError, match="is no function"):
        Steps(tmp_path, "fit")(functools.partial(fit))
    with pytest.raises(CheckpointMismatch, match="rate is not as before"):
        fit(0.6)
    with pytest.raises(CheckpointMismatch, match="fail_at is not as before"):
        fit(0.5, fail_at=1)


def test_beginning_anew_forgets_what_was_saved(make: Callable[..., Steps]) -> None:
    walk(make(keep=None), 6)
    assert interrupt(make(resume=False, every=2), 12, 4) == [0, 1, 2, 3, 4]
    assert files(make()) == ["2.job", "4.job"]
    steps = make()
    steps.clear()
    steps.clear()
    assert files(steps) == []
    assert walk(make(), 3) == [0, 1, 2]
    make("never").clear()


# --- damage -----------------------------------------------------------------------------------------------------


def test_a_damaged_file_is_never_used(make: Callable[..., Steps], expected: tuple[Any, ...]) -> None:
    steps = make()
    interrupt(steps, 12, 8)
    whole = (steps.folder / "8.job").read_bytes()
    before = (steps.folder / "7.job").read_bytes()
    chance = random.Random(1)
    places = [*range(0, 200, 7), *chance.sample(range(len(whole)), 40), *range(len(whole) - 200, len(whole), 11)]
    damages = [whole[:place] for place in places]
    damages += [
        whole[:place] + bytes([whole[place] ^ 1 << chance.randrange(8)]) + whole[place + 1 :] for place in places
    ]
    used = set()
    for number, data in enumerate(damages):
        (steps.folder / "7.job").write_bytes(before)
        (steps.folder / "8.job").write_bytes(data)
        again = make()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FallbackWarning)
            did = walk(again, 12)
        assert facts_of(again.state) == expected, number
        assert did[0] in (7, 8)  # 8 where what was altered is only padding
        assert (steps.folder / "8.job.damaged").exists() is (did[0] == 7)
        used.add(did[0])
        steps.clear()
        assert files(steps) == []
    assert used == {7, 8}


def test_a_damaged_file_is_set_aside_and_that_is_said(make: Callable[..., Steps]) -> None:
    steps = make()
    interrupt(steps, 12, 5)
    for name in ("4.job", "5.job"):
        (steps.folder / name).write_bytes(b"")
    with pytest.warns(FallbackWarning) as told:
        assert interrupt(make(), 12, 2) == [0, 1, 2]
    assert [f"{number}.job was renamed to" in str(each.message) for each, number in zip(told, "54", strict=True)] == [
        True,
        True,
    ]
    assert files(steps) == ["1.job", "2.job", "4.job.damaged", "5.job.damaged"]


def test_a_file_of_somebody_elses_is_set_aside(make: Callable[..., Steps]) -> None:
    from jobspan import dump

    steps = make()
    interrupt(steps, 12, 2)
    dump({"total": 1}, steps.folder / "9.job")
    (steps.folder / "notes.job").write_bytes(b"mine")
    with pytest.warns(FallbackWarning, match="it does not say of which loop it is"):
        assert interrupt(make(), 12, 3) == [2, 3]
    assert (steps.folder / "notes.job").read_bytes() == b"mine"


def test_what_a_killed_process_has_left_is_removed(make: Callable[..., Steps]) -> None:
    steps = make()
    interrupt(steps, 12, 2)
    left = steps.folder / ".3.job.77-00ff00ff.tmp"
    left.write_bytes(b"half of it")
    interrupt(make(), 12, 2)
    assert not left.exists()


def test_a_state_of_something_that_is_gone_is_left_as_it_is(
    make: Callable[..., Steps], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = type(sys)("jobspan_gone")
    exec("class Model: pass", module.__dict__)
    monkeypatch.setitem(sys.modules, "jobspan_gone", module)
    for _ in make().range(2, model=module.Model()):
        pass
    monkeypatch.delitem(sys.modules, "jobspan_gone")
    steps = make()
    with pytest.raises(ModuleNotFoundError) as caught:
        list(steps.range(3))
    assert "2.job is whole, but something that its state is made of is not there" in caught.value.__notes__[0]
    assert files(steps) == ["1.job", "2.job"]


def test_a_full_disk_costs_the_checkpoint_and_not_the_loop(
    make: Callable[..., Steps], monkeypatch: pytest.MonkeyPatch, expected: tuple[Any, ...]
) -> None:
    write = snapshots.dump_telling
    calls = itertools.count(1)

    def full(*args: Any) -> None:
        if 4 <= next(calls) <= 7:
            raise OSError(28, "No space left on device")
        write(*args)

    monkeypatch.setattr(snapshots, "dump_telling", full)
    steps = make(keep=None)
    with pytest.warns(FallbackWarning, match=r"'walk' cannot be written \(.*No space left.*the loop goes on"):
        assert walk(steps, 12) == list(range(12))
    assert facts_of(steps.state) == expected
    assert [f"{number}.job" in files(steps) for number in range(1, 13)] == [True] * 3 + [False] * 4 + [True] * 5


def put_generator_into_state(steps: Steps) -> None:
    for _, state in steps.range(3):
        state.lines = (each for each in ())


def test_a_state_that_cannot_be_pickled_is_an_error_at_once(make: Callable[..., Steps]) -> None:
    with pytest.raises(UnpicklableError, match="'lines'"):
        put_generator_into_state(make())
    assert [step for step, _ in make().range(3)] == [0, 1, 2]


# --- others, and each other -------------------------------------------------------------------------------------


def test_a_checkpoint_in_use_is_refused(make: Callable[..., Steps]) -> None:
    steps = make()
    for _ in steps.range(2):
        with pytest.raises(JobspanError, match="in use by another loop, maybe of another process"):
            walk(make(), 2)
        with pytest.raises(JobspanError, match="in use"):
            list(steps.range(2))
        with pytest.raises(JobspanError, match="in use"):
            make().clear()
    assert list(make().range(2)) == []


def test_loops_inside_of_loops_have_names_of_their_own(make: Callable[..., Steps]) -> None:
    did = []

    def both(fail_at: tuple[int, int]) -> int:
        outer = make("outer")
        for fold, state in outer.range(3, total=0):
            inner = make(f"inner/{fold}")
            for step, sub in inner.range(3, total=0):
                did.append((fold, step))
                if (fold, step) == fail_at:
                    raise Interrupted
                sub.total += fold * step
            state.total += inner.state.total
        total: int = outer.state.total
        return total

    for fail_at in ((1, 1), (2, 0)):
        with pytest.raises(Interrupted):
            both(fail_at)
    assert both((9, 9)) == 9
    assert did == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 1), (1, 2), (2, 0), (2, 0), (2, 1), (2, 2)]


def test_async_for_does_the_same_and_lets_others_go_on(make: Callable[..., Steps], expected: tuple[Any, ...]) -> None:
    turns = []

    async def other() -> None:
        while True:
            turns.append(None)
            await asyncio.sleep(0)

    async def walk_on(steps: Steps, fail_at: int) -> list[int]:
        did = []
        others = asyncio.ensure_future(other())
        try:
            async for step, state in steps.range(12, total=0, rng=random.Random(7), seen=[]):
                did.append(step)
                if step == fail_at:
                    break
                state.total += step
                state.total = state.total * 31 % 1_000_003 + state.rng.randrange(100)
                state.seen.append(state.total)
        finally:
            others.cancel()
        return did

    assert asyncio.run(walk_on(make(), 5)) == [0, 1, 2, 3, 4, 5]
    assert len(turns) >= 5
    steps = make()
    assert asyncio.run(walk_on(steps, -1)) == [5, 6, 7, 8, 9, 10, 11]
    assert facts_of(steps.state) == expected


CHILD = """
import random, sys
from jobspan.memory.steps import Steps

def walk(steps, stop):
    for step, state in steps.range(stop, total=0, rng=random.Random(7), filler=bytes(200_000), seen=[]):
        state.total = (state.total + step) * 31 % 1_000_003 + state.rng.randrange(100)
        state.filler = state.rng.randbytes(200_000)
        state.seen.append(state.total)
        print(step, flush=True)
    return steps.state

folder, stop = sys.argv[1], int(sys.argv[2])
state = walk(Steps(folder, "walk", of=stop, every=2), stop)
print(state.total, sum(state.seen), hash(state.filler) is None, state.filler[:8].hex(), flush=True)
"""


@needs_processes
def test_a_kill_at_any_moment_costs_what_was_not_saved(tmp_path: Path) -> None:
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    stop = 400
    command = [sys.executable, str(script)]
    told = subprocess.run([*command, str(tmp_path / "expected"), str(stop)], capture_output=True, text=True, check=True)
    chance = random.Random(3)
    last = 0
    for _ in range(12):
        arguments = [*command, str(tmp_path / "killed"), str(stop)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            first = int(child.stdout.readline())
            assert first % 2 == 0
            assert first >= last - 1, "what was saved is done again"
            for _ in range(chance.randrange(25)):
                child.stdout.readline()
            child.kill()
            rest = child.stdout.read().split()
        last = int(rest[-1]) if rest else last
    done = subprocess.run([*command, str(tmp_path / "killed"), str(stop)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == told.stdout.splitlines()[-1]
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) < stop


@needs_processes
def test_another_process_is_refused(tmp_path: Path) -> None:
    holder = """
        import sys
        from jobspan.memory.steps import Steps
        for _ in Steps(sys.argv[1], "loop").range(1):
            print("there", flush=True)
            sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(holder), str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "there\n"
        if sys.platform != "win32":
            with pytest.raises(JobspanError, match="in use by another loop"):
                list(Steps(tmp_path, "loop", of=0).range(1))
        child.communicate("")
    assert list(Steps(tmp_path, "loop", resume="force").range(1)) == []


# --- what is in a state -----------------------------------------------------------------------------------------


def test_a_generator_in_the_state_goes_on_exactly(tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")

    def fit(name: str, fail_at: int | None = None) -> State:
        steps = Steps(tmp_path, name, of=0, every=3)
        for step, state in steps.range(20, rng=np.random.default_rng(5), weights=np.zeros(100_000)):
            if step == 0:
                state.view = state.weights[10:9000]
            if step == fail_at:
                raise Interrupted
            state.weights += state.rng.normal(size=100_000)
            state.view *= 0.5
        return steps.state

    expected = fit("whole")
    for fail_at in (4, 11, 19):
        with pytest.raises(Interrupted):
            fit("cut", fail_at)
    found = fit("cut")
    assert np.array_equal(found.weights, expected.weights)
    assert found.rng.bit_generator.state == expected.rng.bit_generator.state
    assert np.shares_memory(found.view, found.weights)


def test_large_arrays_stand_in_the_file_once_and_can_be_compressed(tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")
    sizes = []
    for compress in (0, "zlib"):
        steps = Steps(tmp_path, f"{compress}", compress=compress, of=0)
        for _, state in steps.range(1, big=np.zeros(1_000_000)):
            state.again = state.big
        path = steps.folder / "1.job"
        sizes.append(path.stat().st_size)
        found = load(path)
        assert found["again"] is found["big"]
        assert list(Steps(tmp_path, f"{compress}", of=0).range(1)) == []
    assert 8_000_000 < sizes[0] < 8_010_000
    assert sizes[1] < 100_000


def test_a_file_tells_of_which_loop_it_is(make: Callable[..., Steps]) -> None:
    steps = make()
    walk(steps, 3)
    told = inspect(steps.folder / "3.job").facts["loop"]
    assert (told["done"], told["finished"], told["where"]) == (3, False, "walk")


def test_a_state_has_attributes_that_are_items() -> None:
    state = State(a=1)
    state.b = 2
    state["c"] = 3
    assert dict(state) == {"a": 1, "b": 2, "c": 3} == {**state}
    assert (state.c, state["b"], len(state), "a" in state, "z" in state) == (3, 2, 3, True, False)
    assert state.setdefault("d", 4) == state.d == 4
    del state.a
    del state["b"]
    assert repr(state) == "State(c=3, d=4)"
    assert state
    assert not State()
    state.values = [5]
    assert state["values"] == [5]
    with pytest.raises(AttributeError, match=r"no 'loss' in this state, which has c, d, values. .*range\(..., loss="):
        _ = state.loss
    with pytest.raises(TypeError, match="keep a dict in it"):
        state[7] = 7  # type: ignore[index]
    assert State(self=1, name=2).self == 1


@pytest.mark.parametrize("name", ["", "/x", "x/", "../x", ".x", "a//b", "a/./b", "a\\b", "C:x", 3, None])
def test_names_that_are_no_names_are_refused(tmp_path: Path, name: Any) -> None:
    with pytest.raises(ValueError, match="cannot be a checkpoint's name"):
        Steps(tmp_path, name)


def test_names_may_be_of_any_language(make: Callable[..., Steps]) -> None:
    for name in ("Größe, 2. Anlauf", "fold=3/lr=0.1", "学習"):
        walk(make(name), 2)
        assert walk(make(name), 2) == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"every": 0}, "every=0 is neither"),
        ({"every": True}, "every=True is neither"),
        ({"every": 1.5}, "every=1.5 is neither"),
        ({"every": "soon"}, "every='soon'"),
        ({"keep": 0}, "keep=0"),
        ({"resume": "yes"}, "resume='yes' is none of True, False and 'force'"),
    ],
)
def test_options_that_mean_nothing_are_refused(tmp_path: Path, options: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Steps(tmp_path, "loop", **options)


def test_nothing_is_made_before_the_loop_begins(make: Callable[..., Steps]) -> None:
    steps = make()
    loop = steps.range(3)
    assert not steps.folder.exists()
    assert steps.state == {}
    next(iter(loop))
    assert steps.folder.exists()


def test_the_errors_are_what_they_say() -> None:
    assert issubclass(CheckpointMismatch, JobspanError)
    assert not issubclass(CheckpointMismatch, DamagedFileError)
    assert os.path.basename(snapshots.__file__) == "snapshots.py"


ROOT = Path(__file__).parents[1]


def test_the_examples_of_the_page_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "docs" / "checkpointed_loops.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        found: dict[str, Any] = {}
        for block in blocks:
            exec(block, found)
        assert asyncio.run(found["main"]()) == 3
        assert capsys.readouterr().out.splitlines() == ["3.0", "[0, 3, 6, 9, 12]", "4950"]


def test_the_example_script_finds_the_same_however_often_it_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = runpy.run_path(str(ROOT / "docs" / "examples" / "resume.py"))
    search, names = found["search"], found["search"].__globals__
    monkeypatch.setitem(names, "ROUNDS", 12)
    monkeypatch.setitem(names, "TRIES", 20)
    expected = search(tmp_path / "whole")
    improve, calls = found["improve"], itertools.count()

    def stopping(*args: Any) -> Any:
        if next(calls) % 3 == 2:
            raise Interrupted
        return improve(*args)

    monkeypatch.setitem(names, "improve", stopping)
    monkeypatch.setitem(names, "Steps", lambda *args, **options: Steps(*args, **{**options, "every": 1}))
    stops = 0
    while True:
        try:
            assert search(tmp_path / "stopped") == expected
        except Interrupted:
            stops += 1
        else:
            break
    assert stops == 5
