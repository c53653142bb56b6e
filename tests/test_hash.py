"""`hash`: what has the same digest and what has not, in this process and in others."""

from __future__ import annotations

import copyreg
import functools
import hashlib
import json
import os
import pickle
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import jobspan
import kinds
from jobspan import UnhashableError, host, register_hash
from jobspan.persist import chunks, content
from pythons import VERSIONS, find_python, run_python

np = kinds.np
needs_numpy = pytest.mark.skipif(np is None, reason="needs numpy")
needs_processes = pytest.mark.skipif(not host.has_processes(), reason="starts other Pythons")

HERE = Path(__file__).parent
GOLDEN = HERE / "golden" / "hash_scheme_1.json"
TELL = "import json, kinds, jobspan; print(json.dumps({name: jobspan.hash(make()) for name, make in kinds.%s.items()}))"


@pytest.fixture(autouse=True)
def _forget_what_was_registered() -> Any:
    yield
    content._registered.clear()
    content._known.clear()


# The table of kinds


@pytest.mark.parametrize("name", kinds.KINDS)
def test_equal_objects_have_the_same_digest(name: str) -> None:
    make = kinds.KINDS[name]
    assert jobspan.hash(make()) == jobspan.hash(make())


CHANGED_BY_PICKLE = {"memoryview", "big-endian ints"}  # which has no pickle; which numpy turns round


@pytest.mark.parametrize("name", [name for name in kinds.KINDS if name not in CHANGED_BY_PICKLE])
def test_a_pickled_copy_has_the_same_digest(name: str) -> None:
    obj = kinds.KINDS[name]()
    assert jobspan.hash(pickle.loads(pickle.dumps(obj))) == jobspan.hash(obj)


def test_all_kinds_differ() -> None:
    digests = {name: jobspan.hash(make()) for name, make in kinds.KINDS.items()}
    assert len(set(digests.values())) == len(kinds.KINDS)


def test_the_digests_are_those_of_the_scheme() -> None:
    known = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert set(kinds.PLAIN) | set(kinds.NUMPY) == set(known)
    assert {name: jobspan.hash(make()) for name, make in kinds.PORTABLE.items()} == {
        name: known[name] for name in kinds.PORTABLE
    }


@needs_processes
@pytest.mark.skipif(shutil.which("sh") is None, reason="needs a shell to look for Pythons")
@pytest.mark.parametrize("version", VERSIONS)
def test_other_pythons_compute_the_same(version: str) -> None:
    known = json.loads(GOLDEN.read_text(encoding="utf-8"))
    told = json.loads(run_python(find_python(version), TELL % "PORTABLE"))
    assert told == {name: known[name] for name in told}
    assert set(told) >= set(kinds.PLAIN)


@needs_processes
def test_the_salt_of_hash_makes_no_difference() -> None:
    mine = {name: jobspan.hash(make()) for name, make in kinds.KINDS.items()}
    for seed in range(10):
        assert json.loads(run_python(sys.executable, TELL % "KINDS", PYTHONHASHSEED=str(seed))) == mine


# What makes no difference


def test_sharing_makes_no_difference() -> None:
    part, twin = [1, [2]], [1, [2]]
    assert jobspan.hash([part, part]) == jobspan.hash([part, twin])
    text = "xab"[1:]
    assert jobspan.hash([text, text]) == jobspan.hash(["ab", "abc"[:2]])


def test_what_is_shared_very_often_is_looked_at_once() -> None:
    shared: Any = {"a": [1, object]}
    for _ in range(100):
        shared = [shared, shared]
    begin = time.monotonic()
    jobspan.hash(shared)
    assert time.monotonic() - begin < 20  # or it would outlive the sun


def test_the_order_of_sets_and_dicts_makes_no_difference() -> None:
    keys: list[Any] = [str(number) for number in range(100)]
    for mix in (keys, [*keys, 1, None, (1, 2)]):
        back = mix[::-1]
        assert jobspan.hash(set(mix)) == jobspan.hash(set(back))
        assert jobspan.hash(dict.fromkeys(mix)) == jobspan.hash(dict.fromkeys(back))
    assert jobspan.hash({"a": 1, "b": 2}) == jobspan.hash({"b": 2, "a": 1})


def test_the_order_of_an_ordered_dict_makes_a_difference() -> None:
    from collections import OrderedDict

    assert jobspan.hash(OrderedDict(a=1, b=2)) != jobspan.hash(OrderedDict(b=2, a=1))


def test_what_packages_add_to_the_pickles_of_exceptions_makes_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    before = jobspan.hash(KeyError("a", 5))
    monkeypatch.setitem(copyreg.dispatch_table, KeyError, lambda error: (KeyError, (*error.args, "traceback")))
    assert jobspan.hash(KeyError("a", 5)) == before != jobspan.hash(KeyError("a"))


def test_a_cached_property_makes_no_difference_once_it_was_read() -> None:
    class Circle:
        def __init__(self, radius: float) -> None:
            self.radius = radius

        @functools.cached_property
        def area(self) -> float:
            return 3 * self.radius**2

    read = Circle(2)
    assert read.area == 12
    assert jobspan.hash(read) == jobspan.hash(Circle(2)) != jobspan.hash(Circle(3))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(max_size=40),
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner)
        | st.sets(st.text() | st.integers()) | st.frozensets(st.integers())
    ),
    max_leaves=30,
)  # fmt: skip


def typed(obj: Any) -> Any:
    """The object with the types of its parts, so that equality tells 1 from True, and lists from tuples."""
    kind = type(obj)
    if isinstance(obj, dict):
        return kind, frozenset((typed(key), typed(value)) for key, value in obj.items())
    if isinstance(obj, list | tuple):
        return kind, tuple(map(typed, obj))
    if isinstance(obj, set | frozenset):
        return kind, frozenset(map(typed, obj))
    return kind, str(obj) if isinstance(obj, float) else obj


@given(values, values)
def test_digests_are_equal_where_the_objects_are_and_only_there(one: Any, other: Any) -> None:
    assert jobspan.hash(pickle.loads(pickle.dumps(one))) == jobspan.hash(one)
    assert (jobspan.hash(one) == jobspan.hash(other)) == (typed(one) == typed(other))


@given(values)
def test_what_is_around_an_object_changes_the_digest(obj: Any) -> None:
    around = [[obj], (obj,), [obj, 1], [obj, 2], {"a": obj}, {"b": obj}, [[obj]], kinds.Plain(obj)]
    assert len({jobspan.hash(each) for each in around}) == len(around)


# Functions and classes


def test_a_users_function_is_its_code_and_what_it_captures() -> None:
    def scale(factor: int) -> Callable[[int], int]:
        return lambda number: number * factor

    assert jobspan.hash(scale(2)) == jobspan.hash(scale(2)) != jobspan.hash(scale(3))
    assert jobspan.hash(lambda x: x + 1) != jobspan.hash(lambda x: x + 2)


def test_different_functions_and_classes_differ() -> None:
    calls = [kinds.repeat, len, os.getpid, functools.partial(kinds.repeat, "a"), functools.partial(kinds.repeat, "b")]
    all_of_them = [*calls, kinds.Plain, kinds.Slotted, kinds.Plain(1).__init__, "a".upper, "b".upper, os, sys]
    assert len({jobspan.hash(each) for each in all_of_them}) == len(all_of_them)


@needs_processes
def test_what_a_script_defines_has_the_same_digest_in_every_process() -> None:
    script = """
from dataclasses import dataclass
from enum import Enum
import jobspan

class Colour(Enum):
    RED = 1

@dataclass
class Mine:
    names: set
    def method(self):
        return {"a", "b"}

LIMIT = 3
function = lambda x: (x in {"a", "b", "c"}, LIMIT)
print(jobspan.hash([Mine({"x", "y", "z"}), function, Mine, Colour.RED, Mine({"a"}).method]))
"""
    found = set()
    for seed in range(4):
        environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        found.add(done.stdout)
    assert len(found) == 1
    assert len(found.pop().strip()) == 32


def test_functions_of_packages_are_their_names() -> None:
    assert not content.is_installed("kinds")
    assert all(map(content.is_installed, ("os.path", "builtins", "pytest", "hypothesis.strategies", "jobspan")))
    code = kinds.repeat.__code__
    try:
        before = jobspan.hash(kinds.repeat)
        kinds.repeat.__code__ = (lambda text, times=2: text + str(times)).__code__
        assert jobspan.hash(kinds.repeat) != before
    finally:
        kinds.repeat.__code__ = code


# Types of one's own


class Handle:
    def __init__(self, name: str) -> None:
        self.name = name
        self.lock = threading.Lock()


class SubHandle(Handle):
    pass


def test_a_type_can_be_registered_with_those_derived_from_it() -> None:
    with pytest.raises(UnhashableError, match="lock"):
        jobspan.hash(Handle("a"))
    register_hash(Handle, lambda handle: handle.name)
    assert jobspan.hash(Handle("a")) == jobspan.hash(Handle("a")) != jobspan.hash(Handle("b"))
    assert jobspan.hash([SubHandle("a")]) != jobspan.hash([Handle("a")])


@pytest.mark.parametrize(
    ("kind", "function", "why"),
    [("Handle", len, "is none"), (int, len, "derive a type"), (dict, len, "derive a type"), (Handle, 5, "called")],
)
def test_what_cannot_be_registered_is_said_at_once(kind: Any, function: Any, why: str) -> None:
    with pytest.raises(TypeError, match=why):
        register_hash(kind, function)


# What has no digest


@pytest.mark.parametrize(
    ("obj", "where"),
    [
        (lambda: {"cfg": [1, threading.Lock()]}, r"the object\['cfg'\]\[1\] .* a _thread.lock"),
        (lambda: (each for each in ()), "the object .* a generator"),
        (lambda: kinds.Plain({"file": threading.Lock()}), r"the object.value\['file'\]"),
    ],
)
def test_what_has_no_content_is_named(obj: Callable[[], Any], where: str) -> None:
    with pytest.raises(UnhashableError, match=where) as caught:
        jobspan.hash(obj())
    assert isinstance(caught.value, TypeError)
    assert "register_hash" in str(caught.value)


@needs_numpy
def test_what_has_no_content_is_named_where_it_stands_in_an_array() -> None:
    with pytest.raises(UnhashableError, match=r"the object\['cfg'\]\[1\] .* a _thread.lock"):
        jobspan.hash({"cfg": np.array([1, threading.Lock()], dtype=object)})


def test_what_is_nested_too_deeply_is_refused() -> None:
    deep: Any = []
    for _ in range(3_000):
        deep = [deep]
    with pytest.raises(UnhashableError, match="too deeply"):
        jobspan.hash(deep)


def test_what_contains_itself_through_a_set_is_refused_rather_than_ordered_by_chance() -> None:
    one, other = kinds.Plain(None), kinds.Plain(None)
    one.value = {other}
    other.value = {one}
    with pytest.raises(UnhashableError, match="contain themselves"):
        jobspan.hash(one)


def test_cycles_of_different_shapes_differ() -> None:
    inner: list[Any] = []
    inner.append(inner)
    outer: list[Any] = [[]]
    outer[0].append(outer)
    assert jobspan.hash(inner) != jobspan.hash(outer)


# joblib's signature


def test_an_algorithm_of_hashlib_gives_a_digest_of_its_length() -> None:
    assert len(jobspan.hash("a")) == 32
    for name in sorted(hashlib.algorithms_guaranteed):
        length = 32 if name.startswith("shake") else 2 * hashlib.new(name).digest_size
        assert len(jobspan.hash("a", hash_name=name)) == length
    assert jobspan.hash("a", "sha1") == jobspan.hash("a", hash_name="sha1") != jobspan.hash("b", "sha1")
    with pytest.raises(ValueError, match="'nonsense' is no algorithm"):
        jobspan.hash("a", "nonsense")


# Large buffers


def test_pieces_are_hashed_the_same_by_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    data = random.Random(5).randbytes(5 * chunks.CHUNK + 17)
    found = set()
    for threads in (1, 2, 7):
        monkeypatch.setattr(chunks, "_threads_for", lambda pieces, threads=threads: min(pieces, threads))
        if threads == 1 or host.has_threads():
            found.add(jobspan.hash(data))
    assert len(found) == 1


@pytest.mark.skipif(not host.has_threads(), reason="there are no threads here")
def test_an_error_in_a_thread_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "_threads_for", lambda pieces: 3)

    def work(number: int) -> int:
        if number == 7:
            raise MemoryError("no more")
        return number

    assert chunks.in_threads(work, 7) == list(range(7))
    with pytest.raises(MemoryError, match="no more"):
        chunks.in_threads(work, 50)


def test_a_workers_share_of_the_cpus_is_kept_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "cpu_count", lambda: 8)
    monkeypatch.setattr(host, "has_threads", lambda: True)
    for name in host.THREAD_LIMITS:
        monkeypatch.delenv(name, raising=False)
    assert chunks._threads_for(100) == 8
    assert chunks._threads_for(5) == 5
    assert chunks._threads_for(2) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert chunks._threads_for(100) == 3


# Arrays


@needs_numpy
@pytest.mark.parametrize("dtype", ["f8", "i1", "U3", "M8[s]", [("a", "i4"), ("b", "f8")], "O"])
@pytest.mark.parametrize(
    "cut",
    [
        lambda array: array[::2],
        lambda array: array[:, 1:],
        lambda array: array[:, ::2, 1],
        lambda array: array.transpose(1, 2, 0),
        lambda array: array[5:, 3:5, ::-1],
        lambda array: array[:0],
        lambda array: array[3, 4, 2, ...],
    ],
)
def test_a_slice_has_the_digest_of_its_copy(dtype: Any, cut: Any) -> None:
    count = 16 * (3000 if dtype in ("f8", "U3") else 20)  # some of more than a piece
    array = (np.arange(count * 25) % 117).astype(dtype).reshape(count, 5, 5)
    part = cut(array)
    assert jobspan.hash(part) == jobspan.hash(np.array(part, order="C"))


@needs_numpy
def test_the_order_in_memory_counts_unless_it_is_not_to() -> None:
    array = np.arange(400_000.0).reshape(1000, 400)
    fortran = np.asfortranarray(array)
    assert jobspan.hash(array) != jobspan.hash(fortran)
    assert (
        jobspan.hash([array], coerce_order=True) == jobspan.hash([fortran], coerce_order=True) == jobspan.hash([array])
    )


@needs_numpy
def test_what_lies_between_the_fields_of_a_record_does_not_count() -> None:
    records = np.zeros(5, dtype=np.dtype([("a", "i1"), ("b", "f8")], align=True))
    before = jobspan.hash(records)
    records.view(np.uint8).reshape(5, 16)[:, 3] = 9
    assert jobspan.hash(records) == before
    records["b"][2] = 1
    assert jobspan.hash(records) != before


@needs_numpy
def test_a_masked_array_counts_its_mask() -> None:
    plain = np.ma.array(np.arange(6.0).reshape(2, 3), mask=False)
    assert jobspan.hash(plain, coerce_order=True) == jobspan.hash(plain)  # it is in C order
    one = np.ma.array([1, 2, 3], mask=[0, 1, 0])
    assert jobspan.hash(one) != jobspan.hash(np.ma.array([1, 2, 3], mask=[0, 0, 1]))
    assert jobspan.hash(np.ma.array([1, 2])) == jobspan.hash(np.ma.array([1, 2], mask=[0, 0]))


@needs_numpy
def test_an_array_in_a_mapped_file_can_be_the_same_as_one_in_memory(tmp_path: Path) -> None:
    array = np.arange(300_000.0)
    array.tofile(tmp_path / "array")
    mapped = np.memmap(tmp_path / "array", dtype=float, mode="r")
    assert jobspan.hash(mapped) != jobspan.hash(array)
    assert jobspan.hash(mapped, coerce_mmap=True) == jobspan.hash(array)


class _Counted:
    """How many pieces were hashed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pieces = 0
        digest = chunks.Data.digest_piece

        def counted(data: chunks.Data, number: int) -> bytes:
            self.pieces += 1
            return digest(data, number)

        monkeypatch.setattr(chunks.Data, "digest_piece", counted)

    def count(self, obj: Any) -> int:
        before = self.pieces
        jobspan.hash(obj)
        return self.pieces - before


@needs_numpy
@pytest.mark.thread_unsafe(reason="counts what all threads do")
def test_what_nobody_changes_is_hashed_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    counted = _Counted(monkeypatch)
    array = np.arange(500_000.0)
    assert counted.count(array) == counted.count(array) == 4
    array.flags.writeable = False
    assert [counted.count(array), counted.count(array), counted.count(array[:])] == [4, 0, 0]
    assert counted.count(array[1:]) == 4
    view = np.arange(500_000.0)[:]
    view.flags.writeable = False  # what it is a view of can still be written to
    assert counted.count(view) == counted.count(view) == 4
    array.tofile(tmp_path / "array")
    old = time.time() - 60
    os.utime(tmp_path / "array", (old, old))
    assert counted.count(np.memmap(tmp_path / "array", dtype=float, mode="r")) == 4
    assert counted.count(np.memmap(tmp_path / "array", dtype=float, mode="r")) == 0
    assert counted.count(np.memmap(tmp_path / "array", dtype=float, mode="r+")) == 4
    os.utime(tmp_path / "array", (old + 10, old + 10))
    assert counted.count(np.memmap(tmp_path / "array", dtype=float, mode="r")) == 4
    os.utime(tmp_path / "array")
    assert counted.count(np.memmap(tmp_path / "array", dtype=float, mode="r")) == 4
    assert counted.count(np.memmap(tmp_path / "array", dtype=float, mode="r")) == 4  # it changed a moment ago


@needs_numpy
def test_a_digest_is_forgotten_with_its_array() -> None:
    from jobspan.arrays.content import remembered

    array = np.arange(500_000.0)
    array.flags.writeable = False
    before = len(remembered._digests)
    jobspan.hash(array)
    assert len(remembered._digests) == before + 1
    del array
    assert len(remembered._digests) == before


# Frames


@pytest.mark.skipif(kinds.pd is None, reason="needs pandas")
def test_a_frame_is_its_columns_whatever_blocks_they_are_in() -> None:
    pd = kinds.pd
    whole = pd.DataFrame(np.arange(600_000.0).reshape(-1, 3), columns=list("abc"))
    grown = pd.DataFrame(index=whole.index)
    for name in whole:
        grown[name] = whole[name].to_numpy().copy()
    assert jobspan.hash(grown) == jobspan.hash(whole)
    assert jobspan.hash(whole.rename(columns={"a": "d"})) != jobspan.hash(whole)
    assert jobspan.hash(whole[["b", "a", "c"]]) != jobspan.hash(whole)
    changed = whole.copy()
    changed.loc[7, "b"] += 1
    assert jobspan.hash(changed) != jobspan.hash(whole)


@pytest.mark.skipif(kinds.pl is None or kinds.pa is None, reason="needs polars and pyarrow")
def test_chunks_of_a_column_make_no_difference() -> None:
    frame = kinds.POLARS["polars frame"]()
    assert jobspan.hash(kinds.pl.concat([frame[:1], frame[1:]], rechunk=False)) == jobspan.hash(frame)
    table = kinds.ARROW["arrow table"]()
    assert jobspan.hash(kinds.pa.concat_tables([table[:1], table[1:]])) == jobspan.hash(table)
    assert jobspan.hash(kinds.pa.array(["x", "yy", "z"])[1:]) == jobspan.hash(kinds.pa.array(["yy", "z"]))


@pytest.mark.skipif(kinds.sparse is None, reason="needs scipy")
@pytest.mark.parametrize("name", kinds.SPARSE)
def test_what_a_sparse_array_remembers_makes_no_difference(name: str) -> None:
    used = kinds.SPARSE[name]()
    before = jobspan.hash(used)
    used.sum()
    used.tocsr().has_canonical_format  # noqa: B018  which it remembers
    assert jobspan.hash(used) == before


@pytest.mark.skipif(find_spec("torch") is None, reason="needs torch")
def test_a_tensor_is_its_elements_wherever_and_however_they_lie() -> None:
    import torch

    tensor = torch.arange(600_000.0).reshape(1000, 600)
    assert jobspan.hash(tensor.T) == jobspan.hash(tensor.T.contiguous()) != jobspan.hash(tensor)
    assert jobspan.hash(tensor[::2, 1:]) == jobspan.hash(tensor[::2, 1:].clone())
    found = {jobspan.hash(tensor[:3, :5].to(kind)) for kind in (torch.float32, torch.bfloat16, torch.int8, torch.bool)}
    found |= {
        jobspan.hash(tensor[:3, :5].to(torch.complex64)),
        jobspan.hash(torch.tensor(1.0)),
        jobspan.hash(tensor[:0]),
    }
    found |= {jobspan.hash(torch.nn.Parameter(tensor[:3, :5])), jobspan.hash(tensor[:3, :5].to_sparse())}
    assert len(found) == 9
    layer = torch.nn.Linear(3, 2)
    assert jobspan.hash(pickle.loads(pickle.dumps(layer))) == jobspan.hash(layer)
    with pytest.raises(UnhashableError, match="sparse_csr"):
        jobspan.hash(tensor[:3, :5].to_sparse_csr())


@pytest.mark.skipif(not find_spec("numpy"), reason="needs numpy")
def test_the_masked_constant_has_a_digest() -> None:
    import numpy as np

    assert jobspan.hash(np.ma.masked) == jobspan.hash(np.ma.masked) != jobspan.hash(np.ma.array(0.0, mask=True))
