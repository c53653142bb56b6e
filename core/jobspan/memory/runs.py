"""What calls a run made, written down so that a later run can be compared with it: ``JOBSPAN_DEBUG=1``.

Invariant: without that variable nothing is written down, and nothing here is called.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from jobspan.errors import say_once
from jobspan.memory.store import Store

if TYPE_CHECKING:
    from jobspan.memory.calls import Call
    from jobspan.memory.served import Served

_FOLDER = "runs"
_SHOWN = 10


class RunCall(NamedTuple):
    """A call of a run.

    Attributes
    ----------
    function : str
        Which served.
    key : str
        Of the entry.
    is_hit : bool
        Whether the result was there.
    code : str
        The digest of the function's code.
    arguments : tuple of (str, str)
        The name and the digest of each argument.
    shown : str
        The call, in short.
    why : str
        The explanation, if it was a miss.
    """

    function: str
    key: str
    is_hit: bool
    code: str
    arguments: tuple[tuple[str, str], ...]
    shown: str
    why: str


class Run(NamedTuple):
    """What was written down of a run: its name, when it began, what it was, and its calls."""

    name: str
    began: float
    command: str
    calls: list[RunCall]


class Recorder:
    """Writes down the calls of this process, and at its end says what is different from the run before.

    Parameters
    ----------
    store : Store
        Where.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.name = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{os.urandom(2).hex()}"
        self._has_begun = False

    def note(self, served: Served, call: Call, *, hit: bool) -> None:
        """Write down a call; a miss with its explanation, so before it is computed."""
        from jobspan.memory.explain import explain_call

        explanation = explain_call(served, call)
        arguments = [(name, digest.hex()) for name, digest in zip(served.names, call.digests(), strict=True)]
        why = "" if hit else str(explanation)
        self._write([served.func_id, call.key, hit, served.code_digest.hex(), arguments, explanation.call, why])

    def _write(self, record: list[Any]) -> None:
        if not self._has_begun:
            self._has_begun = True
            self._append({"began": time.time(), "command": " ".join(sys.argv)})
            atexit.register(self._end)
        self._append(record)

    def _append(self, record: Any) -> None:
        try:
            self._store.append(f"{_FOLDER}/{self.name}", json.dumps(record).encode() + b"\n")
        except OSError as error:
            say_once(f"JOBSPAN_DEBUG: not all calls of this run are written down in {self._store.location}: {error}")

    def _end(self) -> None:
        names = list_runs(self._store)
        if self.name not in names:  # nothing could be written down, which was said
            return
        before = [name for name in names if name < self.name]
        now = read_run(self._store, self.name)
        previous = read_run(self._store, before[-1]) if before else None
        sys.stderr.write(
            "\n".join(["jobspan cache, JOBSPAN_DEBUG:", *tell_run(now), *tell_difference(previous, now)]) + "\n"
        )


def recorder_for(store: Store) -> Recorder:
    """The one for this process and store."""
    recorder = _recorders.get(store.location)
    if recorder is None:
        recorder = _recorders[store.location] = Recorder(store)
    return recorder


_recorders: dict[str, Recorder] = {}


def list_runs(store: Store) -> list[str]:
    """The names of the runs that were written down, the oldest first."""
    return sorted(item.name.partition("/")[2] for item in store.list(_FOLDER))


def read_run(store: Store, name: str) -> Run:
    """What was written down of a run; nothing, if there is no such run.

    Raises
    ------
    KeyError
        If there is no such run.
    """
    data = store.read(f"{_FOLDER}/{name}")
    if data is None:
        raise KeyError(f"there is no run {name!r}; there are {', '.join(list_runs(store)) or 'none'}")
    head: dict[str, Any] = {}
    calls = []
    for line in data.decode(errors="replace").splitlines():
        try:
            record = json.loads(line)
        except ValueError:  # a torn line
            continue
        if isinstance(record, dict):
            head = record
        else:
            function, key, is_hit, code, arguments, shown, why = record
            calls.append(RunCall(function, key, is_hit, code, tuple(map(tuple, arguments)), shown, why))
    return Run(name, float(head.get("began", 0.0)), str(head.get("command", "")), calls)


def tell_run(run: Run) -> Iterator[str]:
    """How it went: hits and misses of each function, and why calls missed."""
    hits = Counter(call.function for call in run.calls if call.is_hit)
    misses = Counter(call.function for call in run.calls if not call.is_hit)
    yield f"run {run.name}: {run.command}"
    for function in sorted({*hits, *misses}):
        yield f"  {function}: {hits[function]} hits, {misses[function]} misses"


def tell_misses(run: Run) -> Iterator[str]:
    """Why calls of a run missed."""
    for call in run.calls:
        if not call.is_hit:
            yield call.why


def tell_difference(before: Run | None, now: Run) -> Iterator[str]:
    """Which calls missed now that hit before, or could have, and why."""
    if before is None:
        yield "no earlier run to compare with"
        return
    yield f"compared with run {before.name}:"
    lines = list(_differences(before.calls, now.calls))
    yield from lines[:_SHOWN] if lines else ["  no call missed that was made before"]
    if len(lines) > _SHOWN:
        yield f"  ... and {len(lines) - _SHOWN} more"
    if lines:
        yield "  in full: jobspan cache why FOLDER"


def _differences(before: Sequence[RunCall], now: Sequence[RunCall]) -> Iterator[str]:
    keys = {call.key for call in before}
    by_arguments = {(call.function, call.arguments): call for call in before}
    by_place: dict[str, list[RunCall]] = {}
    for call in before:
        by_place.setdefault(call.function, []).append(call)
    counts: Counter[str] = Counter()
    for call in now:
        place = counts[call.function]
        counts[call.function] += 1
        if call.is_hit:
            continue
        same = by_arguments.get((call.function, call.arguments))
        if call.key in keys:
            yield f"  {call.shown}: was computed then, and its result has been removed since"
        elif same is not None and same.code != call.code:
            yield f"  {call.shown}: the same arguments, other code: {_first_reason(call)}"
        elif place < len(by_place.get(call.function, ())):
            old = by_place[call.function][place]
            changed = [
                name
                for (name, digest), (_, other) in zip(call.arguments, old.arguments, strict=False)
                if digest != other
            ]
            what = ", ".join(changed) or "its parameters"
            yield f"  {call.shown}: call {place + 1} of this function then was {old.shown}; different: {what}"
        else:
            yield f"  {call.shown}: was not made then"


def _first_reason(call: RunCall) -> str:
    lines = [line.strip() for line in call.why.splitlines()]
    return next((line for line in lines if line.endswith("has changed") or "is new" in line), "see `jobspan cache why`")
