"""Mapped files that tasks have only read are handed out again: mapping anew costs a page fault for every 64 kB read.

Whether a task wrote into its private pages the system tells (Linux's ``/proc/self/pagemap``); where it does not, every
mapping is new.

Invariant: a mapping has one user at a time, who finds it as the file is; one that was written to, or that nobody wanted
for a while, is let go.
"""

from __future__ import annotations

import mmap
import os
import sys
import threading
import time
from functools import cache
from typing import Any

from jobspan.persist import segments
from jobspan.persist.segments import Segment

LINGER_S = 1.0
"""So long a mapping stays that nobody uses: the next batch, or the next call, may want it."""

_PAGEMAP = "/proc/self/pagemap"
_ENTRY = 8  # bytes for each page
_CHUNK_PAGES = 1 << 16
_PRESENT, _SWAPPED, _OF_FILE = 0x80, 0x40, 0x20  # in the highest byte of an entry
_HIGHEST = slice(_ENTRY - 1 if sys.byteorder == "little" else 0, None, _ENTRY)
_CLEAN = bytes(byte for byte in range(256) if not byte & _SWAPPED and (not byte & _PRESENT or byte & _OF_FILE))


class _Mapping:
    """A mapped file, and when it was last handed out."""

    def __init__(self, whole: mmap.mmap) -> None:
        self.whole = whole
        self.handed_out = time.monotonic()

    def count(self) -> int:
        """References to it: each view, and each array over one, is one more."""
        return sys.getrefcount(self.whole)

    def is_free(self) -> bool:
        """Whether nobody has a view of it."""
        return self.count() == _count_alone()

    def view(self) -> memoryview:
        """Hand it out."""
        self.handed_out = time.monotonic()
        return memoryview(self.whole)


_mappings: dict[tuple[str, str], list[_Mapping]] = {}
_written: set[str] = set()
"""Files into whose mappings tasks write: keeping those would only keep what was written."""
_changing = threading.Lock()
_watched = False


def read(segment: Segment, mode: str | None) -> list[Any]:
    """The buffers, as `segments.read` returns them, over a mapping that nobody else uses."""
    if mode not in ("c", "r") or not _can_tell():
        return segments.read(segment, mode)
    with _changing:
        known = _mappings.get((segment.path, mode), [])
        for mapping in [each for each in known if each.is_free()]:
            if mode == "r" or _is_clean(mapping.whole):
                return segments.views(mapping.view(), segment)
            known.remove(mapping)
            _written.add(segment.path)
    whole = None if segment.path in _written else segments.map_file(segment, mode)
    if whole is None:
        return segments.read(segment, mode)
    mapping = _Mapping(whole)
    with _changing:
        _mappings.setdefault((segment.path, mode), []).append(mapping)
        views = segments.views(mapping.view(), segment)
        _watch()
    return views


def _watch() -> None:
    """See to it that somebody lets go of what nobody wants."""
    global _watched  # noqa: PLW0603  one per process, as the mappings are
    if not _watched:
        threading.Thread(target=_let_go_unused, name="jobspan-mappings", daemon=True).start()
        _watched = True


def _let_go_unused() -> None:
    global _watched  # noqa: PLW0603  see above
    while True:
        time.sleep(LINGER_S)
        with _changing:
            unused = time.monotonic() - LINGER_S
            for key, known in list(_mappings.items()):
                known[:] = [each for each in known if not each.is_free() or each.handed_out > unused]
                if not known:
                    del _mappings[key]
            if not _mappings:
                _written.clear()
                _watched = False
                return


@cache
def _count_alone() -> int:
    return _Mapping(mmap.mmap(-1, mmap.PAGESIZE)).count()


@cache
def _can_tell() -> bool:
    """Whether this system tells of pages that were written to; some have the file and do not fill it."""
    probe = mmap.mmap(-1, mmap.PAGESIZE, access=mmap.ACCESS_COPY)
    probe[0] = 1
    return hasattr(sys, "getrefcount") and os.path.exists(_PAGEMAP) and not _is_clean(probe)


def _is_clean(whole: mmap.mmap) -> bool:
    """Whether nobody wrote into its private pages."""
    import ctypes

    start = ctypes.addressof(ctypes.c_char.from_buffer(whole)) // mmap.PAGESIZE
    pages = -(-len(whole) // mmap.PAGESIZE)
    with open(_PAGEMAP, "rb", buffering=0) as pagemap:  # 10 µs for each MB
        for first in range(0, pages, _CHUNK_PAGES):
            count = min(_CHUNK_PAGES, pages - first)
            entries = os.pread(pagemap.fileno(), count * _ENTRY, (start + first) * _ENTRY)
            if len(entries) < count * _ENTRY or entries[_HIGHEST].translate(None, _CLEAN):
                return False
    return True


def _forget_mappings() -> None:
    global _changing, _watched
    _changing, _watched = threading.Lock(), False
    _mappings.clear()
    _written.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_mappings)
