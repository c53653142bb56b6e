"""Warnings that tasks raised on workers, raised again where `Parallel` was called.

Invariant: each warning comes once for a run, at its end, with the number of times it was raised; nothing is lost when
the run fails, and no warning takes the place of its failure.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import nullcontext, suppress

from jobspan.follow.listener import Listener
from jobspan.model import Batch, Completion, Fact, Setback, Warned


class WarningEcho(Listener):
    """Collects the warnings of one run."""

    def __init__(self) -> None:
        self._times: dict[Warned, int] = {}

    def hear(self, fact: Fact, _batch: Batch | None = None, _setbacks: Sequence[Setback] = (), /) -> None:
        """Collect."""
        if isinstance(fact, Completion):
            for warned in fact.warned:
                which = warned._replace(times=0)
                self._times[which] = self._times.get(which, 0) + warned.times

    def end(self, complete: bool, /) -> None:
        """Raise them again; where warnings are errors, the error of a run that has failed comes first."""
        times, self._times = self._times, {}
        for (category, text, filename, lineno, _, module), count in times.items():
            counted = text if count == 1 else f"{text} (raised {count} times by the tasks)"
            message = _make(category, counted)
            with nullcontext() if complete else suppress(Warning):
                warnings.warn_explicit(message, None, filename, lineno, module or filename.removesuffix(".py"))


def _make(category: type[Warning], text: str) -> Warning:
    """A warning of this text: without its class's ``__init__``, which may want other arguments."""
    message = category.__new__(category, text)
    with suppress(Exception):  # the class's own code, which may want what its __init__ sets
        if str(message) == text:
            return message
    return UserWarning(f"{category.__module__}.{category.__qualname__}: {text}")
