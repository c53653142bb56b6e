"""``jobspan ckpt``: what is in a checkpoint.

Invariant: nothing that is in the file is run, unless results are asked for.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from jobspan.persist.journal import Record, read_journal
from jobspan.persist.pickling import loads
from jobspan.worker.describe import short


def add_commands(commands: Any) -> None:
    """Add ``ckpt`` to a parser's commands."""
    checkpoint = commands.add_parser("ckpt", help="checkpoints: files that Parallel(checkpoint=...) writes")
    actions = checkpoint.add_subparsers(required=True, metavar="action")
    show = actions.add_parser("show", help="say what is in one, also while a run goes on")
    show.add_argument("path")
    show.add_argument("--results", action="store_true", help="also show each result; unpickles them, so trust the file")
    show.set_defaults(run=_show)


def _show(options: Any) -> int:
    sys.stdout.write(describe([record for record, _ in read_journal(options.path)]))
    for record, data in read_journal(options.path) if options.results else ():
        sys.stdout.write(f"{record.index:8}  {short(loads(data))}\n")
    return 0


def describe(records: Sequence[Record]) -> str:
    """What is in a journal, in a few lines.

    Parameters
    ----------
    records : sequence of Record
        As `jobspan.persist.journal.read_journal` gives them.
    """
    if not records:
        return "no results yet\n"
    indices = {record.index for record in records}
    nbytes = sum(record.end - record.start for record in records)
    missing = max(indices) + 1 - len(indices)
    gaps = f", {missing} below the last not there" if missing else ""
    times = [record.at for record in records]
    return (
        f"{len(records)} results, {nbytes} bytes\n"
        f"tasks {min(indices)} to {max(indices)}{gaps}\n"
        f"written {_show_time(min(times))} to {_show_time(max(times))}\n"
    )


def _show_time(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
