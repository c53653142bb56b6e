"""Files in memory between processes."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from jobspan import host
from jobspan.persist import segments

pytestmark = pytest.mark.skipif(not host.has_processes(), reason="there are no processes here that could share files")


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "_homes", {})
    monkeypatch.setattr(segments, "_chosen", {})


@pytest.mark.parametrize("mode", ["c", "r", None])
def test_what_was_written_is_read(tmp_path: Any, mode: str | None) -> None:
    parts = [os.urandom(size) for size in (1, 100, 0, 70_000)]
    segment = segments.write(parts, str(tmp_path))
    assert [bytes(view) for view in segments.read(segment, mode)] == parts
    assert all(offset % 64 == 0 for offset, _ in segment.spans)
    segments.remove(segment)
    with pytest.raises(FileNotFoundError, match="has gone"):
        segments.read(segment, mode)


def test_private_mappings_do_not_change_the_file(tmp_path: Any) -> None:
    segment = segments.write([b"before"], str(tmp_path))
    (view,) = segments.read(segment, "c")
    view[:] = b"behind"
    assert bytes(segments.read(segment, "r")[0]) == b"before"


def test_shared_mappings_do(tmp_path: Any) -> None:
    segment = segments.write([b"before"], str(tmp_path))
    (view,) = segments.read(segment, "r+")
    view[:] = b"behind"
    assert bytes(segments.read(segment, None)[0]) == b"behind"


def test_folders_of_dead_processes_are_swept_and_those_of_living_ones_are_not(tmp_path: Any) -> None:
    code = (
        "import sys, os, time; from jobspan.persist import segments\n"
        "print(segments.write([b'x'], sys.argv[1]).path, flush=True)\n"
        "sys.stdin.read()"
    )
    living, dead = (
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    )
    try:
        paths = [process.stdout.readline().strip() for process in (living, dead)]  # type: ignore[union-attr]
        dead.kill()
        dead.wait()
        for path in paths:
            os.utime(os.path.dirname(path), (1, 1))
        segments.sweep(str(tmp_path))
        assert [os.path.exists(path) for path in paths] == [True, False]
    finally:
        for process in (living, dead):
            process.communicate()
    assert os.listdir(tmp_path) == []  # the living one has left in order


def test_where_there_is_no_room_the_next_place_is_taken(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    full, free = tmp_path / "full", tmp_path / "free"
    full.mkdir()
    free.mkdir()
    monkeypatch.setattr(segments, "_places", lambda _: [str(full), str(free)])
    monkeypatch.setattr(segments, "has_room", lambda folder, _: "full" not in folder)
    assert str(free) in segments.write([b"x"]).path


def test_no_room_at_all_is_an_error_that_says_what_to_do(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "has_room", lambda _folder, _nbytes: False)
    with pytest.raises(segments.NoRoomError, match=r"max_nbytes=None") as caught:
        segments.write([b"x"], str(tmp_path))
    assert caught.value.filename == str(tmp_path)


def test_room_is_what_the_file_system_says(tmp_path: Any) -> None:
    assert segments.has_room(str(tmp_path), 1) is True
    assert segments.has_room(str(tmp_path), 1 << 60) is False


def test_places_are_tried_in_the_order_that_the_user_and_the_environment_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOBSPAN_TEMP_FOLDER", raising=False)
    monkeypatch.setenv("JOBLIB_TEMP_FOLDER", "/joblibs")
    assert segments._places(None) == ["/joblibs"]
    monkeypatch.setenv("JOBSPAN_TEMP_FOLDER", "/ours")
    assert segments._places(None) == ["/ours"]
    assert segments._places("/mine") == ["/mine"]


def test_a_forked_child_leaves_its_parents_files_alone(tmp_path: Any) -> None:
    code = (
        "import sys, os; from jobspan.persist import segments\n"
        "segment = segments.write([b'x'], sys.argv[1])\n"
        "if os.fork() == 0: sys.exit()\n"
        "os.wait(); print(os.path.exists(segment.path))"
    )
    if not hasattr(os, "fork"):
        pytest.skip("there is no fork here")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
    assert os.listdir(tmp_path) == []
