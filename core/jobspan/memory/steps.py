"""Loops that can be taken up again: their state is saved every so often, and they go on from what was saved last.

Invariant: what is saved is the state between two whole steps; a loop never goes on from the state of other code or of
other arguments, unless it was told to.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Iterator
from copy import copy, deepcopy
from functools import wraps
from operator import index
from pathlib import Path
from types import FunctionType
from typing import Any, Concatenate, Generic, ParamSpec, TypeAlias, TypeVar

from jobspan.errors import JobspanError, say_once
from jobspan.memory.origin import Origin
from jobspan.memory.running import How, Plan, Run
from jobspan.memory.snapshots import Mirror, Snapshots, find_mirror, forget, open_mirror, wait_closed
from jobspan.memory.state import State
from jobspan.units import parse_count, parse_seconds

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")

_NAME = re.compile(r"[\w+=@,()-][\w+=@,(). -]*(/[\w+=@,()-][\w+=@,(). -]*)*")


class Steps:
    """The steps of a loop that can be taken up again, for ``for``, ``async for`` and as a decorator.

    Parameters
    ----------
    folder : path-like
        Where files are kept, in a folder with the loop's name.
    name : str
        The loop's; a ``/`` in it makes a folder of folders.
    every : int or str, default 1
        After how many steps, or after what time (``"30s"``, ``"5min"``), the state is saved. It is saved after the last
        step, too.
    keep : int, optional
        How many of the last files are kept; None: all.
    of : object, optional
        What the loop depends on: arguments, data, other functions. By default the arguments of the function that it
        stands in. That function's code always counts; in a script's or a notebook's own lines there is none.
    resume : bool or "force", default True
        Go on from what was saved, and refuse to if that is of other code or arguments; ``"force"``: do not refuse;
        False: begin anew, and forget what was saved.
    compress : int, bool, str or (str, int), default 0
        As for `dump`.
    clock : callable, default `time.monotonic`
        Tells seconds, for `every`.

    Attributes
    ----------
    name : str
        The loop's.
    folder : Path
        Where its files are: ``120.job`` is the state after 120 steps, which `load` reads as a dict.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> def add_up(stop, fail_at=None):
    ...     steps = Steps(folder, "sum", of=stop)
    ...     for step, state in steps.range(stop, total=0):
    ...         if step == fail_at:
    ...             raise OSError("a kill, say")
    ...         print(step, end=" ")
    ...         state.total += step
    ...     return steps.state.total
    >>> try:
    ...     add_up(6, fail_at=4)
    ... except OSError as error:
    ...     print(error)
    0 1 2 3 a kill, say
    >>> add_up(6)
    4 5 15
    >>> add_up(6)
    15
    """

    def __init__(
        self,
        folder: Any,
        name: str,
        *,
        every: int | str = 1,
        keep: int | None = 2,
        of: Any = None,
        resume: bool | str = True,
        compress: Any = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(
                f"{name!r} cannot be a checkpoint's name; letters, digits, blanks and any of _+=@,().- can be in it, "
                f"and / between such names, which do not begin with a point or a blank."
            )
        if resume not in (True, False, "force"):
            raise ValueError(f"resume={resume!r} is none of True, False and 'force'.")
        self.name = name
        self.folder = Path(folder).absolute() / name
        self._how = How(*_parse_every(every), parse_count(keep, "keep"), resume, compress, clock)
        self._of = of
        self._origin: Origin | None = None
        self._run: Run | None = None

    @property
    def state(self) -> State:
        """The state of the loop that is going on, or was over last; an empty one before it has begun."""
        return State() if self._run is None else self._run.state

    def range(self, /, *limits: int, **initial: Any) -> Loop[int]:
        """The steps of ``range(*limits)``, each with the state.

        Parameters
        ----------
        *limits : int
            As for `range`. A loop that was over goes on if there are more steps now.
        **initial
            What is in the state before the first step. The values are copied.

        Returns
        -------
        Loop
            Iterate over it, once: ``for step, state in ...``.

        Raises
        ------
        UnhashableError
            If an argument of the function has no content to go by: give `of`.
        """
        steps = range(*map(index, limits))
        return self._loop(steps, {"kind": "range", "start": steps.start, "step": steps.step}, initial)

    def each(self, items: Iterable[T], /, **initial: Any) -> Loop[T]:
        """The elements of an iterable, each with the state.

        Those that are done are taken from the iterable again, and left out. It is not looked at whether they are the
        same.

        Parameters
        ----------
        items : iterable
            Gives the same elements each time, in the same order.
        **initial
            As for `range`, which also tells what is returned and raised.
        """
        return self._loop(items, {"kind": "each"}, initial)

    def _loop(self, items: Iterable[T], facts: dict[str, Any], initial: dict[str, Any]) -> Loop[T]:
        frame = sys._getframe(2)  # noqa: SLF001  the only way to the function that the loop stands in
        origin = self._origin or Origin.of_frame(frame, self._of, self)
        plan = Plan(items, facts, origin, deepcopy(initial))
        return Loop(self.folder, lambda mirror: self._iterate(plan, mirror))

    def __call__(self, function: Callable[Concatenate[Steps, P], R], /) -> Callable[P, R]:
        """Decorate a function whose first argument is this: each call of it is given `Steps` of its own.

        The loop is then of the code and the arguments of that function, wherever it stands.

        Raises
        ------
        TypeError
            If it is no function.

        Examples
        --------
        >>> import tempfile
        >>> @Steps(tempfile.mkdtemp(), "sum", every="30s")
        ... def add_up(steps, stop):
        ...     for step, state in steps.range(stop, total=0):
        ...         state.total += step
        ...     return steps.state.total
        >>> add_up(4)
        6
        """
        given: object = function
        if not isinstance(given, FunctionType):
            raise TypeError(f"{function!r} is no function, so nobody could tell whether its code is the same.")

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            steps = copy(self)
            origin = Origin.of_call(function, args, kwargs, self._of)
            vars(steps).update(_run=None, _origin=origin)
            return function(steps, *args, **kwargs)

        return call

    def save(self) -> None:
        """Save the state at the end of this step, whether it is due or not.

        Raises
        ------
        JobspanError
            If no loop is going on.
        """
        self._ask("save")

    def finish(self) -> None:
        """Let this step be the last: at its end the state is saved, and nothing is left to do.

        Write ``continue`` after it to leave out the rest of the step; a step that is left by ``break`` is not whole.

        Raises
        ------
        JobspanError
            If no loop is going on.
        """
        self._ask("finish")

    def _ask(self, wish: str) -> None:
        if self._run is None or self._run.is_over:
            raise JobspanError(
                f"no loop of the checkpoint {self.name!r} is going on, so there is nothing to {wish}: its last whole "
                f"step was left by a break, or it is over. Call {wish}() inside of a step."
            )
        self._run.wish = self._run.wish if self._run.wish == "finish" else wish

    def clear(self) -> None:
        """Forget what was saved.

        Raises
        ------
        JobspanError
            If it is in use.
        """
        if self.folder.exists():
            snapshots = Snapshots(self.folder, self._how.keep, self._how.compress)
            snapshots.clear()
            snapshots.close()
        forget(self.folder)

    def _iterate(self, plan: Plan[T], mirror: Mirror | None) -> Generator[tuple[T, State], None, None]:
        """Take up the loop, and save what it does."""
        snapshots = Snapshots(self.folder, self._how.keep, self._how.compress, mirror)
        self._run = run = Run(self.name, self._how, plan, snapshots)
        try:
            run.begin()
            for item in run.remaining():
                yield item, run.state
                run.end_step()
                if run.is_finished:
                    return
            run.save()
        except GeneratorExit:
            if run.wish:
                say_once(
                    f"{run.wish}() of the checkpoint {self.name!r} came to nothing: a break, or an exception, left the "
                    f"step before its end. Write 'continue' in the place of 'break'."
                )
            raise
        finally:
            run.is_over = True
            snapshots.close()


_Begin: TypeAlias = Callable[[Mirror | None], Generator[tuple[T, State], None, None]]


class Loop(Generic[T]):
    """What `Steps.range` and `Steps.each` return: items and the state, for ``for`` or ``async for``.

    With ``async for`` the event loop has its turn between steps; in a page that cannot block, only so can what is saved
    outlive the page.
    """

    def __init__(self, folder: Path, begin: _Begin[T]) -> None:
        self._folder = folder
        self._begin = begin

    def __iter__(self) -> Iterator[tuple[T, State]]:
        mirror = find_mirror(self._folder)
        yield from self._begin(mirror)
        if mirror is not None:
            wait_closed(mirror)

    def __aiter__(self) -> AsyncIterator[tuple[T, State]]:
        return _Awaiting(self._folder, self._begin)


class _Awaiting(Generic[T]):
    """The same loop, which awaits the browser's storage before the first step, and others' turns before each other."""

    def __init__(self, folder: Path, begin: _Begin[T]) -> None:
        self._folder = folder
        self._begin = begin
        self._running: Generator[tuple[T, State], None, None] | None = None
        self._mirror: Mirror | None = None

    def __aiter__(self) -> AsyncIterator[tuple[T, State]]:
        return self

    async def __anext__(self) -> tuple[T, State]:
        if self._running is None:
            self._mirror = await open_mirror(self._folder)
            self._running = self._begin(self._mirror)
        else:
            await _Turn()
        for found in self._running:
            return found
        if self._mirror is not None:
            await self._mirror.wait_closed()
        raise StopAsyncIteration


class _Turn(Awaitable[None]):
    """As ``asyncio.sleep(0)``, for which asyncio need not be imported."""

    def __await__(self) -> Generator[None, None, None]:
        yield


def _parse_every(every: Any) -> tuple[int | None, float]:
    """After how many steps, or after how many seconds."""
    if isinstance(every, str):
        seconds = parse_seconds(every, "every")
        assert seconds is not None  # for text it never is
        return None, seconds
    try:
        steps = index(every)
    except TypeError:
        steps = 0
    if steps < 1 or isinstance(every, bool):
        raise ValueError(f"every={every!r} is neither a positive whole number of steps nor a time such as '30s'.")
    return steps, 0.0
