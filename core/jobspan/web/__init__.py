"""Web Workers: each a Python interpreter of its own, in the browser or in node, beside the caller's.

`WebWorkerExecutor` is an executor of them. `wait` and `as_completed` take the place of those of `concurrent.futures`,
which hang in Pyodide. Each name is looked up when it is first used, so that this package can be imported anywhere.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it for true

_HOMES = {
    "WebFuture": "futures",
    "WebWorkerExecutor": "executor",
    "as_completed": "futures",
    "wait": "futures",
}

__all__ = ["WebFuture", "WebWorkerExecutor", "as_completed", "wait"]

if TYPE_CHECKING:  # what the table means, for type checkers
    from jobspan.web.executor import WebWorkerExecutor
    from jobspan.web.futures import WebFuture, as_completed, wait


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
