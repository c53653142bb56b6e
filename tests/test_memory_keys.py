"""Never another function's result, never a stale one, and never a miss for what makes no difference."""

from __future__ import annotations

import importlib
import linecache
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from jobspan import Memory, UnhashableError


class Calls(list[Any]):
    """A record of calls. It is no plain list, which would count as a global of the functions that write to it."""


calls = Calls()


@pytest.fixture(autouse=True)
def no_calls() -> None:
    calls.clear()


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / "cache", verbose=0)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], ModuleType]]:
    """Writes a module of the user's, and imports it, again if it was imported before, as another session would."""
    monkeypatch.syspath_prepend(tmp_path / "code")
    (tmp_path / "code").mkdir()
    written: set[str] = set()

    def write_and_import(name: str, source: str) -> ModuleType:
        (tmp_path / "code" / f"{name}.py").write_text("import test_memory_keys as t\n" + textwrap.dedent(source))
        for each in (*written, name):
            sys.modules.pop(each, None)
        written.add(name)
        importlib.invalidate_caches()
        linecache.clearcache()
        sys.modules.setdefault("test_memory_keys", sys.modules[__name__])
        return importlib.import_module(name)

    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield write_and_import
    for each in written:
        sys.modules.pop(each, None)


# -- what joblib gets wrong -------------------------------------------------------------------------------------------


def test_two_closures_of_one_factory_have_results_of_their_own(memory: Memory) -> None:
    def make(factor: int) -> Callable[[int], int]:
        def scale(x: int) -> int:
            return factor * x

        return scale

    two, ten = memory.cache(make(2)), memory.cache(make(10))
    assert [two(5), ten(5), two(5), ten(5)] == [10, 50, 10, 50]
    assert memory.counts.misses == 2


def test_two_lambdas_on_one_line_have_results_of_their_own(memory: Memory) -> None:
    f, g = memory.cache(lambda x: x + 1), memory.cache(lambda x: x * 100)
    assert [f(3), g(3), f(3), g(3)] == [4, 300, 4, 300]
    assert (memory.counts.hits, memory.counts.misses) == (2, 2)


def test_functions_of_the_same_name_have_results_of_their_own(memory: Memory) -> None:
    def first() -> Callable[[], int]:
        def value() -> int:
            return 1

        return value

    def second() -> Callable[[], int]:
        def value() -> int:
            return 2

        return value

    assert [memory.cache(first())(), memory.cache(second())()] == [1, 2]


PIPELINE = """
    {helper}
    LIMIT = {limit}

    def compute(x):
        t.calls.append(x)
        return helper(x) + LIMIT
"""
HELPER = "def helper(x):\n        return {}"


def test_a_changed_helper_is_a_miss_and_changed_back_it_is_a_hit(
    memory: Memory, write: Callable[[str, str], ModuleType]
) -> None:
    results = []
    for body in ("x", "x * 2", "x"):
        module = write("pipeline", PIPELINE.format(helper=HELPER.format(body), limit=0))
        results.append(memory.cache(module.compute)(3))
    assert results == [3, 6, 3]
    assert calls == [3, 3]


def test_a_helper_of_a_helper_in_another_module_counts(memory: Memory, write: Callable[[str, str], ModuleType]) -> None:
    results = []
    for body in ("x", "x * 2"):
        write("deep", f"def deep(x):\n    return {body}")
        write("middle", "import deep\ndef middle(x):\n    return deep.deep(x)")
        module = write("outer", "from middle import middle\ndef compute(x):\n    return middle(x)")
        results.append(memory.cache(module.compute)(3))
    assert results == [3, 6]


def test_a_changed_global_is_a_miss(memory: Memory, write: Callable[[str, str], ModuleType]) -> None:
    results = []
    for limit in (0, 5, 0):
        module = write("pipeline", PIPELINE.format(helper=HELPER.format("x"), limit=limit))
        results.append(memory.cache(module.compute)(3))
    assert results == [3, 8, 3]
    assert len(calls) == 2


LIMIT = 1


def with_limit(x: int) -> int:
    return x + LIMIT


def test_a_rebound_global_is_seen_at_the_next_call(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = memory.cache(with_limit)
    assert cached(1) == 2
    monkeypatch.setattr(sys.modules[__name__], "LIMIT", 10)
    assert cached(1) == 11
    monkeypatch.setattr(sys.modules[__name__], "LIMIT", 1)
    assert cached(1) == 2
    assert memory.counts.misses == 2


def test_a_rebound_captured_variable_is_seen_at_the_next_call(memory: Memory) -> None:
    factor = 2

    @memory.cache
    def scale(x: int) -> int:
        return factor * x

    assert scale(5) == 10
    factor = 3
    assert scale(5) == 15


@pytest.mark.parametrize(
    "other",
    [
        "def compute(x):\n    # a comment\n    t.calls.append(x)\n\n    return x + 1",
        'def compute(x):\n    """A docstring."""\n    t.calls.append(x)\n    return x + 1',
        "def compute(x: int) -> int:\n    t.calls.append(x)\n    return (x\n            + 1)",
        "Z = 3\n\n\ndef compute(x):\n    t.calls.append(x); return x + 1",
    ],
    ids=["comment", "docstring", "annotations and layout", "somewhere else"],
)
def test_what_makes_no_difference_is_a_hit(memory: Memory, write: Callable[[str, str], ModuleType], other: str) -> None:
    for source in ("def compute(x):\n    t.calls.append(x)\n    return x + 1", other):
        assert memory.cache(write("layout", source).compute)(3) == 4
    assert len(calls) == 1


def test_a_changed_default_is_another_call(memory: Memory, write: Callable[[str, str], ModuleType]) -> None:
    results = [memory.cache(write("defaults", f"def compute(x, y={y}):\n    return x + y").compute)(1) for y in (1, 2)]
    assert results == [2, 3]


def test_cells_of_a_notebook_are_known_by_name_and_code_not_by_file(memory: Memory) -> None:
    def run_cell(number: int, source: str) -> Any:
        file = f"/tmp/ipykernel_{number}/{number * 7919}.py"
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        variables: dict[str, Any] = {"__name__": "__main__", "calls": calls}
        exec(compile(source, file, "exec"), variables)
        return variables["compute"]

    source = "def compute(x):\n    calls.append(x)\n    return x\n"
    assert memory.cache(run_cell(1, source))(3) == 3
    assert memory.cache(run_cell(2, "\n\n# below\n" + source))(3) == 3
    assert len(calls) == 1
    assert memory.cache(run_cell(3, source.replace("return x", "return -x")))(3) == -3


def test_without_source_bytecode_counts_and_explain_says_so(memory: Memory) -> None:
    def make(body: str) -> Any:
        variables: dict[str, Any] = {"__name__": "__main__"}
        exec(f"def compute(x): return {body}", variables)
        return variables["compute"]

    assert [memory.cache(make("x"))(3), memory.cache(make("x + 1"))(3), memory.cache(make("x"))(3)] == [3, 4, 3]
    assert memory.counts.hits == 1
    assert any("source" in note for note in memory.cache(make("x")).explain(3).notes)


def test_a_method_of_the_users_class_that_changed_is_a_miss(
    memory: Memory, write: Callable[[str, str], ModuleType]
) -> None:
    results = []
    for body in ("1", "2"):
        module = write(
            "shapes",
            f"class Shape:\n    def area(self):\n        return {body}\n\ndef compute(shape):\n    return shape.area()",
        )
        results.append(memory.cache(module.compute)(module.Shape()))
    assert results == [1, 2]


def test_a_cached_helper_counts_by_its_code(memory: Memory, write: Callable[[str, str], ModuleType]) -> None:
    results = []
    for body in ("x", "x * 2"):
        module = write("helped", HELPER.format(body) + "\n\ndef compute(x):\n    return helper(x)")
        module.helper = memory.cache(module.helper)  # type: ignore[attr-defined]
        results.append(memory.cache(module.compute)(3))
    assert results == [3, 6]


# -- what one says -----------------------------------------------------------------------------------------------------


def test_a_version_counts_instead_of_the_code(memory: Memory, write: Callable[[str, str], ModuleType]) -> None:
    def result(body: str, version: int) -> Any:
        module = write("versioned", f"def compute(x):\n    t.calls.append(x)\n    return {body}")
        return memory.cache(module.compute, version=version)(3)

    assert [result("x", 1), result("x * 2", 1), result("x * 2", 2)] == [3, 3, 6]
    assert len(calls) == 2


def test_the_code_can_be_ignored_but_not_what_is_captured(memory: Memory) -> None:
    def make(factor: int) -> Callable[[int], int]:
        def scale(x: int) -> int:
            return factor * x

        return scale

    assert [memory.cache(make(factor), ignore_code=True)(5) for factor in (2, 3)] == [10, 15]


def test_dependencies_can_be_named(memory: Memory) -> None:
    data = {"a": 1}

    def compute(x: int) -> int:
        calls.append(x)
        return x

    for value in (1, 1, 2):
        data["a"] = value
        memory.cache(compute, depends=[data, with_limit])(3)
    assert len(calls) == 2
    memory.cache(compute, depends="versions")(3)
    assert len(calls) == 3


def test_a_captured_variable_without_content_is_refused(memory: Memory) -> None:
    stream = (each for each in ())

    def consume() -> int:
        return sum(stream)

    with pytest.raises(UnhashableError, match="stream"):
        memory.cache(consume)()


def test_builtins_and_functions_of_packages_are_known_by_name(memory: Memory) -> None:
    assert [memory.cache(len)([1, 2]), memory.cache(len)([1, 2])] == [2, 2]
    assert memory.counts.hits == 1
    assert memory.cache(textwrap.dedent)("  x") == "x"


def test_numpys_functions_are_known_by_name(memory: Memory) -> None:
    np = pytest.importorskip("numpy")
    assert memory.cache(np.linalg.norm)([3.0, 4.0]) == 5.0
    assert memory.cache(np.sum)(np.arange(4)) == 6
    assert memory.cache(np.linalg.norm)([3.0, 4.0]) == 5.0
    assert memory.counts.hits == 1


def test_a_mapped_array_and_one_in_memory_are_the_same_argument(memory: Memory, tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")
    data = np.arange(1000.0)
    np.save(tmp_path / "data.npy", data)
    cached = memory.cache(np.sum)
    assert cached(data) == cached(np.load(tmp_path / "data.npy", mmap_mode="r"))
    assert memory.counts.misses == 1


def test_results_are_mapped_from_the_first_call_on(memory: Memory) -> None:
    np = pytest.importorskip("numpy")
    cached = memory.cache(np.arange, mmap_mode="r")
    for _ in range(2):
        result = cached(1000.0)
        assert isinstance(result, np.memmap)
        assert not result.flags.writeable
    assert result.sum() == 499500.0


def test_the_own_code_of_a_function_of_an_installed_package_counts(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "site-packages"
    place.mkdir()
    monkeypatch.syspath_prepend(place)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    results = []
    for body in ("x", "x * 2", "x"):
        (place / "package_of_another.py").write_text(f"def compute(x):\n    return {body}\n")
        sys.modules.pop("package_of_another", None)
        importlib.invalidate_caches()
        linecache.clearcache()
        results.append(memory.cache(importlib.import_module("package_of_another").compute)(3))
    sys.modules.pop("package_of_another", None)
    assert results == [3, 6, 3]
    assert memory.counts.hits == 1


def test_objects_that_hold_their_own_cached_method_hit_though_a_global_is_filled(memory: Memory) -> None:
    seen: dict[int, int] = {}

    def square(x: int) -> int:
        return seen.setdefault(x, x * x)

    class Model:
        def __init__(self) -> None:
            self.fit = memory.cache(self.fit)  # type: ignore[method-assign]  # joblib's own pattern

        def fit(self, x: int) -> int:
            return square(x)

    assert [Model().fit(x) for x in (1, 2, 1, 2)] == [1, 4, 1, 4]
    assert (memory.counts.hits, memory.counts.misses) == (2, 2)
