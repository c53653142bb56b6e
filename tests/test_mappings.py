"""Mapped files that are handed out again: only to one user at a time, and only as the file is."""

from __future__ import annotations

import gc
import mmap
import time
from collections.abc import Iterator
from typing import Any

import pytest

from jobspan.persist import mappings, segments
from jobspan.persist.segments import Segment

PATIENCE_S = 10.0

pytestmark = pytest.mark.skipif(
    not mappings._can_tell(), reason="this system does not tell which pages a process wrote to"
)


@pytest.fixture
def segment() -> Iterator[Segment]:
    written = segments.write([b"first", bytes(100 * mmap.PAGESIZE), b"last"])
    yield written
    segments.remove(written)


def known() -> list[Any]:
    return [each for several in mappings._mappings.values() for each in several]


def wait_until_nothing_is_known() -> None:
    deadline = time.monotonic() + PATIENCE_S
    while known():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def few_waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    yield
    gc.collect()
    monkeypatch.setattr(mappings, "LINGER_S", 0.01)
    wait_until_nothing_is_known()


def test_what_was_only_read_is_handed_out_again(segment: Segment) -> None:
    for _ in range(3):
        first, middle, last = mappings.read(segment, "c")
        assert (bytes(first), bytes(last)) == (b"first", b"last")
        assert not any(middle)
        del first, middle, last
    assert len(known()) == 1


def test_two_users_have_two_mappings(segment: Segment) -> None:
    one, *_ = mappings.read(segment, "c")
    other, *_ = mappings.read(segment, "c")
    one[0] = 0
    assert (bytes(one), bytes(other)) == (b"\0irst", b"first")


@pytest.mark.parametrize("page", [0, 57, 99])
def test_what_was_written_to_is_not_handed_out_again(segment: Segment, page: int) -> None:
    _, middle, _ = mappings.read(segment, "c")
    middle[page * mmap.PAGESIZE] = 1
    del middle
    for _ in range(2):
        _, middle, _ = mappings.read(segment, "c")
        assert not any(middle)
        del middle
    assert not known()


def test_a_view_of_a_view_is_a_user_too(segment: Segment) -> None:
    array = memoryview(mappings.read(segment, "c")[1]).cast("d")[7:9]
    _, middle, _ = mappings.read(segment, "c")
    middle[0:24] = b"\1" * 24
    assert list(array) == [0.0, 0.0]
    assert len(known()) == 2


def test_what_nobody_wants_is_let_go(segment: Segment, monkeypatch: pytest.MonkeyPatch) -> None:
    held = mappings.read(segment, "r")
    mappings.read(segment, "c")
    assert len(known()) == 2
    monkeypatch.setattr(mappings, "LINGER_S", 0.01)
    deadline = time.monotonic() + PATIENCE_S
    while len(known()) > 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert bytes(held[0]) == b"first"
    del held
    wait_until_nothing_is_known()


def test_where_the_system_does_not_tell_each_mapping_is_new(segment: Segment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mappings, "_can_tell", lambda: False)
    assert bytes(mappings.read(segment, "c")[0]) == b"first"
    assert not known()


def test_an_untold_page_counts_as_written_to(segment: Segment, monkeypatch: pytest.MonkeyPatch) -> None:
    mappings.read(segment, "c")
    monkeypatch.setattr("os.pread", lambda *_: b"")
    mappings.read(segment, "c")
    assert segment.path in mappings._written


def test_a_file_that_has_gone_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="has gone"):
        mappings.read(Segment("/nowhere/at/all", ((0, 1),)), "c")
