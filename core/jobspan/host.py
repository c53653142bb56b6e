"""What this interpreter can do, found out by trying, never by the platform's name.

Invariant: questions only; each is answered once and remembered, because asking may start a thread.
"""

from __future__ import annotations

import os
import sys
from functools import cache

THREAD_LIMITS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
"""Variables where numerical libraries look for how many threads they may use."""


@cache
def in_pyodide() -> bool:
    """Whether JavaScript is at hand through Pyodide."""
    try:
        import pyodide_js  # noqa: F401  only its presence matters
    except ImportError:
        return False
    return True


@cache
def in_node() -> bool:
    """Whether that JavaScript is node's."""
    if not in_pyodide():
        return False
    import js

    versions = getattr(getattr(js, "process", None), "versions", None)
    return getattr(versions, "node", None) is not None


@cache
def has_web_workers() -> bool:
    """Whether workers can be asked for; a page's security policy may still refuse them."""
    if not in_pyodide():
        return False
    import js

    return in_node() or hasattr(js, "Worker")


def can_run_sync() -> bool:
    """Whether Python can wait for a promise at this moment; depends on how JavaScript entered it."""
    if not in_pyodide():
        return False
    from pyodide.ffi import can_run_sync

    return bool(can_run_sync())


@cache
def has_threads() -> bool:
    """Whether a thread can be started: by starting one."""
    import threading

    probe = threading.Thread(target=int, daemon=True)
    try:
        probe.start()
    except RuntimeError:
        return False
    probe.join()
    return True


@cache
def has_processes() -> bool:
    """Whether this Python was built with what worker processes need, and ``JOBSPAN_MULTIPROCESSING=0`` was not said."""
    if _from_environment("JOBSPAN_MULTIPROCESSING", "JOBLIB_MULTIPROCESSING") == 0:
        return False
    try:
        import _multiprocessing  # noqa: F401  only its presence matters
    except ImportError:
        return False
    return True


def is_gil_enabled() -> bool:
    """Whether threads have to take turns; may change when an extension module is imported."""
    probe = getattr(sys, "_is_gil_enabled", None)
    return True if probe is None else bool(probe())


def cpu_count() -> int:
    """CPUs that this process may use: the least of what the machine has, affinity, cgroups and the user allow.

    The user says so by ``JOBSPAN_CPU_COUNT`` or ``LOKY_MAX_CPU_COUNT``. In Pyodide, what the browser or node says
    (``navigator.hardwareConcurrency``).
    """
    if in_pyodide():
        return _javascript_cpus()
    limits = [os.cpu_count() or 1, *_affinity(), *cgroup_v2_cpus(), *cgroup_v1_cpus()]
    said = _from_environment("JOBSPAN_CPU_COUNT", "LOKY_MAX_CPU_COUNT")
    return max(1, min(limits if said is None else [*limits, said]))


def _from_environment(*names: str) -> int | None:
    """The whole number that the first of these variables that is set holds."""
    for name in names:
        if text := os.environ.get(name, "").strip():
            try:
                return int(text)
            except ValueError:
                raise ValueError(f"{name}={text!r} in the environment is not a whole number.") from None
    return None


def _javascript_cpus() -> int:
    import js

    navigator = getattr(js, "navigator", None)
    concurrency = getattr(navigator, "hardwareConcurrency", None)
    if concurrency:
        return int(concurrency)
    process = getattr(js, "process", None)  # node before 21 has no navigator
    return int(process.getBuiltinModule("node:os").availableParallelism()) if process is not None else 1


def _affinity() -> list[int]:
    if hasattr(os, "process_cpu_count"):  # 3.13: minds -X cpu_count too
        return [os.process_cpu_count() or 1]
    if hasattr(os, "sched_getaffinity"):
        return [len(os.sched_getaffinity(0))]
    return []


def cgroup_v2_cpus(folder: str = "/sys/fs/cgroup") -> list[int]:
    """The limit in ``cpu.max``: ``"200000 100000"`` is two CPUs, ``"max 100000"`` none."""
    words = _read(f"{folder}/cpu.max").split()
    if len(words) == 2 and words[0] != "max":
        return [_whole_cpus(int(words[0]), int(words[1]))]
    return []


def cgroup_v1_cpus(folder: str = "/sys/fs/cgroup/cpu") -> list[int]:
    """The limit in ``cpu.cfs_quota_us``, in ``cpu.cfs_period_us``; a quota of -1 is none."""
    quota, period = _read(f"{folder}/cpu.cfs_quota_us"), _read(f"{folder}/cpu.cfs_period_us")
    if quota and period and int(quota) > 0:
        return [_whole_cpus(int(quota), int(period))]
    return []


def _whole_cpus(quota: int, period: int) -> int:
    return max(1, -(-quota // period))


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""
