"""`Memory` with the rest: runs with checkpoints, loops, the page about it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from jobspan import Memory, Parallel, delayed, host

ROOT = Path(__file__).parents[1]


class Calls(list[Any]):
    """A record of calls. It is no plain list, which would count as a global of the functions that write to it."""


calls = Calls()


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    calls.clear()
    return Memory(tmp_path, verbose=0)


def work(x: int) -> int:
    calls.append(x)
    return x * x


def test_a_run_keeps_its_results_in_a_memory(memory: Memory) -> None:
    for count in (5, 8):
        results = Parallel(n_jobs=1, checkpoint=memory)(delayed(work)(x) for x in range(count))
        assert results == [x * x for x in range(count)]
    assert calls == list(range(8))
    memory.clear(warn=False)
    Parallel(n_jobs=1, checkpoint=memory)(delayed(work)(x) for x in range(2))
    assert len(calls) == 10


def test_a_memory_without_a_folder_is_no_checkpoint() -> None:
    with pytest.raises(ValueError, match="give Memory a folder of this machine"):
        Parallel(checkpoint=Memory(None))
    with pytest.raises(ValueError, match="give Memory a folder of this machine"):
        Memory(None).checkpoint("fit")


def test_a_loop_saves_its_state_in_a_memory(memory: Memory) -> None:
    def fit(fail_at: int) -> list[int]:
        steps = memory.checkpoint("fit", of="the same")
        done = []
        for step, state in steps.range(4, total=0):
            if step == fail_at:
                raise OSError("a kill, say")
            state.total += step
            done.append(step)
        return [*done, steps.state.total]

    with pytest.raises(OSError, match="a kill"):
        fit(2)
    memory.clear(warn=False)  # which is about results of functions
    assert fit(-1) == [2, 3, 6]


@pytest.mark.skipif(host.in_pyodide(), reason="the repository's documents are not there")
def test_the_examples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    import linecache

    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "memory.md").read_text(encoding="utf-8"), re.DOTALL)
    variables: dict[str, Any] = {"__name__": "__main__"}
    for number, source in enumerate(blocks):
        file = f"<docs/memory.md {number}>"
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        exec(compile(source, file, "exec"), variables)
    printed = capsys.readouterr().out
    assert "same code, 2 of 3 arguments equal" in printed
    assert "depth differs: 3 -> 4" in printed
