"""Web Workers: each a Python interpreter of its own, in the browser or in node, beside the caller's.

`WebWorkerExecutor` is an executor of them. `wait` and `as_completed` take the place of those of `concurrent.futures`,
which hang in Pyodide.

Invariant: importing this package imports nothing else, anywhere; each public name is looked up when it is first used.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it for true; typing itself would cost more than all that is here

_HOMES = {
    "WebFuture": "futures",
    "WebWorkerExecutor": "executor",
    "WorkerState": "warmth",
    "as_completed": "futures",
    "stop": "stopping",
    "wait": "futures",
    "warm": "warmth",
    "workers": "warmth",
}

__all__ = ["WebFuture", "WebWorkerExecutor", "WorkerState", "as_completed", "stop", "wait", "warm", "workers"]

if TYPE_CHECKING:  # what the table means, for type checkers
    from jobspan.web.executor import WebWorkerExecutor
    from jobspan.web.futures import WebFuture, as_completed, wait
    from jobspan.web.stopping import stop
    from jobspan.web.warmth import WorkerState, warm, workers


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
