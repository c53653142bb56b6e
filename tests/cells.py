"""Cells of notebooks, each of which defines f: what all Pythons have to identify alike. Imported by others as well."""

from __future__ import annotations

from defining import define
from jobspan.persist.identity.identify import identify

HELPERS = """
def low(x): return x + 1
def mid(x): return low(x) * 2
def other(x): return x
def f(x): return mid(x)
"""

CLASSES = """
import functools
from dataclasses import dataclass, field
def low(x): return x + 1
class Base:
    factor = 2
    def base(self): return self.factor
class C(Base):
    def m(self): return low(1)
    @property
    def p(self): return 10
    @staticmethod
    def s(): return 20
    @classmethod
    def c(cls): return 30
    @functools.cached_property
    def cp(self): return 40
    @functools.lru_cache
    def lru(self): return 50
    @functools.singledispatchmethod
    def sd(self, x): return 60
    half = functools.partialmethod(m, 70)
    class Inner:
        def i(self): return 80
def f(): return C
"""

WRAPPERS = """
import contextlib, functools
def deco(function):
    @functools.wraps(function)
    def wrapper(*args): return function(*args), 1
    return wrapper
@deco
def g(): return 10
@functools.cache
def h(): return 20
@contextlib.contextmanager
def i(): yield 30
@functools.singledispatch
def j(x): return 40
@j.register(int)
def _(x): return 50
k = functools.partial(deco, 60)
def f(): return g, h, i, j, k
"""

ENUMS = """
import enum
class E(enum.Enum):
    A = 1
    B = 2
    def __new__(cls, value):
        made = object.__new__(cls)
        made._value_ = value
        return made
    def m(self): return 5
    @classmethod
    def _missing_(cls, value): return cls.A
class F(enum.IntFlag):
    def _generate_next_value_(name, start, count, last): return 2 ** count
    A = enum.auto()
    B = enum.auto()
def f(): return E, F
"""

DATACLASSES = """
from dataclasses import InitVar, dataclass, field
from typing import ClassVar, Optional
@dataclass(order=True)
class A:
    x: int
    y: list[int] = field(default_factory=list)
    z: InitVar[int] = 0
    w: ClassVar[Optional[str]] = None
    def __post_init__(self, z): self.x += z
@dataclass(frozen=True, slots=True, kw_only=True)
class B:
    x: int | str = 5
def f(): return A, B
"""

TYPES = """
import abc, functools
from typing import Generic, NamedTuple, Optional, Protocol, TypedDict, TypeVar
V = TypeVar("V")
class P(NamedTuple):
    x: int
    y: float = 2.0
class Q(Protocol):
    def m(self) -> int: ...
class R(abc.ABC):
    @abc.abstractmethod
    def m(self): return 1
class T(TypedDict):
    a: Optional[int]
    b: "str"
class G(Generic[V]):
    x: V
    def m(self) -> V: return super().m
@functools.total_ordering
class O:
    def __lt__(self, other): return True
    def __eq__(self, other): return True
class M(type):
    def x(cls): return 1
class D(metaclass=M):
    __slots__ = ("a", "b")
    def __init_subclass__(cls): pass
    def __class_getitem__(cls, item): return [item for item in item]
class S(D): pass
def f(): return P, Q, R, T, G, O, S
"""

CELLS = {
    "helpers": HELPERS,
    "classes": CLASSES,
    "wrappers": WRAPPERS,
    "enums": ENUMS,
    "dataclasses": DATACLASSES,
    "types": TYPES,
}


def identities() -> dict[str, str]:
    """Of f in each cell; empty for those that are not portable, which none is to be."""
    found = {name: identify(define(text).f) for name, text in CELLS.items()}
    return {name: each.digest.hex() if each.portable and not each.notes else "" for name, each in found.items()}
