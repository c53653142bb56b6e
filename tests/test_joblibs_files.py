"""Files that joblib has written are read, without joblib."""

from __future__ import annotations

import io
import pickle
import struct
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import jobspan
import kinds
from jobspan import DamagedFileError, FallbackWarning, errors, host, load

if find_spec("joblib") is None or kinds.np is None:
    pytest.skip("needs joblib, to write the files, and numpy", allow_module_level=True)

import joblib
from joblib import numpy_pickle

np = kinds.np

CODECS: list[Any] = [0, ("zlib", 3), ("gzip", 3), ("bz2", 3), ("xz", 1), ("lzma", 1)]
if find_spec("lz4"):
    CODECS.append(("lz4", 1))

OBJECTS: dict[str, Any] = {
    **{name: kinds.NUMPY[name] for name in kinds.NUMPY if name not in ("big-endian ints", "masked")},
    **{name: kinds.PLAIN[name] for name in ("nested", "mixed dict", "object", "dataclass", "cycle", "long bytes")},
    "several": lambda: {"a": np.arange(7), "b": [np.ones((3, 4)), np.asfortranarray(np.ones((3, 4)))], "c": "text"},
    "arrays in an array": lambda: np.array([np.arange(3), "x", None, np.ones(50)], dtype=object),
    "large": lambda: np.random.default_rng(5).random(300_000),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "object.joblib"


def digest(obj: Any) -> str:
    return jobspan.hash(obj, coerce_mmap=True)


@pytest.mark.parametrize("compress", CODECS, ids=str)
@pytest.mark.parametrize("name", OBJECTS)
def test_what_joblib_dumped_is_loaded(name: str, compress: Any, path: Path) -> None:
    obj = OBJECTS[name]()
    joblib.dump(obj, path, compress=compress)
    assert digest(load(path)) == digest(obj)
    with open(path, "rb") as file:
        assert digest(load(file)) == digest(obj)
    assert digest(load(io.BytesIO(path.read_bytes()))) == digest(obj)


@pytest.mark.parametrize("mode", ["r", "r+", "w+", "c"])
@pytest.mark.parametrize("name", OBJECTS)
def test_what_joblib_dumped_is_mapped(name: str, mode: str, path: Path) -> None:
    joblib.dump(OBJECTS[name](), path)
    found = load(path, mmap_mode=mode)
    assert digest(found) == digest(OBJECTS[name]())
    if name == "large":
        assert isinstance(found, np.memmap)
        assert found.flags.writeable == (mode != "r")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_is_read(protocol: int, path: Path) -> None:
    obj = OBJECTS["several"]()
    joblib.dump(obj, path, protocol=protocol)
    assert digest(load(path)) == digest(obj)
    path.write_bytes(pickle.dumps([1, {"a": (2.5, None)}], protocol))
    assert load(path) == [1, {"a": (2.5, None)}]


@pytest.fixture
def unaligned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files as joblib wrote them before 1.2."""
    make = numpy_pickle.NumpyPickler._create_array_wrapper

    def old(self: Any, array: Any) -> Any:
        wrapper = make(self, array)
        del wrapper.numpy_array_alignment_bytes
        return wrapper

    monkeypatch.setattr(numpy_pickle.NumpyPickler, "_create_array_wrapper", old)


@pytest.mark.usefixtures("unaligned")
def test_arrays_that_older_joblibs_did_not_align_are_read_and_mapped(path: Path) -> None:
    obj = [b"x", np.arange(300.0)]
    joblib.dump(obj, path)
    assert digest(load(path)) == digest(obj)
    with pytest.warns(FallbackWarning, match="do not begin at multiples of 16"):
        assert digest(load(path, mmap_mode="r")) == digest(obj)


def test_the_other_byte_order_is_turned_round_unless_it_is_mapped(path: Path) -> None:
    other = np.arange(300, dtype=np.dtype("i4").newbyteorder("S"))
    joblib.dump(other, path)
    assert load(path).dtype.isnative
    assert not load(path, mmap_mode="r").dtype.isnative
    assert (load(path) == other).all()
    assert (load(path, mmap_mode="r") == other).all()


def test_what_is_compressed_is_read_where_it_should_be_mapped(path: Path) -> None:
    joblib.dump(np.arange(300.0), path, compress=3)
    with pytest.warns(FallbackWarning, match="is compressed"):
        assert load(path, mmap_mode="r").sum() == sum(range(300))


@pytest.mark.parametrize("compress", CODECS, ids=str)
def test_a_file_that_was_cut_is_refused(compress: Any, path: Path) -> None:
    joblib.dump({"a": np.arange(300.0), "b": "text"}, path, compress=compress)
    data = path.read_bytes()
    for length in range(0, len(data), max(1, len(data) // 60)):
        path.write_bytes(data[:length])
        with pytest.raises(DamagedFileError):
            load(path)


def test_files_of_before_0_10_are_named_as_what_they_are(path: Path) -> None:
    text = b"\x80\x03cjoblib.numpy_pickle\nNDArrayWrapper\n."
    path.write_bytes(text)
    with pytest.raises(DamagedFileError, match=r"before 0\.10"):
        load(path)


def test_lz4_that_is_not_installed_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(struct.pack("<I", 0x184D2204) + b"rest")
    for name in ("lz4", "lz4.frame"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(errors.JobspanError, match="lz4"):
        load(path)


@pytest.mark.skipif(not host.has_processes(), reason="starts another Python")
def test_joblib_is_not_imported(path: Path) -> None:
    joblib.dump(OBJECTS["several"](), path, compress=3)
    script = f"import jobspan, sys; jobspan.load({str(path)!r}); print('joblib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
