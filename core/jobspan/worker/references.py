"""What stands in a batch for an object that many tasks share, and what a worker makes of it.

Invariant: a fresh object for each place where it is referred to, over private mappings of its large buffers; only what
was marked by `shared` is one object for all tasks of a worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

from jobspan.persist import mappings, segments
from jobspan.persist.pickling import load_referring
from jobspan.persist.segments import Segment

Key: TypeAlias = tuple[str, int]
"""The run, and the constant's number in it."""


class Reference(NamedTuple):
    """What is sent in place of a constant.

    Attributes
    ----------
    key : (str, int)
        What it is called.
    blob : bytes or None
        Its pickle; None: it is the first of the buffers, or the worker was sent it before.
    segment : Segment or None
        The file with its buffers.
    mode : str or None
        How they are mapped.
    one_for_all : bool
        Whether all tasks of a worker get the same object.
    """

    key: Key
    blob: bytes | None
    segment: Segment | None
    mode: str | None
    one_for_all: bool


_sent: dict[Key, bytes] = {}
_objects: dict[Key, Any] = {}


def learn(sent: Mapping[Key, bytes], outdated: Iterable[Key]) -> None:
    """Keep the pickles that later batches refer to, and let go of what none will refer to any more."""
    for key in outdated:
        _sent.pop(key, None)
        _objects.pop(key, None)
    _sent.update(sent)


def fetch(reference: Reference) -> Any:
    """The object that is meant: a fresh one, or the one that all tasks of this worker share."""
    key, blob, segment, mode, one_for_all = reference
    if one_for_all and key in _objects:
        return _objects[key]
    buffers: list[Any] = []
    if segment is not None:
        buffers = (segments.read if one_for_all else mappings.read)(segment, mode)
    if blob is None:
        blob = _sent[key] if segment is None else buffers.pop(0)
    obj = load_referring(blob, buffers=buffers, fetch=fetch)  # a function may refer to what is shared
    if one_for_all:
        if any(run != key[0] for run, _ in list(_objects)):
            _objects.clear()  # of an earlier run
        return _objects.setdefault(key, obj)
    return obj
