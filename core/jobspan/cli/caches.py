"""``jobspan cache``: what is in a cache, why calls missed, and its upkeep.

Invariant: no value of a cache is unpickled.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any, Self

from jobspan.follow.displays import find_display
from jobspan.follow.progress import Progress
from jobspan.memory.memory import Memory
from jobspan.memory.runs import list_runs, read_run, tell_difference, tell_misses, tell_run


def add_commands(commands: Any) -> None:
    """Add ``cache`` to a parser's commands."""
    cache = commands.add_parser("cache", help="caches: folders and URLs that Memory was given")
    actions = cache.add_subparsers(required=True, metavar="action")

    def add(name: str, run: Any, text: str) -> Any:
        action = actions.add_parser(name, help=text)
        action.add_argument("location", help="what Memory was given")
        action.add_argument("--key-file", metavar="FILE", help="a file with the secret of a cache that several share")
        action.set_defaults(run=run)
        return action

    ls = add("ls", _ls, "list the entries, the newest first")
    ls.add_argument("--function", default="", help="only those of functions whose name begins so")
    ls.add_argument("--json", action="store_true", help="as JSON, an object a line")
    why = add("why", _why, "why calls of a run with JOBSPAN_DEBUG=1 missed")
    why.add_argument("run_name", nargs="?", metavar="RUN", help="the run; the last one by default")
    diff = add("diff", _diff, "what missed in one run that was computed in another")
    diff.add_argument("before", metavar="RUN1")
    diff.add_argument("now", metavar="RUN2")
    add("runs", _runs, "list the runs that were written down")
    add("verify", _verify, "read everything, and set aside what is damaged")
    prune = add("prune", _prune, "remove what is over limits")
    prune.add_argument("--max-bytes", help="of all entries, as 20GB")
    prune.add_argument("--max-items", type=int, help="how many entries")
    prune.add_argument("--ttl", help="since they were made, as 7d")
    merge = add("merge", _merge, "copy the entries of another cache that are not here")
    merge.add_argument("other", help="the other cache")
    merge.add_argument("--trust", action="store_true", help="also those that somebody else has signed")
    add("trust", _trust, "sign the entries that somebody else has signed: only if you would run his code")


def _open(options: Any) -> Memory:
    location = options.location
    if "://" not in location and not os.path.isdir(os.path.join(location, "jobspan")):
        raise FileNotFoundError(f"there is no cache in {location}: give the folder that Memory was given")
    return Memory(location, verbose=0, key=_key(options))


def _key(options: Any) -> bytes | None:
    if options.key_file is None:
        return None
    with open(options.key_file, "rb") as file:
        return file.read().strip()


def _ls(options: Any) -> int:
    memory = _open(options)
    table = memory.entries()
    others = memory.count() - len(table)
    table[:] = [row for row in table if row.function.startswith(options.function)]
    if options.json:
        for row in table:
            sys.stdout.write(f"{json.dumps(row._asdict())}\n")
        return 0
    total = sum(row.nbytes for row in table)
    hidden = f"; {others} more are signed with a key that is not known here" if others else ""
    sys.stdout.write(f"{table}\n{len(table)} entries, {total} bytes{hidden}\n")
    return 0


def _why(options: Any) -> int:
    store, _ = _open(options).opened()
    names = list_runs(store)
    if not names:
        raise FileNotFoundError(
            f"no run is written down in {options.location}: set JOBSPAN_DEBUG=1 and run the program again"
        )
    run = read_run(store, options.run_name or names[-1])
    sys.stdout.write("\n".join([*tell_run(run), *tell_misses(run)]) + "\n")
    return 0


def _diff(options: Any) -> int:
    store, _ = _open(options).opened()
    before, now = read_run(store, options.before), read_run(store, options.now)
    sys.stdout.write("\n".join([*tell_run(now), *tell_difference(before, now)]) + "\n")
    return 0


def _runs(options: Any) -> int:
    store, _ = _open(options).opened()
    for name in list_runs(store):
        run = read_run(store, name)
        hits = sum(call.is_hit for call in run.calls)
        sys.stdout.write(f"{name}  {hits} hits, {len(run.calls) - hits} misses  {run.command}\n")
    return 0


def _verify(options: Any) -> int:
    with _Bar() as bar:
        found = _open(options).verify(bar.show)
    counts = {**found._asdict()}
    places = counts.pop("places")
    told = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
    sys.stdout.write("\n".join([told, *(f"damaged: {place}" for place in places)]) + "\n")
    return 1 if found.damaged else 0


def _prune(options: Any) -> int:
    if options.max_bytes is None and options.max_items is None and options.ttl is None:
        raise ValueError("say what to keep within: --max-bytes, --max-items or --ttl")
    count = _open(options).prune(options.max_bytes, options.max_items, options.ttl)
    sys.stdout.write(f"{count} entries removed\n")
    return 0


def _merge(options: Any) -> int:
    with _Bar() as bar:
        found = Memory(options.location, verbose=0, key=_key(options)).merge(
            options.other, trust=options.trust, progress=bar.show
        )
    sys.stdout.write(f"{found.copied} copied, {found.present} were here already, {found.refused} refused\n")
    if found.refused and not options.trust:
        sys.stdout.write("refused: damaged, or signed by somebody else; --trust takes the latter as well\n")
    return 0


def _trust(options: Any) -> int:
    sys.stdout.write(f"{_open(options).trust()} entries signed\n")
    return 0


class _Bar:
    """Shows on stderr how far it is."""

    def __init__(self) -> None:
        self._display = find_display(True)
        self._began = time.monotonic()
        self._last: Progress | None = None
        self._shown = self._began

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        if self._last is not None and self._display is not None:
            self._display.close(self._last, failure[0] is None)

    def show(self, done: int, total: int) -> None:
        """So many of so many are done."""
        elapsed = time.monotonic() - self._began
        rate = done / elapsed if elapsed else None
        left = None if not rate else (total - done) / rate
        first, self._last = self._last is None, Progress(done, total, 0, 0, 0, elapsed, rate, left)
        if self._display is not None:
            if first:
                self._display.open(total)
            if time.monotonic() - self._shown >= self._display.often_s:
                self._shown = time.monotonic()
                self._display.show(self._last)
