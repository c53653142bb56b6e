"""The task functions, importable so that every pickler sends them by reference."""

import os
import time
from collections.abc import Callable
from typing import Any

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


def identity(x: int) -> int:
    """Return its argument: the trivial task."""
    return x


def call(task: Call) -> Any:
    """Run one delayed call: what a peer's `map` does with the tuples that `delayed_tuples` makes."""
    function, args, kwargs = task
    return function(*args, **kwargs)


def delayed_tuples(function: Callable[..., Any]) -> Callable[..., Call]:
    """Return the least code that turns a call into a tuple: a peer pays for building tasks as well."""

    def build(*args: Any, **kwargs: Any) -> Call:
        return function, args, kwargs

    return build


def sleep(seconds: float) -> float:
    """Sleep, and return how long it took."""
    start = time.perf_counter()
    time.sleep(seconds)
    return time.perf_counter() - start


def burn(seconds: float) -> float:
    """Use up CPU seconds, and return how long it took on the clock, preemption included."""
    start = time.perf_counter()
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
    return time.perf_counter() - start


def megabyte(x: int, log: str) -> bytes:
    """Leave one byte in the log file, and return 1 MB."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(descriptor, b".")
    finally:
        os.close(descriptor)
    return bytes([x % 251]) * (1 << 20)
