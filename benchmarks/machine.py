"""The facts of the machine and the versions that a figure means nothing without."""

import datetime as dt
import os
import platform
import sys
from importlib import metadata
from pathlib import Path

PACKAGES = ("jobspan", "joblib", "numpy", "loky", "cloudpickle")


def cpu_model() -> str:
    """Return the processor's own name where the system tells it."""
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        for line in facts.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def load() -> str:
    """Return the load averages of the last 1, 5 and 15 minutes."""
    return " / ".join(f"{x:.2f}" for x in os.getloadavg())


def _usable_cores() -> int | None:
    # Only Linux knows an affinity.
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "from source" if package == "jobspan" else "not installed"


def facts() -> dict[str, str]:
    """Return name -> fact, as of now."""
    return {
        "date": dt.datetime.now(tz=dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": f"{cpu_model()}, {_usable_cores()} of {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {sys.version.split()[0]}",
        "versions": ", ".join(f"{package} {_version(package)}" for package in PACKAGES),
    }
