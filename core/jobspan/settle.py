"""Arguments and surroundings become a backend, a request to it, and a policy.

Invariant: everything about a call is decided here, before work starts; a fallback is a plain choice, said once.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

from jobspan import host, registry, units
from jobspan.backends.base import Backend, OpenRequest
from jobspan.config import Default
from jobspan.errors import say_once
from jobspan.schedule.policy import BUDGET_S, HELD_BYTES, Policy
from jobspan.worker.context import EXECUTORS, LEVEL

_SEQUENTIAL = "sequential"


class Settings(NamedTuple):
    """The arguments of a `Parallel`, checked, with the surroundings mixed in."""

    n_jobs: int | None
    backend: Any
    return_as: str
    pre_dispatch: Any
    batch_size: int | None

    @property
    def is_plain(self) -> bool:
        """Whether this is one task after the other into a list, whatever the machine."""
        return self.return_as == "list" and (self.backend == _SEQUENTIAL or self.is_alone)

    @property
    def is_alone(self) -> bool:
        """Whether one task runs at a time, and a worker for it would be of no use."""
        return self.n_jobs in (None, 1) and isinstance(self.backend, str) and registry.is_idle_alone(self.backend)


class Plan(NamedTuple):
    """What one call will do."""

    backend: Backend
    request: OpenRequest
    policy: Policy


def settle(settings: Settings, *, streams: bool, blocks: bool, watch: bool) -> Plan:
    """Decide what one call will do.

    Parameters
    ----------
    streams : bool
        The results go to a consumer that may be slow.
    blocks : bool
        The caller waits by blocking; otherwise by awaiting.
    watch : bool
        Somebody listens to events.
    """
    backend = find_backend(_SEQUENTIAL if settings.is_alone else settings.backend, settings.n_jobs)
    n_jobs = workers_wanted(backend, settings.n_jobs)
    if n_jobs == 1 and not backend.traits.lone_worker:
        backend = registry.find(_SEQUENTIAL)
    if blocks and not backend.traits.blocks:
        say_once(
            "this interpreter cannot wait for workers without hanging (no JSPI here), so the tasks run one "
            "after the other. Write 'results = await Parallel(...).gather(tasks)' to use the workers."
        )
        backend = registry.find(_SEQUENTIAL)
    traits = backend.traits
    window = None
    if settings.pre_dispatch is not None:
        window = units.parse_window(settings.pre_dispatch, n_jobs or backend.cpu_count()) or sys.maxsize
    policy = Policy(
        ordered=settings.return_as != "generator_unordered",
        batch_size=settings.batch_size,
        window=window,
        held_bytes=HELD_BYTES if streams else None,
        round_trip_s=traits.round_trip_s,
        inline=traits.inline,
    )
    return Plan(backend, OpenRequest(n_jobs, watch, streams, BUDGET_S), policy)


def find_backend(wanted: Any, n_jobs: int | None) -> Backend:
    """The backend meant by a name, an executor or a backend."""
    if isinstance(wanted, str):
        found: Backend = registry.find(choose(n_jobs) if wanted == "auto" else _available(wanted, n_jobs))
        return found
    if hasattr(wanted, "submit") and not hasattr(wanted, "traits"):
        if id(wanted) in EXECUTORS.get():
            say_once(
                f"a task that runs on {wanted!r} calls Parallel with the same executor; waiting for a free thread "
                f"there could take for ever, so the inner tasks run one after the other."
            )
            sequential: Backend = registry.find(_SEQUENTIAL)
            return sequential
        from jobspan.backends.executors import ExecutorBackend  # imports concurrent.futures

        return ExecutorBackend(wanted)
    backend: Backend = wanted
    return backend


def _available(name: str, n_jobs: int | None) -> str:
    """The name, or where this interpreter has no threads or processes what comes closest, said once."""
    match registry.canonical(name):
        case "threads" if not host.has_threads():
            substitute, missing = _SEQUENTIAL, "threads"  # tasks still see the caller's memory
        case "loky" if not host.has_processes():
            substitute, missing = choose(n_jobs), "processes"
        case _:
            return name
    say_once(
        f"this interpreter can start no {missing}, so backend={name!r} runs as backend={substitute!r}. Leave "
        f"backend out, and jobspan chooses what there is without this warning."
    )
    return substitute


def choose(n_jobs: int | None) -> str:
    """What ``"auto"`` means here and now."""
    if n_jobs in (None, 1) or LEVEL.get() > 0:  # inside a task, the CPUs are taken already
        return _SEQUENTIAL
    if host.in_pyodide() and host.has_web_workers():
        return "web"
    if not host.is_gil_enabled():
        return "threads"
    if host.has_processes():
        return "loky"
    return "threads" if host.has_threads() else _SEQUENTIAL


def workers_wanted(backend: Backend, n_jobs: int | None) -> int | None:
    """The number of workers; None for as many as the backend has, which only a given backend may mean."""
    if backend.traits.inline:
        return 1
    if n_jobs is None:
        return None if backend.traits.lone_worker else 1
    return n_jobs if n_jobs > 0 else units.resolve_n_jobs(n_jobs, backend.cpu_count())


def value_of(given: Any, configured: Any) -> Any:
    """The argument, or where it was left out what the surroundings say, or the default."""
    if not isinstance(given, Default) and given is not None:
        return given
    return configured.value if isinstance(configured, Default) else configured
