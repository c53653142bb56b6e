"""`Logger` and `PrintTime`."""

from __future__ import annotations

import logging
import re
import time
from pathlib import Path

import pytest

from jobspan import FallbackWarning, errors
from jobspan.logger import Logger, PrintTime


class Solver(Logger):
    def __repr__(self) -> str:
        return "Solver"


@pytest.mark.parametrize(("level", "number"), [("warn", 30), ("info", 20), ("debug", 10)])
def test_messages_name_the_object_and_go_to_joblibs_logger(
    level: str, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "joblib")
    getattr(Solver(), level)("100% done")
    assert caplog.record_tuples == [("joblib", number, "[Solver]: 100% done")]


def test_another_logger_may_be_named(caplog: pytest.LogCaptureFixture) -> None:
    Solver(name="solvers").warn("slow")
    assert caplog.record_tuples == [("solvers", logging.WARNING, "[Solver]: slow")]


def test_objects_are_shown_to_a_depth() -> None:
    nested = [1, [2, [3, [4]]]]
    assert Solver().format(nested) == "[1, [2, [3, [...]]]]"
    assert Solver(depth=1).format(nested) == "[1, [...]]"
    assert Solver().format({"a" * 50: 1, "b" * 50: 2}, indent=2).startswith("{ '")


def test_arrays_are_shown_in_short() -> None:
    numpy = pytest.importorskip("numpy")
    before = numpy.get_printoptions()
    assert Solver().format(numpy.arange(1000) / 3).startswith("array([  0., ..., 333.]")
    assert numpy.get_printoptions() == before


def test_times_are_printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    timed = PrintTime()
    clock[0] += 90
    timed("loaded")
    clock[0] += 1.5
    timed()
    timed("all", total=True)
    assert capsys.readouterr().err == "loaded: 90.0s, 1.5min\n: 1.5s, 0.0min\nall: 91.50s, 1.5 min\n"


def test_a_log_file_gets_the_times_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "logs" / "run.log"
    timed = PrintTime(logfile=str(path))
    timed("done")
    text = path.read_text()
    assert re.fullmatch(r"\nLogging joblib python script\n\n---.*---\ndone: 0\.\ds, 0\.0min\n", text)
    assert capsys.readouterr().err == text.splitlines()[-1] + "\n"


def test_earlier_logs_are_kept(tmp_path: Path) -> None:
    for number in range(12):
        PrintTime(logdir=tmp_path)(f"run {number}")
    runs = {path.name: re.findall(r"run \d+", path.read_text()) for path in tmp_path.iterdir()}
    assert runs == {"joblib.log": ["run 11"], **{f"joblib.log.{n}": [f"run {11 - n}"] for n in range(1, 10)}}


def test_a_log_file_may_be_named_without_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    PrintTime(logfile="run.log")("done")
    assert "done: " in (tmp_path / "run.log").read_text()


def test_a_log_file_that_cannot_be_written_is_told_and_times_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errors, "_said", {})
    (tmp_path / "file").write_text("")
    with pytest.warns(FallbackWarning, match=r"run\.log cannot be written"):
        timed = PrintTime(logfile=tmp_path / "file" / "run.log")
    timed("done")
    assert capsys.readouterr().err.startswith("done: ")


def test_two_places_to_log_to_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="say twice where to log"):
        PrintTime(logfile="run.log", logdir=tmp_path)


def test_both_do_as_joblib_does(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    joblib_logger = pytest.importorskip("joblib.logger")
    lines = []
    for kind in (PrintTime, joblib_logger.PrintTime):
        kind()("x")
        kind()("x", total=True)
        lines.append(re.sub(r"\d", "0", capsys.readouterr().err))
    assert lines[0] == lines[1]

    class Theirs(joblib_logger.Logger):  # type: ignore[misc, name-defined]
        __repr__ = Solver.__repr__

    nested = {"b": [1, [2, [3, [4]]]], "a": (1.5, "x" * 90)}
    for depth in (1, 3):
        assert Solver(depth=depth).format(nested) == Theirs(depth=depth).format(nested)
    Solver().warn("slow")
    Theirs().warn("slow")
    assert caplog.record_tuples[0] == caplog.record_tuples[1]
