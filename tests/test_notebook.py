"""What notebooks ask for: a bar in HTML, tracebacks with the lines of cells, and files without locks."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from defining import define
from jobspan import Memory, Parallel, TaskError, delayed
from jobspan.web import stopping


class Stream(io.StringIO):
    """As the stream of a notebook's kernel."""


Stream.__module__ = "ipykernel.iostream"


class Shown:
    """As what IPython's `display` returns: an output that can be changed."""

    def __init__(self, data: dict[str, str]) -> None:
        self.states = [data]

    def update(self, data: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.states.append(data)


@pytest.fixture
def outputs(monkeypatch: pytest.MonkeyPatch) -> list[Shown]:
    """The outputs of a cell that runs in a notebook, as they come."""
    shown: list[Shown] = []

    def display(data: dict[str, str], *, raw: bool, display_id: bool) -> Shown:
        assert raw
        assert display_id
        shown.append(Shown(data))
        return shown[-1]

    ipython, displays = ModuleType("IPython"), ModuleType("IPython.display")
    ipython.get_ipython = object
    displays.display = display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", displays)
    return shown


def test_a_notebook_shows_a_bar_that_changes_in_its_place(
    outputs: list[Shown], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Stream()
    monkeypatch.setattr(sys, "stderr", stream)
    Parallel(progress=True)([delayed(time.sleep)(0.06)] * 8)
    (bar,) = outputs  # and no button, as nothing could be stopped by one
    assert len(bar.states) >= 3
    assert 'max="8" value="8"' in bar.states[-1]["text/html"]
    assert "100%  8/8" in bar.states[-1]["text/html"]
    assert bar.states[-1]["text/plain"].startswith("100% |")
    assert stream.getvalue() == ""


def test_a_bar_without_a_total_does_not_say_how_full_it_is(
    outputs: list[Shown], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", Stream())
    Parallel(progress=True)(delayed(time.sleep)(0.06) for _ in range(40))
    first, last = outputs[0].states[0]["text/html"], outputs[0].states[-1]["text/html"]
    assert "value=" not in first
    assert 'max="40" value="40"' in last


def test_a_failure_leaves_the_bar_where_it_was(outputs: list[Shown], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Stream())
    with pytest.raises(ZeroDivisionError):
        Parallel(progress=True)([*[delayed(abs)(-1)] * 3, delayed(divmod)(1, 0), *[delayed(abs)(-1)] * 4])
    assert "4/8" in outputs[0].states[-1]["text/html"]


CELL = """
    def fail(x):
        return 1 / x  # a line of the cell
"""


def test_a_traceback_from_a_worker_has_the_lines_of_cells(backend: Any) -> None:
    fail = define(CELL, file="<ipython-input-5-52f8e8a79b85>").fail
    (result,) = Parallel(2, backend, errors="return")([delayed(fail)(0)])
    assert isinstance(result, TaskError)
    assert (
        'File "<ipython-input-5-52f8e8a79b85>", line 3, in fail\n    return 1 / x  # a line of the cell'
        in result.traceback
    )


def test_stop_ends_what_has_entered_until_it_leaves() -> None:
    stopped: list[int] = []
    stopping.enter("run", lambda: stopped.append(1))
    assert (stopping.stop(), stopped) == (1, [1])
    stopping.leave("run")
    assert (stopping.stop(), stopped) == (0, [1])


@pytest.fixture
def _no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """JupyterLite puts an empty module in the place of `fcntl`."""
    monkeypatch.setitem(sys.modules, "fcntl", ModuleType("fcntl"))


@pytest.mark.usefixtures("_no_locks")
def test_a_checkpoint_needs_no_locks(tmp_path: Path) -> None:
    path = tmp_path / "run.ckpt"
    for _ in range(2):
        assert Parallel(checkpoint=path)(delayed(abs)(-i) for i in range(5)) == list(range(5))


@pytest.mark.usefixtures("_no_locks")
def test_a_cache_needs_no_locks(tmp_path: Path) -> None:
    memory = Memory(tmp_path, verbose=0)
    cached = memory.cache(abs)
    assert cached(-3) == 3
    memory.reduce_size(items_limit=0)
    assert not cached.check_call_in_cache(-3)
