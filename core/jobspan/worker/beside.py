"""What tasks find around them in threads that share the caller's memory.

Invariant: each batch runs in a context of its own, copied from the caller's. An initializer has run once in each thread
before its first batch; the context variables that it set are seen by the batches of that thread only.
"""

from __future__ import annotations

from _thread import get_ident
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, TypeVar

from jobspan.worker.carry import Provided, provided
from jobspan.worker.frame import Frame
from jobspan.worker.prepare import Initializer, initialize

_T = TypeVar("_T")


class Beside:
    """The surroundings of one session, to be made where it is opened."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._context = copy_context()
        self._prepared: dict[int, Context] = {}

    def run(self, function: Callable[..., _T], *args: Any) -> _T:
        """Call `function` for a batch, in the present thread.

        Raises
        ------
        InitializerError
            If the initializer failed in this thread.
        """
        initializer, values = self._frame.initializer, self._frame.provided
        context = self._context if initializer is None else self._prepare(initializer)
        if not values:
            return context.copy().run(function, *args)
        return context.copy().run(_run_provided, values, function, args)

    def _prepare(self, initializer: Initializer) -> Context:
        thread = get_ident()
        context = self._prepared.get(thread)
        if context is None:
            context = self._context.copy()
            context.run(initialize, initializer, self._frame.place)
            self._prepared[thread] = context
        return context


def _run_provided(values: Provided, function: Callable[..., _T], args: tuple[Any, ...]) -> _T:
    with provided(values, only_if_other=True):
        return function(*args)
