"""Checked settings become a backend, a request to it, and a policy.

Invariant: everything about a call is decided here, before work starts; a fallback is a plain choice, said once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from jobspan import host, registry, units
from jobspan.backends.base import Backend, OpenRequest
from jobspan.backends.legacy.traits import is_legacy
from jobspan.config import is_context
from jobspan.errors import say_once
from jobspan.model import Staff
from jobspan.schedule.chances import Backoff
from jobspan.schedule.policy import BUDGET_S, HELD_BYTES, Policy
from jobspan.settings import PRE_DISPATCH, Settings
from jobspan.worker import frame
from jobspan.worker.context import EXECUTORS, PLACE

_SEQUENTIAL = "sequential"
_MOST_WORKERS = 4096


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
    backend = find_backend(settings)
    n_jobs = workers_wanted(backend, settings.n_jobs)
    if n_jobs == 1 and not backend.traits.lone_worker:
        backend = registry.find(_SEQUENTIAL)
    if blocks and not backend.traits.blocks:
        say_once(
            "this interpreter cannot wait for workers without hanging (no JSPI here), so the tasks run one "
            "after the other. Write 'results = await Parallel(...).gather(tasks)' to use the workers; in node, and in "
            "a worker of a page that is isolated, 'await jobspan.web.warm()' once before will do."
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
        timeout_s=_time_limit(settings.timeout_s, backend),
        deadline_s=settings.deadline_s,
        tolerant=settings.errors != "raise",
        groups=settings.errors == "group",
        retries=settings.retries,
        retry_on=settings.retry_on,
        backoff=Backoff(*settings.backoff),
    )
    staff = _honoured(settings.staff, backend)
    request = OpenRequest(
        n_jobs,
        watch,
        streams,
        BUDGET_S,
        frame.capture(
            inline=traits.inline,
            copied=traits.memory == "copied",
            threads=staff.inner_max_num_threads,
            initializer=settings.initializer,
        ),
        settings.transfer,
        staff,
        isolate=policy.outlives_workers,
        timed=policy.timeout_s is not None,
        seed=settings.seed,
    )
    return Plan(backend, request, policy)


def find_backend(settings: Settings) -> Backend:
    """The backend meant by a name, an executor or a backend."""
    wanted, n_jobs = settings.backend, settings.n_jobs
    if isinstance(wanted, str):
        if settings.is_alone:
            name = _SEQUENTIAL
        elif wanted == "auto":
            name = choose(n_jobs, settings.hint)
        else:
            name = _available(wanted, n_jobs)
        found = registry.find(name, settings.params)
        if registry.is_registered(name) and is_legacy(found):
            return _legacy(found, settings, lambda: registry.make(name, settings.params))
        backend: Backend = found
        return backend
    if is_context(wanted):
        from jobspan.backends.multiprocessing import of_context

        return of_context(wanted)
    if is_legacy(wanted):
        return _legacy(wanted, settings)
    if hasattr(wanted, "submit") and not hasattr(wanted, "traits"):
        if id(wanted) in EXECUTORS.get():
            say_once(
                f"a task that runs on {wanted!r} calls Parallel with the same executor; waiting for a free thread "
                f"there could take for ever, so the inner tasks run one after the other."
            )
            sequential: Backend = registry.find(_SEQUENTIAL)
            return sequential
        return _on_executor(wanted)
    given: Backend = wanted
    return given


def _on_executor(executor: Any) -> Backend:
    from jobspan.web.executor import WebWorkerExecutor  # imports concurrent.futures

    if isinstance(executor, WebWorkerExecutor):
        from jobspan.backends.web import WebExecutorBackend

        return WebExecutorBackend(executor)
    from jobspan.backends.executors import ExecutorBackend

    return ExecutorBackend(executor)


def _legacy(instance: Any, settings: Settings, another: Callable[[], Any] | None = None) -> Backend:
    """A backend in joblib's shape; parameters of one that is named went to its factory."""
    from jobspan.backends.legacy.backend import LegacyBackend
    from jobspan.backends.legacy.parallel import LegacyOptions

    options = LegacyOptions(
        verbose=settings.verbose,
        timeout=settings.timeout_s,
        return_as=settings.return_as,
        pre_dispatch=settings.pre_dispatch or PRE_DISPATCH,
        batch_size=settings.batch_size or "auto",
        prefer=settings.hint if settings.hint in ("threads", "processes") else None,
        require=settings.hint if settings.hint == "sharedmem" else None,
        params={} if another else dict(settings.params),
    )
    return LegacyBackend(instance, options=options, another=another)


def _available(name: str, n_jobs: int | None) -> str:
    """The name, or where this interpreter has no threads or processes what comes closest, said once."""
    match registry.canonical(name):
        case "threads" if not host.has_threads():
            substitute, missing = _SEQUENTIAL, "threads"  # tasks still see the caller's memory
        case "loky" | "multiprocessing" if not host.has_processes():
            substitute, missing = choose(n_jobs), "processes"
        case _:
            return name
    say_once(
        f"this interpreter can start no {missing}, so backend={name!r} runs as backend={substitute!r}. Leave "
        f"backend out, and jobspan chooses what there is without this warning."
    )
    return substitute


def choose(n_jobs: int | None, hint: str | None = None) -> str:
    """What ``"auto"`` means here and now.

    Parameters
    ----------
    hint : {None, "threads", "processes", "sharedmem"}
        What the caller prefers, or in the last case needs.
    """
    level = PLACE.get().level
    if n_jobs in (None, 1) or level > 1:  # one level of tasks inside tasks is enough for any machine
        return _SEQUENTIAL
    threads = "threads" if host.has_threads() else _SEQUENTIAL
    if hint == "sharedmem" or (hint == "threads" and host.has_threads()):
        return threads
    if level > 0 and hint != "processes":  # inside a task: what costs least to start
        return threads
    if host.in_pyodide() and host.has_web_workers():
        return "web"
    if not host.is_gil_enabled() and hint != "processes":
        return threads
    return "loky" if host.has_processes() else threads


def workers_wanted(backend: Backend, n_jobs: int | None) -> int | None:
    """The number of workers; None for as many as the backend has, which only a given backend may mean.

    Inside a task, -1 means its share of the CPUs.
    """
    if backend.traits.inline:
        return 1
    if n_jobs is None:
        return None if backend.traits.lone_worker else 1
    if n_jobs > _MOST_WORKERS and backend.traits.can_kill:  # started at once, and each an interpreter
        raise ValueError(
            f"n_jobs={n_jobs} would start so many workers at once, on {backend.cpu_count()} CPUs; more than "
            f"{_MOST_WORKERS} are refused. Give -1 for one on each CPU, or backend='threads' for tasks that wait."
        )
    return n_jobs if n_jobs > 0 else units.resolve_n_jobs(n_jobs, max(1, backend.cpu_count() // PLACE.get().width))


def _time_limit(timeout_s: float | None, backend: Backend) -> float | None:
    if timeout_s is None or backend.traits.can_expel:
        return timeout_s
    if backend.traits.inline:
        say_once("timeout has no effect where tasks run in the caller's own thread, one after the other.")
    else:
        say_once(
            f"timeout has no effect on {type(backend).__name__}, which cannot tell what its workers are on, nor end "
            f"one of them. Use backend='loky' or 'threads', or deadline= for the whole call."
        )
    return None


def _honoured(staff: Staff, backend: Backend) -> Staff:
    """What this backend does of it; what it cannot do is said once, since the same code must run anywhere."""
    traits = backend.traits
    unheard = [name for name, value in zip(Staff._fields, staff, strict=True) if value and name not in traits.staffs]
    if unheard and not traits.inline:
        say_once(
            f"{', '.join(unheard)} has no effect on {type(backend).__name__}, whose workers are not processes of "
            f"jobspan's own. Leave it out, or use backend='loky'."
        )
    return staff._replace(**dict.fromkeys(unheard)) if unheard else staff
