"""Pyodide's event loop, taught to use executors that have workers.

Its ``run_in_executor`` runs the function in the caller, whatever executor it is given.

Invariant: only what is given to executors of our kind goes another way than before.
"""

from __future__ import annotations

from concurrent.futures import Executor
from functools import wraps
from typing import Any

_MARK = "_jobspan_original"


def let_loops_use(kind: type[Executor]) -> None:
    """Let ``loop.run_in_executor(executor, ...)`` submit to executors of this kind; done once."""
    from pyodide.webloop import WebLoop

    original = WebLoop.run_in_executor
    if hasattr(original, _MARK):
        return

    @wraps(original)
    def run_in_executor(loop: Any, executor: Executor | None, func: Any, *args: Any) -> Any:
        if not isinstance(executor, kind):
            return original(loop, executor, func, *args)
        import asyncio

        return asyncio.wrap_future(executor.submit(func, *args), loop=loop)

    setattr(run_in_executor, _MARK, original)
    WebLoop.run_in_executor = run_in_executor
