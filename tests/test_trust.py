"""Files that are not trusted: what is loaded of them, what is refused, and what `inspect` tells of them."""

from __future__ import annotations

import datetime as dt
import io
import os
import pickle
import random
import sys
import types
import uuid
from collections import OrderedDict, deque
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import jobspan
import kinds
from jobspan import DamagedFileError, UntrustedError, dump, host, inspect, load
from jobspan.file import data, unpicklers

np = kinds.np
needs_numpy = pytest.mark.skipif(np is None, reason="needs numpy")
if find_spec("joblib") and np is not None:
    import joblib
else:
    joblib = None

DATA = {
    *("None", "True", "int", "negative int", "large int", "float", "nan", "minus zero", "complex", "str", "unicode"),
    *("long str", "bytes", "long bytes", "bytearray", "list", "tuple", "nested", "long list", "long list of texts"),
    *("long mixed list", "rows", "set", "frozenset", "mixed set", "dict", "dict of ints", "mixed dict", "long dict"),
    *("OrderedDict", "Counter", "deque", "range", "slice", "Ellipsis", "date", "time", "datetime", "timedelta"),
    *("Decimal", "Fraction", "UUID", "path", "pure path", "cycle"),
    *("float64", "bool_", "datetime64", "floats", "floats in 2-d", "floats in Fortran order", "no floats", "one float"),
    *("many floats", "small ints", "big-endian ints", "complex numbers", "texts", "times", "objects", "records"),
    *("aligned records", "masked", "record array", "dtype"),
}
WINDOWS = {"Windows path"}  # data, too, but such a path is another one on each system
NAMES = [name for name in kinds.KINDS if name not in WINDOWS | {"memoryview", "class", "big-endian ints"}]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "object.job"


def writers() -> list[Any]:
    found: list[Any] = [pytest.param(dump, id="jobspan"), pytest.param(_pickle, id="pickle")]
    return found if joblib is None else [*found, pytest.param(joblib.dump, id="joblib")]


def _pickle(obj: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(obj))


@pytest.mark.parametrize("write", writers())
@pytest.mark.parametrize("name", NAMES)
def test_plain_values_and_arrays_are_loaded_and_all_else_is_refused(name: str, write: Any, path: Path) -> None:
    obj = kinds.KINDS[name]()
    write(obj, path)
    if name in DATA:
        assert jobspan.hash(load(path, trusted="data")) == jobspan.hash(obj)
        assert inspect(path).is_data
    else:
        with pytest.raises(UntrustedError, match=r"is not trusted|no plain value"):
            load(path, trusted="data")
        assert not inspect(path).is_data


@needs_numpy
@pytest.mark.parametrize("mode", ["r", "c", "r+"])
def test_arrays_of_files_that_are_not_trusted_can_be_mapped(mode: str, path: Path) -> None:
    array = np.arange(200_000.0).reshape(1000, 200)
    dump([array, array[::2, 1:]], path)
    found = load(path, mmap_mode=mode, trusted="data")
    assert all(isinstance(each, np.memmap) for each in found)
    assert (found[0] == array).all()
    assert (found[1] == array[::2, 1:]).all()


def test_types_and_modules_can_be_trusted_besides(path: Path) -> None:
    dump([kinds.Plain({1, 2}), kinds.Point(1, 2.0), kinds.Colour.RED], path)
    with pytest.raises(UntrustedError, match=r"kinds\.Plain"):
        load(path, trusted="data")
    with pytest.raises(UntrustedError, match=r"kinds\.Point"):
        load(path, trusted=[kinds.Plain])
    for trusted in ([kinds.Plain, kinds.Point, kinds.Colour], [kinds], (kinds, kinds.Plain)):
        plain, point, colour = load(path, trusted=trusted)
        assert (plain.value, point, colour) == ({1, 2}, kinds.Point(1, 2.0), kinds.Colour.RED)


def test_a_trusted_module_is_no_door_to_what_it_has_imported(path: Path) -> None:
    path.write_bytes(b"\x80\x04\x8c\x05kinds\x8c\x02os\x93.")
    with pytest.raises(UntrustedError, match=r"kinds\.os"):
        load(path, trusted=[kinds])
    path.write_bytes(b"\x80\x04\x8c\x05kinds\x8c\x0fos.path.dirname\x93.")
    with pytest.raises(UntrustedError, match=r"kinds\.os\.path"):
        load(path, trusted=[kinds])


@pytest.mark.parametrize("trusted", ["all", 5, b"data", ["kinds"], [5], [None]])
def test_what_cannot_be_meant_by_trusted_is_refused(trusted: Any, path: Path) -> None:
    dump(1, path)
    with pytest.raises(ValueError, match=r"neither 'data' nor a list|lists types, functions and modules"):
        load(path, trusted=trusted)


# Programs


class Call:
    """Pickled, this is a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


RAN: list[str] = []


def ran(what: str) -> None:
    RAN.append(what)


def put(*objects: Any) -> bytes:
    """What leaves these on the stack."""
    return b"".join(pickle.dumps(each, 4)[2:-1] for each in objects)


def op(*parts: Any) -> bytes:
    """A pickle of opcodes, and of objects that are left on the stack."""
    return b"\x80\x04" + b"".join(part if isinstance(part, bytes) else put(part) for part in parts) + b"."


def name(module: str, what: str) -> bytes:
    """What leaves something on the stack that has a name."""
    return put(module, what) + pickle.STACK_GLOBAL


DEEP = 200_000 if not host.in_pyodide() else 3_000  # letting go of more ends the interpreter there, whoever made it
HOSTILE: dict[str, bytes] = {
    "a call": pickle.dumps(Call(ran, "call")),
    "a call in a list": pickle.dumps([1, {"a": Call(ran, "call")}]),
    "os.system": pickle.dumps(Call(os.system, "true")),
    "eval": pickle.dumps(Call(eval, "1")),
    "protocol 0": pickle.dumps(Call(ran, "call"), 0),
    "inst": b"(S'true'\nios\nsystem\n.",
    "obj": b"\x80\x02(" + b"cos\nsystem\n" + b"S'true'\no.",
    "extension": b"\x80\x02\x82\x01.",
    "persistent": b"Psomething\n.",
    "getattr": op(name("builtins", "getattr"), b".")[:-1],
    "dotted": op(name("datetime", "sys.modules"), b"")[:],
    "an attribute of a function of ours": op(name("builtins", "set"), {"__defaults__": ()}, pickle.BUILD),
    "the state of a date's class": op(name("datetime", "date"), {"today": 1}, pickle.BUILD),
    "a huge bytearray": b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b"abc.",
    "huge bytes": b"\x80\x04\x8e" + (1 << 40).to_bytes(8, "little") + b"abc.",
    "a huge frame": b"\x80\x04\x95" + (1 << 40).to_bytes(8, "little") + b"abc.",
    "a bytearray of a number": op(name("builtins", "bytearray"), (1 << 40,), pickle.REDUCE),
    "a set of a range": op(name("builtins", "set"), (range(5),), pickle.REDUCE),
    "a deep key": b"\x80\x02}(" + b")" + b"\x85" * DEEP + b"K\x01u.",
    "a deep element": b"\x80\x04\x8f(" + b")" + b"\x85" * DEEP + b"\x90.",
    "a key of many parts": b"\x80\x02})" + b"2\x86" * 60 + b"K\x01s.",
    "a fraction of a huge power": op(name("fractions", "Fraction"), ("1e999999999",), pickle.REDUCE),
    "no pickle": b"\x80\x04nothing",
    "an empty stack": b"\x80\x04.",
    "a protocol of the future": b"\x80\x63N.",
}
if np is not None:
    float_ = name("numpy", "dtype") + put(("f8",)) + b"R"
    object_ = name("numpy", "dtype") + put(("O8", False, True)) + b"R"
    sixteen = put(bytearray(16))
    state = put(1, (1000,)) + object_ + put(False, [1])
    HOSTILE |= {
        "an array of objects made of bytes": op(
            name("jobspan.arrays.rebuild", "array"), b"(" + sixteen + object_ + put((2,), "C") + b"t", pickle.REDUCE
        ),
        "an array of more than its bytes": op(
            name("jobspan.arrays.rebuild", "array"),
            b"(" + sixteen + float_ + put((1 << 50,), "C") + b"t",
            pickle.REDUCE,
        ),
        "strides that lead outside": op(
            name("jobspan.arrays.rebuild", "strided"),
            b"(" + sixteen + float_ + put((2,), (1 << 40,), 0) + b"t",
            pickle.REDUCE,
        ),
        "an array of objects with too short a list": op(
            name("numpy._core.multiarray", "_reconstruct"),
            b"(" + name("numpy", "ndarray") + put((0,), "b") + b"t",
            pickle.REDUCE,
            b"(" + state + b"t",
            pickle.BUILD,
        ),
        "an array that is allocated": op(name("numpy", "ndarray"), ((1 << 40,),), pickle.REDUCE),
    }


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_of_a_hostile_file_is_run(name: str, path: Path) -> None:
    RAN.clear()
    path.write_bytes(HOSTILE[name])
    before = set(sys.modules)
    with pytest.raises((UntrustedError, DamagedFileError)):
        load(path, trusted="data")
    with suppress(UntrustedError, DamagedFileError):
        inspect(path)
    assert RAN == []
    harmless = ("jobspan", "numpy", "fractions", "encodings")
    assert [module for module in set(sys.modules) - before if not module.startswith(harmless)] == []


@pytest.mark.parametrize("name", ["a call", "os.system", "a bytearray of a number", "a deep key", "dotted"])
def test_a_hostile_pickle_in_a_file_of_ours_is_refused(name: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jobspan.file import plan

    text = HOSTILE[name]
    monkeypatch.setattr(plan, "_dump", lambda obj, reducer: (memoryview(text), []))
    dump(None, path)
    RAN.clear()
    with pytest.raises((UntrustedError, DamagedFileError)):
        load(path, trusted="data")
    assert RAN == []


def test_what_is_refused_is_said_by_name(path: Path) -> None:
    dump([1, os.getcwd], path)
    with pytest.raises(UntrustedError, match=r"names posix\.getcwd, which is not trusted|names nt\.getcwd"):
        load(path, trusted="data")


class Setting(Call):
    """Pickled, this is a call, and then a change of what it has returned."""

    def __init__(self, function: Any, arguments: Any, key: Any, value: Any) -> None:
        self.call = function, arguments, None, None, iter([(key, value)])  # type: ignore[assignment]


def slices(times: int) -> bytes:
    """A dict with a key of slices in slices, each made thrice of the one before."""
    parts = [b"\x80\x04Nq\x64", name("builtins", "slice"), b"q\x630" + b"0}("]
    parts += [b"h\x63(" + (b"h" + bytes([100 + n])) * 3 + b"tRq" + bytes([101 + n]) + b"0" for n in range(times)]
    return b"".join([*parts, b"h", bytes([100 + times]), b"K\x01u."])


def named() -> dict[str, Any]:
    """Functions and classes of the kind that a pickle of plain values names."""
    found: dict[str, Any] = {"set": set, "OrderedDict": OrderedDict, "date": dt.date, "UUID": uuid.UUID}
    if np is not None:
        found |= {"ndarray": np.ndarray, "recarray": np.recarray, "dtype": np.dtype, "record": np.record}
    return found


def _put_into_itself(items: list[Any]) -> list[Any]:
    items.append(items)
    return items


HOLDERS: dict[str, Any] = {
    "itself": lambda each: each,
    "in a list": lambda each: [1, each],
    "in a tuple in a tuple": lambda each: ((each,), 1),
    "as a value of a dict": lambda each: {"subclass": each},
    "as a key of a dict": lambda each: {each: 1},
    "in a set": lambda each: {1, each},
    "in a slice": lambda each: slice(each, None, None),
    "in a deque": lambda each: deque([each]),
    "in a cycle": lambda each: _put_into_itself([each]),
}


@pytest.mark.parametrize("write", writers())
@pytest.mark.parametrize("how", HOLDERS)
@pytest.mark.parametrize("each", named())
def test_a_class_in_the_place_of_a_value_is_refused_by_name(each: str, how: str, write: Any, path: Path) -> None:
    kind = named()[each]
    write(HOLDERS[how](kind), path)
    with pytest.raises(UntrustedError, match=rf"\.{each} itself"):
        load(path, trusted="data")
    assert not inspect(path).is_data
    found = load(path, trusted=[kind])
    assert jobspan.hash(found) == jobspan.hash(HOLDERS[how](kind))


@needs_numpy
@pytest.mark.parametrize("write", writers())
def test_a_class_in_an_array_of_objects_is_refused_by_name(write: Any, path: Path) -> None:
    write(np.array([1, set], dtype=object), path)
    with pytest.raises(UntrustedError, match=r"builtins\.set itself"):
        load(path, trusted="data")
    assert not inspect(path).is_data


def test_what_has_not_been_given_its_state_is_refused(path: Path) -> None:
    path.write_bytes(op(name("uuid", "UUID"), (), pickle.NEWOBJ))
    with pytest.raises(UntrustedError, match=r"uuid\.UUID"):
        load(path, trusted="data")
    path.write_bytes(op(name("joblib.numpy_pickle", "NumpyArrayWrapper"), (), pickle.NEWOBJ))
    with pytest.raises(UntrustedError, match="NumpyArrayWrapper"):
        load(path, trusted="data")


def test_a_class_that_is_named_and_dropped_is_no_matter(path: Path) -> None:
    path.write_bytes(op(name("builtins", "set") + b"]q\x64h\x64a0", [1]))
    assert load(path, trusted="data") == [1]
    assert inspect(path).is_data


def test_objects_that_are_no_plain_containers_are_not_changed(path: Path) -> None:
    for hostile in (Setting(bytearray, (b"abc",), 0, 1), [Setting(range, (1, 2, 1), 0, 1)]):
        path.write_bytes(pickle.dumps(hostile))
        with pytest.raises((UntrustedError, DamagedFileError)):
            load(path, trusted="data")


@pytest.mark.parametrize("codec", ["punycode", "zlib_codec", "idna", "raw_unicode_escape"])
def test_bytes_are_not_encoded_by_whatever_the_file_says(codec: str, path: Path) -> None:
    path.write_bytes(pickle.dumps(Call(bytearray, "a" * 20_000, codec)))
    with pytest.raises(DamagedFileError):
        load(path, trusted="data")


def test_keys_are_plain_values(path: Path) -> None:
    for times in (3, 30):
        path.write_bytes(slices(times))
        with pytest.raises(DamagedFileError, match="no key of plain values"):
            load(path, trusted="data")


def test_calls_do_not_multiply_the_memory_that_a_file_takes(path: Path) -> None:
    megabyte = bytes(1 << 20)
    start = name("builtins", "bytearray") + b"q\x640" + put(megabyte) + b"q\x650"
    for call in (b"h\x64h\x65\x85R", b"(h\x64h\x65o"):  # a bytearray of the same bytes, over and over
        path.write_bytes(op(start + b"](" + call * 200 + b"e"))
        with pytest.raises(DamagedFileError, match="more memory"):
            load(path, trusted="data")


@needs_numpy
def test_arrays_are_made_of_bytes_and_never_of_objects(path: Path) -> None:
    from jobspan.arrays import rebuild

    objects = np.array(["victim"], dtype=object)
    over = rebuild.array, objects, np.dtype("i8"), (1,), "C"
    for write in (dump, _pickle):
        write([objects, Call(*over)], path)
        with pytest.raises((UntrustedError, DamagedFileError), match="no bytes"):
            load(path, trusted="data")
        write([objects, Setting(rebuild.array, over[1:], 0, 0x41414141)], path)
        with pytest.raises((UntrustedError, DamagedFileError)):
            load(path, trusted="data")
        with suppress(UntrustedError, DamagedFileError):
            inspect(path)
    assert objects[0] == "victim"


@needs_numpy
@pytest.mark.parametrize("mode", [None, "r", "c", "r+"])
def test_views_do_not_lead_outside_of_what_is_mapped(mode: str | None, path: Path) -> None:
    from jobspan.arrays import rebuild

    array = np.zeros(100_000)
    dump([array, Call(rebuild.strided, array, np.dtype("u1"), (700_000,), (1,), 90_000)], path)
    with pytest.raises(DamagedFileError, match="no bytes"):
        load(path, mmap_mode=mode, trusted="data")


def records_of_objects() -> dict[str, Any]:
    """Arrays whose elements have fields that are objects, and others."""
    if np is None:
        return {}
    mixed = np.dtype([("o", "O"), ("f", ">f8"), ("s", "U3")])
    nested = np.dtype([("o", "O", (2,)), ("n", [("q", "O"), ("i", "i1")])])
    found = {"zeros": np.zeros(3, [("o", "O")]), "mixed": np.zeros(2, mixed), "nested": np.zeros((2, 3), nested)}
    found["mixed"][:] = [({"a": [1]}, 2.5, "abc"), ("text", 3.5, "")]
    found["nested"]["n"]["q"][1, 2] = (1, None)
    return found | {
        "Fortran": np.asfortranarray(found["nested"]),
        "record array": found["mixed"].view(np.recarray),
        "aligned": np.zeros(2, np.dtype([("i", "i1"), ("o", "O")], align=True)),
        "one": found["zeros"][0],
        "none": np.zeros(0, mixed),
        "big-endian": np.zeros(2, mixed.newbyteorder(">")),
    }


@needs_numpy
@pytest.mark.parametrize("write", writers())
def test_objects_keep_their_places_in_arrays_in_fortran_order(write: Any, path: Path) -> None:
    array = np.asfortranarray(np.array([[1, "b", None], ["d", 5, [6]]], dtype=object))
    write(array, path)
    found = load(path, trusted="data")
    assert found.tolist() == array.tolist()
    assert found.flags.f_contiguous


@pytest.mark.parametrize("write", writers())
@pytest.mark.parametrize("name", records_of_objects())
def test_records_with_objects_are_data_if_these_are(name: str, write: Any, path: Path) -> None:
    array = records_of_objects()[name]
    write(array, path)
    found = load(path, trusted="data")
    assert (type(found), found.dtype) == (type(array), load(path).dtype)
    assert jobspan.hash(found) == jobspan.hash(load(path))
    assert inspect(path).is_data
    array = np.zeros(2, [("f", "f8"), ("o", "O")])
    array["o"][1] = kinds.Plain(1)
    write(array, path)
    with pytest.raises(UntrustedError, match=r"kinds\.Plain"):
        load(path, trusted="data")
    assert not inspect(path).is_data


def masked_arrays() -> dict[str, Any]:
    """Of several kinds of elements."""
    if np is None:
        return {}
    records = np.ma.array([(1, 2.0), (3, 4.0)], dtype=[("a", "i4"), ("b", ">f8")], mask=[(1, 0), (0, 0)])
    records.fill_value = (7, 8.0)
    return {
        "nothing masked": np.ma.array([1.0, 2.0]),
        "records": records,
        "objects": np.ma.array([[1, None], ["a", [3]]], dtype=object, mask=[[0, 1], [0, 0]], order="F"),
        "texts": np.ma.array(["a", "bc"], mask=[0, 1], fill_value="?"),
        "none": np.ma.array([], dtype="i4"),
        "of a matrix": np.ma.array(np.asarray([[1.0, 2.0]]).view(np.matrix), mask=[[0, 1]]),
        "Fortran": np.ma.array(np.arange(6.0).reshape(2, 3), mask=[[0, 1, 0], [1, 0, 0]], order="F"),
        "no dimension": np.ma.array(5, mask=True),
    }


@pytest.mark.parametrize("write", writers())
@pytest.mark.parametrize("name", masked_arrays())
def test_masked_arrays_are_data(name: str, write: Any, path: Path) -> None:
    array = masked_arrays()[name]
    write(array, path)
    found = load(path, trusted="data")
    assert jobspan.hash(found) == jobspan.hash(load(path))
    assert (type(found), found.baseclass, found.shape) == (type(array), load(path).baseclass, array.shape)
    assert inspect(path).is_data
    found[...] = np.ma.masked
    assert found.mask.all() if found.dtype.names is None else found.mask.tolist()


@needs_numpy
@pytest.mark.parametrize("part", ["mask", "data", "fill value"])
def test_masked_arrays_are_made_of_as_many_bytes_as_they_have(part: str, path: Path) -> None:
    function, arguments, state = np.ma.array([1.0, 2.0], mask=[0, 1]).__reduce__()
    place, value = {"data": (4, bytes(8)), "mask": (5, bytes(100)), "fill value": (6, np.zeros(3))}[part]
    changed = Call(function, *arguments)
    changed.call = *changed.call, (*state[:place], value, *state[place + 1 :])
    path.write_bytes(pickle.dumps(changed))
    with pytest.raises(DamagedFileError, match=r"another size than its bytes|no value to fill"):
        load(path, trusted="data")


@needs_numpy
def test_objects_do_not_share_their_memory_with_numbers(path: Path) -> None:
    state = 3, "|", None, ("a", "b"), {"a": (np.dtype("O"), 0), "b": (np.dtype("i8"), 0)}, 8, 1, 27
    overlapping = Call(np.dtype, "V8", False, True)
    overlapping.call = *overlapping.call, state
    path.write_bytes(pickle.dumps(overlapping))
    with pytest.raises(DamagedFileError, match="objects lie in other fields"):
        load(path, trusted="data")


@needs_numpy
def test_records_of_few_bytes_in_a_file_do_not_take_many(path: Path) -> None:
    one = np.zeros(1, [("o", "O"), ("s", "S1000000")])
    path.write_bytes(pickle.dumps(one))
    assert load(path, trusted="data")["o"] == [0]
    path.write_bytes(pickle.dumps(np.repeat(one, 100)))
    with pytest.raises(DamagedFileError, match="more memory"):
        load(path, trusted="data")


@needs_numpy
def test_a_single_element_takes_no_gigabytes(path: Path) -> None:
    path.write_bytes(op(name("numpy", "dtype"), ("S2147483647", False, True), pickle.REDUCE))
    with pytest.raises(DamagedFileError, match="too many bytes"):
        load(path, trusted="data")


@needs_numpy
def test_types_of_elements_are_not_nested_without_end(path: Path) -> None:
    chain = np.dtype("i1")
    for _ in range(30):
        chain = np.dtype((chain, (1,)))
    nested = np.dtype("i1")
    for _ in range(30):
        nested = np.dtype([("a", nested)])
    for each in (chain, nested):
        path.write_bytes(pickle.dumps(each))
        try:
            load(path, trusted="data")
        except DamagedFileError as error:
            assert "nested too deeply" in str(error)  # noqa: PT017  numpy may have made it flat


def test_segments_that_share_bytes_of_the_file_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jobspan.file import layout, write

    class Doubling(layout.Index):
        def encode(self) -> bytes:
            last = self.segments[-1]
            pieces = self.count_pieces(last.size)
            doubled = self._replace(
                segments=[*self.segments, last],
                lengths=[*self.lengths, *self.lengths[-pieces:]],
                crcs=[*self.crcs, *self.crcs[-pieces:]],
            )
            return layout.Index.encode(doubled)

    monkeypatch.setattr(write, "Index", Doubling)
    dump(["a", bytes(5000)], path)
    with pytest.raises(DamagedFileError, match="in another one"):
        load(path)


@needs_numpy
def test_matrices_are_data(path: Path) -> None:
    dump(np.asarray([[1.0]]).view(np.matrix), path)
    assert type(load(path, trusted="data")) is np.matrix
    assert inspect(path).is_data


# What is told


def test_what_is_in_a_file_is_told(path: Path) -> None:
    dump({"a": kinds.Plain([1]), "f": os.path.basename, "b": bytearray(100_000)}, path, compress="zlib")
    found = inspect(path)
    assert (found.format, found.codec, found.is_data) == ("jobspan", "zlib", False)
    assert {"kinds.Plain", f"{os.path.basename.__module__}.basename"} <= set(found.globals)
    assert found.nbytes == path.stat().st_size
    assert found.facts["writer"] == "jobspan"
    assert "kinds.Plain" in str(found)


@needs_numpy
def test_buffers_are_told(path: Path) -> None:
    dump([np.arange(1000.0), np.arange(500, dtype="i4")], path)
    assert sorted(inspect(path).buffers) == [2000, 8000]


@pytest.mark.skipif(joblib is None, reason="needs joblib and numpy")
@pytest.mark.parametrize("compress", [0, 3])
def test_what_is_in_a_file_of_joblibs_is_told(compress: int, path: Path) -> None:
    joblib.dump(
        [np.arange(1000.0), kinds.Plain(np.arange(5)), np.array([1, "a"], dtype=object)], path, compress=compress
    )
    found = inspect(path)
    assert (found.format, found.is_data) == ("pickle", False)
    assert "kinds.Plain" in found.globals


# Mutations


def seeds() -> list[bytes]:
    found = []
    for each in ("nested", "mixed dict", "OrderedDict", "datetime", "floats", "objects", "records", "masked", "times"):
        if each in kinds.PORTABLE:
            for write in (dump, _pickle, *([joblib.dump] if joblib else [])):
                file = io.BytesIO()
                obj = kinds.PORTABLE[each]()
                file.write(pickle.dumps(obj)) if write is _pickle else write(obj, file)
                found.append(file.getvalue())
    return found


def mutate(chance: random.Random, data: bytes) -> bytes:
    """Some bytes changed, left out, doubled, or taken from elsewhere."""
    found = bytearray(data)
    for _ in range(chance.randrange(1, 5)):
        start = chance.randrange(len(found) + 1)
        stop = min(len(found), start + chance.randrange(1, 9))
        match chance.randrange(4):
            case 0:
                found[start:stop] = chance.randbytes(stop - start)
            case 1:
                del found[start:stop]
            case 2:
                found[start:start] = found[start:stop]
            case 3:
                other = chance.randrange(len(found) + 1)
                found[start:stop] = found[other : other + stop - start]
    return bytes(found)


def test_mutated_files_are_read_or_refused_and_nothing_else() -> None:
    chance = random.Random(5)
    samples = seeds()
    outcomes = types.SimpleNamespace(read=0, refused=0)
    for _ in range(3000):
        mutated = mutate(chance, chance.choice(samples))
        try:
            load(io.BytesIO(mutated), trusted="data")
            outcomes.read += 1
        except (UntrustedError, DamagedFileError):
            outcomes.refused += 1
    assert outcomes.refused > 1000
    assert outcomes.read > 40


def test_mutated_pickles_are_read_or_refused_and_nothing_else() -> None:
    chance = random.Random(6)
    samples = [
        pickle.dumps(kinds.PORTABLE[name](), 5) for name in kinds.PORTABLE if name in DATA and "long" not in name
    ]
    read = 0
    for _ in range(5000):
        text = io.BytesIO(mutate(chance, chance.choice(samples)))
        try:
            data.DataUnpickler(text, data.Trust("data"), []).load()
            read += 1
        except MemoryError:
            raise
        except Exception:
            pass
    assert read > 200


def test_the_unpickler_in_python_is_there() -> None:
    assert issubclass(unpicklers.BuildingUnpickler, pickle._Unpickler)  # type: ignore[attr-defined]
