"""tqdm's bar for a map on Web Workers: what `tqdm.contrib.concurrent` has for threads and processes.

Invariant: tqdm does what it does for those, with another executor.
"""

from __future__ import annotations

import copyreg
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from tqdm.contrib import concurrent
from tqdm.std import TqdmDefaultWriteLock

from jobspan.web import WebWorkerExecutor

__all__ = ["web_map"]

T = TypeVar("T")


def web_map(fn: Callable[..., T], *iterables: Iterable[Any], **options: Any) -> list[T]:
    """``list(map(fn, *iterables))`` on Web Workers, with a bar.

    Parameters
    ----------
    fn, *iterables
        As for `map`.
    **options
        ``max_workers``, ``chunksize`` and what else `tqdm.contrib.concurrent.process_map` takes, and what tqdm does.

    Returns
    -------
    list
        The results, in order.

    Examples
    --------
    In Pyodide::

        from jobspan.bridge.tqdm import web_map

        print(web_map(abs, range(-3, 0), max_workers=2))
    """
    run: Any = concurrent._executor_map  # noqa: SLF001  it has no public name, and takes any executor's class
    results: list[T] = run(WebWorkerExecutor, fn, *iterables, **options)
    return results


def _make_lock(_: Any) -> Any:
    return TqdmDefaultWriteLock, ()


# tqdm sends its lock to the workers. It is one of threads, which an interpreter with its own threads has no use for.
copyreg.pickle(TqdmDefaultWriteLock, _make_lock)
