"""`write_syntax`: what is written alike, what is not, and that all Pythons write the same."""

from __future__ import annotations

import ast
import json
import shutil
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import snippets
from jobspan import host
from jobspan.persist.identity.syntax import names_outside_annotations, write_syntax
from pythons import VERSIONS, find_python, run_python
from snippets import parse, write

GOLDEN = Path(__file__).parent / "golden" / "syntax.json"


def test_the_texts_are_those_of_the_table() -> None:
    assert snippets.digests() == json.loads(GOLDEN.read_text(encoding="utf-8"))


@pytest.mark.skipif(not host.has_processes(), reason="starts other Pythons")
@pytest.mark.skipif(shutil.which("sh") is None, reason="needs a shell to look for Pythons")
@pytest.mark.parametrize("version", VERSIONS)
def test_other_pythons_write_the_same(version: str) -> None:
    told = run_python(find_python(version), "import json, snippets; print(json.dumps(snippets.digests()))")
    assert json.loads(told) == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_all_snippets_differ() -> None:
    assert len(set(map(write, snippets.SNIPPETS.values()))) == len(snippets.SNIPPETS)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def f(a): return a + 1", "def f( a ):\n    # a comment\n    return (a+\n  1)"),
        ("def f(a): return a", "def f(a):\n    'doc'\n    return a"),
        ("def f(a): return a", "def f(a: int = 5) -> str: return a"),
        ("def f(a): return a", "def f(a):  # type: (int) -> int\n    return a"),
        ("def f(a): return a", "def g(a): return a"),
        ("def f(a): return a", "@cache\n@other(5)\ndef f(a): return a"),
        ("def f(a, b): return a", "def f(a, b=LIMIT): return a"),
        ("def f(): pass", "def f(): 'doc'"),
        ("def f(): pass", "def f(): ..."),
        ("def f(a):\n if a: return 1", "def f(a):\n if a: return 1\n else: pass"),
        ("def f():\n x = 1\n return x", "def f():\n y: int\n x: float = 1\n return x"),
        ("lambda: 'a' 'b'", 'lambda: """ab"""'),
        ("lambda: 255", "lambda: 0xf_f"),
        ("lambda: 1.0", "lambda: 10e-1"),
        ("lambda: u'a'", "lambda: 'a'"),
        ("lambda x: f'{x:}a'", "lambda x: f'{x}' 'a'"),
        ("lambda x: f'{x}' ''", "lambda x: f'{x}'"),
        ("def f():\n def g():\n  'doc'\n  return 1", "def f():\n def g() -> int: return 1"),
        ("def f(a): return (a), (yield)", "def f(a):\n return a, (yield)"),
    ],
)
def test_what_makes_no_difference(one: str, other: str) -> None:
    assert write(one) == write(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("lambda: 1", "lambda: 2"),
        ("lambda: 1", "lambda: 1.0"),
        ("lambda: 1", "lambda: True"),
        ("lambda: 1", "lambda: '1'"),
        ("lambda: '1'", "lambda: b'1'"),
        ("lambda: 0.0", "lambda: -0.0"),
        ("lambda: 0", "lambda: None"),
        ("lambda: ''", "lambda: None"),
        ("lambda: 'None'", "lambda: None"),
        ("lambda: ...", "lambda: None"),
        ("lambda: 1j", "lambda: 1"),
        ("lambda: [1, 2]", "lambda: (1, 2)"),
        ("lambda: ['ab']", "lambda: ['a', 'b']"),
        ("lambda: {1, 2}", "lambda: [1, 2]"),
        ("lambda a, b: a - b", "lambda a, b: b - a"),
        ("lambda a, b: a - b", "lambda b, a: a - b"),
        ("lambda a, b: a < b", "lambda a, b: a <= b"),
        ("lambda a: a", "lambda *a: a"),
        ("lambda *a: a", "lambda **a: a"),
        ("lambda a, b: a", "lambda a, *, b: a"),
        ("lambda a, b: a", "lambda a, /, b: a"),
        ("lambda a: a.b", "lambda a: a.c"),
        ("lambda a: a(b=1)", "lambda a: a(c=1)"),
        ("lambda a: a(*a)", "lambda a: a(**a)"),
        ("lambda a: {**a}", "lambda a: {None: a}"),
        ("lambda a: (a for b in a)", "lambda a: [a for b in a]"),
        ("lambda a: a[1:]", "lambda a: a[:1]"),
        ("lambda a: a[1:]", "lambda a: a[1]"),
        ("lambda a: f'{a}'", "lambda a: f'{a!r}'"),
        ("lambda a: f'{a!s}'", "lambda a: f'{a}'"),
        ("lambda a: f'{a:2}'", "lambda a: f'{a:3}'"),
        ("lambda a: f'{a}b'", "lambda a: f'b{a}'"),
        ("lambda a: f'{{a}}'", "lambda a: f'{a}'"),
        ("lambda: (lambda a=1: a)", "lambda: (lambda a=2: a)"),
        ("def f(): return 1", "async def f(): return 1"),
        ("def f(): return 1", "lambda: 1"),
        ("def f(a):\n a()\n return 1", "def f(a):\n return 1\n a()"),
        ("def f(a):\n if a:\n  a()\n a(1)", "def f(a):\n if a:\n  a()\n  a(1)"),
        ("def f(a):\n for b in a: a()\n else: a(1)", "def f(a):\n for b in a: a()\n a(1)"),
        ("def f(a):\n try: a()\n except: a(1)\n else: a(2)", "def f(a):\n try: a()\n except: a(1)\n finally: a(2)"),
        ("def f(a):\n try: a()\n except A: a(1)", "def f(a):\n try: a()\n except* A: a(1)"),
        ("def f():\n import a", "def f():\n import a as b"),
        ("def f():\n from a import b", "def f():\n from .a import b"),
        ("def f():\n from . import b", "def f():\n from .. import b"),
        ("def f():\n global a\n a = 1", "def f():\n a = 1"),
        ("def f(a):\n @a\n def g(): pass\n return g", "def f(a):\n def g(): pass\n return g"),
        ("def f():\n def g(): return 1", "def f():\n def h(): return 1"),
        ("def f():\n class C:\n  x: int", "def f():\n class C:\n  x: str"),
        ("def f():\n class C:\n  x: int", "def f():\n class C: pass"),
        ("def f(a):\n match a:\n  case 1: return 1", "def f(a):\n match a:\n  case True: return 1"),
        ("def f(a):\n match a:\n  case b: return 1", "def f(a):\n match a:\n  case _: return 1"),
        ("def f(a):\n with a as b: return b", "def f(a):\n with a: return b"),
        ("def f(a): return a", "def f(a): a"),
        ("def f(a): del a", "def f(a): pass"),
    ],
)
def test_what_makes_a_difference(one: str, other: str) -> None:
    assert write(one) != write(other)


@pytest.mark.skipif(host.in_pyodide(), reason="compiling it takes more stack than a page has, and ends the interpreter")
def test_a_sum_of_ten_thousand_terms_is_not_too_deep() -> None:
    node = parse("lambda a: a")
    assert isinstance(node, ast.Lambda)
    for _ in range(10_000):
        node.body = ast.BinOp(node.body, ast.Add(), ast.Name("a", ast.Load()))
    assert write_syntax(node).count(b"BinOp") == 10_000


def test_annotations_name_nothing() -> None:
    node = parse("def f(a: A, b: list[B] = C) -> D:\n x: E = F\n def g(y: G) -> H: return I")
    assert names_outside_annotations(node) == {"C", "F", "I", "x"}


expressions = st.recursive(
    st.sampled_from(["a", "b", "1", "2", "'x'", "None", "1.5"]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("({0[0]} + {0[1]})".format),
        st.tuples(inner, inner).map("({0[0]}, {0[1]})".format),
        st.tuples(inner, inner).map("[{0[0]}, {0[1]}]".format),
        st.tuples(inner, inner).map("f({0[0]}, k={0[1]})".format),
        inner.map("(lambda a: {0})".format),
        inner.map("(not {0})".format),
        st.tuples(inner, inner).map("{0[0]}[{0[1]}]".format),
    ),
    max_leaves=6,
)


@given(expressions, expressions)
def test_expressions_are_written_alike_just_when_they_are_the_same(one: str, other: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # None[1] is a mistake, and an expression
        left, right = (ast.dump(ast.parse(each)) for each in (one, other))
        assert (write(f"lambda: {one}") == write(f"lambda: {other}")) == (left == right)
