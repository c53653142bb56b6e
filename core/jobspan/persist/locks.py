"""Files that one process alone may use at a time.

Invariant: never waits; a lock ends with its descriptor, so with its process, however that ends.
"""

from __future__ import annotations


def lock_file(descriptor: int) -> bool:
    """Lock an open file; False if somebody else has, and True where there are no such locks."""
    try:
        import fcntl
    except ImportError:  # Windows, Pyodide
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
