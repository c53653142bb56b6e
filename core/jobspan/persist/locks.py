"""Files that one process alone may use at a time.

Invariant: never waits; a lock ends with its descriptor, so with its process, however that ends.
"""

from __future__ import annotations

from typing import Any


def find_fcntl() -> Any:
    """The module `fcntl`; None where there are no such locks: on Windows, and in JupyterLite, whose module is empty."""
    try:
        import fcntl
    except ImportError:
        return None
    return fcntl if hasattr(fcntl, "flock") else None


def lock_file(descriptor: int) -> bool:
    """Lock an open file; False if somebody else has, and True where there are no such locks."""
    fcntl = find_fcntl()
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
