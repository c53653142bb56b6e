"""Where results are: whole, signed, within limits, and in other places than a folder."""

from __future__ import annotations

import os
import pickle
import random
import re
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobspan import (
    CacheWarning,
    FallbackWarning,
    JobspanError,
    Memory,
    StoreBackendBase,
    host,
    load,
    register_store_backend,
)
from jobspan.cli import main
from jobspan.memory.folder import FolderStore
from jobspan.memory.limits import Kept, by_use, by_worth, choose_victims
from jobspan.memory.packs import Packs
from jobspan.memory.remote import LayeredStore
from jobspan.memory.store import Altered

needs_processes = pytest.mark.skipif(not host.has_processes(), reason="starts processes; there are none here")
needs_users = pytest.mark.skipif(host.in_pyodide(), reason="there is one user here, and no permissions")


def twice(x: Any) -> Any:
    return x + x


def describe(n: int) -> dict[str, Any]:
    return {"n": n, "text": "x" * n}


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path, verbose=0)


# -- packs -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pack(tmp_path: Path) -> str:
    return str(tmp_path / "a.pack")


def keys(count: int) -> list[bytes]:
    return [2 * number.to_bytes(8, "little") for number in range(count)]


def test_a_pack_gives_back_what_was_added_last(pack: str) -> None:
    packs = Packs(0o600)
    one, two = keys(2)
    packs.add(pack, one, b"first")
    packs.add(pack, two, b"second")
    packs.add(pack, one, b"third")
    assert (packs.read(pack, one, is_use=True), packs.read(pack, two, is_use=True)) == (b"third", b"second")
    other = Packs(0o600)
    assert other.read(pack, one, is_use=True) == b"third"
    other.add(pack, one, b"fourth")
    assert packs.read(pack, one, is_use=True) == b"fourth"


def test_what_is_removed_is_gone_for_everybody(pack: str) -> None:
    packs, other = Packs(0o600), Packs(0o600)
    for key in keys(5):
        packs.add(pack, key, b"value" + key)
    assert other.read(pack, keys(5)[0], is_use=True)
    packs.remove(pack, keys(4))
    assert [other.read(pack, key, is_use=True) for key in keys(5)] == [None] * 4 + [b"value" + keys(5)[4]]
    packs.remove(pack, keys(5))
    assert not os.path.exists(pack)
    other.add(pack, keys(1)[0], b"again")
    assert packs.read(pack, keys(1)[0], is_use=True) == b"again"


@pytest.mark.parametrize("size", [30, 5000])
def test_a_pack_that_was_torn_anywhere_loses_only_what_was_torn(pack: str, size: int) -> None:
    packs = Packs(0o600)
    for key in keys(3):
        packs.add(pack, key, key * (size // 16))
    whole = Path(pack).read_bytes()
    frame = len(whole) // 3
    step = 1 if size < 100 else 501
    for end in range(2 * frame, len(whole), step):
        Path(pack).unlink()
        Path(pack).write_bytes(whole[:end])
        torn = Packs(0o600)
        assert [torn.read(pack, key, is_use=False) is not None for key in keys(3)] == [True, True, False]
        torn.add(pack, keys(4)[3], b"later")
        again = Packs(0o600)
        found = [again.read(pack, key, is_use=False) is not None for key in keys(4)]
        assert found == [True, True, False, True], end
        torn.forget_all(), again.forget_all()


def alter(path: Path, place: int, change: int = 0x40) -> None:
    """Alter one byte of a file, which is another file then: who has it open knows nothing of it."""
    altered = bytearray(path.read_bytes())
    altered[place] ^= change
    path.unlink()
    path.write_bytes(altered)


@pytest.mark.parametrize("change", [0x01, 0x40, 0xFF])
def test_a_frame_that_was_altered_anywhere_is_known_and_the_others_are_whole(pack: str, change: int) -> None:
    packs = Packs(0o600)
    for key in keys(3):
        packs.add(pack, key, b"value" + key)
    whole = Path(pack).read_bytes()
    frame = len(whole) // 3
    for place in range(len(whole)):
        Path(pack).write_bytes(whole)
        alter(Path(pack), place, change)
        reading = Packs(0o600)
        number = place // frame
        found = [reading.read(pack, key, is_use=False) for key in keys(3)]
        altered = found[number]
        assert isinstance(altered, Altered)
        assert altered.place == f"{pack}, bytes {number * frame} to {(number + 1) * frame}"
        assert len(list(reading.list(pack))) == 3
        others = [key for key in keys(3) if key != keys(3)[number]]
        assert [reading.read(pack, key, is_use=False) for key in others] == [b"value" + key for key in others]
        reading.remove(pack, [keys(3)[number]])
        assert [key for key, _, _ in reading.list(pack)] == others
        reading.add(pack, keys(3)[number], b"again")
        assert reading.read(pack, keys(3)[number], is_use=False) == b"again"
        reading.forget_all()


def test_altered_frames_outlive_that_others_are_removed(pack: str) -> None:
    packs = Packs(0o600)
    for key in keys(4):
        packs.add(pack, key, b"value" + key)
    frame = os.path.getsize(pack) // 4
    alter(Path(pack), 5)  # the checksum of the first
    alter(Path(pack), 2 * frame + 15)  # the key of the third
    reading = Packs(0o600)
    reading.remove(pack, [keys(4)[1]])
    reading.remove(pack, [keys(4)[0]])
    assert isinstance(reading.read(pack, keys(4)[2], is_use=False), Altered)
    assert reading.read(pack, keys(4)[3], is_use=False) == b"value" + keys(4)[3]
    assert os.path.getsize(pack) == 2 * frame


def test_an_older_value_does_not_come_back_when_a_newer_one_is_altered(pack: str) -> None:
    packs = Packs(0o600)
    packs.add(pack, keys(1)[0], b"old")
    packs.add(pack, keys(1)[0], b"new")
    alter(Path(pack), os.path.getsize(pack) - 1)
    reading = Packs(0o600)
    assert isinstance(reading.read(pack, keys(1)[0], is_use=False), Altered)
    reading.remove(pack, keys(1))
    assert reading.read(pack, keys(1)[0], is_use=False) is None


@pytest.mark.skipif(not host.has_threads(), reason="there are no threads here")
def test_threads_add_and_remove_at_the_same_time_and_lose_nothing(pack: str) -> None:
    stores = [Packs(0o600) for _ in range(4)]
    wanted = [random.Random(n).randbytes(16) for n in range(400)]

    def work(number: int) -> None:
        for place, key in enumerate(wanted[number::4]):
            stores[number].add(pack, key, b"value" + key)
            if place % 3 == 0:
                stores[(number + 1) % 4].remove(pack, [key])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = {key for key in wanted if Packs(0o600).read(pack, key, is_use=False) == b"value" + key}
    assert found == {key for number in range(4) for place, key in enumerate(wanted[number::4]) if place % 3}


def test_a_pack_with_more_waste_than_content_is_written_anew(pack: str) -> None:
    packs = Packs(0o600)
    for number in range(200):
        packs.add(pack, keys(1)[0], b"%d" % number * 2000)
    assert os.path.getsize(pack) < 400_000
    assert Packs(0o600).read(pack, keys(1)[0], is_use=False) == b"199" * 2000


# -- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 10, 30_000, 40_000, 200_000])
@pytest.mark.parametrize("compress", [False, True, ("lzma", 1)])
def test_values_of_all_sizes_come_back(tmp_path: Path, n: int, compress: Any) -> None:
    cached = Memory(tmp_path, verbose=0, compress=compress).cache(describe)
    assert [cached(n), cached(n)] == [describe(n)] * 2
    assert Memory(tmp_path, verbose=0).cache(describe).check_call_in_cache(n)


def test_small_entries_share_files(memory: Memory, tmp_path: Path) -> None:
    cached = memory.cache(twice)
    for x in range(200):
        cached(x)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) < 25
    assert len(cached.entries()) == 200


def test_a_large_value_is_a_file_that_load_reads(memory: Memory, tmp_path: Path) -> None:
    cached = memory.cache(describe)
    cached(100_000)
    (file,) = tmp_path.rglob("*.job")
    assert load(file) == describe(100_000)
    cached.call(100_000)
    assert len(list(tmp_path.rglob("*.job"))) == 1
    cached.forget(100_000)
    assert list(tmp_path.rglob("*.job")) == []


@pytest.mark.parametrize("n", [10, 100_000])
def test_a_damaged_result_is_set_aside_and_computed_again(tmp_path: Path, n: int) -> None:
    cached = Memory(tmp_path, verbose=0).cache(describe)
    cached(n)
    pattern, reason = (
        ("?.pack", r"it is not as it was written \(.*\.pack, bytes 0 to \d+\)")
        if n < 1000
        else ("*.job", "its value cannot be read .*")
    )
    for place in range(40):
        for path in list(tmp_path.rglob(pattern)):
            alter(path, path.stat().st_size * place // 40)
        memory = Memory(tmp_path, verbose=0)
        with pytest.warns(CacheWarning, match=rf"computed again: {reason}. It was set aside"):
            assert memory.cache(describe)(n) == describe(n)
        assert (memory.counts.damaged, memory.counts.misses) == (1, 1)
    store, _ = memory.opened()
    assert sum(item.name.startswith("damaged/") for item in store.list("")) == 1


def test_a_version_of_a_function_that_was_altered_is_written_down_again(tmp_path: Path) -> None:
    Memory(tmp_path, verbose=0).cache(twice)(1)
    (path,) = tmp_path.rglob("code.pack")
    alter(path, 50)
    memory = Memory(tmp_path, verbose=0)
    memory.cache(twice)(2)
    store, _ = memory.opened()
    (item,) = (item for item in store.list("") if "/code/" in item.name)
    assert b'"parts"' in (store.read(item.name) or b"")


def test_an_entry_under_another_name_is_damaged(memory: Memory) -> None:
    cached = memory.cache(twice)
    cached(1), cached(2)
    store, _ = memory.opened()
    one, two = sorted(
        item.name for item in store.list("") if len(item.name.split("/")) == 3 and "code" not in item.name
    )
    data = store.read(one)
    assert data is not None
    store.write(two, data)
    with pytest.warns(CacheWarning, match="not as it was written"):
        assert [cached(1), cached(2)] == [2, 4]
    assert memory.counts.damaged == 1


def test_a_value_whose_class_is_gone_is_computed_again(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shapes_of_old.py").write_text("class Square:\n    side = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    cached = memory.cache(make_square, version=1)
    cached()
    del sys.modules["shapes_of_old"].Square
    with pytest.warns(CacheWarning, match="its value cannot be read .*Square"):
        assert cached() == 0
    assert memory.counts.damaged == 1


def make_square() -> Any:
    import shapes_of_old  # type: ignore[import-not-found]

    return getattr(shapes_of_old, "Square", int)()


# -- trust -----------------------------------------------------------------------------------------------------------


class Mine:
    """What only the user trusts."""


def make_mine() -> Mine:
    return Mine()


def test_results_of_another_key_are_not_unpickled_until_they_are_trusted(tmp_path: Path) -> None:
    theirs = Memory(tmp_path, verbose=0, key="the secret of somebody else")
    theirs.cache(twice)(3)
    memory = Memory(tmp_path, verbose=0)
    cached = memory.cache(twice)
    with pytest.warns(FallbackWarning, match=r"jobspan cache trust .*Memory\(key=\.\.\.\)"):
        assert not cached.check_call_in_cache(3)
    assert memory.counts.unknown_key == 1
    assert memory.trust() == 1
    assert cached.check_call_in_cache(3)
    assert memory.trust() == 0


def test_who_has_the_key_shares_the_cache(tmp_path: Path) -> None:
    Memory(tmp_path, verbose=0, key=b"a secret of ours, long enough").cache(twice)(3)
    assert Memory(tmp_path, verbose=0, key="a secret of ours, long enough").cache(twice).check_call_in_cache(3)


def test_the_users_own_key_is_in_no_pickle(memory: Memory, tmp_path: Path) -> None:
    key = Path(os.environ["JOBSPAN_KEY_FILE"])
    cached = memory.cache(twice)
    reference = cached.call_and_shelve(1)
    secret = key.read_bytes()
    assert len(secret) == 32
    for thing in (memory, cached, reference):
        assert secret not in pickle.dumps(thing)
    assert all(secret not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    if not host.in_pyodide():
        assert key.stat().st_mode & 0o077 == 0


@needs_users
def test_a_folder_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "jobspan"
    folder.mkdir(mode=0o700)
    folder.chmod(0o770)
    with pytest.raises(JobspanError, match=r"others can write into it .*chmod go-w.*group=True"):
        Memory(tmp_path)
    Memory(tmp_path, group=True)
    folder.chmod(0o777)
    with pytest.raises(JobspanError, match="others can write"):
        Memory(tmp_path, group=True)


@needs_users
def test_what_is_made_is_for_the_user_alone(tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        Memory(tmp_path / "deep" / "down", verbose=0).cache(describe)(100_000)
    finally:
        os.umask(before)
    made = list((tmp_path / "deep" / "down" / "jobspan").rglob("*"))
    assert made
    assert all(path.stat().st_mode & 0o077 == 0 for path in made)


def test_data_only_results_need_no_trust(tmp_path: Path) -> None:
    memory = Memory(tmp_path, verbose=0, trusted="data")
    plain, own = memory.cache(describe), memory.cache(make_mine)
    assert [plain(5), plain(5), plain(100_000), plain(100_000)] == [describe(5)] * 2 + [describe(100_000)] * 2
    with pytest.warns(CacheWarning, match=r"could not be kept.*Mine, which is not trusted"):
        own()
    assert memory.counts.hits == 2


def test_data_only_results_may_be_signed_by_anybody(tmp_path: Path) -> None:
    Memory(tmp_path, verbose=0, key="the secret of somebody else").cache(describe)(5)
    Memory(tmp_path, verbose=0, key="the secret of somebody else").cache(describe)(100_000)
    memory = Memory(tmp_path, verbose=0, trusted="data")
    assert [memory.cache(describe)(n) for n in (5, 100_000)] == [describe(5), describe(100_000)]
    assert memory.counts.hits == 2


class FullStore(FolderStore):
    """A folder on a disk that is full."""

    full = frozenset({"append", "write"})

    def append(self, name: str, data: bytes, /) -> int:
        if "append" in self.full:
            raise OSError(28, "No space left on device")
        return super().append(name, data)

    def write(self, name: str, data: bytes, /) -> None:
        if "write" in self.full:
            raise OSError(28, "No space left on device")
        super().write(name, data)

    def path(self, name: str, /) -> str:
        if "path" in self.full:
            raise PermissionError(13, "No space left on device, nor the permission to look")
        return super().path(name)


@pytest.mark.parametrize("full", [{"append"}, {"write"}, {"append", "write", "path"}])
def test_a_full_disk_costs_no_result(tmp_path: Path, full: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBSPAN_DEBUG", "1")
    monkeypatch.setattr("atexit.register", lambda _: None)
    store = FullStore(str(tmp_path))
    store.full = frozenset(full)
    cached = Memory(store, verbose=0).cache(describe)
    with pytest.warns((CacheWarning, FallbackWarning), match="No space left"):
        assert [cached(5), cached(5)] == [describe(5)] * 2


def test_a_file_in_the_way_of_the_folder_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(JobspanError, match="there is a file where a folder should be"):
        Memory(tmp_path / "file" / "cache")


def test_results_can_be_mapped_in_every_way(tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")
    for mode in ("r", "c", "r+", "w+"):
        cached = Memory(tmp_path / mode[0], verbose=0).cache(np.arange, mmap_mode=mode)
        assert cached(5000.0).sum() == cached(5000.0).sum() == np.arange(5000.0).sum()


# -- limits ----------------------------------------------------------------------------------------------------------


def kept(name: str, *, nbytes: int = 100, used: float = 0.0, duration: float = 1.0, written: float = 0.0) -> Kept:
    return Kept(name, "f", (name,), nbytes, written, used, duration)


def test_what_was_not_used_for_longest_goes_first() -> None:
    entries = [kept("a", used=3), kept("b", used=1), kept("c", used=2)]
    assert [victim.key for victim in choose_victims(entries, 10, by_use, max_items=1)] == ["b", "c"]
    assert [victim.key for victim in choose_victims(entries, 10, by_use, max_bytes=200)] == ["b"]


def test_what_is_expensive_for_its_size_stays() -> None:
    entries = [kept("cheap", duration=0.01), kept("dear", duration=60), kept("large", duration=60, nbytes=10**9)]
    assert [victim.key for victim in choose_victims(entries, 10, by_worth, max_items=1)] == ["large", "cheap"]
    stale = [kept("stale", used=0, duration=2), kept("fresh", used=1e6, duration=1)]
    assert [victim.key for victim in choose_victims(stale, 1e6, by_worth, max_items=1)] == ["stale"]


def test_what_is_old_goes_in_any_case() -> None:
    entries = [kept("old", written=0), kept("new", written=9)]
    assert [victim.key for victim in choose_victims(entries, 10, by_use, oldest=5)] == ["old"]


def test_a_cache_keeps_within_its_limits(tmp_path: Path) -> None:
    cached = Memory(tmp_path, verbose=0, max_items=20).cache(twice)
    for x in range(100):
        cached(x)
        assert len(cached.entries()) <= 20
    sized = Memory(tmp_path / "sized", verbose=0, max_bytes="1M").cache(describe)
    for n in range(100_000, 100_030):
        sized(n)
    assert sum(row.nbytes for row in sized.entries()) <= 1 << 20
    assert len(sized.entries()) >= 8


def test_pruning_by_hand(memory: Memory) -> None:
    cached = memory.cache(twice)
    for x in range(10):
        cached(x)
    assert memory.prune(max_items=4) == 6
    assert len(cached.entries()) == 4
    assert memory.prune() == 0


# -- the whole -------------------------------------------------------------------------------------------------------


def test_verifying_finds_what_is_damaged(memory: Memory, tmp_path: Path) -> None:
    cached = memory.cache(describe)
    for n in (1, 100_000, 100_001):
        cached(n)
    assert memory.verify() == (3, 0, 0, 0, ())
    file = next(iter(tmp_path.rglob("*.job")))
    alter(file, file.stat().st_size // 2)
    assert memory.verify() == (2, 1, 0, 0, (str(file),))
    assert memory.verify() == (2, 0, 0, 0, ())


@pytest.mark.parametrize(
    ("what", "place"), [("mark", 1), ("checksum", 5), ("length", 9), ("key", 12), ("time", 30), ("entry", 60)]
)
def test_verifying_finds_frames_of_packs_that_were_altered(
    memory: Memory, tmp_path: Path, what: str, place: int, capsys: pytest.CaptureFixture[str]
) -> None:
    memory.cache(twice)(1), memory.cache(twice)(2)
    pack = next(path for path in tmp_path.rglob("*.pack") if path.name != "code.pack")
    nbytes = pack.stat().st_size
    alter(pack, place)
    assert memory.verify() == (1, 1, 0, 0, (f"{pack}, bytes 0 to {nbytes}",)), what
    assert memory.verify() == (1, 0, 0, 0, ())
    memory.cache(twice)(1), memory.cache(twice)(2)
    pack = next(path for path in tmp_path.rglob("*.pack") if path.name not in ("code.pack", "damaged.pack"))
    alter(pack, place)
    assert main(["cache", "verify", str(tmp_path)]) == 1
    assert f"1 good, 1 damaged, 0 unknown key, 0 strays\ndamaged: {pack}, bytes 0" in capsys.readouterr().out


def test_what_was_altered_is_taken_from_where_it_was_not(tmp_path: Path) -> None:
    here, there = Memory(tmp_path / "here", verbose=0), Memory(tmp_path / "there", verbose=0)
    here.cache(twice)(1), there.cache(twice)(1)
    (pack,) = (path for path in (tmp_path / "here").rglob("*.pack") if path.name != "code.pack")
    alter(pack, 70)
    assert here.merge(there) == (1, 0, 0)
    assert here.cache(twice)(1) == 2
    assert (here.counts.hits, here.counts.damaged) == (1, 0)
    near, far = FolderStore(str(tmp_path / "near")), FolderStore(str(tmp_path / "far"))
    name = f"a/0/{'0' * 32}"
    layered = LayeredStore(near, far)
    layered.write(name, b"value")
    alter(tmp_path / "near" / "a" / "0.pack", 36)
    assert isinstance(near.read(name), Altered)
    assert layered.read(name) == near.read(name) == b"value"
    alter(tmp_path / "near" / "a" / "0.pack", -1)
    alter(tmp_path / "far" / "a" / "0.pack", -1)
    found = layered.read(name)
    assert isinstance(found, Altered)
    assert found.place.startswith(far.location)
    layered.remove([name])
    assert layered.read(name) is None


def test_two_caches_become_one(tmp_path: Path) -> None:
    here, there = Memory(tmp_path / "here", verbose=0), Memory(tmp_path / "there", verbose=0)
    here.cache(describe)(1), there.cache(describe)(1)
    there.cache(describe)(2), there.cache(describe)(100_000)
    done: list[tuple[int, int]] = []
    assert here.merge(tmp_path / "there", progress=lambda *numbers: done.append(numbers)) == (2, 1, 0)
    assert done[-1] == (3, 3)
    cached = here.cache(describe)
    assert cached.check_call_in_cache(100_000)
    assert cached(100_000) == describe(100_000)
    assert here.counts.hits == 1


def test_a_strangers_cache_is_merged_only_if_it_is_trusted(tmp_path: Path) -> None:
    Memory(tmp_path / "there", verbose=0, key="the secret of somebody else").cache(describe)(2)
    here = Memory(tmp_path / "here", verbose=0)
    assert here.merge(tmp_path / "there") == (0, 0, 1)
    assert here.merge(tmp_path / "there", trust=True) == (1, 0, 0)
    assert here.cache(describe).check_call_in_cache(2)


def test_a_copied_folder_is_a_cache(memory: Memory, tmp_path: Path) -> None:
    import shutil

    memory.cache(describe)(100_000)
    shutil.copytree(tmp_path / "jobspan", tmp_path / "elsewhere" / "jobspan")
    assert Memory(tmp_path / "elsewhere", verbose=0).cache(describe).check_call_in_cache(100_000)


# -- other stores ----------------------------------------------------------------------------------------------------


class DictBackend(StoreBackendBase):
    """A backend as a third party would have written it for joblib: in a dict."""

    items: dict[str, bytes]

    def configure(self, location: Any, verbose: int = 0, backend_options: Any = None) -> None:
        self.location = location
        self.items = {}

    def _open_item(self, f: Any, mode: str) -> Any:
        import io

        if mode == "rb":
            return io.BytesIO(self.items[f])
        items = self.items

        class Writer(io.BytesIO):
            def close(self) -> None:
                items[f] = self.getvalue()
                super().close()

        return Writer()

    def _item_exists(self, location: Any) -> bool:
        return location in self.items

    def _move_item(self, src: Any, dst: Any) -> None:
        self.items[dst] = self.items.pop(src)

    def create_location(self, location: Any) -> None:
        pass

    def clear_location(self, location: Any) -> None:
        self.items.pop(location, None)

    def get_items(self) -> list[Any]:
        return []


@pytest.fixture(params=["legacy", "memory", "layered"])
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Memory]:
    if request.param == "legacy":
        register_store_backend("dict", DictBackend)
        yield Memory("somewhere", backend="dict", verbose=0)
        return
    pytest.importorskip("fsspec")
    local = tmp_path / "near" if request.param == "layered" else None
    memory = Memory(f"memory://{tmp_path.name}", verbose=0, local=local)
    yield memory
    memory.clear(warn=False)


def test_results_are_kept_elsewhere(elsewhere: Memory) -> None:
    cached = elsewhere.cache(describe)
    for n in (1, 1, 2, 100_000, 100_000):
        assert cached(n) == describe(n)
    assert (elsewhere.counts.hits, elsewhere.counts.misses) == (2, 3)
    assert len(cached.entries()) == 3
    assert re.search(r"n differs: \d+ -> 3", str(cached.explain(3)))
    cached.forget(1)
    assert not cached.check_call_in_cache(1)
    assert elsewhere.verify()[:2] == (2, 0)
    elsewhere.clear(warn=False)
    assert cached.entries() == []


def test_a_store_of_ones_own_has_six_calls(tmp_path: Path) -> None:
    store = FolderStore(str(tmp_path / "own"))
    assert Memory(store, verbose=0).cache(twice)(2) == 4
    assert Memory(FolderStore(str(tmp_path / "own")), verbose=0).cache(twice).check_call_in_cache(2)


def test_a_backend_must_have_joblibs_methods() -> None:
    with pytest.raises(ValueError, match="should be a string"):
        register_store_backend(3, DictBackend)  # type: ignore[arg-type]


# -- kills -----------------------------------------------------------------------------------------------------------

_WRITER = """
    import sys
    from jobspan import Memory
    memory = Memory(sys.argv[1], verbose=0)
    @memory.cache(version=1)
    def describe(n):
        return {"n": n, "text": "x" * (n * n % 100_003)}
    print("ready", flush=True)
    n = int(sys.argv[2])
    while True:
        describe(n)
        n += 1
"""


@needs_processes
def test_a_kill_at_any_moment_leaves_no_wrong_or_unreadable_result(tmp_path: Path) -> None:
    chance = random.Random(5)
    script = textwrap.dedent(_WRITER)
    for number in range(12):
        writer = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path), str(number * 10)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0.0, 0.05))  # the moment is what is tried
        writer.kill()
        writer.wait()
        writer.stdout.close()
    memory = Memory(tmp_path, verbose=0)
    rows = memory.entries()
    assert rows
    found = memory.verify()
    assert (found.good, found.damaged, found.unknown_key) == (len(rows), 0, 0)
    store, _ = memory.opened()
    for row in rows:
        data = store.read(f"{row.function}/{row.key[0]}/{row.key}")
        assert data is not None
        n = int(row.arguments["n"])
        assert str(n).encode() in data or row.nbytes > 1000
