"""Why did it miss?"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from jobspan import Memory, host
from jobspan.cli import main
from jobspan.memory.explain import Explanation
from jobspan.memory.index import Index, Record, find_closest, find_key, find_newest, make_tags
from jobspan.memory.near import add_near, find_near, forget_near, tags_of
from jobspan.persist.sketches.sketch import make_sketch

needs_processes = pytest.mark.skipif(not host.has_processes(), reason="starts processes; there are none here")


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path, verbose=0)


def fit(data: Any, depth: int = 3, rate: float = 0.1) -> float:
    return len(data) * depth * rate


def test_a_hit_says_when_it_was_computed(memory: Memory) -> None:
    cached = memory.cache(fit)
    cached([1])
    found = cached.explain([1])
    assert found.is_hit
    assert str(found).startswith(f"hit: {cached.func_id}(data=[1], depth=3, rate=0.1)\n  computed 0 s ago, in ")


def test_an_empty_cache_says_that_it_is_empty(memory: Memory) -> None:
    assert memory.cache(fit).explain([1]).reasons == ("no call of this function is in the cache",)


def test_of_versions_of_the_code_the_one_with_fewest_differences_is_closest(memory: Memory) -> None:
    space = {"__name__": "user_script"}
    exec("def total(x):\n    return x + first + second", space)
    cached = memory.cache(space["total"])
    for space["first"], space["second"] in ((1, 1), (2, 2)):
        cached(5)
    space["first"], space["second"] = 1, 3
    told = str(cached.explain(5))
    assert "second has changed" in told
    assert "first has changed" not in told


def test_the_closest_call_differs_in_one_argument(memory: Memory) -> None:
    cached = memory.cache(fit)
    for depth in range(5):
        cached([1, 2], depth)
        cached([1], depth, 0.5)
    found = cached.explain([1, 2], 4, 0.2)
    assert found.closest is not None
    assert (found.closest["equal"], found.closest["different"]) == (["data", "depth"], ["rate"])
    assert found.reasons[0].startswith("closest earlier call: 0 s ago, same code, 2 of 3 arguments equal; it took")
    assert found.reasons[1] == "  rate differs: 0.1 -> 0.2"


def test_a_type_that_differs_is_said(memory: Memory) -> None:
    cached = memory.cache(fit)
    cached([1], 3)
    assert "  depth differs in type: int 3 -> float 3.0" in cached.explain([1], 3.0).reasons


def test_what_looks_the_same_and_is_not_is_said(memory: Memory) -> None:
    cached = memory.cache(fit)
    cached("x" * 500 + "a" + "x" * 500)
    assert cached.explain("x" * 500 + "b" + "x" * 500).reasons[1].endswith("which looks the same")


def test_an_entry_that_was_removed_is_remembered(memory: Memory) -> None:
    cached = memory.cache(fit)
    cached([1]), cached([1, 2])
    cached.forget([1])
    assert "its result has been removed since" in str(cached.explain([1]))


def test_an_entry_that_may_not_be_used_says_why(memory: Memory) -> None:
    memory.cache(fit)([1])
    found = memory.cache(fit, cache_validation_callback=lambda _: False).explain([1])
    assert not found.is_hit
    assert found.reasons[1] == "cache_validation_callback says that it may not be used"


def make_function(body: str, helper: str = "x") -> Any:
    """A function as a notebook defines it, with a helper."""
    import linecache

    source = f"def helper(x):\n    return {helper}\n\ndef compute(x):\n    y = helper(x)\n    return {body}\n"
    file = f"<cell {hash(source)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    variables: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, file, "exec"), variables)
    return variables["compute"]


def test_changed_code_is_shown_as_a_difference(memory: Memory) -> None:
    memory.cache(make_function("y + 1"))(3)
    found = str(memory.cache(make_function("y + 2")).explain(3))
    assert "other code, 1 of 1 argument equal" in found
    assert "__main__:compute itself has changed" in found
    assert "-    return y + 1" in found
    assert "+    return y + 2" in found


def test_a_changed_helper_is_named(memory: Memory) -> None:
    memory.cache(make_function("y"))(3)
    found = str(memory.cache(make_function("y", helper="x * 2")).explain(3))
    assert "helper __main__:helper has changed" in found
    assert "+    return x * 2" in found


def test_a_changed_global_is_named(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = memory.cache(with_limit)
    cached(1)
    monkeypatch.setattr(sys.modules[__name__], "LIMIT", 2)
    found = str(cached.explain(1))
    assert "LIMIT has changed\n" in found
    assert "1 -> 2" in found


LIMIT = 1


def with_limit(x: int) -> int:
    return x + LIMIT


def test_a_nearly_equal_list_is_found_among_others_and_compared(memory: Memory) -> None:
    cached = memory.cache(fit)
    rows = [[float((n * k) % 17) for n in range(100)] for k in range(1, 8)]
    for row in rows:
        cached(row)
    changed = [*rows[2][:50], rows[2][50] + 1e-13, *rows[2][51:]]
    text = str(cached.explain(changed))
    assert "1 of 100 numbers differs" in text
    assert "rounding" in text


def test_a_nearly_equal_array_is_found_and_its_differences_counted(memory: Memory) -> None:
    np = pytest.importorskip("numpy")
    cached = memory.cache(fit)
    chance = np.random.default_rng(5)
    arrays = [chance.random(20_000) for _ in range(5)]
    for number, array in enumerate(arrays):
        cached(array, depth=number)
    changed = arrays[1].copy()
    changed[[17, 4242, 9999]] *= 1 + 2e-16 * 2
    found = cached.explain(changed, depth=17)
    text = str(found)
    assert found.closest is not None
    assert found.closest["different"] == ["data", "depth"]
    assert "depth differs: 1 -> 17" in text
    assert "3 of 20 000 numbers differ" in text
    assert "rounding" in text


def test_the_html_form_escapes(memory: Memory) -> None:
    cached = memory.cache(fit)
    cached("<b>")
    html = cached.explain("<i>")._repr_html_()
    assert "&lt;b&gt;" in html
    assert "<b>&" not in html.replace('<b style="color:#c62">', "")


def test_who_wants_to_know_is_told_of_each_miss(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told: list[Explanation] = []
    cached = Memory(tmp_path, verbose=0, on_miss=told.append).cache(fit)
    cached([1]), cached([1]), cached([1], 4)
    assert [explanation.is_hit for explanation in told] == [False, False]
    Memory(tmp_path, verbose=0, on_miss="print").cache(fit)([1], 5)
    assert "depth differs: 4 -> 5" in capsys.readouterr().out


# -- the index -------------------------------------------------------------------------------------------------------


def test_the_index_finds_calls_that_share_all_arguments_but_one(memory: Memory) -> None:
    store, _ = memory.opened()
    index = Index(store, "f")
    code = b"c" * 16
    for number in range(50):
        digests = [bytes([number % 5]) * 8, bytes([number]) * 8]
        index.add(Record(f"{number:032x}", float(number), 0.1, 100, make_tags(code, digests)))
    data = index.read()
    found = find_closest(data, make_tags(code, [bytes([3]) * 8, bytes([99]) * 8]))
    assert [int(record.key, 16) for record in found] == list(range(48, 0, -5))
    by_arguments = find_closest(data, make_tags(b"other code......", [bytes([2]) * 8, bytes([7]) * 8]))
    assert [int(record.key, 16) for record in by_arguments] == [7]
    assert [record.written for record in find_newest(data)] == list(map(float, range(49, -1, -1)))
    found = find_key(data, f"{7:032x}")
    assert found is not None
    assert (found.written, found.nbytes) == (7.0, 100)
    assert find_key(data, "f" * 32) is None


@pytest.mark.parametrize("end", range(1, 60))
def test_a_torn_index_is_read_as_far_as_it_goes(memory: Memory, end: int) -> None:
    record = Record("a" * 32, 1.0, 0.1, 100, make_tags(b"c" * 16, [b"d" * 8]))
    data = record.encode() + record.encode()[:end]
    assert len(list(find_newest(data))) == 1


def test_near_entries_are_found_by_tags_and_forgotten(memory: Memory) -> None:
    store, _ = memory.opened()
    sketch = make_sketch([float(n * n % 31) for n in range(200)])
    near = make_sketch([float(n * n % 31) + 1e-9 for n in range(200)])
    add_near(store, "f", "a" * 32, tags_of([("x", sketch)]))
    assert find_near(store, "f", tags_of([("x", near)])) == ["a" * 32]
    assert find_near(store, "f", tags_of([("y", near)])) == []
    forget_near(store, "f", {"a" * 32})
    assert find_near(store, "f", tags_of([("x", near)])) == []


def test_near_tags_of_many_entries_are_in_files_of_bounded_size(memory: Memory, tmp_path: Path) -> None:
    store, _ = memory.opened()
    tag = b"\x01\x02\x03\x04\x05\x06\x07\x08"
    for number in range(6000):
        add_near(store, "f", f"{number:032x}", [tag])
    sizes = [path.stat().st_size for path in tmp_path.rglob("near/*")]
    assert len(sizes) > 1
    assert max(sizes) < 70_000
    assert find_near(store, "f", [tag])


# -- runs ------------------------------------------------------------------------------------------------------------

_SCRIPT = """
    import sys
    from jobspan import Memory
    memory = Memory(sys.argv[1], verbose=0)
    @memory.cache
    def square(x, scale=1):
        return x * x * scale
    for x in map(int, sys.argv[2:]):
        square(x)
"""


def run(folder: Path, *numbers: int, source: str = _SCRIPT) -> str:
    script = folder / "script.py"
    script.write_text(textwrap.dedent(source))
    arguments = [sys.executable, str(script), str(folder / "cache"), *map(str, numbers)]
    done = subprocess.run(
        arguments, check=True, capture_output=True, text=True, env={**os.environ, "JOBSPAN_DEBUG": "1"}
    )
    return done.stderr


@needs_processes
def test_a_second_run_says_what_missed_that_could_have_hit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = run(tmp_path, 1, 2, 3)
    assert "__main__.square: 0 hits, 3 misses" in first
    assert "no earlier run to compare with" in first
    second = run(tmp_path, 1, 2, 4)
    assert "__main__.square: 2 hits, 1 misses" in second
    assert "call 3 of this function then was __main__.square(x=3, scale=1); different: x" in second
    third = run(tmp_path, 1, source=_SCRIPT.replace("x * x * scale", "x * x * scale + 0"))
    assert "the same arguments, other code: __main__:square itself has changed" in third
    location = str(tmp_path / "cache")
    assert main(["cache", "why", location]) == 0
    printed = capsys.readouterr().out
    assert "miss: __main__.square(x=1, scale=1)" in printed
    assert "+    return x * x * scale + 0" in printed
    assert main(["cache", "runs", location]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert len(names) == 3
    assert main(["cache", "diff", location, names[0], names[1]]) == 0
    assert "different: x" in capsys.readouterr().out


def test_the_command_line_looks_after_caches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, numbers in (("here", range(3)), ("there", range(2, 6))):
        cached = Memory(tmp_path / name, verbose=0).cache(fit)
        for number in numbers:
            cached([number])
    here, there = str(tmp_path / "here"), str(tmp_path / "there")
    assert main(["cache", "merge", here, there]) == 0
    assert "3 copied, 1 were here already, 0 refused" in capsys.readouterr().out
    assert main(["cache", "ls", here]) == 0
    assert "6 entries" in capsys.readouterr().out
    assert main(["cache", "ls", here, "--json", "--function", "nothing"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["cache", "verify", here]) == 0
    assert "6 good, 0 damaged, 0 unknown key, 0 strays" in capsys.readouterr().out
    assert main(["cache", "prune", here, "--max-items", "2"]) == 0
    assert "4 entries removed" in capsys.readouterr().out
    assert main(["cache", "trust", here]) == 0
    assert "0 entries signed" in capsys.readouterr().out
    assert main(["cache", "prune", here]) == 1
    assert "say what to keep within" in capsys.readouterr().err
    assert main(["cache", "ls", str(tmp_path / "nowhere")]) == 1
    assert "there is no cache in" in capsys.readouterr().err
    assert main(["cache", "why", here]) == 1
    assert "set JOBSPAN_DEBUG=1" in capsys.readouterr().err
