"""The figures from the browser, taken by another tool and left in `benchmarks/browser.json`, as Markdown.

The file is an object with these keys:

    where       str    browser and version, e.g. "Chromium 142"
    pyodide     str    version of Pyodide
    program     str    what was run, e.g. "census of the standard library"
    date        str    when
    asked       float  the asked speed-up of the largest pool over the smallest, e.g. 1.6
    runs        list   one object per pool, repetitions interleaved over the pools:
        workers      int    workers of the pool
        seconds      list   seconds by the clock, one per repetition
        cpu_seconds  list   CPU seconds of the busiest worker thread, one per repetition; may be left out
    costs       list   what workers cost, as `browser_workers.row` makes it; may be left out
"""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Run = Mapping[str, Any]

HEAD = (
    "| workers | seconds | speed-up | CPU seconds of the busiest worker | speed-up by CPU |",
    "|---|---|---|---|---|",
)


def _speed_up(one: Run, other: Run, key: str) -> float | None:
    if key not in one or key not in other:
        return None
    return float(statistics.median(one[key]) / statistics.median(other[key]))


def _cell(run: Run, key: str) -> str:
    return f"{statistics.median(run[key]):.2f}" if key in run else ""


def _verdict(ratio: float | None, asked: float) -> str:
    if ratio is None:
        return "not measured"
    return f"{ratio:.2f}, {'yes' if ratio >= asked else '**no**'}"


def section(path: Path) -> list[str]:
    """Return the lines of the report's section; without the file, the line that says so."""
    if not path.exists():
        return [f"Not measured (`benchmarks/{path.name}` is not there)."]
    told: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    runs: Sequence[Run] = sorted(told["runs"], key=lambda run: int(run["workers"]))
    lines = [f"{told['program']}, {told['where']}, Pyodide {told['pyodide']}, {told['date']}.", "", *HEAD]
    for run in runs:
        clock, cpu = _speed_up(runs[0], run, "seconds"), _speed_up(runs[0], run, "cpu_seconds")
        figures = (
            _cell(run, "seconds"),
            f"{clock:.2f}",
            _cell(run, "cpu_seconds"),
            "" if cpu is None else f"{cpu:.2f}",
        )
        lines.append(f"| {run['workers']} | {' | '.join(figures)} |")
    by_clock = _verdict(_speed_up(runs[0], runs[-1], "seconds"), told["asked"])
    by_cpu = _verdict(_speed_up(runs[0], runs[-1], "cpu_seconds"), told["asked"])
    asked = f"≥ {told['asked']} × {runs[0]['workers']} worker"
    lines += [
        "",
        f"Asked: {asked}. By the clock {by_clock}; by CPU time {by_cpu}.",
    ]
    if costs := told.get("costs"):
        lines += ["", "| | measured | beside | asked | reached |", "|---|---|---|---|---|", *map(_cost, costs)]
    return lines


def _cost(row: Mapping[str, Any]) -> str:
    reached = row["value"] >= row["asked"] if row["at_least"] else row["value"] <= row["asked"]
    sign = "≥" if row["at_least"] else "≤"
    measured = f"{row['value']:.3g} {row['unit']}" if row["value"] < 1000 else f"{row['value']:.0f} {row['unit']}"
    asked = f"{sign} {row['asked']:.3g}" if row["asked"] < 1000 else f"{sign} {row['asked']:.0f}"
    return f"| {row['name']} | {measured} | {row['peer']} | {asked} | {'yes' if reached else '**no**'} |"
