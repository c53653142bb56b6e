"""What a joblib-style backend says of itself.

Invariant: importing this costs nothing, since every object that is given as backend is looked at.
"""

from __future__ import annotations

from typing import Any, Literal

from jobspan.worker.context import PLACE


def is_legacy(candidate: Any) -> bool:
    """Whether this is a joblib-style backend, by what it can do.

    Examples
    --------
    >>> from jobspan.backends.legacy.base import ParallelBackendBase
    >>> class Mine(ParallelBackendBase):
    ...     def effective_n_jobs(self, n_jobs):
    ...         return 2
    >>> is_legacy(Mine()), is_legacy(Mine), is_legacy("loky")
    (True, False, False)
    """
    return (
        not isinstance(candidate, type)
        and hasattr(candidate, "effective_n_jobs")
        and (hasattr(candidate, "submit") or hasattr(candidate, "apply_async"))
        and not hasattr(candidate, "open")
    )


def memory_of(instance: Any) -> Literal["shared", "copied"]:
    """Shared where a backend says so; for all others it shows when a batch is pickled, or not."""
    says = getattr(instance, "supports_sharedmem", None)
    shares = getattr(instance, "uses_threads", False) if says is None else says
    return "shared" if shares else "copied"


def default_to(instance: Any, n_jobs: int | None) -> int:
    """The number asked for, or what the backend wants where none is given."""
    return int(getattr(instance, "default_n_jobs", 1)) if n_jobs is None else n_jobs


def settle_level(instance: Any) -> None:
    """Tell a backend that does not know it how many parallel calls its calls are inside of."""
    if getattr(instance, "nesting_level", None) is None:
        instance.nesting_level = PLACE.get().level
