"""The bridge to Dask changes nothing where there are threads; what it is for is tested in Pyodide."""

from __future__ import annotations

import queue
from concurrent.futures import ThreadPoolExecutor

import pytest

dask = pytest.importorskip("dask", reason="Dask is not installed")

from jobspan.bridge.dask import TurningQueue  # noqa: E402  after the question whether it is there


def test_dask_waits_as_it_did_where_there_are_threads() -> None:
    assert dask.local.Queue is queue.Queue
    with ThreadPoolExecutor(2) as pool:
        assert dask.delayed(abs)(dask.delayed(abs)(-3)).compute(scheduler=pool) == 3


def test_its_queue_is_a_queue() -> None:
    items = TurningQueue()
    items.put(1)
    items.put(2)
    assert [items.get(), items.get()] == [1, 2]
    with pytest.raises(queue.Empty):
        items.get(block=False)
