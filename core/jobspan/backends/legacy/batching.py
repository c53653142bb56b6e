"""joblib's rule for sizing batches, for backends in joblib's shape.

Invariant: depends only on the durations it was told, and forgets them whenever it changes the size.
"""

from __future__ import annotations

from typing import Any

_PAST = 0.8  # weight of earlier batches in the running mean


class AutoBatchingMixin:
    """Says how many tasks to send at a time, going by how long batches took.

    Put it before `ParallelBackendBase` in the list of bases. jobspan sizes batches by itself, and takes from this class
    that they should last about `MIN_IDEAL_BATCH_DURATION`.

    Attributes
    ----------
    MIN_IDEAL_BATCH_DURATION : float
        Seconds that a batch should last at least, so that sending it does not matter.
    MAX_IDEAL_BATCH_DURATION : float
        Seconds that a batch should last at most, so that no worker is left alone with the last one.

    Examples
    --------
    >>> batching = AutoBatchingMixin()
    >>> batching.batch_completed(batch_size=1, duration=0.001)
    >>> batching.compute_batch_size()
    2
    """

    MIN_IDEAL_BATCH_DURATION = 0.2
    MAX_IDEAL_BATCH_DURATION = 2.0

    _DEFAULT_EFFECTIVE_BATCH_SIZE = 1
    _DEFAULT_SMOOTHED_BATCH_DURATION = 0.0

    parallel: Any = None
    _effective_batch_size: int
    _smoothed_batch_duration: float

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reset_batch_stats()

    def compute_batch_size(self) -> int:
        """How many tasks the next batch should have.

        Too short batches double in size at most; too long ones shrink at once to what should last twice the minimum.
        """
        size, lasted_s = self._effective_batch_size, self._smoothed_batch_duration
        if lasted_s == self._DEFAULT_SMOOTHED_BATCH_DURATION:
            return size
        ideal = 2 * int(size * self.MIN_IDEAL_BATCH_DURATION / lasted_s)
        if lasted_s < self.MIN_IDEAL_BATCH_DURATION:
            wanted, how = max(1, min(2 * size, ideal)), "short"
        elif lasted_s > self.MAX_IDEAL_BATCH_DURATION and size > 1:
            wanted, how = max(1, ideal), "long"
        else:
            return size
        if wanted != size:
            self._effective_batch_size = wanted
            self._smoothed_batch_duration = self._DEFAULT_SMOOTHED_BATCH_DURATION  # of the new size nothing is known
            if getattr(self.parallel, "verbose", 0) >= 10:  # joblib's level for it
                said = f"Batches are too {how} ({lasted_s:.3g} s): batch_size={wanted}."
                self.parallel._print(said)  # noqa: SLF001  joblib's name for it, which all backends call
        return wanted

    def batch_completed(self, batch_size: int, duration: float) -> None:
        """Take into account that a batch of `batch_size` tasks took `duration` seconds."""
        if batch_size != self._effective_batch_size:
            return  # sent before the size was changed
        known = self._smoothed_batch_duration
        unknown = known == self._DEFAULT_SMOOTHED_BATCH_DURATION
        self._smoothed_batch_duration = duration if unknown else _PAST * known + (1 - _PAST) * duration

    def reset_batch_stats(self) -> None:
        """Forget what was measured, so that it does not count for another call's tasks."""
        self._effective_batch_size = self._DEFAULT_EFFECTIVE_BATCH_SIZE
        self._smoothed_batch_duration = self._DEFAULT_SMOOTHED_BATCH_DURATION
