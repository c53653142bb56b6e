"""A report as SVG and HTML.

Invariant: what is made needs nothing from elsewhere, no script, font or style sheet, and names of workers are escaped.
"""

from __future__ import annotations

from html import escape
from math import floor, log10

from jobspan.follow.record import Stretch
from jobspan.follow.report import Report, describe, seconds
from jobspan.worker.describe import span

_WIDTH, _LABEL, _ROW, _PAD = 900, 190, 26, 6
_COLOURS = {"done": "#3b7dd8", "failed": "#d43a3a", "timed out": "#e08a1e"}
_TICKS = 6
_STYLE = "font-family:system-ui,sans-serif;font-size:12px;background:#fff;color:#222"  # legible on a dark page, too
_HEAD = (
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {{height}}" width="{_WIDTH}" role="img" '
    f'style="{_STYLE};max-width:100%">'
)
_CELL = "text-align:right;padding:2px 10px"


def draw(report: Report) -> str:
    """A row for each worker, a bar for each stretch of work."""
    rows = {worker.name: number for number, worker in enumerate(report.workers)}
    whole_s = report.elapsed_s or 1.0
    scale = (_WIDTH - _LABEL - 2 * _PAD) / whole_s
    bottom = _PAD + _ROW * len(rows)
    parts = [_HEAD.format(height=bottom + 24), f"<title>{escape(report.summary())}</title>"]
    for name, row in rows.items():
        top = _PAD + row * _ROW
        label = f"{escape(_shorten(name))}<title>{escape(name)}</title>"
        parts.append(f'<text x="{_PAD}" y="{top + 16}" fill="#222">{label}</text>')
        parts.append(_rectangle(_LABEL, top, _WIDTH - _LABEL - 2 * _PAD, "#eef1f5"))
    parts += [
        _draw_stretch(stretch, _PAD + rows[stretch.worker] * _ROW, report.begin, scale)
        for stretch in report.stretches
        if stretch.worker in rows
    ]
    for at_s in _ticks(whole_s):
        x = _LABEL + at_s * scale
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_PAD}" y2="{bottom}" stroke="#8883"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 14}" text-anchor="middle" fill="#555">{at_s:g} s</text>')
    return "".join([*parts, "</svg>"])


def _draw_stretch(stretch: Stretch, top: int, begin: float, scale: float) -> str:
    x = _LABEL + max(0.0, stretch.begin - begin) * scale
    width = max(0.5, stretch.seconds * scale)
    tasks = span(stretch.first, stretch.count)
    became = "" if stretch.kind == "done" else f", {stretch.kind}"
    return _rectangle(x, top, width, _COLOURS[stretch.kind], f"{tasks}: {seconds(stretch.seconds)}{became}")


def _rectangle(x: float, top: float, width: float, colour: str, said: str = "") -> str:
    return (
        f'<rect x="{x:.2f}" y="{top + 3}" width="{width:.2f}" height="{_ROW - 6}" fill="{colour}" '
        f'stroke="#fff" stroke-width="0.4"><title>{escape(said)}</title></rect>'
    )


def _ticks(whole_s: float) -> list[float]:
    """A few round times up to `whole_s`.

    >>> _ticks(1.3)
    [0.0, 0.5, 1.0]
    """
    rough = whole_s / _TICKS
    unit = 10.0 ** floor(log10(rough))
    step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= rough)
    return [round(number * step, 12) for number in range(int(whole_s / step) + 1)]


def _shorten(name: str) -> str:
    return name if len(name) <= 28 else f"…{name[-27:]}"


def compose(report: Report) -> str:
    """The summary, the drawing, the sums and the slowest tasks."""
    rows: list[tuple[str, ...]] = [("worker", "tasks", "start", "busy", "transfer", "idle")]
    for worker in report.workers:
        times = worker.start_s, worker.busy_s, worker.transfer_s, worker.idle_s
        rows.append((worker.name, str(worker.tasks), *map(seconds, times)))
    table = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{escape(each)}</td>' for each in row) + "</tr>" for row in rows
    )
    slowest = "".join(f"<li>{escape(describe(stretch))}</li>" for stretch in report.slowest)
    return (
        f'<div style="{_STYLE};padding:8px"><p>{escape(report.summary())}</p>{draw(report)}'
        f'<table style="border-collapse:collapse;font:inherit">{table}</table>'
        f"<p>slowest tasks</p><ol>{slowest}</ol></div>"
    )
