"""A cache goes from machine to browser and back, outlives its page, and is shared with the page's workers."""

import importlib
import sys
import textwrap

import pytest
from pytest_pyodide import run_in_pyodide
from test_keeping import Page

from jobspan import Memory

KEY = "a secret that both sides have"
MODULE = '''
FACTOR = 3

def helper(x):
    """Its docstring is of no importance."""
    return [x] * FACTOR

def compute(n, names=("a", "b"), *, scale=0.5):
    return {"n": n, "names": list(names), "scaled": [n * scale for n in range(n)], "helped": helper(n)}
'''
CALLS = [(3,), (10, ("c",)), (20_000,)]


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "shared_code.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("shared_code")
    sys.modules.pop("shared_code", None)


def pack(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@run_in_pyodide(packages=["jobspan"])
def call_there(selenium, source, files, key, calls):
    import importlib
    import os
    import sys
    import tempfile
    from pathlib import Path

    from jobspan import Memory

    folder = Path(tempfile.mkdtemp())
    (folder / "code").mkdir()
    (folder / "code" / "shared_code.py").write_text("# other comments\n" + source)
    sys.path.insert(0, str(folder / "code"))
    sys.modules.pop("shared_code", None)
    for name, data in files.items():
        path = folder / "cache" / name
        os.makedirs(path.parent, exist_ok=True)
        path.write_bytes(data)
    memory = Memory(folder / "cache", verbose=0, key=key)
    cached = memory.cache(importlib.import_module("shared_code").compute)
    results = [cached(*call) for call in calls]
    sys.path.remove(str(folder / "code"))
    root = folder / "cache"
    written = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    return memory.counts.hits, results == [sys.modules["shared_code"].compute(*call) for call in calls], written


def test_a_cache_written_natively_is_hit_in_pyodide(selenium, module, tmp_path):
    cached = Memory(tmp_path / "cache", verbose=0, key=KEY).cache(module.compute)
    for call in CALLS:
        cached(*call)
    hits, is_right, _ = call_there(selenium, MODULE, pack(tmp_path / "cache"), KEY, CALLS)
    assert (hits, is_right) == (len(CALLS), True)


def test_a_cache_written_in_pyodide_is_hit_natively(selenium, module, tmp_path):
    hits, is_right, files = call_there(selenium, MODULE, {}, KEY, CALLS)
    assert (hits, is_right) == (0, True)
    for name, data in files.items():
        path = tmp_path / "cache" / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_bytes(data)
    memory = Memory(tmp_path / "cache", verbose=0, key=KEY)
    cached = memory.cache(module.compute)
    assert [cached(*call) for call in CALLS] == [module.compute(*call) for call in CALLS]
    assert memory.counts.hits == len(CALLS)


@pytest.fixture
def page(request, runtime):
    if runtime == "node":
        pytest.skip("in node, files outlive the interpreter by themselves")
    return Page(request.getfixturevalue("selenium_standalone"))


SQUARE = """
    from jobspan import Memory
    memory = Memory("cache", verbose=0)
    @memory.cache(version=1)
    def square(x):
        return {"value": x * x, "filler": "x" * 100_000 if x > 5 else ""}
    def counts():
        return [memory.counts.hits, memory.counts.misses, memory.counts.unknown_key]
"""


def test_a_cache_is_hit_after_a_reload(page):
    assert page.run(SQUARE, "[square(x)['value'] for x in (2, 3, 9)]") == [4, 9, 81]
    assert page.run("square(2)", "counts()") == [1, 3, 0]
    page.reload()
    assert page.run(SQUARE, "[square(x)['value'] for x in (2, 3, 9, 4)]") == [4, 9, 81, 16]
    assert page.run("counts()") == [3, 1, 0]
    assert page.run("len(square.entries())") == 4
    assert "x differs" in page.run("str(square.explain(5))")
    assert page.run("square.forget(2)", "memory.reduce_size(items_limit=2)", "len(memory.entries())") == 2
    page.reload()
    assert page.run(SQUARE, "[square.check_call_in_cache(2), len(memory.entries())]") == [False, 2]
    assert page.run("memory.clear(warn=False)", "len(memory.entries())") == 0


def test_a_cache_is_shared_with_the_pages_workers(page):
    in_workers = """
        from jobspan import Parallel, delayed
        [each["value"] for each in Parallel(n_jobs=2, backend="web")(delayed(square)(x % 3) for x in range(12))]
    """
    expected = [(x % 3) ** 2 for x in range(12)]
    assert page.run(SQUARE, in_workers) == expected
    assert page.run("[square(x)['value'] for x in range(3)]", "counts()") == [3, 0, 0]
    page.reload()
    assert page.run(SQUARE, in_workers) == expected
    assert page.run("len(square.entries())") == 3


def test_an_interpreter_that_cannot_wait_says_so_and_still_keeps(page):
    told = page.selenium.run(
        textwrap.dedent(SQUARE)
        + textwrap.dedent(
            """
            import warnings
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                assert [square(2)["value"], square(2)["value"]] == [4, 4]
            [str(each.message) for each in caught]
            """
        )
    )
    assert len(told) == 1
    assert "is not looked up in the browser's storage: this interpreter cannot wait for it" in told[0]
