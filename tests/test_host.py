"""What the machine says of itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from jobspan import FallbackWarning, Parallel, delayed, errors, host, settle
from jobspan.worker.context import PLACE, Place


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("200000 100000", [2]), ("150000 100000", [2]), ("10000 100000", [1]), ("max 100000", []), ("", [])],
)
def test_cgroup_v2_limits_are_read(tmp_path: Path, text: str, cpus: list[int]) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert host.cgroup_v2_cpus(str(tmp_path)) == cpus


@pytest.mark.parametrize(("quota", "cpus"), [("400000", [4]), ("-1", [])])
def test_cgroup_v1_limits_are_read(tmp_path: Path, quota: str, cpus: list[int]) -> None:
    (tmp_path / "cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu.cfs_period_us").write_text("100000\n")
    assert host.cgroup_v1_cpus(str(tmp_path)) == cpus


def test_no_cgroups_mean_no_limit(tmp_path: Path) -> None:
    assert host.cgroup_v2_cpus(str(tmp_path)) == []
    assert host.cgroup_v1_cpus(str(tmp_path)) == []


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_affinity_is_honoured() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert host.cpu_count() == 1
    finally:
        os.sched_setaffinity(0, before)


def no(*_: Any) -> bool:
    return False


def yes(*_: Any) -> bool:
    return True


@pytest.mark.parametrize(
    ("facts", "choice"),
    [
        ({"in_pyodide": yes, "has_web_workers": yes}, "web"),
        (
            {"in_pyodide": yes, "has_web_workers": no, "has_processes": no, "has_threads": no, "is_gil_enabled": yes},
            "sequential",
        ),
        ({"in_pyodide": no, "is_gil_enabled": no, "has_threads": yes}, "threads"),
        ({"in_pyodide": no, "is_gil_enabled": yes, "has_processes": yes}, "loky"),
        ({"in_pyodide": no, "is_gil_enabled": yes, "has_processes": no, "has_threads": yes}, "threads"),
    ],
)
def test_auto_chooses_by_what_there_is(monkeypatch: pytest.MonkeyPatch, facts: dict[str, Any], choice: str) -> None:
    for name, answer in facts.items():
        monkeypatch.setattr(host, name, answer)
    assert settle.choose(-1) == choice


def test_auto_is_sequential_for_one_job() -> None:
    assert settle.choose(1) == settle.choose(None) == "sequential"


@pytest.mark.parametrize(("level", "choice"), [(1, "threads"), (2, "sequential")])
def test_auto_inside_tasks_is_threads_once_and_sequential_deeper(
    monkeypatch: pytest.MonkeyPatch, level: int, choice: str
) -> None:
    monkeypatch.setattr(host, "has_threads", yes)
    token = PLACE.set(Place(level, 2))
    try:
        assert settle.choose(2) == choice
    finally:
        PLACE.reset(token)


def test_threads_are_found_by_starting_one(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert host.has_threads.__wrapped__() is False


@pytest.mark.parametrize(
    ("name", "lacking", "substitute"),
    [("threading", "has_threads", "sequential"), ("loky", "has_processes", "threads")],
)
def test_what_the_interpreter_lacks_is_replaced_and_said_once(
    monkeypatch: pytest.MonkeyPatch, name: str, lacking: str, substitute: str
) -> None:
    if not host.has_threads():
        pytest.skip("no threads here to choose instead")
    monkeypatch.setattr(host, lacking, no)
    monkeypatch.setattr(errors, "_said", {})
    with pytest.warns(FallbackWarning, match=f"backend='{name}' runs as backend='{substitute}'") as caught:
        results = [Parallel(n_jobs=2, backend=name)([delayed(abs)(-1)]) for _ in range(2)]
    assert results == [[1], [1]]
    assert len(caught) == 1
    assert caught[0].filename == __file__
