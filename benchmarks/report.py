"""Rows and notes as Markdown: one table against joblib, one against the other peers, one from the browser.

Measures nothing and reads no clock; all it knows is handed in.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import pages
from browser import section
from measure import Sample
from rows import Findings, Row, Scenario, Sense

INTRODUCTION = (
    "Written by `benchmarks/run.py`. jobspan and the peer take turns in the same run, each in a process of "
    "its own; figures are medians with the quartiles in brackets, ratios are ratios of medians. "
    "CPU where the row says so, else the clock."
)
THOUSAND = 1000
HEAD = "| scenario | jobspan | peer | ratio | asked | reached? |\n|---|---|---|---|---|---|"


def _number(x: float) -> str:
    return f"{x:,.0f}" if abs(x) >= THOUSAND else f"{x:.3g}"


def _figure(sample: Sample, unit: str) -> str:
    low, high = sample.quartiles
    return f"{_number(sample.median)} {unit}".rstrip() + f" ({_number(low)}–{_number(high)})"


def _ratio(row: Row) -> str:
    match row.sense:
        case Sense.FASTER:
            return f"{row.ratio:.3g} × faster"
        case Sense.TIME:
            return f"{row.ratio:.3g} × {'its time' if row.unit.endswith('s') else 'as much'}"
        case Sense.VALUE:
            return f"{row.ratio:.3g}"


def _line(row: Row) -> str:
    asked, reached = ("", "") if row.asked is None else (str(row.asked), "yes" if _reached(row) else "**no**")
    cells = (
        row.what,
        _figure(row.ours, row.unit),
        f"{row.peer_name}: {_figure(row.peer, row.unit)}",
        _ratio(row),
    )
    return f"| {' | '.join((*cells, asked, reached))} |"


def _reached(row: Row) -> bool:
    """Return whether a row with a limit keeps it."""
    return row.asked is not None and row.asked.reached(row.ratio)


def table(rows: Iterable[Row]) -> str:
    """Return the rows as a Markdown table."""
    return "\n".join([HEAD, *map(_line, rows)])


def markdown(
    facts: Mapping[str, str], found: Mapping[Scenario, Findings], failures: Mapping[str, str], browser: Path
) -> str:
    """Return the whole page."""
    rows = [row for findings in found.values() for row in findings.rows]
    limits = [row for row in rows if row.asked is not None]
    lines = [
        "# Benchmarks",
        "",
        INTRODUCTION,
        "",
        *(f"- {name}: {fact}" for name, fact in facts.items()),
        "",
        f"{sum(map(_reached, limits))} of {len(limits)} limits reached.",
        "",
        *(f"- **{scenario.name}**: {scenario.about}" for scenario in found),
        "",
        "## Against joblib",
        "",
        table(row for row in rows if row.peer_name == "joblib"),
        "",
        "## Against other peers",
        "",
        "They do the same work in the same run, building the delayed calls included.",
        "",
        table(row for row in rows if row.peer_name != "joblib"),
        "",
        "## In the browser",
        "",
        *section(browser),
        "",
        *pages.section(browser.with_name("pages.json")),
        "",
    ]
    notes = [f"- {note}" for findings in found.values() for note in findings.notes]
    if notes:
        lines += ["## Notes", "", *notes, ""]
    if failures:
        lines += ["## Failed", "", *(f"- {name}: `{reason}`" for name, reason in failures.items()), ""]
    return "\n".join(lines)
