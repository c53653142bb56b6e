"""CPU time and memory of the other processes of this session, read from Linux' `/proc`.

Every contestant leads a session of its own, so "its session" is the contestant with all its workers and
trackers. Elsewhere than on Linux the answer is `nan`: not known.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")


def _others() -> Iterator[Path]:
    me, session = os.getpid(), os.getsid(0)
    for folder in PROC.iterdir():
        if folder.name.isdigit() and int(folder.name) != me:
            try:
                if os.getsid(int(folder.name)) == session:
                    yield folder
            except ProcessLookupError:
                continue


def cpu_of_others_s() -> float:
    """Return the CPU seconds of the other living processes of the session, finer than clock ticks."""
    if not (PROC / "self/schedstat").exists():
        return math.nan
    total = 0
    for folder in _others():
        for schedstat in folder.glob("task/*/schedstat"):
            try:
                total += int(schedstat.read_text().split()[0])
            except (FileNotFoundError, ProcessLookupError):
                continue
    return total / 1e9


def resident_mb() -> float:
    """Return the memory of the whole session in MB, shared pages counted once (proportional set size)."""
    if not (PROC / "self/smaps_rollup").exists():
        return math.nan
    total_kb = 0
    for folder in [PROC / "self", *_others()]:
        try:
            lines = (folder / "smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total_kb += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total_kb / 1024
