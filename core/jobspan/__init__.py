"""jobspan: the same parallel Python, from a browser tab to a cluster.

Invariant: importing this package imports nothing else; each public name is looked up when it is first used.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it for true; typing itself would cost more than all that is here

__version__ = "0.1.0.dev0"

_HOMES = {
    "AutoBatchingMixin": "backends.legacy.batching",
    "CacheWarning": "errors",
    "CannotBlock": "errors",
    "Checkpoint": "drive.checkpoint",
    "CheckpointMismatch": "errors",
    "DamagedFileError": "errors",
    "Event": "model",
    "FallbackWarning": "errors",
    "InitializerError": "errors",
    "JobspanError": "errors",
    "Logger": "logger",
    "MemorizedResult": "memory.results",
    "Memory": "memory.memory",
    "Parallel": "parallel",
    "ParallelBackendBase": "backends.legacy.base",
    "PrintTime": "logger",
    "Progress": "follow.progress",
    "RemoteError": "errors",
    "Report": "follow.report",
    "StoreBackendBase": "memory.legacy",
    "TaskError": "errors",
    "TaskTimeout": "errors",
    "UnhashableError": "errors",
    "UnpicklableError": "errors",
    "UntrustedError": "errors",
    "WorkerBootError": "errors",
    "WorkerLost": "errors",
    "attempt": "worker.context",
    "cancelled": "worker.context",
    "cpu_count": "available",
    "delayed": "captured",
    "dump": "file.write",
    "expires_after": "memory.validity",
    "hash": "persist.hashing",
    "inspect": "file.inspection",
    "load": "file.read",
    "effective_n_jobs": "available",
    "numpy_rng": "worker.streams",
    "parallel_backend": "config",
    "parallel_config": "config",
    "register_compressor": "file.compressors",
    "register_context": "worker.carry",
    "register_hash": "persist.content",
    "register_parallel_backend": "available",
    "register_store_backend": "memory.stores",
    "rng": "worker.streams",
    "shared": "worker.shared",
    "wrap_non_picklable_objects": "persist.wrapping",
}

__all__ = ["__version__", *sorted(_HOMES)]  # noqa: PLE0604  the table is the one place

if TYPE_CHECKING:  # what the table means, for type checkers
    from jobspan.available import cpu_count, effective_n_jobs, register_parallel_backend
    from jobspan.backends.legacy.base import ParallelBackendBase
    from jobspan.backends.legacy.batching import AutoBatchingMixin
    from jobspan.captured import delayed
    from jobspan.config import parallel_backend, parallel_config
    from jobspan.drive.checkpoint import Checkpoint
    from jobspan.errors import (
        CacheWarning,
        CannotBlock,
        CheckpointMismatch,
        DamagedFileError,
        FallbackWarning,
        InitializerError,
        JobspanError,
        RemoteError,
        TaskError,
        TaskTimeout,
        UnhashableError,
        UnpicklableError,
        UntrustedError,
        WorkerBootError,
        WorkerLost,
    )
    from jobspan.file.compressors import register_compressor
    from jobspan.file.inspection import inspect
    from jobspan.file.read import load
    from jobspan.file.write import dump
    from jobspan.follow.progress import Progress
    from jobspan.follow.report import Report
    from jobspan.logger import Logger, PrintTime
    from jobspan.memory.legacy import StoreBackendBase
    from jobspan.memory.memory import Memory
    from jobspan.memory.results import MemorizedResult
    from jobspan.memory.stores import register_store_backend
    from jobspan.memory.validity import expires_after
    from jobspan.model import Event
    from jobspan.parallel import Parallel
    from jobspan.persist.content import register_hash
    from jobspan.persist.hashing import hash  # noqa: A004  joblib's name
    from jobspan.persist.wrapping import wrap_non_picklable_objects
    from jobspan.worker.carry import register_context
    from jobspan.worker.context import attempt, cancelled
    from jobspan.worker.shared import shared
    from jobspan.worker.streams import numpy_rng, rng


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
