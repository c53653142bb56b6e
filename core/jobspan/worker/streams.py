"""Random numbers that are a task's own: the same wherever and whenever it runs, and however tasks are batched.

Invariant: what a task draws depends on the seed of the call and the task's position alone; nothing global is seeded.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from jobspan.worker.context import PLACE

if TYPE_CHECKING:
    from random import Random


class Streams:
    """The generators of the tasks of one batch, made when they are asked for.

    Parameters
    ----------
    seed : int
        Of the call.
    first : int
        Index of the first task.
    values : sequence
        The results so far: their number tells which task is running.
    level : int
        The nesting level of these tasks.
    """

    def __init__(self, seed: int, first: int, values: Sequence[Any], level: int) -> None:
        self.level = level
        self._seed = seed
        self._first = first
        self._values = values
        self._index = -1
        self._made: dict[str, Any] = {}

    def find(self, kind: str) -> Any:
        """The generator of the running task."""
        index = self._first + len(self._values)
        if index != self._index:
            self._index, self._made = index, {}
        if kind not in self._made:
            self._made[kind] = _MAKERS[kind](self._seed, index)
        return self._made[kind]


STREAMS: ContextVar[Streams | None] = ContextVar("jobspan_streams", default=None)
"""Those of the running batch."""


def rng() -> Random:
    """The running task's own `random.Random`, where `Parallel` was given a ``seed``.

    The same object within a task; another stream for each task, and the same again at each attempt.

    Raises
    ------
    RuntimeError
        Outside of tasks, or where the call has no seed.

    Examples
    --------
    >>> from jobspan import Parallel, delayed, rng
    >>> def throw():
    ...     return rng().randint(1, 6)
    >>> dice = Parallel(seed=7)(delayed(throw)() for _ in range(5))
    >>> dice == Parallel(n_jobs=2, seed=7)(delayed(throw)() for _ in range(5))
    True
    """
    found: Random = _find("random")
    return found


def numpy_rng() -> Any:
    """The running task's own `numpy.random.Generator`, where `Parallel` was given a ``seed``.

    It is made of ``SeedSequence(seed, spawn_key=(index,))``.

    Raises
    ------
    RuntimeError
        Outside of tasks, or where the call has no seed.
    """
    return _find("numpy")


def _find(kind: str) -> Any:
    streams = STREAMS.get()
    if streams is None or streams.level != PLACE.get().level:
        raise RuntimeError(
            "there are no random numbers of one's own here: call this inside of a task of Parallel(seed=...), with a "
            "number as seed."
        )
    return streams.find(kind)


def _make_random(seed: int, index: int) -> Any:
    from random import Random

    return Random(f"{seed}/{index}")  # noqa: S311  for simulations, not for secrets


def _make_numpy(seed: int, index: int) -> Any:
    from jobspan.arrays.generators import make_generator  # imports numpy

    return make_generator(seed, index)


_MAKERS = {"random": _make_random, "numpy": _make_numpy}
