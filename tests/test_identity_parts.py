"""`identify`: what a function uses, and so is part of what it is: helpers, globals, classes, modules."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cells
import jobspan
import kinds
from cells import CLASSES, HELPERS, WRAPPERS
from defining import define, make_module
from jobspan import host
from jobspan.persist.identity.identify import Identity, identify
from pythons import VERSIONS, find_python, run_python

needs_numpy = pytest.mark.skipif(kinds.np is None, reason="needs numpy")


@pytest.fixture(autouse=True)
def _forget_modules() -> Iterator[None]:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("user_"):
            del sys.modules[name]


def parts_of(identity: Identity) -> dict[str, str]:
    return {part.name: part.kind for part in identity.parts}


def changed(one: Identity, other: Identity) -> set[str]:
    """The names of the parts that differ."""
    mine, theirs = ({(part.name, part.digest) for part in each.parts} for each in (one, other))
    return {name for name, _ in mine ^ theirs}


def both(text: str, old: str, new: str) -> tuple[Identity, Identity]:
    """The identity of f as the text is, and with something replaced; the two differ."""
    assert old in text
    one, other = (identify(define(each).f) for each in (text, text.replace(old, new)))
    assert one.digest != other.digest
    assert one.portable
    assert other.portable
    return one, other


# Helpers


def test_a_changed_helper_is_a_new_identity_and_is_named() -> None:
    one, other = both(HELPERS, "x + 1", "x + 2")
    assert parts_of(one) == {"__main__:f": "function", "__main__:mid": "helper", "__main__:low": "helper"}
    assert changed(one, other) == {"__main__:low"}
    assert [part.text for part in other.parts if part.name == "__main__:low"] == ["def low(x): return x + 2"]
    assert changed(*both(HELPERS, "* 2", "* 3")) == {"__main__:mid"}


def test_what_is_not_used_is_no_part() -> None:
    one, other = (identify(define(text).f) for text in (HELPERS, HELPERS.replace("return x\n", "return 5\n")))
    assert one == other


def test_a_helper_that_is_rebound_is_noticed() -> None:
    made = define(HELPERS, namespace=(names := {"__name__": "__main__"}))
    before = identify(made.f)
    assert identify(made.f) is before
    names["low"] = names["other"]
    assert not before.is_current()
    assert changed(before, identify(made.f)) == {"__main__:low", "__main__:other", "__main__:mid"}
    names["other"].__code__ = (lambda x: x + 5).__code__
    names["mid"].__defaults__ = (7,)
    assert len({before.digest, identify(made.f).digest, identify(names["mid"]).digest}) == 3


def test_helpers_that_swap_names_make_a_difference() -> None:
    text = """
        def make(n):
            def inner(x): return x + n
            return inner
        a, b = make(1), make(2)
        one, two = lambda x: x + 1, lambda x: x + 2
        table = {{"a": {0}, "b": {1}}}
        def f(x): return a(x), {0}(x) - {1}(x), one(x)
        def g(x): return one(x) - two(x)
        def h(x): return table
    """
    straight, crossed = define(text.format("a", "b")), define(text.format("b", "a"))
    assert identify(straight.h) != identify(crossed.h)
    swapped = define(text.format("a", "b") + "\n        one, two = two, one")
    assert identify(straight.g) != identify(swapped.g)
    swapped = define(text.format("a", "b") + "\n        a, b = b, a")
    assert identify(straight.f) != identify(swapped.f)


@pytest.mark.parametrize("start", ["f", "g"])
def test_functions_that_call_each_other_in_circles_are_identified(start: str) -> None:
    text = "def f(n): return g(n) + LIMIT\ndef g(n): return h(n), f(n)\ndef h(n): return 1\nLIMIT = 3"
    one = identify(getattr(define(text), start))
    assert one == identify(getattr(define(text), start))
    for old, new in (("return 1", "return 2"), ("LIMIT = 3", "LIMIT = 4"), ("h(n), f", "h(n) and f")):
        assert identify(getattr(define(text.replace(old, new)), start)) != one


def test_a_helper_that_is_defined_later_is_noticed() -> None:
    made = define("def f(): return later()", namespace=(names := {"__name__": "__main__"}))
    before = identify(made.f)
    assert before.is_current()
    names["later"] = len
    assert not before.is_current()
    assert identify(made.f) != before
    builtin = define("def f(): return len()", namespace=(names := {"__name__": "__main__"}))
    before = identify(builtin.f)
    names["len"] = lambda: 5
    assert not before.is_current()
    assert identify(builtin.f) != before


def test_names_that_only_annotations_use_are_no_parts() -> None:
    made = define("""
        class T: pass
        def f(x: T) -> T:
            y: T = x
            def g(z: T) -> T: return z
            return g(y)
    """)
    assert parts_of(identify(made.f)) == {"__main__:f": "function"}


def test_defaults_and_captured_variables_of_helpers_count() -> None:
    text = """
        def make(n):
            def inner(x=[1]): return x, n
            return inner
        helper = make(2)
        def f(): return helper()
    """
    assert changed(*both(text, "make(2)", "make(3)")) >= {"__main__:make.<locals>.inner"}
    assert changed(*both(text, "x=[1]", "x=[2]")) >= {"__main__:make.<locals>.inner"}
    assert "captured" not in parts_of(identify(define(text).f)).values()  # that is what the function itself captures


# Globals


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("3", "4"),
        ("3", "3.0"),
        ("[1, {'a': (2,)}]", "[1, {'a': (3,)}]"),
        ("{1, 2}", "{1, 3}"),
        ("b'a'", "b'b'"),
        ("range(3)", "range(4)"),
        ("Decimal('1.0')", "Decimal('1.00')"),
        ("date(2026, 1, 2)", "date(2026, 1, 3)"),
        ("re.compile('a')", "re.compile('b')"),
        ("Path('a')", "Path('b')"),
        ("Colour.RED", "Colour.GREEN"),
        ("Point(1, 2)", "Point(1, 3)"),
        ("Settings('a')", "Settings('b')"),
        ("{'a': len}", "{'a': abs}"),
        ("{'a': helper}", "{'a': other}"),
        ("partial(helper, 1)", "partial(helper, 2)"),
        ("deque([1])", "deque([2])"),
        ("SimpleNamespace(a=1)", "SimpleNamespace(a=2)"),
    ],
)
def test_globals_that_are_plain_data_are_parts(old: str, new: str) -> None:
    text = f"""
        import re
        from collections import deque
        from datetime import date
        from decimal import Decimal
        from functools import partial
        from pathlib import Path
        from types import SimpleNamespace
        from kinds import Colour, Point, Settings
        def helper(x): return x
        def other(x): return x + 1
        VALUE = {old}
        def f(): return VALUE
    """
    one, other = both(text, f"VALUE = {old}", f"VALUE = {new}")
    assert parts_of(one)["__main__:VALUE"] == "global"
    assert "__main__:VALUE" in changed(one, other)
    assert one.notes == ()


@needs_numpy
def test_globals_that_are_arrays_are_parts_and_random_generators_are_not() -> None:
    text = """
        import numpy as np
        table = np.arange(5)
        rng = np.random.default_rng(1)
        def f(): return table + rng.random()
    """
    one, other = both(text, "arange(5)", "arange(6)")
    assert changed(one, other) == {"__main__:table"}
    assert any("__main__:rng (a numpy.random" in note for note in one.notes)
    assert identify(define(text.replace("default_rng(1)", "default_rng(2)")).f) == one


def test_objects_of_a_class_of_ones_own_are_parts_if_what_is_in_them_is_plain() -> None:
    text = """
        class Model:
            bias = 1
            def __init__(self, factor): self.factor, self.names = factor, ["a"]
            def predict(self, x): return self.factor * x + self.bias
        model = Model(2)
        predict = model.predict
        def f(x): return model.predict(x) + predict(x)
    """
    for now, then in (("Model(2)", "Model(3)"), ("bias = 1", "bias = 2"), ("* x", "** x"), ('["a"]', '["b"]')):
        one, other = both(text, now, then)
        assert one.digest != other.digest, then
    assert not one.notes


def test_what_else_is_global_is_left_out_with_a_note() -> None:
    made = define(
        """
        import threading
        class Service:
            def __init__(self): self.lock = threading.Lock()
        lock, service, held = threading.Lock(), Service(), [threading.Lock()]
        def f(): return lock, service, held
        """,
        namespace=(names := {"__name__": "__main__"}),
    )
    found = identify(made.f)
    assert parts_of(found) == {"__main__:f": "function"}
    assert len(found.notes) == 3
    assert all("not part of the key; say depends=" in note for note in found.notes)
    assert "the global __main__:service (a __main__.Service)" in found.notes[2]
    names["lock"] = 5
    assert not found.is_current()
    assert parts_of(identify(made.f))["__main__:lock"] == "global"


def test_a_global_that_is_rebound_is_noticed_and_one_that_is_changed_in_place_is_not() -> None:
    made = define("ROWS = [1]\ndef f(): return ROWS", namespace=(names := {"__name__": "__main__"}))
    before = identify(made.f)
    names["ROWS"].append(2)
    assert before.is_current()
    assert identify(made.f) == before
    names["ROWS"] = [1, 2]
    assert not before.is_current()
    assert identify(made.f) != before


def test_globals_that_functions_assign_are_no_parts() -> None:
    text = """
        COUNT, model, fixed = 0, None, 1
        def load():
            global model
            if model is None: model = lambda: 5
            return model
        def f():
            global COUNT
            COUNT += 1
            return load()(), model, fixed
    """
    made = define(text, namespace=(names := {"__name__": "__main__"}))
    before = identify(made.f)
    assert parts_of(before) == {"__main__:f": "function", "__main__:load": "helper", "__main__:fixed": "global"}
    assert [note.split()[2] for note in before.notes] == ["__main__:COUNT", "__main__:model"]
    made.f()
    assert names["COUNT"] == 1
    assert before.is_current()
    assert identify(made.f) == before


def test_where_a_module_lies_is_no_part() -> None:
    made = define("def f(): return __file__, __name__, __spec__, __doc__")
    assert parts_of(identify(made.f)) == {"__main__:f": "function"}


def test_an_absolute_path_is_a_part_and_that_is_said() -> None:
    made = define("from pathlib import Path\nroot = Path('a').absolute()\ndef f(): return root")
    assert any("absolute path" in note for note in identify(made.f).notes)


# Modules


def test_what_is_used_of_a_users_module_is_a_part() -> None:
    helpers = make_module("user_helpers", "LIMIT = 1\ndef g(): return LIMIT\ndef h(): return 1\nclass C:\n x = 1")
    made = define("import user_helpers as helpers\ndef f(): return helpers.g(), helpers.C.x")
    before = identify(made.f)
    assert parts_of(before) == {
        "__main__:f": "function",
        "user_helpers:C": "class",
        "user_helpers:LIMIT": "global",
        "user_helpers:g": "helper",
    }
    helpers.h = None
    assert before.is_current()
    helpers.LIMIT = 2
    assert not before.is_current()
    assert changed(before, identify(made.f)) == {"user_helpers:LIMIT"}
    helpers.g = lambda: 5
    assert identify(made.f) != before


def test_a_module_that_is_handled_as_a_value_counts_by_what_may_be_looked_up_on_it() -> None:
    make_module("user_helpers", "def g(): return 1\ndef h(): return 2")
    made = define("import user_helpers\ndef f():\n module = user_helpers\n return module.g()")
    assert set(parts_of(identify(made.f))) == {"__main__:f", "user_helpers:g"}


@pytest.mark.parametrize(
    "body",
    [
        "from user_helpers import g\n return g()",
        "import user_helpers\n return user_helpers.g()",
        "import user_helpers as helpers\n return helpers.g()",
    ],
)
def test_what_is_imported_inside_of_a_function_is_a_part(body: str) -> None:
    helpers = make_module("user_helpers", "def g(): return h()\ndef h(): return 1\ndef i(): return 2")
    made = define(f"def f():\n {body}")
    before = identify(made.f)
    assert set(parts_of(before)) == {"__main__:f", "user_helpers:g", "user_helpers:h"}
    helpers.g = lambda: 5
    assert not before.is_current()
    assert identify(made.f) != before


def test_what_cannot_be_imported_is_noted() -> None:
    found = identify(define("def f():\n import user_missing_module\n return user_missing_module").f)
    assert "user_missing_module, which is not part of the key: it cannot be imported here" in found.notes[0]


def test_modules_that_import_each_other_are_followed() -> None:
    one = make_module("user_one", "def go(): return two.go()\nLIMIT = 1")
    two = make_module("user_two", "def go(): return one.LIMIT")
    one.two, two.one = two, one
    found = identify(define("import user_one\ndef f():\n m = user_one\n return m.go, m.two, m.one").f)
    assert {"user_one:go", "user_two:go", "user_one:LIMIT"} <= set(parts_of(found))


def test_packages_that_are_named_are_known_by_their_versions_which_do_not_count() -> None:
    text = "import pytest as p\ndef f():\n from _pytest import config\n return p.mark.skip, config"
    found = identify(define(text).f)
    assert found.modules == ("_pytest", "pytest")
    assert found.packages == {"pytest": pytest.__version__}
    assert parts_of(found) == {"__main__:f": "function"}


def test_another_module_under_the_same_name_makes_a_difference() -> None:
    both("import os.path as m\ndef f(): return m.join", "import os.path as m", "import json as m")


# Classes


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("factor = 2", "factor = 3"),
        ("return self.factor", "return self.factor + 1"),
        ("x + 1", "x + 2"),
        ("class C(Base):", "class C(Base, dict):"),
        ("@staticmethod", "@classmethod"),
        ("(m, 70)", "(m, 71)"),
        *[(f"return {number}", f"return {number + 1}") for number in (10, 20, 30, 40, 50, 60, 80)],
    ],
)
def test_a_class_counts_by_all_that_it_defines_and_inherits(old: str, new: str) -> None:
    both(CLASSES, old, new)
    one, other = define(CLASSES), define(CLASSES.replace(old, new))
    assert identify(one.C) != identify(other.C)
    assert jobspan.hash(one.C()) == jobspan.hash(define(CLASSES).C()) != jobspan.hash(other.C())


def test_a_method_that_is_replaced_is_noticed() -> None:
    made = define(CLASSES)
    before = identify(made.f)
    made.Base.base = lambda self: 5
    assert not before.is_current()
    assert identify(made.f) != before


def test_attributes_of_classes_that_are_no_plain_data_are_noted() -> None:
    made = define("import threading\nclass C:\n lock = threading.Lock()\n _private = lock\ndef f(): return C")
    assert [note.split()[2] for note in identify(made.f).notes] == ["__main__:C.lock"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("depth: int = 3", "depth: int = 4"),
        ("depth: int = 3", "depth: float = 3"),
        ("depth: int = 3", "width: int = 3"),
        ("=list", "=dict"),
        ("@dataclass", "@dataclass(frozen=True)"),
        ("default_factory=list)", "default_factory=list, compare=False)"),
    ],
)
def test_the_fields_of_a_dataclass_count(old: str, new: str) -> None:
    both(
        """
        from dataclasses import dataclass, field
        @dataclass
        class C:
            name: str
            depth: int = 3
            more: "list[int] | None" = field(default_factory=list)
        def f(): return C
        """,
        old,
        new,
    )


def test_enums_count_by_their_members_and_methods() -> None:
    text = "import enum\nclass E(enum.Enum):\n A = 1\n B = 2\n def m(self): return 5\ndef f(): return E"
    both(text, "B = 2", "B = 3")
    both(text, "B = 2", "C = 2")
    both(text, "return 5", "return 6")
    both(text, "enum.Enum", "enum.IntEnum")
    both(text.replace("A = 1", "def _generate_next_value_(*of): return 7\n A = 1"), "return 7", "return 8")


def test_named_tuples_are_portable_though_python_writes_their_methods() -> None:
    text = "from typing import NamedTuple\nclass P(NamedTuple):\n x: int\n y: float = 2.0\ndef f(): return P"
    both(text, "2.0", "3.0")
    both(text, "y: float", "z: float")


def test_annotations_are_spelled_the_same_by_all_versions() -> None:
    from jobspan.persist.identity.members import _spell

    made = define("""
        from typing import Any, Callable, ClassVar, Literal, Optional, Union, TypeVar
        T = TypeVar("T")
        each = [int, "int", None, list[int], dict[str, list[int]], Optional[int], int | None, Union[int, str],
                Callable[[int], str], ClassVar[int], Literal["a", 1], Any, T]
    """)
    assert list(map(_spell, made.each)) == [
        "int", "int", "None", "list[int]", "dict[str, list[int]]", "int | None", "int | None", "int | str",
        "collections.abc:Callable[int, str]", "typing:ClassVar[int]", "typing:Literal[a, 1]", "typing:Any",
        "__main__:T",
    ]  # fmt: skip


# Wrappers


@pytest.mark.parametrize(
    ("old", "new"),
    [("return function(*args), 1", "return function(*args), 2")]
    + [(str(number), str(number + 1)) for number in (10, 20, 30, 40, 50, 60)]
    + [("j.register(int)", "j.register(str)"), ("@deco\n", ""), ("@functools.cache\n", "")],
)
def test_wrapped_functions_count_with_their_wrappers(old: str, new: str) -> None:
    both(WRAPPERS, old, new)


def test_what_a_wrapper_of_a_package_captures_beside_plain_data_is_noted() -> None:
    import reprlib
    import threading

    def make() -> Any:
        def wrapper() -> Any:
            return lock

        lock = threading.Lock()
        return wrapper

    made = make()
    foreign = type(made)(made.__code__, vars(reprlib), "wrapper", None, made.__closure__)
    foreign.__module__ = "__main__"
    found = identify(define("def f(): return g", namespace={"__name__": "__main__", "g": foreign}).f)
    assert found.notes == (f"__main__:{made.__qualname__} captures lock (a _thread.lock), which does not count.",)


GOLDEN = Path(__file__).parent / "golden" / "identities.json"


def test_the_identities_are_those_of_the_table() -> None:
    assert cells.identities() == json.loads(GOLDEN.read_text(encoding="utf-8"))


@pytest.mark.skipif(not host.has_processes(), reason="starts other Pythons")
@pytest.mark.skipif(shutil.which("sh") is None, reason="needs a shell to look for Pythons")
@pytest.mark.parametrize("version", VERSIONS)
def test_other_pythons_identify_alike(version: str) -> None:
    told = run_python(find_python(version), "import json, cells; print(json.dumps(cells.identities()))")
    assert json.loads(told) == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_the_texts_of_parts_are_for_people() -> None:
    made = define("""
        NAMES, LONG, LOCKS = ["a", "b"], "x" * 1000, {}
        def f(a=1, *, b=(2, 3)): return NAMES, LONG, LOCKS
    """)
    texts = {part.name: part.text for part in identify(made.f).parts}
    assert texts["__main__:f"].startswith("def f(a=1")
    assert texts["__main__:NAMES"] == "['a', 'b']"
    assert len(texts["__main__:LONG"]) == 200
    assert texts["defaults"] == "1, (2, 3)"
