"""numpy's generators for `jobspan.numpy_rng`.

Invariant: made anew from the same numbers, one gives the same stream.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def make_generator(seed: int, index: int) -> Any:
    """The generator of task `index`, independent of those of all others."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))
