"""`dump` and `load`: what comes back, what is shared, what survives, and what is refused."""

from __future__ import annotations

import copyreg
import functools
import io
import os
import pickle
import random
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
import warnings
import zlib
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import jobspan
import kinds
from jobspan import DamagedFileError, FallbackWarning, UnpicklableError, dump, errors, host, load, register_compressor
from jobspan.file import codecs, layout, plan, replacing
from pythons import VERSIONS, find_python, run_python

np = kinds.np
needs_numpy = pytest.mark.skipif(np is None, reason="needs numpy")
needs_processes = pytest.mark.skipif(not host.has_processes(), reason="starts other Pythons")

HERE = Path(__file__).parent
NOT_TO_PICKLE = {"memoryview"}
NOT_THE_SAME = {*NOT_TO_PICKLE, "big-endian ints"}  # which are turned round
NAMES = [name for name in kinds.KINDS if name not in NOT_TO_PICKLE]


def is_there(codec: str) -> bool:
    try:
        codecs.find_codec(codec)
    except errors.JobspanError:
        return False
    return True


CODECS = ["zlib", "gzip", "bz2", "lzma", "xz", "lz4", "zstd"]
needs_codec = [pytest.param(c, marks=pytest.mark.skipif(not is_there(c), reason=f"{c} is not here")) for c in CODECS]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "object.job"


@pytest.fixture(autouse=True)
def _forget_compressors() -> Any:
    yield
    codecs._made.clear()


def digest(obj: Any) -> str:
    return jobspan.hash(obj, coerce_mmap=True)


# What comes back


@pytest.mark.parametrize("compress", [0, *needs_codec])
@pytest.mark.parametrize("name", NAMES)
def test_what_was_dumped_is_loaded(name: str, compress: Any, path: Path) -> None:
    obj = kinds.KINDS[name]()
    assert dump(obj, path, compress=compress) == [str(path)]
    found = load(path)
    assert type(found) is type(obj)
    if name not in NOT_THE_SAME:
        assert digest(found) == digest(kinds.KINDS[name]())


@pytest.mark.parametrize("mode", ["r", "c", "r+", "w+"])
@pytest.mark.parametrize("name", NAMES)
def test_what_was_dumped_is_mapped(name: str, mode: str, path: Path) -> None:
    dump(kinds.KINDS[name](), path)
    assert digest(load(path, mmap_mode=mode)) == digest(kinds.KINDS[name]())
    assert digest(load(path)) == digest(load(path, mmap_mode="r")) or name in NOT_THE_SAME


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


@given(plain, st.sampled_from([0, "zlib", ("gzip", 9)]))
def test_plain_values_go_through_any_file(obj: Any, compress: Any) -> None:
    file = io.BytesIO()
    dump(obj, file, compress=compress)
    file.seek(0)
    assert load(file) == obj
    assert file.read() == b""


@needs_numpy
@given(st.data())
def test_arrays_keep_their_elements_strides_and_shared_memory(data: st.DataObject) -> None:
    base = np.arange(data.draw(st.integers(1, 4000)), dtype=data.draw(st.sampled_from(["i1", "f8", "i4"])))
    views = []
    for _ in range(data.draw(st.integers(1, 4))):
        start, stop = sorted((data.draw(st.integers(0, len(base))), data.draw(st.integers(0, len(base)))))
        views.append(base[start : stop : data.draw(st.integers(1, 5))][:: data.draw(st.sampled_from([1, -1]))])
    if data.draw(st.booleans()):
        views.append(base)
    file = io.BytesIO()
    dump(views, file)
    file.seek(0)
    found = load(file)
    for one, its in zip(views, found, strict=True):
        assert (one == its).all()
        assert its.flags.writeable
    for one, its in zip(views, found, strict=True):
        large = one.size and one.nbytes >= plan.LEAST_BYTES
        for other, also in zip(views, found, strict=True):
            if large and other is base and base.nbytes >= plan.LEAST_BYTES:
                assert np.shares_memory(its, also)
                assert its.strides == one.strides


@needs_numpy
@pytest.mark.parametrize("mode", [None, "c", "r+"])
def test_views_are_views_and_what_is_shared_is_there_once(mode: str | None, path: Path) -> None:
    array = np.arange(200_000.0).reshape(1000, 200)
    dump({"all": array, "again": array, "rows": array[5:900], "few": array[::50, ::7], "turned": array.T}, path)
    assert path.stat().st_size < array.nbytes + 10_000
    found = load(path, mmap_mode=mode)
    assert found["all"] is found["again"]
    found["all"][50, 7] = -1
    assert found["few"][1, 1] == found["rows"][45, 7] == found["turned"][7, 50] == -1


@needs_numpy
def test_a_view_of_little_does_not_bring_all_of_its_memory(path: Path) -> None:
    array = np.arange(200_000.0).reshape(1000, 200)
    dump(array[::50, ::7], path)
    assert path.stat().st_size < 20_000
    assert (load(path) == array[::50, ::7]).all()
    dump(np.broadcast_to(np.arange(300.0), (10_000, 300)), path)
    assert path.stat().st_size < 20_000
    assert load(path).shape == (10_000, 300)


@needs_numpy
@pytest.mark.parametrize("alignment", [64, 4096])
def test_every_buffer_that_is_mapped_is_aligned(alignment: int, path: Path) -> None:
    chance = np.random.default_rng(5)
    arrays = [chance.random(int(size)) for size in chance.integers(128, 20_000, 300)]
    dump([bytes(17), *arrays], path, alignment=alignment)
    _, *found = load(path, mmap_mode="r")
    assert all(isinstance(array, np.memmap) for array in found)
    assert {array.ctypes.data % alignment for array in found} == {0}
    assert all((one == other).all() for one, other in zip(arrays, found, strict=True))


@needs_numpy
def test_arrays_that_are_mapped_can_be_written_to_as_their_mode_says(path: Path) -> None:
    dump(np.zeros(1000), path)
    with pytest.raises(ValueError, match="read-only"):
        load(path, mmap_mode="r")[0] = 1
    private = load(path, mmap_mode="c")
    private[0] = 1
    assert load(path)[0] == 0
    if host.in_pyodide():
        pytest.skip("what is written to a mapped file does not reach it here")
    shared = load(path, mmap_mode="r+")
    shared[0] = 2
    shared.flush()
    assert load(path)[0] == load(path, mmap_mode="r")[0] == 2


@needs_numpy
def test_read_only_arrays_are_read_only_again(path: Path) -> None:
    array = np.arange(1000.0)
    array.flags.writeable = False
    dump([array, np.arange(1000.0)], path)
    assert [each.flags.writeable for each in load(path)] == [False, True]


@needs_numpy
def test_arrays_of_the_other_byte_order_are_turned_round_unless_they_are_mapped(path: Path) -> None:
    other = np.arange(1000, dtype=np.dtype("i4").newbyteorder("S"))
    dump(other, path)
    assert load(path).dtype.isnative
    assert not load(path, ensure_native_byte_order=False).dtype.isnative
    assert not load(path, mmap_mode="r").dtype.isnative
    assert (load(path) == other).all()
    with pytest.raises(ValueError, match="cannot be turned round"):
        load(path, mmap_mode="r", ensure_native_byte_order=True)


@pytest.mark.skipif(find_spec("tblib") is None, reason="needs tblib")
def test_files_do_not_depend_on_tblib_which_others_have_installed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tblib import pickling_support

    monkeypatch.setattr(copyreg, "dispatch_table", dict(copyreg.dispatch_table))
    pickling_support.install(ValueError("no"))
    dump([ValueError("no", 5)], path)
    assert not [name for name in jobspan.inspect(path).globals if "tblib" in name]
    assert load(path)[0].args == ("no", 5)


# Other Pythons


EXCHANGE = """
import kinds, jobspan, pathlib, sys
folder = pathlib.Path(sys.argv[1])
for path in sorted(folder.glob("*.theirs")):
    assert jobspan.hash(jobspan.load(path)) == jobspan.hash(kinds.PLAIN[path.stem]()), path.stem
    jobspan.dump(kinds.PLAIN[path.stem](), path.with_suffix(".ours"), compress=("gzip", 1))
"""
TIED_TO_A_VERSION = {"long str", "long bytes"}  # nothing of them would be learned from carrying them about


@needs_processes
@pytest.mark.skipif(shutil.which("sh") is None, reason="needs a shell to look for Pythons")
@pytest.mark.parametrize("version", VERSIONS)
def test_files_go_from_one_python_to_another_and_back(version: str, tmp_path: Path) -> None:
    python = find_python(version)
    names = [name for name in kinds.PLAIN if name not in NOT_TO_PICKLE | TIED_TO_A_VERSION]
    for name in names:
        dump(kinds.PLAIN[name](), tmp_path / f"{name}.theirs")
    run_python(python, EXCHANGE, str(tmp_path))
    for name in names:
        assert digest(load(tmp_path / f"{name}.ours")) == digest(kinds.PLAIN[name]())


# Where it goes


def test_objects_stand_one_after_the_other_in_a_file_object(path: Path) -> None:
    with open(path, "wb") as file:
        file.write(b"before")
        assert dump([1, 2], file) is None
        dump("second", file, compress="zlib")
        file.write(b"after")
    with open(path, "rb") as file:
        assert file.read(6) == b"before"
        assert [load(file), load(file), file.read()] == [[1, 2], "second", b"after"]


class Unseekable(io.RawIOBase):
    """Reads and writes a few bytes at a time, in order."""

    def __init__(self, data: bytes = b"") -> None:
        self.file = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self.file.read(min(size, 1000))

    def write(self, data: Any) -> int:
        return self.file.write(data)


def test_a_file_object_need_not_be_seekable() -> None:
    obj = {"a": list(range(10_000)), "b": bytes(5000)}
    file = Unseekable()
    dump(obj, file)
    assert load(Unseekable(file.file.getvalue())) == obj


def test_names_can_be_bytes_strings_or_paths(tmp_path: Path) -> None:
    for name in (tmp_path / "a", str(tmp_path / "b"), os.fsencode(tmp_path / "c")):
        assert dump(5, name) == [os.fsdecode(name)]
        assert load(name) == 5


@pytest.mark.skipif(find_spec("fsspec") is None, reason="needs fsspec")
def test_urls_go_through_fsspec() -> None:
    assert dump([1, "a"], "memory://folder/object.zst", compress="zlib") == ["memory://folder/object.zst"]
    assert load("memory://folder/object.zst") == [1, "a"]


def test_without_fsspec_a_url_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(errors.JobspanError, match="pip install fsspec"):
        load("s3://bucket/object")


@pytest.mark.skipif(os.name != "posix", reason="needs links, modes and devices")
def test_a_link_stays_one_and_a_mode_stays_as_it_is(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    dump(1, real)
    real.chmod(0o640)
    link.symlink_to(real)
    dump(2, link)
    assert link.is_symlink()
    assert (load(real), stat.S_IMODE(real.stat().st_mode)) == (2, 0o640)
    dump(3, "/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


# Compressors


@pytest.mark.parametrize("codec", needs_codec)
def test_large_buffers_are_compressed_piece_by_piece(codec: str, path: Path) -> None:
    data = bytes(range(256)) * 20_000 + random.Random(5).randbytes(1_500_000)
    dump([data, bytearray(data)], path, compress=codec)
    assert load(path) == [data, data]
    assert path.stat().st_size < 2 * len(data)


@pytest.mark.parametrize("codec", needs_codec)
def test_the_files_name_says_how_to_compress(codec: str, tmp_path: Path) -> None:
    extension = codecs._EXTENSIONS[codec]
    path = tmp_path / f"object{extension}"
    for compress in (0, 1, True):
        dump("a" * 10_000, path, compress=compress)
        assert header_of(path)["codec"] == codec
    dump("a" * 10_000, path, compress=("zlib", 1))
    assert header_of(path)["codec"] == "zlib"


def header_of(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    header = layout.Header.decode(data[:64], "it")
    index = layout.Index.decode(data[header.index_start :], header, "it")
    return {"codec": index.codec, **index.facts}


@pytest.mark.parametrize(
    ("compress", "codec"),
    [(0, None), (False, None), (True, "zlib"), (3, "zlib"), ("xz", "xz"), (("bz2", 5), "bz2"), (("zlib", 0), None)],
)
def test_compress_is_joblibs(compress: Any, codec: str | None, path: Path) -> None:
    dump("a" * 10_000, path, compress=compress)
    assert header_of(path)["codec"] == codec
    assert load(path) == "a" * 10_000


@pytest.mark.parametrize(
    ("compress", "why"),
    [
        (10, "neither a level"),
        (-1, "neither a level"),
        (2.5, "neither a level"),
        ("snappy", "no compressor that is known; there are bz2"),
        (("zlib", 12), "level 12 is none of zlib's, which are 0 to 9"),
        (("zlib", 1, 2), "no pair"),
    ],
)
def test_what_cannot_be_meant_by_compress_is_refused(compress: Any, why: str, path: Path) -> None:
    with pytest.raises(ValueError, match=why):
        dump(1, path, compress=compress)
    assert not path.exists()


def test_a_compressor_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    for name in ("lz4", "lz4.frame"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(errors.JobspanError, match="pip install lz4"):
        dump(1, path, compress="lz4")


class Turned:
    extension = ".turned"

    def compress(self, data: Any, level: int | None) -> bytes:
        return zlib.compress(data, 1 if level is None else level)[::-1]

    def decompress(self, data: Any) -> bytes:
        return zlib.decompress(bytes(data)[::-1])


def test_a_compressor_can_be_registered(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="already"):
        register_compressor("zlib", Turned())
    with pytest.raises(ValueError, match="has neither"):
        register_compressor("none", object())
    register_compressor("turned", Turned())
    obj = bytes(5000)
    dump(obj, tmp_path / "a.turned")
    assert header_of(tmp_path / "a.turned")["codec"] == "turned"
    assert load(tmp_path / "a.turned") == obj
    codecs._made.clear()
    with pytest.raises(DamagedFileError, match="register_compressor"):
        load(tmp_path / "a.turned")


@pytest.mark.parametrize("codec", needs_codec)
@pytest.mark.parametrize("nbytes", [0, 1, codecs._STEP, codecs._STEP + 1, 300_000])
@pytest.mark.parametrize("make", [bytes, random.Random(5).randbytes], ids=["zeros", "random"])
def test_a_piece_is_decompressed_to_the_bytes_it_was_or_not_at_all(
    make: Callable[[int], bytes], nbytes: int, codec: str
) -> None:
    found = codecs.find_codec(codec)
    piece = make(nbytes)
    packed = found.compress(piece, None)
    for _ in range(2):  # what is used again is as it was
        target = bytearray(nbytes)
        found.decompress(packed, memoryview(target))
        assert target == piece
        for wrong, room in ((packed[:-1], nbytes), (packed[: len(packed) // 2], nbytes), (b"", nbytes)):
            with pytest.raises(Exception):  # noqa: B017, PT011  each compressor has its own
                found.decompress(wrong, memoryview(bytearray(room)))
        for room in {nbytes + 1, abs(nbytes - 1)}:
            with pytest.raises(Exception):  # noqa: B017, PT011
                found.decompress(packed, memoryview(bytearray(room)))


class Broken:
    """A compressor that works as long as nobody has broken it."""

    def __init__(self) -> None:
        self.result: Any = None

    def compress(self, data: Any, level: Any) -> Any:
        return zlib.compress(data) if self.result is None else self.result()

    def decompress(self, data: Any) -> Any:
        return zlib.decompress(data) if self.result is None else self.result()


@pytest.mark.parametrize("result", [lambda: 1 / 0, lambda: "text", lambda: [1, 2, 3]])
def test_a_compressor_that_fails_is_named(result: Callable[[], Any], path: Path) -> None:
    broken = Broken()
    register_compressor("broken", broken, force=True)
    obj = [bytes(5000), list(range(1000))]
    dump(obj, path, compress="broken")
    broken.result = result
    with pytest.raises(errors.JobspanError, match=r"'broken'.* cannot compress .*Error: "):
        dump(obj, path, compress="broken")
    with pytest.raises(DamagedFileError, match=r"at byte \d+ cannot be decompressed by 'broken' \(\w+Error: "):
        load(path)
    broken.result = None
    assert load(path) == obj


@pytest.mark.skipif(find_spec("joblib") is None, reason="needs joblib")
def test_joblibs_kind_of_compressor_can_be_registered(path: Path) -> None:
    import bz2

    from joblib.compressor import CompressorWrapper

    register_compressor("theirs", CompressorWrapper(bz2.BZ2File, prefix=b"BZ", extension=".theirs"))
    dump(list(range(10_000)), path, compress=("theirs", 5))
    assert load(path) == list(range(10_000))


def test_what_is_compressed_is_read_where_it_should_be_mapped(path: Path) -> None:
    dump(bytearray(100_000), path, compress=1)
    with pytest.warns(FallbackWarning, match="is compressed, so it cannot be mapped"):
        assert load(path, mmap_mode="r") == bytes(100_000)


# What survives


class Failing:
    def __reduce__(self) -> Any:
        raise RuntimeError("no")


def test_a_dump_that_fails_leaves_the_old_file_and_nothing_else(path: Path) -> None:
    dump([1, 2, 3], path)
    with pytest.raises(UnpicklableError, match=r"the object\[1\]\['a'\] .* a test_file.Failing"):
        dump([0, {"a": Failing()}], path)
    assert load(path) == [1, 2, 3]
    assert os.listdir(path.parent) == [path.name]


def test_a_lambda_is_named_as_what_cannot_be_dumped(path: Path) -> None:
    with pytest.raises(UnpicklableError, match="it is a function"):
        dump({"f": lambda: 1}, path)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dump([1, 2, 3], path)
    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, functools.partial(_refuse, name))
            with pytest.raises(OSError, match="no room"):
                dump(bytes(100_000), path)
        assert load(path) == [1, 2, 3]
        assert os.listdir(path.parent) == [path.name]


def _refuse(*_: Any) -> None:
    raise OSError(28, "no room")


@needs_processes
@pytest.mark.skipif(sys.platform != "linux", reason="needs a small file system of its own")
def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    script = """
        import os, sys
        import jobspan
        path = os.path.join(sys.argv[1], "object")
        jobspan.dump(["old"], path)
        try:
            jobspan.dump(os.urandom(1 << 20), path)
        except OSError as error:
            print(error.errno, jobspan.load(path), os.listdir(sys.argv[1]))
    """
    mount = 'mount -t tmpfs -o size=256k tmpfs "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "-rm", "sh", "-c", mount, "sh", str(tmp_path), sys.executable, textwrap.dedent(script)]
    try:
        probe = [*command[:4], 'mount -t tmpfs tmpfs "$1"', *command[5:7]]
        refused = subprocess.run(probe, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no unshare here")
    if refused.returncode:
        pytest.skip(f"no file system may be mounted here: {refused.stderr.strip()}")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("28 ['old'] ['object']", "")


@needs_processes
@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_kill_at_any_moment_leaves_the_old_file_or_the_new_one(path: Path) -> None:
    script = f"""
        import itertools, jobspan
        jobspan.dump([0], {str(path)!r})  # so that all is imported
        print("ready", flush=True)
        for number in itertools.count(1):
            jobspan.dump([number] + [bytes([number % 256]) * 300_000] * 3 + [bytearray(2_000_000)], {str(path)!r})
    """
    dump([0], path)
    chance = random.Random(5)
    newest = 0
    for _ in range(12):
        child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.02 + 0.05 * chance.random())
        child.send_signal(signal.SIGKILL)
        child.communicate()
        number, *rest = load(path)
        newest = max(newest, number)
        assert not rest or rest[0] == bytes([number % 256]) * 300_000
    assert newest > 0


@pytest.mark.skipif(not host.has_threads(), reason="there are no threads here")
def test_who_reads_while_others_write_finds_a_whole_file(path: Path) -> None:
    dump([0] * 50_000, path)
    stop = threading.Event()

    def write(number: int) -> None:
        while not stop.is_set():
            dump([number] * 50_000, path)

    writers = [threading.Thread(target=write, args=(number,)) for number in (1, 2)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(30):
            assert len(set(load(path))) == 1
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert os.listdir(path.parent) == [path.name]


# What killed processes leave


def leave(path: Path, number: int, seconds: float) -> Path:
    """What a dump has left beside a file, so many seconds ago."""
    left = Path(f"{path.parent}/.{path.name}.{replacing._machine()}.{number}.tmp")
    left.write_bytes(b"half")
    os.utime(left, (time.time() - seconds,) * 2)
    return left


@needs_processes
@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_what_a_killed_dump_has_left_is_removed_by_the_next_one(path: Path) -> None:
    script = f"""
        import jobspan, os, signal
        class Killing:
            def compress(self, data, level):
                os.kill(os.getpid(), signal.SIGKILL)
            def decompress(self, data):
                return data
        jobspan.register_compressor("killing", Killing())
        jobspan.dump(bytes(5000), {str(path)!r}, compress="killing")
    """
    for _ in range(2):  # the second meets what the first has left, which is too young yet
        assert (
            subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False).returncode == -signal.SIGKILL
        )
    left = [each for each in path.parent.iterdir() if each.name.endswith(".tmp")]
    assert len(left) == 2
    dump(1, path)
    assert all(each.exists() for each in left)
    for each in left:
        os.utime(each, (time.time() - 120,) * 2)
    dump(2, path)
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.skipif(sys.platform == "emscripten" or os.name != "posix", reason="there are no locks here")
def test_what_somebody_is_writing_is_left_alone_however_old_it_is(path: Path) -> None:
    import fcntl

    mine, dead = leave(path, 0, 200_000), leave(path, 1, 120)
    with mine.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        dump(1, path)
        assert (mine.exists(), dead.exists()) == (True, False)
    dump(2, path)
    assert os.listdir(path.parent) == [path.name]
    assert load(path) == 2


def test_where_there_are_no_locks_only_a_days_age_tells(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replacing, "_try_lock", lambda descriptor: None)
    younger, older = leave(path, 0, 7200), leave(path, 1, 100_000)
    dump(1, path)
    assert (younger.exists(), older.exists()) == (True, False)


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_what_is_no_file_of_ours_is_left_alone(path: Path) -> None:
    other = path.parent / "other"
    other.write_text("mine")
    os.utime(other, (0, 0))
    link, folder = leave(path, 0, 0), leave(path, 1, 0)
    link.unlink()
    link.symlink_to(other)
    folder.unlink()
    folder.mkdir()
    dump(1, path)
    assert load(path) == 1
    assert other.read_text() == "mine"
    assert link.is_symlink()
    assert folder.is_dir()


@pytest.mark.parametrize("name", ["a" * 255, "\N{SNOWMAN}" * 85, "\N{GRINNING FACE}" * 63])
def test_names_may_be_as_long_as_the_file_system_allows(name: str, tmp_path: Path) -> None:
    dump(1, tmp_path / name)
    assert os.listdir(tmp_path) == [name]


# What is refused


def sample(path: Path, compress: Any = 0) -> bytes:
    parts: list[Any] = ["text", {"a": 1}, bytes(range(256)) * 10]
    if np is not None:
        parts += [np.arange(300.0), np.arange(400.0)]
    dump(parts, path, compress=compress)
    return path.read_bytes()


@pytest.mark.parametrize("compress", [0, "zlib"])
def test_a_file_that_was_cut_anywhere_is_refused(compress: Any, path: Path) -> None:
    data = sample(path, compress)
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(DamagedFileError, match=r"damaged|neither"):
            load(path)
        with pytest.raises(DamagedFileError):
            load(io.BytesIO(data[:length]))
    path.write_bytes(data + b"more")
    with pytest.raises(DamagedFileError, match="were written"):
        load(path)


@pytest.mark.parametrize("compress", [0, "zlib"])
def test_a_file_that_was_altered_anywhere_is_refused_or_read_right(compress: Any, path: Path) -> None:
    data = sample(path, compress)
    right = digest(load(path))
    harmless = 0
    for position in range(len(data)):
        path.write_bytes(data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :])
        with suppress(DamagedFileError):
            assert digest(load(path)) == right
            harmless += 1
    assert harmless < 600  # what lies between the segments


def test_a_checksum_error_says_where(path: Path) -> None:
    data = bytearray(sample(path))
    data[100] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedFileError, match=r"bytes 64 to [0-9]+ are not as they were written"):
        load(path)


def test_other_files_and_newer_versions_are_refused(path: Path) -> None:
    data = bytearray(sample(path))
    header = layout.Header.decode(bytes(data[:64]), "it")
    data[16] = 9
    packed = bytes(data[: layout._HEADER.size])
    path.write_bytes(packed + layout._CRC.pack(layout.crc32(packed)) + data[len(packed) + 4 :])
    with pytest.raises(DamagedFileError, match="version 9"):
        load(path)
    assert header.total == len(data)
    path.write_bytes(b"something else entirely, of more than sixty-four bytes, as text may be")
    with pytest.raises(DamagedFileError, match="neither a file of jobspan's nor a pickle"):
        load(path)
    with pytest.raises(FileNotFoundError):
        load(path.parent / "nothing")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((5, 1), "neither"),
        ((5, "x", 0, None, 48), "power of two"),
        ((5, "x", 0, None, 100), "power of two"),
    ],
)
def test_bad_arguments_of_dump_are_refused(arguments: Any, why: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    *four, alignment = (*arguments, 64)[:5] if len(arguments) == 5 else (*arguments, 0, None, 64)
    with pytest.raises(ValueError, match=why):
        dump(*four, alignment=alignment)
    assert os.listdir(tmp_path) == []


def test_bad_arguments_of_load_are_refused(path: Path) -> None:
    dump(1, path)
    with pytest.raises(ValueError, match="none of None, 'r'"):
        load(path, mmap_mode="x")
    with pytest.raises(ValueError, match="is neither"):
        load(5)


def test_another_protocol_is_said_to_be_ignored(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dump(1, path, protocol=pickle.HIGHEST_PROTOCOL)
    with pytest.warns(FallbackWarning, match="protocol 5"):
        dump(1, path, 0, 2)
    assert load(path) == 1
