"""What `Parallel.report` returns: how a run spent its workers' time.

Invariant: a report is finished when it is made; a run that goes on does not change it.
"""

from __future__ import annotations

import re
from statistics import median
from time import time
from typing import NamedTuple

from jobspan.follow.record import SLOWEST, Recorder, Stretch, Sums, UnderWay
from jobspan.worker.describe import CALLER, span

_COLUMNS = 50
_SHADES = " ░▒▓█"
_MARKS = {"failed": "x", "timed out": "!", "lost": "#"}


class WorkerReport(NamedTuple):
    """How one worker spent the time of a run.

    Attributes
    ----------
    name : str
        Its name.
    tasks : int
        Tasks that it did.
    start_s : float
        Seconds until it began with its first task.
    busy_s : float
        Seconds in tasks.
    transfer_s : float
        Seconds in which it had no task while one was on its way to it, or its results were on their way back.
    idle_s : float
        The other seconds, until the end of the run or, if it ended with a task, its own.
    """

    name: str
    tasks: int
    start_s: float
    busy_s: float
    transfer_s: float
    idle_s: float


class Report(NamedTuple):
    """How a run spent its workers' time: print it, or let a notebook show it.

    Attributes
    ----------
    elapsed_s : float
        Seconds from the beginning of the run to its end, or until now.
    width : int
        Number of workers there could be.
    done, failed, retried, known : int
        Tasks that were done, those that failed for good, how often one went again, and results from the checkpoint.
    workers : tuple of WorkerReport
        The workers that did something, by name.
    slowest : tuple of Stretch
        The three slowest tasks, the slowest first. One with a `count` above 1 is a batch of short tasks that were timed
        together, and of which one must have been slow.
    stretches : tuple of Stretch
        The latest 10 000 pieces of work, as they became known: a task each, or short tasks that were timed together.
    untimed : int
        Number of tasks that were timed together only. With ``on_event`` each is timed by itself.
    begin : float
        When it began, in seconds since the epoch.
    under_way : tuple of UnderWay
        What had been sent and was not back when the report was made, the oldest first.
    """

    elapsed_s: float
    width: int
    done: int
    failed: int
    retried: int
    known: int
    workers: tuple[WorkerReport, ...]
    slowest: tuple[Stretch, ...]
    stretches: tuple[Stretch, ...]
    untimed: int
    begin: float
    under_way: tuple[UnderWay, ...] = ()

    @property
    def efficiency(self) -> float:
        """The share of the workers' time that was spent in tasks, from 0 to 1."""
        whole = self.elapsed_s * self.width
        return min(1.0, sum(worker.busy_s for worker in self.workers) / whole) if whole else 0.0

    def __str__(self) -> str:
        return "\n".join(
            [self.summary(), "", *self._table(), "", *self._slowest_in_words(), *self._under_way_in_words()]
        )

    def __repr__(self) -> str:
        return f"<Report: {self.summary()}>"

    def summary(self) -> str:
        """The run in one line."""
        counts = {"failed": self.failed, "retried": self.retried, "from the checkpoint": self.known}
        more = "".join(f", {count} {what}" for what, count in counts.items() if count)
        return (
            f"{_count(self.done, 'task')} done in {seconds(self.elapsed_s)} on {_count(self.width, 'worker')}{more}; "
            f"{self.efficiency:.0%} of the time was spent in tasks."
        )

    def _table(self) -> list[str]:
        wide = max((len(worker.name) for worker in self.workers), default=6)
        heads = "tasks", "start", "busy", "transfer", "idle"
        marks = "".join(
            f", {mark} {kind}" for kind, mark in _MARKS.items() if any(each.kind == kind for each in self.stretches)
        )
        legend = f"  |time line: {seconds(self.elapsed_s / _COLUMNS)} for each character{marks}" if self.workers else ""
        lines = [f"{'worker':{wide}}" + "".join(f"{head:>10}" for head in heads) + legend]
        for worker in self.workers:
            times = worker.start_s, worker.busy_s, worker.transfer_s, worker.idle_s
            row = "".join(f"{seconds(each):>10}" for each in times)
            lines.append(f"{worker.name:{wide}}{worker.tasks:>10}{row}  |{self._draw(worker.name)}|")
        return lines

    def _draw(self, worker: str) -> str:
        """The worker's time line: the fuller a character, the busier it was; where a task failed, a mark."""
        width_s = self.elapsed_s / _COLUMNS or 1.0
        busy = [0.0] * _COLUMNS
        marks: dict[int, str] = {}
        for stretch in self.stretches:
            if stretch.worker != worker:
                continue
            begin, end = ((at - self.begin) / width_s for at in (stretch.begin, stretch.end))
            for column in range(max(0, int(begin)), min(_COLUMNS, int(end) + 1)):
                busy[column] += max(0.0, min(end, column + 1) - max(begin, column))
            if stretch.kind in _MARKS:
                marks[min(_COLUMNS - 1, max(0, int(end)))] = _MARKS[stretch.kind]
        shades = [_SHADES[min(4, round(share * 4 + 0.3))] if share > 0.01 else " " for share in busy]
        return "".join(marks.get(column, shade) for column, shade in enumerate(shades))

    def _slowest_in_words(self) -> list[str]:
        if not self.slowest:
            return ["No task was timed."]
        lines = ["slowest tasks"]
        lines += [f"  {describe(stretch)}" for stretch in self.slowest]
        if self.untimed:
            lines.append(
                f"{self.untimed} short tasks were timed together only; with on_event= each is timed by itself."
            )
        return lines

    def _under_way_in_words(self) -> list[str]:
        lines = [f"  {span(first, count)}, sent {seconds(ago)} ago" for first, count, ago in self.under_way[:SLOWEST]]
        if len(self.under_way) > SLOWEST:
            lines.append(f"  and {len(self.under_way) - SLOWEST} batches more")
        return ["under way", *lines] if lines else []

    def svg(self) -> str:
        """The time line as a drawing, for a page or a file."""
        from jobspan.follow.drawing import draw

        return draw(self)

    def html(self) -> str:
        """All of it as HTML, to be saved as a file or put into a page."""
        from jobspan.follow.drawing import compose

        return compose(self)

    def _repr_html_(self) -> str:
        return self.html()


def seconds(value: float) -> str:
    """A time in few characters.

    >>> seconds(0.00042), seconds(0.25), seconds(75.3), seconds(4000)
    ('0.42 ms', '0.25 s', '75.3 s', '66.7 min')
    """
    if value < 0.1:
        return f"{value * 1e3:.3g} ms"
    if value < 10:
        return f"{value:.2f} s"
    return f"{value:.1f} s" if value < 600 else f"{value / 60:.1f} min"


def describe(stretch: Stretch) -> str:
    """One of the slowest, in words."""
    became = "" if stretch.kind == "done" else f", {stretch.kind}"
    if stretch.count == 1:
        return f"task {stretch.first}: {seconds(stretch.seconds)} on {stretch.worker}{became}"
    tasks = span(stretch.first, stretch.count)
    return f"one or more of {tasks}: {seconds(stretch.seconds)} together on {stretch.worker}{became}"


def make_report(record: Recorder) -> Report:
    """What there is to say of a run by now."""
    return record.read(lambda sums: _make_report(record, sums))


def _make_report(record: Recorder, sums: Sums) -> Report:
    elapsed_s = record.elapsed_s
    workers = []
    for name, lane in sorted(sums.lanes.items(), key=lambda pair: _by_number(pair[0])):
        there_s = elapsed_s if lane.gone_at is None else min(elapsed_s, max(0.0, lane.gone_at - record.begin))
        start_s = min(lane.start_s or 0.0, there_s)
        transfer_s = 0.0 if name == CALLER else lane.transfer_s  # where nothing travels, it is the caller's own work
        idle_s = max(0.0, there_s - start_s - lane.busy_s - transfer_s)
        workers.append(WorkerReport(name, lane.tasks, start_s, lane.busy_s, transfer_s, idle_s))
    stretches = tuple(sums.stretches)
    return Report(
        elapsed_s=elapsed_s,
        width=record.width,
        done=record.done,
        failed=record.failed,
        retried=record.retried,
        known=record.found,
        workers=tuple(workers),
        slowest=_find_slowest(sums.slowest, stretches),
        stretches=stretches,
        untimed=sums.untimed,
        begin=record.begin,
        under_way=tuple(record.find_under_way()),
    )


def report_plain(count: int, spent_s: float) -> Report:
    """Of a plain loop, of which only that is known."""
    begin = time() - spent_s
    whole = Stretch(CALLER, begin, begin + spent_s, 0, count)
    workers = (WorkerReport(CALLER, count, 0.0, spent_s, 0.0, 0.0),)
    timed = (whole,) if count else ()
    return Report(spent_s, 1, count, 0, 0, 0, workers, timed, timed, count, begin)


def _by_number(name: str) -> list[tuple[int, str]]:
    """A key that sorts the tenth after the second."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _find_slowest(timed: list[Stretch], stretches: tuple[Stretch, ...]) -> tuple[Stretch, ...]:
    """Those, and tasks that were timed with others if one of them must have taken longer."""
    ranked = [(stretch.seconds, stretch) for stretch in timed]
    together = [stretch for stretch in stretches if stretch.count > 1]
    if together:
        usual_s = median(stretch.seconds / stretch.count for stretch in together)
        ranked += [(stretch.seconds - (stretch.count - 1) * usual_s, stretch) for stretch in together]
    ranked.sort(reverse=True, key=lambda pair: pair[0])
    return tuple(stretch for _, stretch in ranked[:SLOWEST])
