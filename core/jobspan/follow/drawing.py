"""A report as SVG and HTML.

Invariant: what is made needs nothing from elsewhere, no script, font or style sheet, and names of workers are escaped.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape
from math import floor, log10

from jobspan.follow.record import Stretch
from jobspan.follow.report import Report, describe, seconds
from jobspan.worker.describe import span

_WIDTH, _LABEL, _ROW, _PAD = 900, 190, 26, 6
_COLOURS = {"done": "#3b7dd8", "failed": "#d43a3a", "timed out": "#e08a1e", "lost": "#333"}
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
    parts = [_HEAD.format(height=bottom + 38), f"<title>{escape(report.summary())}</title>"]
    for name, row in rows.items():
        top = _PAD + row * _ROW
        label = f"{escape(_shorten(name))}<title>{escape(name)}</title>"
        parts.append(f'<text x="{_PAD}" y="{top + 16}" fill="#222">{label}</text>')
        parts.append(_rectangle(_LABEL, top, _WIDTH - _LABEL - 2 * _PAD, "#eef1f5"))
    stretches = [stretch for stretch in report.stretches if stretch.worker in rows]
    merged = sorted(_merge(stretches, 1 / scale), key=lambda each: each.kind != "done")  # what failed, on top
    parts += [_draw_stretch(each, _PAD + rows[each.worker] * _ROW, report.begin, scale) for each in merged]
    for at_s in _ticks(whole_s):
        x = _LABEL + at_s * scale
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_PAD}" y2="{bottom}" stroke="#8883"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 14}" text-anchor="middle" fill="#555">{at_s:g} s</text>')
    return "".join([*parts, *_explain({stretch.kind for stretch in stretches}, bottom), "</svg>"])


def _explain(kinds: Collection[str], bottom: float) -> list[str]:
    """What the colours mean."""
    parts = []
    for number, kind in enumerate(kind for kind in _COLOURS if kind in kinds):
        x = _LABEL + 90 * number
        parts.append(f'<rect x="{x}" y="{bottom + 22}" width="10" height="10" fill="{_COLOURS[kind]}"/>')
        parts.append(f'<text x="{x + 15}" y="{bottom + 31}" fill="#555">{kind}</text>')
    return parts


def _merge(stretches: Sequence[Stretch], pixel_s: float) -> list[Stretch]:
    """Those of one worker that would share a pixel, as one; whatever the number, a drawing has so many pixels."""
    merged: dict[tuple[str, str], list[Stretch]] = {}
    for stretch in sorted(stretches, key=lambda each: each.begin):
        lane = merged.setdefault((stretch.worker, stretch.kind), [])
        if lane and stretch.end - lane[-1].begin < pixel_s:
            last = lane.pop()
            first = min(last.first, stretch.first)
            count = max(last.first + last.count, stretch.first + stretch.count) - first
            lane.append(last._replace(end=max(last.end, stretch.end), first=first, count=count))
        else:
            lane.append(stretch)
    return [stretch for lane in merged.values() for stretch in lane]


def _draw_stretch(stretch: Stretch, top: int, begin: float, scale: float) -> str:
    x = _LABEL + max(0.0, stretch.begin - begin) * scale
    width = max(0.5 if stretch.kind == "done" else 2.0, stretch.seconds * scale)
    tasks = span(stretch.first, stretch.count)
    became = "" if stretch.kind == "done" else f", {stretch.kind}"
    return _rectangle(x, top, width, _COLOURS[stretch.kind], f"{tasks}: {seconds(stretch.seconds)}{became}")


def _rectangle(x: float, top: float, width: float, colour: str, said: str = "") -> str:
    return (
        f'<rect x="{x:.2f}" y="{top + 3}" width="{width:.2f}" height="{_ROW - 6}" fill="{colour}" '
        f'stroke="#fff" stroke-width="{0.4 if width > 3 else 0}"><title>{escape(said)}</title></rect>'
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
    if not report.workers:
        return f'<div style="{_STYLE};padding:8px"><p>{escape(report.summary())}</p></div>'
    slowest = "".join(f"<li>{escape(describe(stretch))}</li>" for stretch in report.slowest)
    return (
        f'<div style="{_STYLE};padding:8px"><p>{escape(report.summary())}</p>{draw(report)}'
        f'<table style="border-collapse:collapse;font:inherit">{table}</table>'
        f"<p>slowest tasks</p><ol>{slowest}</ol></div>"
    )
