"""Objects of many kinds, each made anew whenever it is asked for: what a digest and a file have to cope with.

Imported by other Pythons as well, those without numpy included; nothing here needs pytest.
"""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import ipaddress
import math
import operator
import os.path
import pathlib
import random
import re
import types
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

try:
    import numpy as np
except ImportError:
    np = None  # type: ignore[assignment]

try:
    import pandas as pd
except ImportError:
    pd = None

try:
    import polars as pl
except ImportError:
    pl = None

try:
    import pyarrow as pa
except ImportError:
    pa = None

try:
    from scipy import sparse
except ImportError:
    sparse = None


class Colour(enum.Enum):
    RED = 1
    GREEN = 2


class Access(enum.IntFlag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int
    y: float


@dataclasses.dataclass
class Settings:
    name: str
    depth: int = 3
    tags: set[str] = dataclasses.field(default_factory=set)


@dataclasses.dataclass(frozen=True, slots=True)
class Fixed:
    name: str
    parts: tuple[int, ...] = ()


class Plain:
    def __init__(self, value: Any) -> None:
        self.value = value


class Slotted:
    __slots__ = ("left", "right")

    def __init__(self, left: Any, right: Any) -> None:
        self.left = left
        self.right = right


class Texts(list[str]):
    pass


def repeat(text: str, times: int = 2) -> str:
    return text * times


def _cycle() -> list[Any]:
    loop: list[Any] = [1]
    loop.append({"itself": loop})
    return loop


def _tree() -> Plain:
    parent = Plain([])
    parent.value += [Slotted(parent, 1), Slotted(parent, 2)]
    return parent


PLAIN: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "True": lambda: True,
    "int": lambda: 1,
    "negative int": lambda: -(2**31),
    "large int": lambda: 2**200 + 1,
    "float": lambda: 1.0,
    "nan": lambda: math.nan,
    "minus zero": lambda: -0.0,
    "complex": lambda: 1 + 0j,
    "str": lambda: "1",
    "unicode": lambda: "Zoë \U0001f9e1 \ud800",
    "long str": lambda: "ab\u20ac" * 500_000,
    "bytes": lambda: b"1",
    "long bytes": lambda: bytes(range(256)) * 10_000,
    "bytearray": lambda: bytearray(b"1"),
    "memoryview": lambda: memoryview(b"1"),
    "array": lambda: array.array("q", [1, -2, 3]),
    "list": lambda: [1],
    "tuple": lambda: (1,),
    "nested": lambda: [1, [2.0, ("three", [None, {}])], ()],
    "long list": lambda: list(range(50_000)),
    "long list of texts": lambda: [str(number) for number in range(10_000)],
    "long mixed list": lambda: [1, "a", None, 2.5] * 5_000,
    "rows": lambda: [(number, str(number)) for number in range(500)],
    "set": lambda: {"a", "b", "c"},
    "frozenset": lambda: frozenset({"a", "b", "c"}),
    "mixed set": lambda: {1, "a", (2, 3), frozenset({4}), None},
    "dict": lambda: {"b": 1, "a": [1, 2]},
    "dict of ints": lambda: {2: "b", 1: "a"},
    "mixed dict": lambda: {1: "a", "1": "b", (1,): "c", None: "d", frozenset({1, 2}): "e"},
    "long dict": lambda: {str(number): number for number in range(1_000)},
    "OrderedDict": lambda: collections.OrderedDict([("b", 1), ("a", 2)]),
    "defaultdict": lambda: collections.defaultdict(list, {"a": [1]}),
    "Counter": lambda: collections.Counter("abracadabra"),
    "deque": lambda: collections.deque([1, 2, 3], maxlen=5),
    "range": lambda: range(1, 10, 2),
    "slice": lambda: slice(1, None, 2),
    "Ellipsis": lambda: ...,
    "NotImplemented": lambda: NotImplemented,
    "date": lambda: dt.date(2026, 11, 25),
    "time": lambda: dt.time(12, 30, tzinfo=dt.timezone.utc),  # noqa: UP017  as older Pythons know it
    "datetime": lambda: dt.datetime(2026, 11, 25, 12, 30, 1, 5, dt.timezone(dt.timedelta(hours=1))),
    "timedelta": lambda: dt.timedelta(days=1, seconds=2, microseconds=3),
    "Decimal": lambda: decimal.Decimal("1.10"),
    "Fraction": lambda: fractions.Fraction(1, 3),
    "UUID": lambda: uuid.UUID(int=5),
    "path": lambda: pathlib.Path("folder/file.txt"),
    "pure path": lambda: pathlib.PurePosixPath("folder/file.txt"),
    "Windows path": lambda: pathlib.PureWindowsPath(r"C:\folder\file.txt"),
    "IP address": lambda: ipaddress.ip_address("127.0.0.1"),
    "pattern": lambda: re.compile("a+b", re.IGNORECASE),
    "enum": lambda: Colour.RED,
    "flag": lambda: Access.READ | Access.WRITE,
    "namedtuple": lambda: Point(1, 2.0),
    "dataclass": lambda: Settings("x", tags={"a", "b"}),
    "frozen dataclass": lambda: Fixed("x", (1, 2)),
    "object": lambda: Plain({"a": {1, 2}}),
    "object with slots": lambda: Slotted(1, [2]),
    "list of its own type": lambda: Texts(["a", "b"]),
    "namespace": lambda: types.SimpleNamespace(a=1, b="c"),
    "exception": lambda: ValueError("no", 5),
    "random numbers": lambda: random.Random(5),
    "builtin function": lambda: len,
    "function of a package": lambda: os.path.basename,
    "class": lambda: collections.Counter,
    "module function in C": lambda: math.sqrt,
    "function of the user's": lambda: repeat,
    "class of the user's": lambda: Settings,
    "partial of the user's": lambda: functools.partial(repeat, times=3),
    "method": lambda: "abc".upper,
    "partial": lambda: functools.partial(int, base=2),
    "itemgetter": lambda: operator.itemgetter(1, "a"),
    "cycle": _cycle,
    "tree with parents": _tree,
}

NUMPY: dict[str, Callable[[], Any]] = {
    "float64": lambda: np.float64(1.0),
    "bool_": lambda: np.bool_(True),
    "datetime64": lambda: np.datetime64("2026-11-25T12:30"),
    "floats": lambda: np.arange(5.0),
    "floats in 2-d": lambda: np.arange(6.0).reshape(2, 3),
    "floats in Fortran order": lambda: np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "no floats": lambda: np.zeros((0, 3)),
    "one float": lambda: np.array(1.5),
    "many floats": lambda: np.arange(400_001.0),
    "small ints": lambda: np.arange(5, dtype=np.int8),
    "big-endian ints": lambda: np.arange(5, dtype=">i4"),
    "complex numbers": lambda: np.array([1j, 2.0]),
    "texts": lambda: np.array(["a", "bcd"]),
    "times": lambda: np.array(["2026-11-25", "NaT"], dtype="M8[s]"),
    "objects": lambda: np.array([1, "a", None, {"b": [2]}], dtype=object),
    "records": lambda: np.array([(1, 2.0, "a")], dtype=[("a", "i4"), ("b", "f8"), ("c", "U3")]),
    "aligned records": lambda: np.array([(1, 2.0)], dtype=np.dtype([("a", "i1"), ("b", "f8")], align=True)),
    "masked": lambda: np.ma.array([1.0, 2.0, 3.0], mask=[0, 1, 0]),
    "record array": lambda: np.rec.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    "dtype": lambda: np.dtype([("a", "i4"), ("b", "f8", (2,))]),
    "ufunc": lambda: np.add,
    "Generator": lambda: np.random.default_rng(5),
    "RandomState": lambda: np.random.RandomState(5),
}

PANDAS: dict[str, Callable[[], Any]] = {
    "frame": lambda: pd.DataFrame({"a": [1, 2], "b": [1.5, None], "c": ["x", None]}),
    "series": lambda: pd.Series([1.0, 2.0], name="a", index=["x", "y"]),
    "index": lambda: pd.Index([3, 1, 2], name="i"),
    "range index": lambda: pd.RangeIndex(3),
    "multi-index": lambda: pd.MultiIndex.from_product([[1, 2], ["a", "b"]], names=["n", "l"]),
    "categories": lambda: pd.Series(["u", "v", "u"], dtype="category"),
    "times with a zone": lambda: pd.Series(pd.date_range("2026-11-25", periods=3, tz="Europe/Paris")),
    "integers with a gap": lambda: pd.Series([1, None, 3], dtype="Int64"),
    "periods": lambda: pd.Series(pd.period_range("2026-11", periods=3, freq="M")),
    "intervals": lambda: pd.Series(pd.interval_range(0, 3)),
    "sparse series": lambda: pd.Series(pd.arrays.SparseArray([0.0, 0.0, 1.0])),
    "Timestamp": lambda: pd.Timestamp("2026-11-25 12:30", tz="UTC"),
}

POLARS: dict[str, Callable[[], Any]] = {
    "polars frame": lambda: pl.DataFrame({"a": [1, None], "b": ["x", None], "c": [[1], [2, 3]]}),
    "polars series": lambda: pl.Series("a", [1.0, 2.0]),
    "polars dates": lambda: pl.Series("a", [dt.date(2026, 11, 25), None]),
}

ARROW: dict[str, Callable[[], Any]] = {
    "arrow table": lambda: pa.table({"a": [1, None], "b": ["x", None], "c": [[1], [2, 3]]}),
    "arrow array": lambda: pa.array([1, None, 3]),
    "arrow texts": lambda: pa.array(["a", None, "cd"]),
    "arrow scalar": lambda: pa.scalar(5),
}

SPARSE: dict[str, Callable[[], Any]] = {
    f"sparse {form}": (lambda form=form: sparse.eye_array(4, format=form))
    for form in ("bsr", "coo", "csc", "csr", "dia", "dok", "lil")
}

PORTABLE = {**PLAIN, **(NUMPY if np is not None else {})}
"""Those whose digests are the same in every Python, on every machine."""

KINDS = {
    **PORTABLE,
    **(PANDAS if pd is not None else {}),
    **(POLARS if pl is not None else {}),
    **(ARROW if pa is not None else {}),
    **(SPARSE if sparse is not None else {}),
}
"""All that this Python has packages for."""
