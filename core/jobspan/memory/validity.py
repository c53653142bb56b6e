"""Whether a result that is there may still be used.

Invariant: looks at what is known of the entry, and at the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any


def expires_after(
    days: float = 0,
    seconds: float = 0,
    microseconds: float = 0,
    milliseconds: float = 0,
    minutes: float = 0,
    hours: float = 0,
    weeks: float = 0,
) -> Callable[[dict[str, Any]], bool]:
    """A ``cache_validation_callback`` that takes results to be good for so long.

    Parameters
    ----------
    days, seconds, microseconds, milliseconds, minutes, hours, weeks : float
        Added up, as in `datetime.timedelta`.

    Examples
    --------
    >>> from jobspan import expires_after
    >>> import time
    >>> expires_after(minutes=5)({"time": time.time()})
    True
    """
    age = timedelta(days, seconds, microseconds, milliseconds, minutes, hours, weeks).total_seconds()
    return lambda metadata: time.time() - metadata["time"] < age
