"""Whether workers were killed because the system was out of memory, as far as the system tells.

Invariant: only reads; what a system does not tell is not guessed.
"""

from __future__ import annotations

import sys

_COUNTERS = ("/proc/vmstat", "/sys/fs/cgroup/memory.events")
_NAME = "oom_kill"


class Shortage:
    """Remembers how many processes had been killed for want of memory, to tell later whether more were."""

    def __init__(self) -> None:
        self._before = _count_kills()

    def explain(self) -> str:
        """How SIGKILL may have come to a worker, to be appended to a sentence."""
        held = largest_ended_bytes()
        size = f"; the largest worker that has ended so far held {held >> 20} MB" if held else ""
        now = _count_kills()
        if now is None or self._before is None:
            return f"; perhaps the system was out of memory{size}"
        if now > self._before:
            return f", probably by the system for want of memory (the OOM killer){size}"
        return f", which the system did not do for want of memory{size}"


def _count_kills() -> int | None:
    """Processes that the system has killed for want of memory since it started; None where it does not tell."""
    found = None
    for path in _COUNTERS:
        try:
            with open(path, encoding="ascii") as file:
                for line in file:
                    name, _, number = line.partition(" ")
                    if name == _NAME:
                        found = (found or 0) + int(number)
        except (OSError, ValueError):
            continue
    return found


def largest_ended_bytes() -> int:
    """Most memory that a child process which has ended ever held; 0 where nothing tells."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return most if sys.platform == "darwin" else most << 10  # macOS counts bytes, others kilobytes
