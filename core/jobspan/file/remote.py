"""Files elsewhere, by `fsspec`.

Invariant: `fsspec` is imported only when a URL is given.
"""

from __future__ import annotations

from typing import Any

from jobspan.errors import JobspanError


def open_url(url: str, mode: str) -> Any:
    """Open what a URL names, as a context manager.

    Raises
    ------
    JobspanError
        If `fsspec` is not installed.
    """
    try:
        import fsspec
    except ImportError:
        raise JobspanError(f"{url!r} is a URL, and to open one takes fsspec: pip install fsspec.") from None
    return fsspec.open(url, mode)
