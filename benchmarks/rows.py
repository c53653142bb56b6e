"""What a scenario hands to the report: rows of two contestants, and notes; frozen values, no measuring."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum

from measure import Sample


class Sense(Enum):
    """How a ratio is read.

    `FASTER` is peer / jobspan, `TIME` is jobspan / peer, `VALUE` is jobspan's own figure.
    """

    FASTER = "faster"
    TIME = "its time"
    VALUE = "value"


@dataclass(frozen=True, slots=True)
class Asked:
    """A limit: at least so many times faster, at most so much of the peer's time, or at most a value."""

    sense: Sense
    limit: float

    def reached(self, ratio: float) -> bool:
        """Return whether the limit is kept."""
        return ratio >= self.limit if self.sense is Sense.FASTER else ratio <= self.limit

    def __str__(self) -> str:
        match self.sense:
            case Sense.FASTER:
                return f"≥ {self.limit:.3g} × faster"
            case Sense.TIME:
                return f"≤ {self.limit:.3g} × its time"
            case Sense.VALUE:
                return f"≤ {self.limit:.3g}"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of jobspan beside one peer. Without `asked` it is there for information."""

    what: str
    unit: str
    ours: Sample
    peer_name: str
    peer: Sample
    asked: Asked | None = None

    @property
    def sense(self) -> Sense:
        """How to read the ratio."""
        return self.asked.sense if self.asked else Sense.TIME

    @property
    def ratio(self) -> float:
        """Ratio of the medians, or jobspan's median where the limit is on the value itself."""
        match self.sense:
            case Sense.FASTER:
                return self.peer.median / self.ours.median
            case Sense.TIME:
                return self.ours.median / self.peer.median
            case Sense.VALUE:
                return self.ours.median


@dataclass(frozen=True, slots=True)
class Findings:
    """All that one scenario has said so far."""

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, row_or_note: Row | str) -> None:
        """Take in what a scenario hands out."""
        if isinstance(row_or_note, Row):
            self.rows.append(row_or_note)
        else:
            self.notes.append(row_or_note)


@dataclass(frozen=True, slots=True)
class Effort:
    """How often every contestant runs; inputs keep their size, since figures per task depend on it."""

    rounds: int

    @property
    def few_rounds(self) -> int:
        """Rounds for repetitions that take seconds each."""
        return max(2, self.rounds // 3)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A named measurement; `about` says in a sentence what it measures.

    `run` hands out each row or note as soon as it is known, so that a contestant's failure spares the rows
    before it.
    """

    name: str
    about: str
    run: Callable[[Effort], Iterator[Row | str]]


def faster(limit: float) -> Asked:
    """Ask for at least `limit` times the peer's speed."""
    return Asked(Sense.FASTER, limit)


def at_most(limit: float) -> Asked:
    """Ask for at most `limit` of the peer's time."""
    return Asked(Sense.TIME, limit)


def value(limit: float) -> Asked:
    """Ask for a figure of at most `limit`, whatever the peer's is."""
    return Asked(Sense.VALUE, limit)
