"""The numbers in a value: of lists, tuples and dicts in each other, and of the arrays and frames in them.

A value comes apart into *parts*, whose numbers are all of one kind: one part for all that are Python's own, one for
each array, one for each column of a frame. One text says what remains when the numbers are taken out: types, lengths,
keys.

Invariant: where the numbers of two values have the same count, a number of one has the same index as its counterpart in
the other.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from importlib import import_module
from itertools import groupby
from typing import Any, NamedTuple

from jobspan.persist.sketches.folds import Measures, measure, number_of

MOST_PARTS = 64
"""More arrays than this in one value are not looked at; more columns of a frame are taken together."""

MOST_ALONE = 1 << 16
"""More of Python's own numbers than this take too long without numpy."""

_DEPTH = 24
_MOST_ENTRIES = 1 << 16  # of dicts, and of lists that do not hold plain numbers only
_FASTER = 256  # from so many numbers on, numpy is faster
_PACKAGES = frozenset({"numpy", "pandas", "polars"})
_PLAIN = frozenset({float, int, bool})
_INT64 = 1 << 63


def holds_arrays(kind: type) -> bool:
    """Whether a type is one of numpy, pandas or polars, or derived from one."""
    return any(base.__module__.partition(".")[0] in _PACKAGES for base in kind.__mro__)


class Part:
    """Numbers of one kind, one after the other.

    Parameters
    ----------
    name : str
        Where in the value they are.
    kind : {"f", "i", "u"}
        Floats, whole numbers, or whole numbers without a sign.
    itemsize : int
        Bytes of a number where it is.
    size : int
        How many there are. A complex number is two.
    """

    width = 1
    """How many numbers an element is made of."""

    def __init__(self, name: str, kind: str, itemsize: int, count: int) -> None:
        self.name = name
        self.kind = kind
        self.itemsize = itemsize
        self.size = count

    def measure(self, start: int, moduli: Sequence[int], /) -> Measures:
        """Measure all numbers, the first of which has the index `start` in the value."""
        raise NotImplementedError  # each kind of memory has its own way

    def words(self, indexes: Sequence[int], /) -> list[int]:
        """The words of the numbers at these indexes of the part."""
        raise NotImplementedError  # as above

    def find(self, word: int, /) -> list[int]:
        """The first few indexes at which there is this word."""
        raise NotImplementedError  # as above

    def place(self, index: int, /) -> str:
        """Where in the value a number is."""
        raise NotImplementedError  # as above


class Value(NamedTuple):
    """A value taken apart.

    Attributes
    ----------
    form : str
        What is left of it without its numbers.
    parts : tuple of Part
        Its numbers.
    """

    form: str
    parts: tuple[Part, ...]

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return sum(part.size for part in self.parts)

    def words(self, indexes: Iterable[int]) -> list[int]:
        """The words at these indexes, which ascend."""
        found: list[int] = []
        for part, own in self._by_part(indexes):
            found += part.words(own)
        return found

    def place(self, index: int) -> str:
        """Where a number is."""
        ((part, own),) = self._by_part([index])
        return part.place(own[0])

    def _by_part(self, indexes: Iterable[int]) -> list[tuple[Part, list[int]]]:
        starts = self.starts()
        grouped = groupby(indexes, lambda index: bisect_right(starts, index) - 1)
        return [(self.parts[number], [index - starts[number] for index in own]) for number, own in grouped]

    def starts(self) -> list[int]:
        """The index at which each part begins."""
        found, start = [], 0
        for part in self.parts:
            found.append(start)
            start += part.size
        return found


class _Own(Part):
    """Numbers of Python's own types: floats, if any is one or is too large for 64 bits."""

    def __init__(self, numbers: list[Any], paths: list[tuple[int, str]]) -> None:
        whole = all(isinstance(number, int) and -_INT64 <= number < _INT64 for number in numbers)
        self._numbers = array("q", numbers) if whole else array("d", map(_to_float, numbers))
        self._paths = paths
        super().__init__("", "i" if whole else "f", 8, len(numbers))

    def measure(self, start: int, moduli: Sequence[int], /) -> Measures:
        if self.size > _FASTER and "numpy" in sys.modules:
            found: Measures = import_module("jobspan.arrays.sketch").measure_plain(self._numbers, start, moduli)
            return found
        return measure(self._numbers, start, moduli)

    def words(self, indexes: Sequence[int], /) -> list[int]:
        chosen = array(self._numbers.typecode, [self._numbers[index] for index in indexes])
        words = array("Q")
        words.frombytes(chosen.tobytes())
        return list(words)

    def find(self, word: int, /) -> list[int]:
        wanted = number_of(word, self.kind)
        return [index for index, number in enumerate(self._numbers) if number == wanted][:_DEPTH]

    def place(self, index: int, /) -> str:
        start, path = self._paths[bisect_right(self._paths, index, key=lambda pair: pair[0]) - 1]
        return path.replace("*", str(index - start))


def _to_float(number: Any) -> float:
    try:
        return float(number)
    except OverflowError:  # a whole number beyond them all
        return float("inf") if number > 0 else float("-inf")


class _Walk:
    """What is gathered on the way through a value."""

    def __init__(self) -> None:
        self.numbers: list[Any] = []
        self.paths: list[tuple[int, str]] = []
        self.parts: list[Part] = []
        self.entries = 0

    def go(self, value: Any, path: str, depth: int) -> str:
        """Gather the numbers of a value; return its form."""
        self.entries += 1
        kind = type(value)
        if kind is list or kind is tuple:
            return self._go_list(value, path, depth)
        if kind is dict:
            return self._go_dict(value, path, depth)
        if isinstance(value, int | float | complex):
            self._add(value, path)
            return kind.__name__
        if holds_arrays(kind):
            return self._go_array(value, path)
        return kind.__name__

    def _add(self, number: Any, path: str) -> None:
        self.paths.append((len(self.numbers), path))
        self.numbers += (number.real, number.imag) if isinstance(number, complex) else (number,)

    def _go_list(self, value: Any, path: str, depth: int) -> str:
        name = type(value).__name__
        kinds = set(map(type, value))
        if kinds and kinds <= _PLAIN:
            self.paths.append((len(self.numbers), f"{path}[*]"))
            self.numbers += value
            return f"{name} of {len(value)} {'/'.join(sorted(kind.__name__ for kind in kinds))}"
        if depth > _DEPTH or self.entries + len(value) > _MOST_ENTRIES:
            return f"{name} of {len(value)}"
        forms = [self.go(each, f"{path}[{number}]", depth + 1) for number, each in enumerate(value)]
        runs = [(form, len(list(same))) for form, same in groupby(forms)]
        return f"{name} of " + ", ".join(f"{number} times ({form})" if number > 1 else form for form, number in runs)

    def _go_dict(self, value: Any, path: str, depth: int) -> str:
        if depth > _DEPTH or self.entries + len(value) > _MOST_ENTRIES:
            return f"dict of {len(value)}"
        keys = sorted(value) if len(kinds := set(map(type, value))) == 1 and kinds <= {str, int} else list(value)
        forms = [f"{key!r}: {self.go(value[key], f'{path}[{key!r}]', depth + 1)}" for key in keys]
        return "dict of " + ", ".join(forms)

    def _go_array(self, value: Any, path: str) -> str:
        adapter = import_module("jobspan.arrays.sketch")
        if (number := adapter.plain_number(value)) is not None:
            self._add(number, path)
            return type(value).__name__
        form, parts = adapter.take(value, path)
        self.parts += parts
        return str(form)


def take_apart(value: Any) -> Value | None:
    """Find the numbers of a value; None where there are too many things to look at one by one."""
    walk = _Walk()
    form = walk.go(value, "", 0)
    own: list[Part] = [_Own(walk.numbers, walk.paths)] if walk.numbers else []
    parts = [part for part in [*own, *walk.parts] if part.size]
    too_many = len(walk.numbers) > MOST_ALONE and "numpy" not in sys.modules
    if too_many or len(parts) > MOST_PARTS or walk.entries > _MOST_ENTRIES:
        return None
    return Value(form, tuple(parts))
