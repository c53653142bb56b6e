"""What a worker that shares no memory with the caller is made to look like while a batch runs.

Invariant: what was set for a batch is taken back after it; only the number of threads of numerical libraries stays, as
the next run may want the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from jobspan import host
from jobspan.model import Warned
from jobspan.persist.pickling import dumps, loads
from jobspan.worker import carry, warned
from jobspan.worker.context import Place
from jobspan.worker.prepare import LIMITED_ELSEWHERE, initialized, limit_threads

_LIMITS = host.THREAD_LIMITS[:4]  # those that threadpoolctl can change


class Surroundings(NamedTuple):
    """What is around a caller.

    Attributes
    ----------
    variables, providers : tuple of (str, bytes)
        What goes along with the tasks, pickled each for itself: every batch has its own.
    filters : tuple
        The warning filters.
    threads : int or None
        What numerical libraries may use in a worker, if the user gave a number, in the call or in the environment.
    process : int
        The caller's.
    """

    variables: carry.Carried
    providers: carry.Carried
    filters: warned.Filters
    threads: int | None
    process: int


_packed: tuple[Surroundings | None, bytes] = None, b""
_loaded: tuple[bytes, Surroundings | None] = b"", None


def pack(level: int, threads: int | None) -> bytes:
    """The present surroundings, for tasks at this level of nesting."""
    global _packed  # noqa: PLW0603  a memory of one: from call to call little changes
    if threads is None and any(name in os.environ for name in _LIMITS):
        threads = LIMITED_ELSEWHERE
    found = Surroundings(
        carry.collect_variables(level), carry.collect_providers(), warned.current_filters(), threads, os.getpid()
    )
    known, data = _packed
    if found != known:
        data = dumps(found)
        _packed = found, data
    return data


def _unpack(data: bytes) -> Surroundings:
    global _loaded  # noqa: PLW0603  a memory of one; a lost race only loads it again
    known, found = _loaded
    if found is None or known != data:
        sent: Surroundings = loads(data)
        found = sent._replace(filters=warned.arrived(sent.filters))
        _loaded = data, found
    return found


@contextmanager
def surrounded(data: bytes, place: Place, initializer: bytes | None, heard: list[Warned]) -> Iterator[None]:
    """Let what was packed hold here, run the initializer if this worker has not, and listen for warnings."""
    found = _unpack(data)
    with warned.heard(found.filters, heard), initialized(initializer, place):
        if found.process != os.getpid():
            limit_threads(found.threads, place.width)
        if not (found.variables or found.providers):
            yield
            return
        with carry.variables_set(found.variables), carry.providers_set(found.providers):
            yield
