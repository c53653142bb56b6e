"""Digests of what caches are asked for: arrays, frames, long lists and dicts, the arguments of a call."""

import importlib
import threading
import time
from collections.abc import Callable
from typing import Any

Repeat = Callable[[int], dict[str, float]]


def _ints() -> Any:
    return list(range(10**6))


def _texts() -> Any:
    import random

    chance = random.Random(5)
    return {f"key{chance.randrange(10**9)}": f"value{number}" for number in range(10**5)}


def _array() -> Any:
    import numpy as np

    return np.random.default_rng(5).random(125_000_000)


def _slice() -> Any:
    import numpy as np

    return np.random.default_rng(5).random((25_000, 1_000))[:, ::2]


def _frame() -> Any:
    import numpy as np
    import pandas as pd

    chance = np.random.default_rng(5)
    return pd.DataFrame({name: chance.random(10**6) for name in "abcde"})


def _arguments() -> Any:
    return {"path": "data/2026.csv", "depth": 3, "scale": 0.5, "names": ["a", "b"], "mode": None}


def _arguments_with_array() -> Any:
    import numpy as np

    return {"weights": np.arange(100.0), "depth": 3, "scale": 0.5}


MAKE: dict[str, Callable[[], Any]] = {
    "ints": _ints,
    "texts": _texts,
    "array": _array,
    "slice": _slice,
    "frame": _frame,
    "arguments": _arguments,
    "arguments_with_array": _arguments_with_array,
}


def digest(library: str, what: str, calls: int) -> Repeat:
    """Return the time of one digest, `us`."""
    hash_ = importlib.import_module(library).hash
    obj = MAKE[what]()
    hash_(obj)

    def repeat(_: int) -> dict[str, float]:
        begun = time.perf_counter()
        for _call in range(calls):
            hash_(obj)
        return {"us": (time.perf_counter() - begun) / calls * 1e6}

    return repeat


def memory(library: str, what: str) -> Repeat:
    """Return how much more memory the process has while it makes a digest, at most: `extra_mb`."""
    import psutil

    hash_ = importlib.import_module(library).hash
    obj = MAKE[what]()
    hash_(obj)
    me = psutil.Process()

    def repeat(_: int) -> dict[str, float]:
        before = most = me.memory_info().rss
        running = threading.Thread(target=hash_, args=(obj,))
        running.start()
        while running.is_alive():
            most = max(most, me.memory_info().rss)
            time.sleep(0.001)  # between two looks, or this thread would take the GIL from the one that is watched
        return {"extra_mb": (most - before) / 1e6}

    return repeat
