"""What there is to run on: CPUs, workers, backends.

Invariant: questions start nothing; a registered backend is made when it is first used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jobspan import config, host, registry, settings, settle
from jobspan.worker.context import PLACE


def effective_n_jobs(n_jobs: int | None = -1) -> int:
    """How many tasks a `Parallel` with this `n_jobs` would run at the same time, here and now.

    Inside a task, -1 means the task's share of the CPUs.

    Examples
    --------
    >>> effective_n_jobs(1)
    1
    """
    surroundings = config.CONFIG.get().inherited(PLACE.get().level)
    return workers_of(settings.check(n_jobs=n_jobs, params={}, surroundings=surroundings))


def workers_of(found: settings.Settings) -> int:
    """The number of workers that these settings mean here and now."""
    backend = settle.find_backend(found)
    wanted = settle.workers_wanted(backend, found.n_jobs)
    if (ask := getattr(backend, "effective_n_jobs", None)) is not None:  # a backend in joblib's shape decides itself
        return int(ask(wanted))
    return wanted or backend.cpu_count()


def cpu_count(only_physical_cores: bool = False) -> int:
    """The CPUs that this process may use, by affinity, cgroup limits, or what the browser says.

    Parameters
    ----------
    only_physical_cores : bool
        Count hyper-threads of one core once, as loky finds out.

    Examples
    --------
    >>> cpu_count() >= 1
    True
    """
    if only_physical_cores and not host.in_pyodide():
        import loky

        return min(host.cpu_count(), int(loky.cpu_count(only_physical_cores=True)))
    return host.cpu_count()


def register_parallel_backend(name: str, factory: Callable[..., Any], make_default: bool = False) -> None:
    """Make a backend available by name.

    Parameters
    ----------
    name : str
        What ``backend=`` will say.
    factory : callable
        Called when the backend is first used, with the parameters that were given along with the name; returns a
        `jobspan.backends.base.Backend`, or a backend in joblib's shape (`ParallelBackendBase`).
    make_default : bool
        Use it wherever no backend is named.
    """
    registry.register(name, factory, make_default=make_default)
