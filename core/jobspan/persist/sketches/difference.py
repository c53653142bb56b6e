"""How a value differs from an earlier one, of which a sketch is left.

Invariant: what is said to be so is so; what is an estimate, a bound, or known of a sample only, is said to be that.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from math import isnan
from typing import Any, NamedTuple

from jobspan.persist.sketches.folds import displace_word, number_of, place_word
from jobspan.persist.sketches.numbers import Value, take_apart
from jobspan.persist.sketches.recovery import Recovered, recover
from jobspan.persist.sketches.sketch import Sketch
from jobspan.persist.sketches.verdict import Pair, find_order, group, judge, judge_counts

_SHOWN = 3
_TOLD = 1e-6, 10.0  # below, it is rounding of the projections; above, it says nothing


class Difference(NamedTuple):
    """How a value differs from an earlier one.

    Attributes
    ----------
    forms : tuple of str
        Types, shapes and names, before and now; the same twice if it is not these that differ.
    size : int
        How many numbers there are. A complex number is two.
    differing : int or None
        How many differ; None if nobody knows.
    how : {"exactly", "about", "at least"}
        What `differing` is.
    places : tuple of str
        The first few that are known to differ.
    compared : int
        How many were compared one by one: `size`, or those that differ and a sample.
    largest : float or None
        The largest difference among these.
    largest_relative : float or None
        The largest relative one, by the larger of the two numbers.
    distance : float or None
        The root mean square of all differences, in standard deviations of the numbers: an estimate.
    parts : tuple of str
        The columns or arrays that differ, if others do not.
    verdict : str
        What it may be; empty if nothing comes to mind.

    Examples
    --------
    >>> from jobspan.persist.sketches.sketch import make_sketch
    >>> old, new = [n / 7 for n in range(40)], [n / 7 + (n == 8) * 1e-15 for n in range(40)]
    >>> print(compare(make_sketch(old), new, make_sketch(new)).describe())
    same types and shape; 1 of 40 numbers differs (at [8])
    largest difference 1.1e-15, relative 9.7e-16
    rounding noise?
    """

    forms: tuple[str, str]
    size: int
    differing: int | None
    how: str
    places: tuple[str, ...]
    compared: int
    largest: float | None
    largest_relative: float | None
    distance: float | None
    parts: tuple[str, ...]
    verdict: str

    def describe(self) -> str:
        """One to three lines of plain text."""
        old, new = self.forms
        first = "same types and shape" if old == new else f"was {old}; is {new}"
        lines = [f"{first}; {self._say_count()}" if self.differing is not None else first, self._say_size()]
        return "\n".join(filter(None, [*lines, self.verdict]))

    def _say_count(self) -> str:
        if not self.differing:
            some = "" if self.compared == self.size else f"{group(self.compared)} compared of "
            return f"none of {some}{group(self.size)} numbers differs"
        how = "" if self.how == "exactly" else f"{self.how} "
        said = f"{how}{group(self.differing)} of {group(self.size)} numbers differ" + "s" * (self.differing == 1)
        if self.places:
            known = self.how == "exactly" and len(self.places) == self.differing
            said += f" (at {', '.join(self.places)}{'' if known else ', …'})"
        if self.parts:
            shown = ", ".join(self.parts[:_SHOWN]) + (", …" if len(self.parts) > _SHOWN else "")
            said += f", in {shown}"
        return said

    def _say_size(self) -> str:
        said = []
        if self.largest is not None and self.largest_relative is not None:
            said.append(f"largest difference {self.largest:.2g}, relative {self.largest_relative:.2g}")
            if self.compared < self.size:
                said[0] += f" (of {group(self.compared)} compared)"
        if self.distance is not None and _TOLD[0] <= self.distance <= _TOLD[1] and self.compared < self.size:
            said.append(f"root mean square about {self.distance:.1g} of the spread")
        return ", ".join(said)


def compare(old: Sketch, value: Any, new: Sketch) -> Difference | None:
    """Say how a value differs from an earlier one.

    Parameters
    ----------
    old : Sketch
        What is left of the earlier value.
    value : object
        The value.
    new : Sketch
        Its sketch.

    Returns
    -------
    Difference or None
        None if the value cannot be taken apart any more.
    """
    taken = take_apart(value)
    if taken is None or [part.size for part in taken.parts] != [part.size for part in new.parts]:
        return None
    distance = new.distance(old)
    if distance is None:
        forms = old.form, new.form
        return Difference(forms, new.size, None, "exactly", (), 0, None, None, None, (), judge_counts(old, taken))
    return _compare(old, taken, new, distance)


def _compare(old: Sketch, value: Value, new: Sketch, distance: float) -> Difference:
    sample = _pairs(old, new, value, dict(zip(old.indexes, old.sample, strict=True)))
    known = {pair.at: pair for pair in sample if pair.differs}
    differing, how = len(known), "exactly"
    if not old.is_whole:
        found = _recover(old, new)
        if found is None or not found.is_all:
            differing, how = _estimate(old, new, found, len(known), len(sample))
        if found is not None:
            known |= {pair.at: pair for pair in _pairs(old, new, value, _words_before(value, found.changes))}
        if how == "exactly":
            differing = len(known)
    pairs = [known[at] for at in sorted(known)]
    places = dict.fromkeys(value.place(pair.at) for pair in pairs[: 2 * _SHOWN])  # complex numbers are two at a place
    return Difference(
        (old.form, new.form),
        new.size,
        differing,
        how,
        tuple(places)[:_SHOWN],
        new.size if how == "exactly" else len({pair.at for pair in sample} | set(known)),
        max((pair.apart for pair in pairs if pair.is_finite), default=None),
        max((pair.relative for pair in pairs if pair.is_finite), default=None),
        distance,
        _changed_parts(old, new, value),
        find_order(old, value, new) or judge(old, new, sample, pairs, distance),
    )


def _pairs(old: Sketch, new: Sketch, value: Value, before: dict[int, int]) -> list[Pair]:
    """Numbers before and now, by the words before, in the order of their indexes."""
    ends = list(accumulate(part.size for part in new.parts))
    pairs = []
    for index, word in zip(before, value.words(before), strict=True):
        number = bisect_right(ends, index)
        kinds = old.parts[number].kind, new.parts[number].kind
        was, now = number_of(before[index], kinds[0]), number_of(word, kinds[1])
        differs = before[index] != word if kinds[0] == kinds[1] else was != now
        pairs.append(Pair(index, was, now, differs and not (isnan(was) and isnan(now)), new.parts[number].usual))
    return pairs


def _recover(old: Sketch, new: Sketch) -> Recovered | None:
    """What the tables say; None where there are none, or of other kinds of numbers."""
    same_kinds = [part.kind for part in old.parts] == [part.kind for part in new.parts]
    if not (old.moduli and old.moduli == new.moduli and same_kinds):
        return None
    return recover(old.cells, new.cells, old.moduli, new.size)


def _words_before(value: Value, changes: dict[int, int]) -> dict[int, int]:
    starts = value.starts()
    before = {}
    for index, word in zip(sorted(changes), value.words(sorted(changes)), strict=True):
        own = index - starts[bisect_right(starts, index) - 1]
        before[index] = displace_word(place_word(word, own) ^ changes[index], own)
    return before


def _estimate(old: Sketch, new: Sketch, found: Recovered | None, known: int, compared: int) -> tuple[int, str]:
    """How many numbers differ, where that cannot be known."""
    if found is None and old.sums == new.sums:
        return 0, "exactly"
    if found is not None and found.about is not None:
        return found.about, "about"
    if known or found is None:
        return round(known / compared * new.size), "about"
    return found.least, "at least"


def _changed_parts(old: Sketch, new: Sketch, value: Value) -> tuple[str, ...]:
    if len(new.parts) < 2:
        return ()
    changed = [one != other for one, other in zip(old.sums, new.sums, strict=True)]
    if all(changed):
        return ()
    return tuple(part.name or "plain numbers" for part, differs in zip(value.parts, changed, strict=True) if differs)
