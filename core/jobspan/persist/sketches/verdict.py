"""What a difference between a value and an earlier one may come from.

Invariant: a guess ends in a question mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, sqrt
from typing import NamedTuple

from jobspan.persist.sketches.numbers import Value
from jobspan.persist.sketches.sketch import Sketch

_EPSILONS = {2: 2.0**-10, 4: 2.0**-23, 8: 2.0**-52}
_NOISE = 64  # units in the last place, times the root of the count, but no more than
_MOST_NOISE = 4096
_RESOLUTION = 1e-5  # projections are kept in single precision
_LIKE = 16  # units in the last place, by which what was computed in one step is off
_TRIED = 4


def group(number: int) -> str:
    """A large number in groups of digits."""
    return f"{number:,}".replace(",", " ")


class Pair(NamedTuple):
    """A number before and now.

    Attributes
    ----------
    at : int
        Where it is.
    old, new : float or int
        What it was and is.
    differs : bool
        Whether these are two things. NaN and NaN are one.
    usual : float
        The root mean square of all numbers of its part.
    """

    at: int
    old: float
    new: float
    differs: bool
    usual: float

    @property
    def is_finite(self) -> bool:
        """Whether there is a difference between the two."""
        return isfinite(self.old) and isfinite(self.new)

    @property
    def apart(self) -> float:
        """The difference."""
        return abs(self.new - self.old)

    @property
    def relative(self) -> float:
        """The difference by the larger of the two."""
        larger = max(abs(self.old), abs(self.new))
        return self.apart / larger if larger else 0.0


def judge(old: Sketch, new: Sketch, sample: Sequence[Pair], known: Sequence[Pair], distance: float) -> str:
    """What it may be that numbers differ; empty if nothing comes to mind.

    Parameters
    ----------
    old, new : Sketch
        The two values.
    sample : sequence of Pair
        Numbers from fixed places.
    known : sequence of Pair
        Numbers that differ.
    distance : float
        The distance of the two.
    """
    if not known:
        return _judge_equal(old, new)
    nans = [sum(part.nans for part in each.parts) for each in (old, new)]
    if nans[0] != nans[1]:
        return f"{nans[1]} NaN now, {nans[0]} before"
    if not all(pair.is_finite for pair in known):
        return "not all of them are finite"
    if not any(pair.apart for pair in known):
        return "only the signs of zeros"
    epsilon = max(
        (_EPSILONS[part.itemsize] for each in (old, new) for part in each.parts if part.kind == "f"), default=0.0
    )
    return _judge_noise(new, known, epsilon, distance) or _judge_steps(sample, epsilon)


def _judge_equal(old: Sketch, new: Sketch) -> str:
    kinds = [[part.kind for part in each.parts] for each in (old, new)]
    if kinds[0] != kinds[1]:
        return "the same numbers, of another type?"
    if old.sums != new.sums:
        return ""
    return "the numbers are the same: it is their type or order in memory, or something else than numbers"


def _judge_noise(new: Sketch, known: Sequence[Pair], epsilon: float, distance: float) -> str:
    limit = epsilon * min(_NOISE * sqrt(new.size), _MOST_NOISE)
    spread = sqrt(sum(part.norm**2 for part in new.parts) / new.size)
    usual = sqrt(sum(part.size * part.usual**2 for part in new.parts) / new.size)
    if distance * spread > max(_RESOLUTION * spread, limit * usual):  # elsewhere than where it was looked
        return ""
    if all(pair.relative <= limit for pair in known):
        return "rounding noise?"
    return "rounding noise, seen near zero?" if all(pair.apart <= limit * pair.usual for pair in known) else ""


def _judge_steps(sample: Sequence[Pair], epsilon: float) -> str:
    """Whether something was added to all numbers, or all were multiplied by something."""
    if len(sample) < _TRIED or not all(pair.differs or not pair.old for pair in sample):
        return ""
    pairs = [pair for pair in sample if pair.is_finite]
    steps = [pair.new - pair.old for pair in pairs]
    size = max((abs(pair.old) + abs(pair.new) for pair in pairs), default=0.0)
    if pairs and max(steps) - min(steps) <= _LIKE * epsilon * size:
        return f"every number plus {steps[0]:.6g}?"
    ratios = [pair.new / pair.old for pair in pairs if pair.old]
    off = _LIKE * (epsilon or _EPSILONS[8])
    if len(ratios) >= _TRIED and max(ratios) - min(ratios) <= off * abs(ratios[0]):
        return f"every number times {ratios[0]:.15g}?"
    return ""


def judge_counts(old: Sketch, value: Value) -> str:
    """What it may be that there are more or fewer numbers."""
    said = f"{group(value.size)} numbers now, {group(old.size)} before"
    before = dict(zip(old.indexes, old.sample, strict=True))
    if len(old.parts) != 1 or len(value.parts) != 1 or old.parts[0].kind != value.parts[0].kind:
        return said
    common = [index for index in before if index < value.size]
    if len(common) < _TRIED or value.words(common) != [before[index] for index in common]:
        return said
    return said + (", added at the end?" if value.size > old.size else ", cut off at the end?")


def find_order(old: Sketch, value: Value, new: Sketch) -> str:
    """How the same numbers are in another order; empty if they are not, or not the same."""
    if old.sums == new.sums or [each for each, _ in old.sums] != [each for each, _ in new.sums]:
        return ""
    if len(new.parts) > 1:
        return "the same numbers in another order, in each column or array"
    before = dict(zip(old.indexes, old.sample, strict=True))
    words = list(before.values())
    back = [new.size - 1 - index for index in before]
    if value.words(back[::-1])[::-1] == words:
        return "the same numbers in reverse?"
    for index in list(before)[:_TRIED]:
        for place in value.parts[0].find(before[index]):
            step = (place - index) % new.size
            moved = [(each + step) % new.size for each in before]
            if [value.words([each])[0] for each in moved] == words:
                step = step if 2 * step <= new.size else step - new.size
                return f"the same numbers, moved by {step // value.parts[0].width} places?"
    return "the same numbers in another order"
