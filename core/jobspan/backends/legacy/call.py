"""What a joblib-style backend is given to run: one batch as one callable.

Invariant: to a backend that looks inside, as some do, it is a batch of one call; whoever makes that call, the list
that comes back has one element, which tells the outcome of the whole batch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Sequence
from contextvars import Context
from functools import partial
from typing import Any

from jobspan.model import Completion, Task, Ticket
from jobspan.worker.run import run_tasks
from jobspan.worker.wire import run_encoded


class BatchCall:
    """A batch for `submit` of a joblib-style backend; can be pickled if `function` and `args` can.

    Attributes
    ----------
    items : list of tuple
        ``(function, args, kwargs)`` of each call: backends may make the calls themselves instead of calling the batch.
    """

    __slots__ = ("items",)

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.items: list[Task] = [(function, args, {})]

    def __call__(self) -> list[Any]:
        """Make the calls."""
        return [function(*args, **kwargs) for function, args, kwargs in self.items]

    def __len__(self) -> int:
        return len(self.items)

    def only(self) -> Any:
        """Make the only call that there is."""
        (outcome,) = self()
        return outcome


class EitherWay:
    """What runs a batch with the caller's own objects in this process, and as bytes in another: only pickling tells.

    Parameters
    ----------
    run : callable
        Runs it here.
    encode : callable
        Returns what `jobspan.worker.wire.run_encoded` runs elsewhere.
    """

    def __init__(self, run: Callable[[], Completion], encode: Callable[[], bytes]) -> None:
        self._run = run
        self._encode = encode
        self._payload: bytes | None = None
        self.refusal: Exception | None = None

    def __call__(self) -> Completion:
        """Run it here: nobody has pickled it."""
        return self._run()

    def encode(self) -> None:
        """Do it now, while the arguments are what they are; why it cannot be done is for whoever needs the bytes."""
        try:
            self._payload = self._encode()
        except Exception as error:  # noqa: BLE001  pickling runs users' code
            self.refusal = error

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        if self._payload is None and self.refusal is None:
            self.encode()
        if self.refusal is not None:
            raise self.refusal
        return partial, (run_encoded, self._payload)


def run_shared(
    context: Context, cancelled: Container[Ticket], tasks: Sequence[Task], options: dict[str, Any]
) -> Completion:
    """`run_tasks` in a thread of the backend's, which alone knows its name, and in a copy of the caller's context."""
    ticket: Ticket = options["ticket"]
    if ticket in cancelled:
        return Completion(ticket, [], lost=RuntimeError("the batch was cancelled"))
    worker = threading.current_thread().name
    return context.copy().run(run_tasks, tasks, worker=worker, **options)
