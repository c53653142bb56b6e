"""Who shows progress: a bar of our own, lines in a log, tqdm, rich, or the user's function.

Invariant: one bar at a time in a process, and none from inside a task; a stream that takes no text ends no run.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Any, TypeAlias

from jobspan.follow.notebook import Cell, has_shell
from jobspan.follow.progress import OFTEN_S, Display, Progress
from jobspan.worker.context import PLACE
from jobspan.worker.describe import add_note

OnProgress: TypeAlias = Callable[[Progress], object]

NAMES = ("bar", "tqdm", "rich")
_SELDOM_S = 1.0
_LINES_S = 10.0
_NOTEBOOKS = ("ipykernel", "pyodide_kernel")
_COLUMNS = 80
_LEAST_BAR = 8
_LEAST_FIRST = ("known", "rate", "retried", "elapsed", "left", "failed")
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_UNWRITABLE = (OSError, ValueError)  # of a stream that is closed, full, or read by nobody


def check(wanted: Any) -> None:
    """Raise for what is no ``progress``."""
    if not (wanted is None or isinstance(wanted, bool) or callable(wanted) or wanted in NAMES):
        raise ValueError(
            f"progress={wanted!r} is none of True, False, {', '.join(map(repr, NAMES))}, or a function of a Progress."
        )


def find_display(wanted: Any) -> Display | None:
    """The display that ``progress`` means here; None for none.

    Raises
    ------
    ImportError
        If it is a package's, and that is not installed.
    """
    if not wanted or (PLACE.get().level and not callable(wanted)):
        return None
    if callable(wanted):
        return Function(wanted)
    library = {"tqdm": Tqdm, "rich": Rich}.get(wanted)
    display = library() if library else None  # which may be missing
    stream = sys.stderr
    if display is not None or stream is None:  # a program without a console
        return display if stream is not None else None
    if _is_notebook(stream) and has_shell():
        return NotebookBar()
    if _is_notebook(stream) or (_is_terminal(stream) and os.environ.get("TERM") != "dumb"):
        return Bar(stream)
    return Lines(stream)


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # not quite a stream, or closed
        return False


def _is_notebook(stream: Any) -> bool:
    return type(stream).__module__.partition(".")[0] in _NOTEBOOKS


_places: dict[tuple[int, int], threading.Lock] = {}


class _Alone:
    """A display that shows nothing while another one is there; a stream that takes no text ends no run."""

    often_s = OFTEN_S
    seldom_s = _SELDOM_S

    def __init__(self) -> None:
        self._place: threading.Lock | None = None

    def open(self, total: int | None, /) -> None:
        """Take the place, if it is free."""
        place = _places.setdefault((os.getpid(), self._whose()), threading.Lock())  # a forked child has its own
        if place.acquire(blocking=False):
            self._place = place
            with suppress(*_UNWRITABLE):
                self._begin(total)

    def show(self, progress: Progress, /) -> None:
        """Show it if the place is taken by this one, or free by now."""
        if self._place is None:
            self.open(progress.total)
        if self._place is not None:
            with suppress(*_UNWRITABLE):
                self._show(progress)

    def close(self, progress: Progress, _complete: bool, /) -> None:
        """Show it, and leave the place to others."""
        if self._place is not None:
            try:
                with suppress(*_UNWRITABLE):
                    self._show(progress)
                    self._finish()
            finally:
                self._place.release()
                self._place = None

    def _whose(self) -> int:
        """Who shares the place: all of the process."""
        return 0

    def _begin(self, total: int | None) -> None:
        """There is nothing to show yet."""

    def _show(self, progress: Progress) -> None:
        raise NotImplementedError  # each display's own

    def _finish(self) -> None:
        """What was shown stays."""


class Bar(_Alone):
    """One line that is written over and over, for terminals and notebooks."""

    def __init__(self, stream: Any) -> None:
        super().__init__()
        self._stream = stream
        self._length = 0
        self._has_blocks = _takes(stream, _EIGHTHS)

    def _show(self, progress: Progress) -> None:
        columns = self._count_columns()
        line = render(progress, columns, blocks=self._has_blocks)
        self._write(f"\r{line}{' ' * (min(self._length, columns) - len(line))}")  # over what was there
        self._length = len(line)

    def _finish(self) -> None:
        self._write("\n")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

    def _count_columns(self) -> int:
        """One less than there are: in some terminals, the last one begins another line."""
        if _is_notebook(self._stream):
            return _COLUMNS
        try:
            return (os.get_terminal_size(self._stream.fileno()).columns or _COLUMNS) - 1
        except (AttributeError, OSError, ValueError):  # it only says that it is a terminal
            return _COLUMNS - 1


class NotebookBar(_Alone):
    """A bar below the cell."""

    def __init__(self) -> None:
        super().__init__()
        self._cell: Cell | None = None

    def _begin(self, total: int | None) -> None:  # noqa: ARG002  each progress tells it
        self._cell = Cell()

    def _show(self, progress: Progress) -> None:
        assert self._cell is not None  # since it has the place
        percent = f"{100 * progress.finished // progress.total:3}%  " if progress.total else ""
        words = f"{percent}{', '.join(in_words(progress))}"
        self._cell.show(progress, words, render(progress, _COLUMNS, blocks=True))

    def _finish(self) -> None:
        assert self._cell is not None
        self._cell.close()


class Lines(_Alone):
    """A line now and then, for log files."""

    often_s = seldom_s = _LINES_S

    def __init__(self, stream: Any) -> None:
        super().__init__()
        self._stream = stream

    def _whose(self) -> int:
        """Only calls inside its own are silent: the lines of several threads do not collide."""
        return threading.get_ident()

    def _show(self, progress: Progress) -> None:
        self._stream.write(f"jobspan: {', '.join(in_words(progress))}\n")
        self._stream.flush()


class Function:
    """The user's own."""

    often_s = OFTEN_S
    seldom_s = _SELDOM_S

    def __init__(self, function: OnProgress) -> None:
        self._function = function

    def open(self, _total: int | None, /) -> None:
        """There is nothing to do."""

    def show(self, progress: Progress, /) -> None:
        """Call it."""
        try:
            self._function(progress)
        except Exception as error:  # the user's own code, whatever it raises: told whose it is, and raised on
            add_note(error, f"raised by the function given as progress=, at {progress.finished} finished tasks")
            raise

    def close(self, progress: Progress, complete: bool, /) -> None:
        """Call it; what it raises does not hide what a run has failed with."""
        with nullcontext() if complete else suppress(Exception):
            self.show(progress)


class Tqdm(_Alone):
    """A bar of tqdm's, in notebooks a widget."""

    def __init__(self) -> None:
        super().__init__()
        try:
            from tqdm.auto import tqdm
        except ImportError as error:
            raise _missing("tqdm") from error
        self._make = tqdm
        self._bar: Any = None

    def _begin(self, total: int | None) -> None:
        self._bar = self._make(total=total, unit="task", mininterval=0, miniters=0)

    def _show(self, progress: Progress) -> None:
        bar = self._bar
        if bar is None or bar.disable:  # as the environment's TQDM_DISABLE says
            return
        if progress.total != bar.total:
            if hasattr(bar, "container"):  # a notebook's
                begun = bar.start_t
                bar.reset(progress.total)
                bar.start_t = begun
            bar.total = progress.total
        bar.initial, bar.n = progress.known, progress.finished  # so that its rate does not count what was known
        if setbacks := _setbacks(progress):
            bar.set_postfix_str(", ".join(setbacks.values()), refresh=False)
        bar.refresh()

    def _finish(self) -> None:
        if self._bar is not None:
            self._bar.close()


class Rich(_Alone):
    """A bar of rich's."""

    def __init__(self) -> None:
        super().__init__()
        try:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Live
        except ImportError as error:
            raise _missing("rich") from error
        columns = BarColumn(), TextColumn("{task.fields[words]}")
        self._live = Live(*columns, console=Console(stderr=True), auto_refresh=False)  # or it starts a thread
        self._task: Any = None

    def _show(self, progress: Progress) -> None:
        words = ", ".join(in_words(progress))
        if self._task is None:
            self._live.start()
            self._task = self._live.add_task("", total=None, words=words)
        self._live.update(self._task, completed=progress.finished, total=progress.total, words=words)
        self._live.refresh()

    def _finish(self) -> None:
        self._live.stop()


def _missing(name: str) -> ImportError:
    return ImportError(
        f"progress={name!r} shows the bar of the package {name}, which is not installed: 'pip install {name}', or "
        f"write progress=True for one that needs nothing.",
        name=name,
    )


def render(progress: Progress, columns: int, *, blocks: bool) -> str:
    """A bar and words, of `columns` characters at most.

    >>> half = Progress(5, 10, 0, 1, 0, 2.5, 2.0, 2.5)
    >>> render(half, 60, blocks=False)
    ' 50% |#######       | 5/10, 2.0/s, 0:02, 0:02 left, 1 failed'
    """
    words = _facts(progress)
    percent = f"{100 * progress.finished // progress.total:3}% " if progress.total else ""
    for name in _LEAST_FIRST:
        if len(percent) + len(", ".join(words.values())) <= columns:
            break
        words.pop(name, None)
    line = percent + ", ".join(words.values())
    if len(line) > columns:  # a number that is cut is another number
        return percent.rstrip() if len(percent.rstrip()) <= columns else ""
    room = columns - len(line) - 3
    if percent and room >= _LEAST_BAR:
        line = f"{percent}|{_bar(progress.finished / (progress.total or 1), room, blocks)}| {line[len(percent) :]}"
    return line


def _bar(share: float, room: int, blocks: bool) -> str:
    room = min(room, 40)
    if not blocks:
        return ("#" * int(share * room)).ljust(room)
    full, eighths = divmod(int(share * room * 8), 8)
    return (_EIGHTHS[8] * full + (_EIGHTHS[eighths] if eighths else "")).ljust(room)


def in_words(progress: Progress) -> list[str]:
    """How far it is, the count first.

    >>> in_words(Progress(40, 40, 0, 0, 2, 75.0, 0.5, 0.0))
    ['40/40', '2.0 s/task', '1:15', '2 retried']
    """
    return list(_facts(progress).values())


def _facts(progress: Progress) -> dict[str, str]:
    total = progress.total
    facts = {"count": f"{progress.finished} done" if total is None else f"{progress.finished}/{total}"}
    if progress.rate:
        facts["rate"] = _pace(progress.rate)
    facts["elapsed"] = clock(progress.elapsed_s)
    if progress.left_s and progress.left_s >= 1:
        facts["left"] = f"{clock(progress.left_s)} left"
    if progress.known:
        facts["known"] = f"{progress.known} from checkpoint"
    return facts | _setbacks(progress)


def _pace(rate: float) -> str:
    if rate >= 1:
        return f"{rate:.0f}/s" if rate >= 100 else f"{rate:.1f}/s"
    return f"{1 / rate:.1f} s/task" if rate > 0.01 else f"{clock(1 / rate)} for a task"


def _setbacks(progress: Progress) -> dict[str, str]:
    counts = {"failed": progress.failed, "retried": progress.retried}
    return {what: f"{count} {what}" for what, count in counts.items() if count}


def clock(seconds: float) -> str:
    """A duration as clocks show it.

    >>> clock(7.9), clock(75), clock(3675)
    ('0:07', '1:15', '1:01:15')
    """
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _takes(stream: Any, text: str) -> bool:
    if _is_notebook(stream):
        return True
    try:
        text.encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
