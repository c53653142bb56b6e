"""`identify`: what a function is by itself: its code, defaults, captured variables; and what an identity can do."""

from __future__ import annotations

import functools
import gc
import operator
import os
import pickle
import sys
import threading
import weakref
from typing import Any

import pytest

import jobspan
import kinds
from defining import define, make_module
from jobspan import UnhashableError, host
from jobspan.persist.identity import identify as module
from jobspan.persist.identity.identify import Identity, find_versions, identify
from pythons import run_python

needs_processes = pytest.mark.skipif(not host.has_processes(), reason="starts other Pythons")
needs_numpy = pytest.mark.skipif(kinds.np is None, reason="needs numpy")


def digest_of(text: str, name: str = "f", module: str = "__main__") -> str:
    return identify(getattr(define(text, module), name)).digest.hex()


# Code


@pytest.mark.parametrize(
    "other",
    [
        "# comment\ndef f(a, b=1):\n    return (a\n            + b)  # more",
        "def f(a, b=1):\n  '''doc'''\n  return a + b",
        "def f(a: int, b: 'str' = 1) -> list: return a + b",
        "x = 5\n\n\ndef f(a, b=1): return a + b",
        "def f(a, b=3 - 2): return a + b",
        "ONE = 1\ndef f(a, b=ONE): return a + b",
        "if True:\n    def f(a, b=1): return a + b",
    ],
)
def test_how_a_function_is_written_makes_no_difference(other: str) -> None:
    assert digest_of(other) == digest_of("def f(a, b=1): return a + b")


@pytest.mark.parametrize(
    "other",
    [
        "def f(a, b=1): return a - b",
        "def f(a, b=2): return a + b",
        "def f(a, b=1.0): return a + b",
        "def f(a, *, b=1): return a + b",
        "def f(a, c=1): return a + c",
        "def f(a, b=1): return a + b, 0",
        "async def f(a, b=1): return a + b",
        "def g(a, b=1): return a + b\nf = g",
        "f = lambda a, b=1: a + b",
    ],
)
def test_what_a_function_does_makes_a_difference(other: str) -> None:
    assert digest_of(other) != digest_of("def f(a, b=1): return a + b")


def test_two_lambdas_of_a_line_are_two() -> None:
    made = define("one, two = lambda x: x + 1, lambda x: x + 2")
    assert identify(made.one) != identify(made.two)


def test_the_module_counts_and_the_file_does_not() -> None:
    text = "def f(): return 1"
    assert digest_of(text, module="one") != digest_of(text, module="two")
    cells = [define(text, file=f"/tmp/ipykernel_{number}/{number}.py").f for number in (1, 2)]
    assert identify(cells[0]) == identify(cells[1])
    assert identify(cells[0]).name == "__main__:f"
    assert digest_of(text, module="__mp_main__") == digest_of(text, module="__main__")


def test_what_is_defined_again_with_the_same_code_is_the_same() -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    define("def helper(): return 1\ndef f(): return helper()", namespace=namespace)
    before = identify(namespace["f"])
    define("def helper(): return 1  # the cell ran again", namespace=namespace)
    assert not before.is_current()
    assert identify(namespace["f"]) == before


def test_without_source_it_is_the_bytecode_and_that_is_said() -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    exec("def f(a, b=1): return a + b\ndef g(a): return f(a)", names)
    found = identify(names["f"])
    assert not found.portable
    version = f"Python {sys.version_info[0]}.{sys.version_info[1]}"
    assert any("__main__:f" in note and version in note for note in found.notes)
    assert not identify(names["g"]).portable
    for other in ("def f(a, b=1): return a - b", "def f(a, b=2): return a + b", "def f(a, /, b=1): return a + b"):
        again: dict[str, Any] = {"__name__": "__main__"}
        exec(other, again)
        assert identify(again["f"]) != found
    again = {"__name__": "__main__"}
    exec("\n\ndef f(a, b=1): return a + b", again)
    assert identify(again["f"]) == found


def test_handlers_of_exceptions_count_without_source_as_well() -> None:
    bodies = ["try: a()\n  finally: b()", "a()\n  try: b()\n  finally: b()"]
    found = set()
    for body in bodies:
        names: dict[str, Any] = {}
        exec(f"def f(a, b):\n  {body}", names)
        found.add(identify(names["f"]).digest)
    assert len(found) == 2


# Defaults and captured variables


def test_defaults_count_by_their_values() -> None:
    def make(first: Any, second: Any) -> Any:
        def inner(x: Any = first, *, y: Any = second) -> Any:
            return x, y

        return inner

    assert identify(make(1, 2)) == identify(make(1, 2))
    assert len({identify(make(*pair)).digest for pair in ((1, 2), (2, 1), (1, [2]), (None, 2))}) == 4


def test_a_replaced_default_is_noticed() -> None:
    f = define("def f(a=1, *, b=2): return a, b").f
    before = identify(f)
    assert before.is_current()
    f.__defaults__ = (5,)
    assert not before.is_current()
    middle = identify(f)
    f.__kwdefaults__ = {"b": 5}
    assert not middle.is_current()
    assert len({before.digest, middle.digest, identify(f).digest}) == 3


def make_scale(factor: Any) -> Any:
    return lambda number: number * factor


def test_closures_of_a_factory_differ_by_what_they_capture() -> None:
    assert identify(make_scale(2)) == identify(make_scale(2))
    assert len({identify(make_scale(factor)).digest for factor in (2, 3, 2.0, "2", [2], {2})}) == 6
    captured = [part for part in identify(make_scale(2)).parts if part.kind == "captured"]
    assert [(part.name, part.text) for part in captured] == [("factor", "2")]


def test_a_captured_variable_that_is_rebound_is_noticed_and_one_that_is_changed_in_place_is_not() -> None:
    rows: Any = [1]

    def inner() -> Any:
        return rows

    before = identify(inner)
    rows.append(2)
    assert before.is_current()
    assert identify(inner) == before
    rows = [1, 2]
    assert not before.is_current()
    assert identify(inner) != before


def test_a_captured_variable_without_value_is_unbound() -> None:
    def inner() -> Any:
        return later

    before = identify(inner)
    assert [part.text for part in before.parts if part.kind == "captured"] == ["unbound"]
    later = 1
    assert not before.is_current()
    assert identify(inner) != before


def test_a_function_that_captures_itself_is_identified() -> None:
    def make(step: int) -> Any:
        def down(n: int) -> Any:
            return down(n - step) if n > 0 else many

        many = {"itself": [down, down]}
        return down

    assert identify(make(1)) == identify(make(1)) != identify(make(2))


def test_what_cannot_be_hashed_is_named_with_what_to_do() -> None:
    lock = threading.Lock()

    def captures() -> Any:
        return lock

    def defaults(x: Any = lock) -> Any:
        return x

    with pytest.raises(UnhashableError, match=r"captures lock, which .* a _thread.lock .*register_hash.* argument"):
        identify(captures)
    with pytest.raises(UnhashableError, match=r"has defaults that .* a _thread.lock"):
        identify(defaults)
    with pytest.raises(UnhashableError, match=r"cannot be identified: it has no code.*Wrap it in a function"):
        identify(lock.acquire)
    with pytest.raises(UnhashableError, match="captures lock"):
        jobspan.hash([captures])


# What is installed


@pytest.mark.parametrize(
    ("function", "name"),
    [(len, "builtins:len"), (os.path.basename, f"{os.path.__name__}:basename"), (dict, "builtins:dict")],
)
def test_what_is_installed_is_its_name(function: Any, name: str) -> None:
    found = identify(function)
    assert (found.name, found.portable, found.notes, found.packages) == (name, True, (), {})
    assert [part.kind for part in found.parts] == ["function"]


@needs_numpy
def test_ufuncs_and_functions_of_packages_name_their_package() -> None:
    np = kinds.np
    assert identify(np.mean).packages == {"numpy": np.__version__}
    assert identify(np.add) == identify(np.add) != identify(np.subtract)
    assert identify(np.vectorize).portable


def test_versions_are_those_of_the_distributions() -> None:
    found = find_versions(["pytest", "_pytest", "json", "no_such_package"])
    assert found == {"pytest": pytest.__version__}


def test_a_wrapper_that_took_the_name_of_an_installed_function_is_not_it() -> None:
    made = define("""
        import functools, os.path
        @functools.wraps(os.path.basename)
        def wrapper(path): return 5
    """)
    assert made.wrapper.__module__ == os.path.basename.__module__
    assert identify(made.wrapper) != identify(os.path.basename)
    assert jobspan.hash(made.wrapper) != jobspan.hash(os.path.basename)


# Other callables


def test_partial_objects_methods_and_instances_count_by_all_they_hold() -> None:
    text = """
        import functools
        def f(a, b): return a{0}b
        class C:
            def __init__(self, x): self.x = x
            def __call__(self): return self.m()
            def m(self): return self.x{0}1
        made = functools.partial(f, 1), C(1).m, C(1), functools.cache(f), functools.partial(C(1).m), C.m, C
        others = functools.partial(f, 2), C(2).m, C(2)
    """
    one, same, changed = (define(text.format(sign)) for sign in "++-")
    digests = [identify(each).digest for each in (*one.made, *one.others)]
    assert len(set(digests)) == len(digests)
    assert digests == [identify(each).digest for each in (*same.made, *same.others)]
    assert not set(digests) & {identify(each).digest for each in (*changed.made, *changed.others)}
    assert [identify(each).name for each in one.made] == [
        "__main__:f", "__main__:C.m", "__main__:C", "__main__:f", "__main__:C.m", "__main__:C.m", "__main__:C",
    ]  # fmt: skip
    assert identify(operator.itemgetter(1)) != identify(operator.itemgetter(2))


# An object that says itself what it is


class Cached:
    """As a function with a cache does it."""

    def __init__(self, function: Any) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.identity: Identity | None = None

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)

    def __jobspan_identity__(self) -> Identity:
        if self.identity is None or not self.identity.is_current():
            self.identity = identify(self.function)
        return self.identity


CIRCLE = """
def f(n): return g(n - 1)
def g(n): return f(n{}1)
f, g = Cached(f), Cached(g)
def h(n): return f(n)
"""


def test_functions_with_caches_that_call_each_other_have_one_identity_whichever_comes_first() -> None:
    def circle(sign: str) -> Any:
        return define(CIRCLE.format(sign), namespace={"__name__": "__main__", "Cached": Cached})

    one, other = circle("-"), circle("-")
    first = [identify(one.f), identify(one.g), identify(one.h)]
    second = [identify(other.h), identify(other.g), identify(other.f)][::-1]
    assert first == second
    assert len({each.digest for each in first}) == 3
    changed = circle("+")
    assert all(identify(getattr(changed, each.name[-1])) != each for each in first)
    assert jobspan.hash(one.f) == jobspan.hash(other.f) != jobspan.hash(changed.f)


def test_an_identity_that_came_with_an_object_is_taken_as_it_is() -> None:
    made = define(CIRCLE.format("-"), namespace={"__name__": "__main__", "Cached": Cached})
    arrived = Cached(made.g.function)
    arrived.identity = pickle.loads(pickle.dumps(identify(made.g)))
    assert identify(arrived) == identify(made.g)
    caller = define("def caller(): return g()", namespace={"__name__": "__main__", "g": arrived}).caller
    parts = identify(caller).parts
    assert ("__main__:g", identify(made.g).digest) in [(part.name, part.digest) for part in parts]


# Identities


def test_a_pickled_identity_is_small_equal_and_always_current() -> None:
    f = define("LIMIT = 1\ndef f(): return LIMIT").f
    found = identify(f)
    data = pickle.dumps(found)
    assert len(data) < 1000
    arrived = pickle.loads(data)
    assert arrived == found
    assert hash(arrived) == hash(found)
    assert (arrived.parts, arrived.notes, arrived.portable) == (found.parts, found.notes, found.portable)
    f.__globals__["LIMIT"] = 2
    assert not found.is_current()
    assert arrived.is_current()
    assert arrived.function is None
    assert arrived != "something else"
    assert "__main__:f" in repr(arrived)


def test_an_identity_is_remembered_and_lets_its_function_go() -> None:
    function = make_scale([5])
    assert identify(function) is identify(function)
    key = id(function)
    assert key in module._remembered
    whose, identity = weakref.ref(function), identify(function)
    del function
    gc.collect()
    assert whose() is None
    assert identity.function is None
    assert identity.is_current()
    assert key not in module._remembered


def test_not_many_identities_are_remembered() -> None:
    functions = [make_scale(number) for number in range(2 * module._MANY)]
    for function in functions:
        identify(function)
    assert len(module._remembered) <= module._MANY


TELL = """
import json, sys, kinds
from jobspan.persist.identity.identify import identify
each = [kinds.repeat, kinds.Settings, kinds.Colour, kinds.Point, kinds._tree, kinds.Fixed, kinds.Access, kinds.Texts]
print(json.dumps([identify(one).digest.hex() for one in each]))
"""


@needs_processes
def test_identities_are_the_same_in_every_process() -> None:
    assert len({run_python(sys.executable, TELL, PYTHONHASHSEED=str(seed)) for seed in range(4)}) == 1


@needs_processes
def test_a_script_that_is_run_in_another_folder_has_the_same_identities(tmp_path: Any) -> None:
    import subprocess

    found = set()
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        script = tmp_path / folder / "script.py"
        script.write_text(
            "from jobspan.persist.identity.identify import identify\nhelper = lambda: 1\ndef f(): return helper()\n"
            "print(identify(f).digest.hex(), identify(f).portable)\n"
        )
        library = os.path.dirname(os.path.dirname(jobspan.__file__))
        environment = {**os.environ, "PYTHONPATH": library}
        done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=True)
        found.add(done.stdout)
    assert len(found) == 1
    assert found.pop().endswith(" True\n")


@pytest.mark.skipif(not host.has_threads(), reason="there are no threads here")
def test_many_threads_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_module("user_threads", "\n".join(f"def f{n}(): return f{n - 1}() if {n} else 0" for n in range(40)))
    found: list[list[bytes]] = []

    def work() -> None:
        found.append([identify(getattr(made, f"f{n}")).digest for n in range(40)])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monkeypatch.delitem(sys.modules, "user_threads")
    assert len(found) == 4
    assert all(each == found[0] for each in found)
