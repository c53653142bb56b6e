"""Why a call hits or misses: which earlier call is closest, and what is different.

Invariant: looks, and changes nothing; what it says of earlier calls is what their entries say, signed as they are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from jobspan.memory.calls import Call
from jobspan.memory.entry import Entry
from jobspan.memory.index import Index, find_closest, find_key, find_newest, make_tags
from jobspan.memory.limits import list_entries
from jobspan.memory.near import find_near, tags_of
from jobspan.memory.sketches import compare_with, make_sketches
from jobspan.memory.sources import count_changes, read_version, tell_changes, version_of
from jobspan.memory.telling import kind_of, tell

if TYPE_CHECKING:
    from jobspan.memory.served import Served

_CHANGED_IN_PLACE = (
    "something that the function captures, or a global that it uses, was changed in place since the first call of this "
    "session, which does not count: results are found, and kept, as of what it was. Bound anew, it counts."
)
_LOOKED_AT = 64  # entries are read to find the one that is closest
_LISTED = 64  # where the store keeps no index


class Explanation(NamedTuple):
    """Why a call hits or misses.

    Attributes
    ----------
    function : str
        The function's name.
    is_hit : bool
        Whether the result is in the cache, and valid.
    call : str
        The call, in short.
    reasons : tuple of str
        Why: a line each, those with a difference of source code indented.
    closest : dict or None
        Of the closest earlier call: its ``"key"``, ``"age"`` in seconds, ``"duration"``, ``"same_code"``, and the names
        of the arguments that are ``"equal"`` and ``"different"``.
    notes : tuple of str
        What else is to be known of the function's identity.
    """

    function: str
    is_hit: bool
    call: str
    reasons: tuple[str, ...]
    closest: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{'hit' if self.is_hit else 'miss'}: {self.call}"]
        lines += [f"  {reason}" for reason in self.reasons]
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)

    def __bool__(self) -> bool:
        return self.is_hit

    def _repr_html_(self) -> str:
        """For notebooks."""
        from html import escape

        colour = "#2a7" if self.is_hit else "#c62"
        head = f'<b style="color:{colour}">{"hit" if self.is_hit else "miss"}</b> <code>{escape(self.call)}</code>'
        body = "\n".join(escape(reason) for reason in self.reasons)
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        return f"<div>{head}<pre>{body}</pre>{f'<ul>{notes}</ul>' if notes else ''}</div>"


class _Candidate(NamedTuple):
    key: str
    entry: Entry
    facts: dict[str, Any]
    equal: tuple[str, ...]
    different: tuple[str, ...]
    same_code: bool
    code_changes: int
    nearness: int  # how many of the arguments that differ are near


def explain_call(served: Served, call: Call) -> Explanation:
    """Why this call hits, or misses."""
    names = served.names
    shown = f"{served.func_id}({', '.join(f'{n}={tell(v)}' for n, v in zip(names, call.values, strict=True))})"
    identity = served.identity
    notes = identity.notes
    if served.calls.code.has_changed_in_place():
        notes = (*notes, _CHANGED_IN_PLACE)
    entry = served.shelf.peek(call.key)
    if entry is not None:
        why_not = served.why_invalid(entry)
        reasons = [_tell_age(entry), *filter(None, [why_not]), *_tell_packages(served)]
        return Explanation(served.func_id, why_not is None, shown, tuple(reasons), None, notes)
    data = Index(served.shelf.store, served.shelf.folder).read()
    reasons = []
    if (gone := find_key(data, call.key)) is not None:
        reasons.append(
            f"this very call was computed {_ago(gone.written)}, and its result has been removed since: evicted, "
            f"cleared, or set aside because it was damaged"
        )
    best = _find_best(served, call, data)
    if best is None:
        if not reasons:
            reasons.append("no call of this function is in the cache")
        return Explanation(served.func_id, False, shown, tuple(reasons), None, notes)
    reasons += _tell_candidate(served, call, best)
    closest = {
        "key": best.key,
        "age": time.time() - best.entry.written,
        "duration": best.entry.duration,
        "same_code": best.same_code,
        "equal": list(best.equal),
        "different": list(best.different),
    }
    return Explanation(served.func_id, False, shown, tuple(reasons), closest, notes)


def _find_best(served: Served, call: Call, data: bytes) -> _Candidate | None:
    """The earlier call that has most in common with this one."""
    code = served.code_digest
    shelf = served.shelf
    near = find_near(shelf.store, shelf.folder, tags_of(zip(served.names, make_sketches(call.values), strict=True)))[
        :_LOOKED_AT
    ]
    sources: list[Iterable[str]] = [
        near,
        (record.key for record in islice(find_closest(data, make_tags(code, call.digests())), _LOOKED_AT)),
        (record.key for record in islice(find_newest(data), _LOOKED_AT)),
    ]
    if not data:
        entries = sorted(list_entries(shelf.store, shelf.folder), key=lambda kept: kept.written, reverse=True)
        sources.append(kept.key for kept in entries[:_LISTED])
    now = version_of(served.identity)

    @cache
    def count(code: str) -> int:
        before = read_version(shelf.store, shelf.folder, code)
        return len(now.parts) + 1 if before is None else count_changes(before, now)

    best: _Candidate | None = None
    seen = set()
    for source in sources:
        for key in source:
            if key in seen:
                continue
            seen.add(key)
            found = _compare(served, call, key, count, is_near=key in near)
            if found is not None and (best is None or _rank(found) > _rank(best)):
                best = found
        if best is not None and len(best.different) + (not best.same_code) <= 1:
            break  # nothing can be closer
    return best


def _rank(candidate: _Candidate) -> tuple[int, int, bool, int, float]:
    _, entry, _, equal, _, same_code, code_changes, nearness = candidate
    return len(equal), nearness, same_code, -code_changes, entry.written


def _compare(
    served: Served, call: Call, key: str, count_changes: Callable[[str], int], *, is_near: bool
) -> _Candidate | None:
    entry = served.shelf.peek(key)
    if entry is None:
        return None
    facts = entry.read_facts()
    before = {name: digest for name, digest, *_ in facts["arguments"]}
    equal: list[str] = []
    different: list[str] = []
    for name, digest in zip(served.names, call.digests(), strict=True):
        (equal if before.get(name) == digest.hex() else different).append(name)
    different += [name for name in before if name not in served.names]
    same_code = facts["code"] == served.code_digest.hex()
    changes = 0 if same_code else count_changes(facts["code"])
    return _Candidate(key, entry, facts, tuple(equal), tuple(different), same_code, changes, int(is_near))


def _tell_candidate(served: Served, call: Call, best: _Candidate) -> Iterator[str]:
    count = len(best.equal) + len(best.different)
    code = "same code" if best.same_code else "other code"
    yield (
        f"closest earlier call: {_ago(best.entry.written)}, {code}, {len(best.equal)} of {count} "
        f"argument{'' if count == 1 else 's'} equal; it took {best.entry.duration:.3g} s"
    )
    if not best.same_code:
        before = read_version(served.shelf.store, served.shelf.folder, best.facts["code"])
        if before is None:
            yield "  its code is not known any more"
        else:
            changes = list(tell_changes(before, version_of(served.identity)))
            yield from (
                f"  {change}" for change in changes or ["what was said with depends=, version= or ignore= differs"]
            )
    earlier = {name: rest for name, *rest in best.facts["arguments"]}
    values = dict(zip(served.names, call.values, strict=True))
    for name in best.different:
        yield from _tell_argument(name, earlier.get(name), values, best)


def _tell_argument(name: str, earlier: list[Any] | None, values: dict[str, Any], best: _Candidate) -> Iterator[str]:
    if earlier is None or name not in values:
        yield f"  the parameter {name} {'is new' if earlier is None else 'is gone'}"
        return
    _, old_kind, old_text, *place = earlier
    value = values[name]
    kind, text = kind_of(value), tell(value)
    if kind != old_kind:
        yield f"  {name} differs in type: {old_kind} {old_text} -> {kind} {text}"
        return
    difference = compare_with(best.entry, place, value)
    if difference is None:
        same = text == old_text
        yield (
            f"  {name} differs: {kind} {text}, which looks the same"
            if same
            else f"  {name} differs: {old_text} -> {text}"
        )
        return
    first, *rest = difference
    yield f"  {name} differs ({kind}): {first}"
    yield from (f"    {line}" for line in rest)


def _tell_packages(served: Served) -> Iterator[str]:
    """Which packages have another version than when the first result of this code was kept."""
    before = read_version(served.shelf.store, served.shelf.folder, served.code_digest.hex())
    if before is not None:
        yield from tell_changes(before, version_of(served.identity))


def _tell_age(entry: Entry) -> str:
    return f"computed {_ago(entry.written)}, in {entry.duration:.3g} s"


def _ago(at: float) -> str:
    seconds = max(0.0, time.time() - at)
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}s ago"
    return f"{seconds:.0f} s ago"
