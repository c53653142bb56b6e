"""Large arguments: sent once, fresh for every task, and right when the caller changes them."""

from __future__ import annotations

import contextlib
import functools
import gc
import glob
import importlib.util
import os
from collections.abc import Callable
from typing import Any

import pytest

import jobspan
from jobspan import Parallel, UnpicklableError, delayed, host, shared
from jobspan.persist import segments
from jobspan.worker.shared import is_shared

with contextlib.suppress(ImportError):
    import numpy as np

needs_processes = pytest.mark.skipif(not host.has_processes(), reason="there are no processes here")
needs_numpy = pytest.mark.skipif(importlib.util.find_spec("numpy") is None, reason="arrays need numpy")

LOCAL = ["loky", "multiprocessing"] if host.has_processes() else []


@pytest.fixture(params=LOCAL)
def local(request: pytest.FixtureRequest) -> str:
    """Backends whose workers are processes of this machine."""
    name: str = request.param
    return name


def files_of_ours() -> list[str]:
    """What lies in the folders of this process, apart from their locks."""
    return [path for home in segments._homes.values() for path in glob.glob(f"{home.path}/[0-9]*")]


def bump() -> Any:
    def bump(x: Any) -> int:
        x[0] += 1
        return int(x[0])

    return bump


# --- every task gets its own ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make", [lambda: [0], lambda: {0: 0}, pytest.param(lambda: np.zeros(3), marks=needs_numpy), lambda: bytearray(1)]
)
def test_what_a_task_changes_in_its_argument_no_other_task_sees(copying_backend: Any, make: Any) -> None:
    argument = make()
    results = Parallel(n_jobs=2, backend=copying_backend)(delayed(bump())(argument) for _ in range(20))
    assert results == [1] * 20
    assert argument[0] == 0


@pytest.mark.parametrize(
    "make", [lambda: dict.fromkeys(range(20000), 0), pytest.param(lambda: np.zeros(500_000), marks=needs_numpy)]
)
def test_so_it_is_with_large_constants(copying_backend: Any, make: Any) -> None:
    argument = make()
    results = Parallel(n_jobs=2, backend=copying_backend)(delayed(bump())(argument) for _ in range(20))
    assert results == [1] * 20
    assert argument[0] == 0


@needs_numpy
def test_a_constant_is_found_inside_tuples_and_keywords(copying_backend: Any) -> None:
    def both(pair: Any, *, extra: Any) -> int:
        pair[0][0] += 1
        extra[0] += 1
        return int(pair[0][0] + extra[0])

    large = np.zeros(300_000)
    tasks = (delayed(both)((large, i), extra=large) for i in range(12))
    assert Parallel(n_jobs=2, backend=copying_backend)(tasks) == [4] * 12


@needs_numpy
def test_a_buffer_that_the_input_refills_is_sent_again(copying_backend: Any) -> None:
    buffer = np.zeros(400_000)

    def refilled() -> Any:
        for i in range(12):
            buffer[:] = i
            yield delayed(lambda x: float(x[7]))(buffer)

    results = Parallel(n_jobs=2, backend=copying_backend, batch_size=1, pre_dispatch=1)(refilled())
    assert results == list(range(12))


def test_one_changed_element_is_noticed(copying_backend: Any) -> None:
    table = {i: i for i in range(20_000)}

    def changed() -> Any:
        for i in range(8):
            table[19_999] = -i
            yield delayed(lambda x: x[19_999])(table)

    results = Parallel(n_jobs=2, backend=copying_backend, batch_size=1, pre_dispatch=1)(changed())
    assert results == [-i for i in range(8)]


@needs_numpy
def test_a_second_call_sees_what_was_changed_between_the_calls(copying_backend: Any) -> None:
    array = np.zeros(400_000)
    for value in (0.0, 5.0):
        array[123] = value
        tasks = [delayed(lambda x: float(x[123]))(array)] * 6
        assert Parallel(n_jobs=2, backend=copying_backend)(tasks) == [value] * 6


@needs_numpy
def test_large_closures_travel_once_and_work(copying_backend: Any) -> None:
    table = np.arange(300_000)

    def look_up(i: int) -> int:
        return int(table[i])

    tasks = (delayed(look_up)(i) for i in range(50))
    assert Parallel(n_jobs=2, backend=copying_backend)(tasks) == list(range(50))


def test_several_functions_in_one_call_each_get_their_arguments(copying_backend: Any) -> None:
    def make(k: int) -> Any:
        return lambda x, *, y=0: (k, x[0], y)

    tasks = [delayed(make(k))([k], y=k) for k in range(30)]
    assert Parallel(n_jobs=2, backend=copying_backend, batch_size=7)(tasks) == [(k, k, k) for k in range(30)]


@needs_numpy
def test_within_one_task_what_is_given_twice_is_one_object(copying_backend: Any) -> None:
    def are_one(x: Any, *, y: Any) -> bool:
        return x is y

    for argument in ([0], np.zeros(300_000)):
        tasks = (delayed(are_one)(argument, y=argument) for _ in range(6))
        assert Parallel(n_jobs=2, backend=copying_backend)(tasks) == [True] * 6


@needs_numpy
def test_methods_of_a_large_object_work(copying_backend: Any) -> None:
    class Table:
        def __init__(self) -> None:
            self.values = np.arange(300_000)

        def look_up(self, i: int) -> int:
            self.values[i] += 1
            return int(self.values[i])

    table = Table()
    results = Parallel(n_jobs=2, backend=copying_backend)(delayed(table.look_up)(5) for _ in range(10))
    assert results == [6] * 10


@needs_numpy
def test_numbers_of_numpy_and_long_texts_travel(copying_backend: Any) -> None:
    tasks = (delayed(lambda x: x + x)(value) for value in np.arange(40))
    assert Parallel(n_jobs=2, backend=copying_backend)(tasks) == list(range(0, 80, 2))
    text = "a" * 100_000
    assert Parallel(n_jobs=2, backend=copying_backend)(delayed(len)(text) for _ in range(10)) == [100_000] * 10


# --- once -----------------------------------------------------------------------------------------------------------


def counted() -> tuple[Any, list[int]]:
    """A large object, and a list that grows whenever it is pickled here."""
    pickled: list[int] = []

    class Counted:
        def __init__(self) -> None:
            self.content = list(range(50_000))

        def __getstate__(self) -> dict[str, Any]:
            pickled.append(1)
            return self.__dict__

    return Counted(), pickled


def test_what_many_tasks_share_is_pickled_once_for_the_call(copying_backend: Any) -> None:
    constant, pickled = counted()
    tasks = [delayed(lambda x: x.content[-1])(constant)] * 40
    assert Parallel(n_jobs=2, backend=copying_backend, batch_size=1)(tasks) == [49_999] * 40
    assert len(pickled) <= 4  # with the first task, which may be the only one, and as a constant: by two picklers each


def test_a_web_worker_is_sent_a_constant_once(monkeypatch: pytest.MonkeyPatch) -> None:
    if not host.in_pyodide():
        pytest.skip("there are no web workers here")
    from jobspan.web.pool import Worker

    taught: list[tuple[str, list[Any], list[Any]]] = []
    teach = Worker.teach

    def spy(self: Any, sent: Any, outdated: Any) -> None:
        taught.append((self.name, list(sent), list(outdated)))
        teach(self, sent, outdated)

    monkeypatch.setattr(Worker, "teach", spy)
    constant, pickled = counted()
    marked = shared({"a": 1})
    tasks = [delayed(lambda x, y: x.content[-1] + y["a"])(constant, marked)] * 40
    assert Parallel(n_jobs=2, backend="web", batch_size=1)(tasks) == [50_000] * 40
    sent = [(name, key) for name, keys, _ in taught for key in keys]
    forgotten = [(name, key) for name, _, keys in taught for key in keys]
    assert 2 <= len(sent) <= 4
    assert sorted(set(sent)) == sorted(sent) == sorted(forgotten)
    assert len(pickled) <= 4


def test_a_web_worker_forgets_constants_that_were_not_used_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    if not host.in_pyodide():
        pytest.skip("there are no web workers here")
    monkeypatch.setattr("jobspan.worker.constants.TAUGHT_NBYTES", 1_000_000)

    def count_known() -> int:
        from jobspan.worker.references import _sent

        return len(_sent)

    def tables() -> Any:
        for i in range(20):
            table = {key: key + i for key in range(50_000)}
            for _ in range(3):
                yield delayed(lambda x: x[0])(table)
        yield delayed(count_known)()

    *found, known = Parallel(n_jobs=1, backend="web", batch_size=1, pre_dispatch=2)(tables())
    assert found == [i for i in range(20) for _ in range(3)]
    assert known <= 6


def test_what_was_refilled_leaves_no_file_behind_while_the_call_goes_on(local: str) -> None:
    before = len(files_of_ours())
    buffer, most = bytearray(200_000), 0

    def refilled() -> Any:
        nonlocal most
        for i in range(40):
            buffer[0] = i
            most = max(most, len(files_of_ours()) - before)
            yield delayed(lambda x: x[0])(buffer)

    found = Parallel(n_jobs=2, backend=local, batch_size=1, pre_dispatch=4)(refilled())
    assert found == list(range(40))
    assert 0 < most <= 8


def test_ever_new_constants_do_not_pile_up(local: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobspan.worker.constants.KEPT_NBYTES", 1_000_000)
    before, most = len(files_of_ours()), 0

    def tables() -> Any:
        nonlocal most
        for i in range(40):
            table = {key: key + i for key in range(50_000)}
            for _ in range(3):
                most = max(most, len(files_of_ours()) - before)
                yield delayed(lambda x: x[0])(table)

    found = Parallel(n_jobs=2, backend=local, batch_size=1, pre_dispatch=4)(tables())
    assert found == [i for i in range(40) for _ in range(3)]
    assert 0 < most <= 12


# --- shared ---------------------------------------------------------------------------------------------------------


def test_shared_hands_one_object_to_all_tasks_of_a_worker(copying_backend: Any) -> None:
    def place_of(x: Any) -> tuple[int, int]:
        return os.getpid(), id(x)

    table = shared({i: i for i in range(2000)})
    found = Parallel(n_jobs=1 if host.in_pyodide() else 2, backend=copying_backend, batch_size=1)(
        delayed(place_of)(table) for _ in range(20)
    )
    assert len(set(found)) == len({pid for pid, _ in found})


def writer() -> Callable[[Any], str]:
    def write(x: Any) -> str:
        try:
            x[0] = 1
        except ValueError as error:
            return str(error)
        return "written"

    return write


def in_a_list(table: Any) -> Any:
    return delayed(lambda pair: (os.getpid(), id(pair[1][0])))((1, [table]))


def in_a_partial(table: Any) -> Any:
    return delayed(functools.partial(lambda x, _: (os.getpid(), id(x)), table))(5)


def in_a_closure(table: Any) -> Any:
    return delayed(lambda: (os.getpid(), id(table)))()


def in_a_large_closure(table: Any) -> Any:
    others = list(range(50_000))
    return delayed(lambda: (os.getpid(), id(table), len(others))[:2])()


@pytest.mark.parametrize("give", [in_a_list, in_a_partial, in_a_closure, in_a_large_closure])
@pytest.mark.parametrize("again", [False, True])
def test_shared_holds_wherever_the_object_is(copying_backend: Any, give: Any, again: bool) -> None:
    table = shared({i: i for i in range(2000)})
    task = give(table)
    tasks = (task if again else give(table) for _ in range(20))
    found = Parallel(n_jobs=1 if host.in_pyodide() else 2, backend=copying_backend, batch_size=1)(tasks)
    assert len(set(found)) == len({pid for pid, _ in found})


@needs_numpy
def test_shared_arrays_are_read_only(backend: Any) -> None:
    array = shared(np.zeros(300_000))
    results = Parallel(n_jobs=2, backend=backend)(delayed(writer())(array) for _ in range(4))
    assert results == ["assignment destination is read-only"] * 4


@needs_numpy
def test_shared_gives_the_same_view_while_it_lives() -> None:
    array = np.zeros(10)
    view = shared(array)
    assert shared(array) is view
    assert is_shared(view)
    assert not is_shared(array)
    assert array.flags.writeable


@needs_numpy
def test_shared_keeps_nothing_alive() -> None:
    import weakref

    array = np.zeros(10)
    gone = weakref.ref(shared(array).base)
    table = shared({"a": 1})
    key = id(table)
    assert is_shared(table)
    del array, table
    gc.collect()
    shared([1])  # whoever asks next lets go
    assert gone() is None
    assert key not in jobspan.worker.shared._strong


# --- mapped files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "outcome"),
    [("c", "written"), ("r", "assignment destination is read-only"), ("r+", "written"), (None, "written")],
)
@needs_numpy
def test_mmap_mode_says_how_workers_see_large_arrays(local: str, mode: str | None, outcome: str) -> None:
    array = np.zeros(200_000)
    results = Parallel(n_jobs=2, backend=local, mmap_mode=mode)(delayed(writer())(array) for _ in range(2))
    assert results == [outcome] * 2
    assert array[0] == 0


@needs_numpy
def test_tasks_in_processes_write_into_one_mapped_file(local: str, tmp_path: Any) -> None:
    output = np.memmap(tmp_path / "output", dtype="f8", shape=(4, 10), mode="w+")

    def fill(rows: Any, i: int) -> None:
        rows[i] = i

    Parallel(n_jobs=2, backend=local)(delayed(fill)(output[1:, ::2], i) for i in range(3))
    assert output.tolist() == [[0.0] * 10, *([[float(i), 0.0] * 5 for i in range(3)])]


@needs_numpy
def test_a_mapped_file_comes_back_as_such(local: str, tmp_path: Any) -> None:
    source = np.memmap(tmp_path / "source", dtype="i4", shape=(100,), mode="w+")
    source[:] = range(100)
    (half,) = Parallel(n_jobs=2, backend=local)([delayed(lambda x: x[50:])(source)])
    assert isinstance(half, np.memmap)
    half[0] = -1
    assert source[50] == -1


@needs_numpy
def test_a_mapped_file_that_has_gone_is_named(local: str, tmp_path: Any) -> None:
    source = np.memmap(tmp_path / "vanishing", dtype="i4", shape=(100,), mode="w+")
    os.unlink(tmp_path / "vanishing")
    with pytest.raises(FileNotFoundError, match="vanishing"):
        Parallel(n_jobs=2, backend=local)(delayed(len)(source) for _ in range(2))


@needs_numpy
def test_large_results_arrive_writable_and_leave_no_file(local: str) -> None:
    results = Parallel(n_jobs=2, backend=local)(delayed(np.full)(400_000, i) for i in range(6))
    assert [int(array[-1]) for array in results] == list(range(6))
    assert all(array.flags.writeable for array in results)
    gc.collect()
    assert files_of_ours() == []


@needs_numpy
def test_arguments_leave_no_file_once_they_have_gone(local: str) -> None:
    arrays = [np.full(200_000, i) for i in range(6)]
    assert Parallel(n_jobs=2, backend=local)(delayed(len)(array) for array in arrays) == [200_000] * 6
    del arrays
    gc.collect()
    assert files_of_ours() == []


@needs_numpy
def test_a_failed_run_leaves_no_file(local: str) -> None:
    def fail(x: Any, i: int) -> Any:
        if i == 3:
            raise ValueError("three")
        return x + i

    array = np.zeros(300_000)
    with pytest.raises(ValueError, match="three"):
        Parallel(n_jobs=2, backend=local)(delayed(fail)(array, i) for i in range(6))
    del array
    gc.collect()
    assert len(files_of_ours()) <= 2  # of results that were under way when the workers were stopped


@needs_numpy
def test_max_nbytes_none_sends_everything_through_pipes(local: str) -> None:
    before = len(segments._homes)
    array = np.ones(300_000)
    assert Parallel(n_jobs=2, backend=local, max_nbytes=None)(delayed(bump())(array) for _ in range(4)) == [2] * 4
    assert len(segments._homes) >= before


@needs_numpy
def test_the_files_lie_where_the_user_says(local: str, tmp_path: Any) -> None:
    def backing(x: Any) -> str:
        with open("/proc/self/maps", encoding="utf-8") as maps:
            return maps.read()

    if not os.path.exists("/proc/self/maps"):
        pytest.skip("nothing tells what is mapped here")
    array = np.zeros(300_000)
    (maps, *_) = Parallel(n_jobs=2, backend=local, temp_folder=str(tmp_path))([delayed(backing)(array)] * 2)
    assert str(tmp_path) in maps


def test_a_temp_folder_that_is_missing_is_an_error_that_says_so(local: str) -> None:
    with pytest.raises(OSError, match="temp_folder"):
        Parallel(n_jobs=2, backend=local, temp_folder="/nowhere/at/all")(delayed(len)([i]) for i in range(3))


@needs_numpy
def test_what_cannot_be_pickled_beside_a_constant_is_still_named(local: str) -> None:
    import threading

    large = np.zeros(200_000)
    with pytest.raises(UnpicklableError, match="lock"):
        Parallel(n_jobs=2, backend=local)(delayed(print)(large, {"lock": threading.Lock()}) for _ in range(3))
