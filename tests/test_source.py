"""`find_source`: the node that a function was compiled from, or none; and `find_names`: what its code looks up."""

from __future__ import annotations
import __future__

import dis
import json
import linecache
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import jobspan
import kinds
import snippets
from defining import define
from jobspan import host
from jobspan.persist.identity import walk
from jobspan.persist.identity.names import find_names
from jobspan.persist.identity.source import find_source
from jobspan.schedule import core
from pythons import run_python

needs_processes = pytest.mark.skipif(not host.has_processes(), reason="starts other Pythons")


def source_of(function: Any) -> str | None:
    found = find_source(function.__code__, function.__globals__)
    return None if found is None else found.text


def test_two_lambdas_of_a_line_are_told_apart() -> None:
    made = define("""
        both = lambda x: x + 1, lambda x: x + 2
        within = lambda: (lambda: (lambda: 0))
        default = lambda f=lambda: 1: f
        several = [(lambda: 'é'), (lambda: 'ü'), lambda y: [z for z in y]]
    """)
    assert list(map(source_of, made.both)) == ["lambda x: x + 1", "lambda x: x + 2"]
    assert source_of(made.within) == "lambda: (lambda: (lambda: 0))"
    assert source_of(made.within()) == "lambda: (lambda: 0)"
    assert source_of(made.within()()) == "lambda: 0"
    assert source_of(made.default) == "lambda f=lambda: 1: f"
    assert source_of(made.default()) == "lambda: 1"
    constant = define("several = (lambda: 0), (lambda: 1), [(lambda: (1, 2)), lambda: None]")
    assert list(map(source_of, constant.several[:2])) == ["lambda: 0", "lambda: 1"]
    assert list(map(source_of, constant.several[2])) == ["lambda: (1, 2)", "lambda: None"]
    assert list(map(source_of, made.several)) == ["lambda: 'é'", "lambda: 'ü'", "lambda y: [z for z in y]"]


def test_a_text_is_that_of_the_function_moved_to_the_left() -> None:
    made = define("""
        class C:
            @staticmethod
            def f(x):
                # why
                return [
                    x]

            def g(self): return lambda: (1,
                2)
    """)
    assert source_of(made.C.f) == "def f(x):\n    # why\n    return [\n        x]"
    assert source_of(made.C().g()) == "lambda: (1,\n        2)"


@pytest.mark.parametrize(
    "text",
    [
        "def f(a, *b, c=1, **d): return a",
        "async def f(): return 1",
        "async def f():\n async with x: yield 1",
        "def f(): yield from f()",
        "def f():\n return super",
        "import functools\n@functools.wraps(len)\n@(lambda g: g)\ndef f(): return 1\nf = f",
        "def f(x: int) -> str:\n 'doc'",
        "def f(): 'doc'",
        "def f(): return f'{f!r:>{1}}' '''\n{} ''' f'''\n{(lambda: 0)()}'''",
        "if True:\n  if True:\n     def f(): return [f for f in f]",
        "from __future__ import annotations\ndef f(x: y) -> z: return x",
        "class C:\n def f(self): return __class__\nf = C.f",
        "class C:\n def __f(self): return self.__f\nf = C._C__f",
        "def f(x): return x is 1",
        "def f(): return '\\d'",
        "def f():\n\n\n  try: return 1\n  finally: f()",
        "def f(x):\n match x:\n  case [1, *y]: return y",
    ],
)
def test_functions_of_all_sorts_have_a_source(text: str) -> None:
    function = define(text).f
    found = find_source(function.__code__, function.__globals__)
    assert found is not None
    assert getattr(found.node, "name", "") in {"f", "__f"}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="a syntax of Python 3.12")
def test_a_generic_function_has_a_source() -> None:
    text = "def f[T: int](x: T) -> T: return x"
    assert source_of(define(text).f) == text
    made = define("class C[T]:\n def f[S](self, x: T, y: S): return lambda: (x, T)")
    assert source_of(made.C().f(1, 2)) == "lambda: (x, T)"


def test_a_cell_that_awaits_has_sources() -> None:
    text = "def f(): return 1\nawait g()\n"
    function = define("def f(): return 1\n").f
    linecache.cache["<cell that awaits>"] = len(text), None, text.splitlines(keepends=True), "<cell that awaits>"
    code = function.__code__.replace(co_filename="<cell that awaits>")
    assert find_source(code, {}) is not None


def test_what_was_compiled_with_other_futures_has_a_source() -> None:
    text = "def f(x):\n def g(y: x): return y\n return g"
    linecache.cache["<with futures>"] = len(text), None, text.splitlines(keepends=True), "<with futures>"
    names: dict[str, Any] = {}
    exec(compile(text, "<with futures>", "exec", __future__.annotations.compiler_flag, dont_inherit=True), names)
    assert source_of(names["f"]) == text
    assert source_of(names["f"](1)) == "def g(y: x): return y"


def test_what_exec_makes_has_none() -> None:
    names: dict[str, Any] = {}
    exec("def f(): return 1", names)
    assert source_of(names["f"]) is None


def test_a_source_that_compiles_to_something_else_is_none() -> None:
    made = define("def f(): return 1", file="<cell that is edited>")
    for text in ("def f(): return 2", "def f(): return 1.0", "def g(): return 1", "def f(): (return)", "\0", ""):
        linecache.cache["<cell that is edited>"] = len(text), None, [text], "<cell that is edited>"
        assert source_of(made.f) is None


def test_what_follows_edits_further_up_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "edited_module.py"
    path.write_text("def f(): return lambda: 1\n\ndef g(): return 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    import edited_module  # type: ignore[import-not-found]

    monkeypatch.delitem(sys.modules, "edited_module")
    f, g = edited_module.f, edited_module.g
    assert source_of(f) == "def f(): return lambda: 1"
    path.write_text("# longer\n\nX = 5\ndef f(): return lambda: 1\n\ndef g(): return 3\n")
    assert source_of(f) == "def f(): return lambda: 1"  # as it was read before
    linecache.clearcache()
    assert source_of(f) == "def f(): return lambda: 1"
    assert source_of(f()) == "lambda: 1"
    assert source_of(g) is None
    path.write_text("def g(): return 2\n")
    os.utime(path, (1, 1))
    assert source_of(g) == "def g(): return 2"
    assert source_of(f) is None


EVERY = """
import json, sys, kinds
from jobspan.persist.identity.identify import identify
f, g = lambda x: x + 1, lambda x: x + 2
h, i = (lambda: 0), (lambda: 0)
each = [kinds.repeat, kinds.Plain.__init__, kinds._tree, kinds.PLAIN["list"]]
print(json.dumps([[identify(one).digest.hex(), identify(one).portable] for one in each]))
"""


@needs_processes
@pytest.mark.parametrize("options", [["-X", "no_debug_ranges"], ["-O"], ["-OO"], ["-B"]])
def test_options_of_the_interpreter_make_no_difference(options: list[str]) -> None:
    plain = json.loads(run_python(sys.executable, EVERY))
    library = os.pathsep.join([str(Path(jobspan.__file__).parents[1]), str(Path(__file__).parent)])
    environment = {**os.environ, "PYTHONPATH": library, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, *options, "-c", EVERY], env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == plain
    assert all(portable for _, portable in plain)


@needs_processes
def test_lambdas_that_no_position_tells_apart_are_found_only_if_they_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(
        "from jobspan.persist.identity.source import find_source\n"
        "one, two = (lambda: 1 + 1), (lambda: 2)\n"
        "same, again = (lambda: 0), (lambda: 0)\n"
        "x, y = (lambda x: x), (lambda y: y)\n"
        "print([find_source(f.__code__, globals()) is not None for f in (one, two, same, again, x, y)])\n"
    )
    library = str(Path(jobspan.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-X", "no_debug_ranges", path],
        env={**os.environ, "PYTHONPATH": library},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[False, False, True, True, True, True]"


def test_a_file_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from jobspan.persist.identity import source

    made = define("\n".join(f"def f{number}(): return {number}" for number in range(100)))
    parsed = []
    parse = source._parse_anew
    monkeypatch.setattr(source, "_parse_anew", lambda *args: parsed.append(args) or parse(*args))
    for number in range(100):
        assert source_of(getattr(made, f"f{number}")) == f"def f{number}(): return {number}"
    assert len(parsed) == 1


IMPORTING = """
try:
    import json as reader
except ImportError:
    import pickle as reader

def bring():
    global late
    import string as late

class Reading:
    def read(self, text):
        def inner():
            return reader.loads(text)
        return inner

def capitals(text): return late.capwords(text)

shout = lambda text: late.capwords(text)
"""


def test_a_function_is_compiled_with_what_its_module_imports_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    from jobspan.persist.identity import source

    made = define(IMPORTING)
    texts = []
    compile_ = source._compile

    def watched(what: Any, mode: str, flags: int) -> Any:
        if isinstance(what, str) and not flags & source.ast.PyCF_ONLY_AST:
            texts.append(what)
        return compile_(what, mode, flags)

    monkeypatch.setattr(source, "_compile", watched)
    reading = made.Reading()
    assert (source_of(made.Reading.read) or "").startswith("def read(self, text):")
    assert source_of(reading.read("1")) == "def inner():\n    return reader.loads(text)"
    assert texts == []
    assert source_of(made.capitals) == "def capitals(text): return late.capwords(text)"
    assert texts == []
    assert source_of(made.shout) == "lambda text: late.capwords(text)"  # may be one of several in its line
    assert texts == [IMPORTING]


# Names


def by_dis(code: types.CodeType) -> tuple[set[Any], set[Any], set[Any], set[Any]]:
    chains: set[Any] = set()
    attributes: set[Any] = set()
    imports: set[Any] = set()
    assigned: set[Any] = set()
    chain: tuple[str, ...] = ()
    before: list[Any] = [0, None]
    for step in dis.get_instructions(code):
        match step.opname:
            case "LOAD_ATTR" | "LOAD_METHOD":
                attributes.add(step.argval)
                chain = (*chain, step.argval) if chain else ()
                continue
            case "EXTENDED_ARG":
                continue
        if chain:
            chains.add(chain)
        chain = ()
        match step.opname:
            case "LOAD_GLOBAL" | "LOAD_NAME" | "LOAD_FROM_DICT_OR_GLOBALS":
                chain = (step.argval,)
            case "LOAD_CONST" | "LOAD_SMALL_INT":
                before = [before[1], step.argval]
            case "IMPORT_NAME":
                imports.add((before[0], step.argval, before[1] or ()))
            case "STORE_GLOBAL" | "DELETE_GLOBAL":
                assigned.add(step.argval)
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            for mine, inner in zip((chains, attributes, imports, assigned), by_dis(const), strict=True):
                mine.update(inner)
    return chains, attributes, imports, assigned


@pytest.mark.parametrize("module", [kinds, snippets, core, walk, sys.modules[__name__]])
def test_names_are_those_that_dis_sees(module: types.ModuleType) -> None:
    assert module.__file__ is not None
    code = compile(Path(module.__file__).read_text(encoding="utf-8"), "", "exec", dont_inherit=True)
    assert tuple(map(set, find_names(code))) == by_dis(code)


def test_names_are_looked_up_in_what_is_inside_as_well() -> None:
    made = define("""
        def f(x):
            global COUNT
            import one.two as three
            from ..four import five, six
            COUNT = helpers.sub.low(x) + LIMIT
            return [mid(y) for y in x], lambda: high.a(three.attribute)
    """)
    names = find_names(made.f.__code__)
    assert names.chains >= {("helpers", "sub", "low"), ("LIMIT",), ("mid",), ("high", "a")}
    assert names.attributes >= {"sub", "low", "a", "attribute"}
    assert names.imports == {(0, "one.two", ()), (2, "four", ("five", "six"))}
    assert names.assigned == {"COUNT"}
