"""Random numbers of a task's own: the same wherever it runs."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobspan import Checkpoint, Parallel, attempt, delayed, numpy_rng, rng

Run = Callable[..., list[Any]]


def draw() -> tuple[float, float]:
    return rng().random(), rng().random()


def expected(count: int, seed: int = 7) -> list[tuple[float, float]]:
    streams = [random.Random(f"{seed}/{index}") for index in range(count)]
    return [(stream.random(), stream.random()) for stream in streams]


@pytest.mark.parametrize("batch_size", ["auto", 1, 4])
def test_each_task_has_a_stream_of_its_own_everywhere(backend: Any, run: Run, batch_size: Any) -> None:
    results = run((delayed(draw)() for _ in range(12)), n_jobs=2, backend=backend, seed=7, batch_size=batch_size)
    assert results == expected(12)


def test_another_seed_gives_other_numbers() -> None:
    assert Parallel(seed=8)([delayed(draw)()]) == expected(1, 8) != expected(1, 7)


def test_a_task_that_is_tried_again_draws_the_same(backend: Any) -> None:
    def draw_twice() -> tuple[float, float]:
        found = draw()
        if attempt() == 1:
            raise OSError
        return found

    calls = [delayed(draw_twice)()] * 4
    assert Parallel(n_jobs=2, backend=backend, seed=7, retries=1, backoff=0)(calls) == expected(4)


def test_nothing_global_is_seeded(backend: Any) -> None:
    random.seed(1)
    before = random.getstate()
    Parallel(n_jobs=2, backend=backend, seed=7)(delayed(draw)() for _ in range(4))
    assert random.getstate() == before


def test_without_a_seed_there_is_an_error_that_says_so(backend: Any) -> None:
    with pytest.raises(RuntimeError, match=r"Parallel\(seed=\.\.\.\)"):
        rng()
    with pytest.raises(RuntimeError, match=r"Parallel\(seed=\.\.\.\)"):
        Parallel(n_jobs=2, backend=backend)([delayed(draw)()])


def test_inner_calls_have_streams_of_their_own(backend: Any) -> None:
    def outer() -> tuple[float, list[tuple[float, float]]]:
        inner = Parallel(seed=3)(delayed(draw)() for _ in range(2))
        return rng().random(), inner

    results = Parallel(n_jobs=2, backend=backend, seed=7)(delayed(outer)() for _ in range(3))
    assert results == [(first, expected(2, 3)) for first, _ in expected(3)]


def test_numpy_has_streams_too(backend: Any) -> None:
    numpy = pytest.importorskip("numpy", reason="numpy is not installed here")

    def draw_array() -> Any:
        return numpy_rng().normal(size=3).tolist()

    results = Parallel(n_jobs=2, backend=backend, seed=7)(delayed(draw_array)() for _ in range(4))
    sequences = [numpy.random.SeedSequence(7, spawn_key=(index,)) for index in range(4)]
    assert results == [numpy.random.default_rng(each).normal(size=3).tolist() for each in sequences]


def test_a_checkpoint_knows_the_stream(tmp_path: Path) -> None:
    path = tmp_path / "run.ckpt"
    first = Parallel(seed=7, checkpoint=path)(delayed(draw)() for _ in range(3))
    again = Parallel(seed=7, checkpoint=path)(delayed(draw)() for _ in range(5))
    other = Parallel(seed=8, checkpoint=path)(delayed(draw)() for _ in range(3))
    assert (first, again, other) == (expected(3), expected(5), expected(3, 8))
    assert len(Checkpoint(path).results()) == 5


@pytest.mark.parametrize("seed", [-1, 1.5, "x"])
def test_what_is_no_seed_is_refused(seed: Any) -> None:
    with pytest.raises(ValueError, match="is not a whole number from 0 on"):
        Parallel(seed=seed)
