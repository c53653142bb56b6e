"""What crosses to workers that share no memory."""

from __future__ import annotations

import functools
import gc
import json
import pickle
import threading
import weakref
from typing import Any

import pytest

from jobspan.errors import RemoteError, UnpicklableError
from jobspan.model import Batch, Task
from jobspan.persist.culprit import find_culprit
from jobspan.persist.pickling import dumps, is_picklable, loads
from jobspan.worker.frame import Frame
from jobspan.worker.reply import decode_reply
from jobspan.worker.run import run_tasks
from jobspan.worker.wire import BatchEncoder, run_encoded


def encode(*tasks: Task, first: int = 0) -> bytes:
    return BatchEncoder(Frame(), budget_s=None, watch=False).encode(Batch(first, tasks))


def cross(*tasks: Task, first: int = 0) -> Any:
    return decode_reply(1, run_encoded(encode(*tasks, first=first), worker="w"))


def call(function: Any, *args: Any, **kwargs: Any) -> Task:
    return function, args, kwargs


def test_neighbours_with_one_function_travel_without_repeating_it() -> None:
    same = encode(*[call(pow, i, 2) for i in range(100)])
    mixed = encode(*[call(pow, i, exp=2) for i in range(100)])
    assert len(same) < len(mixed) * 0.7
    assert cross(*[call(pow, i, 2) for i in range(100)]).values == [i * i for i in range(100)]
    assert cross(call(pow, 2, exp=3), call(abs, -1)).values == [8, 1]


def test_a_function_is_pickled_once_for_a_run() -> None:
    offset = [1]

    def shifted(x: int) -> int:
        return x + offset[0]

    encoder = BatchEncoder(Frame(), budget_s=None, watch=False)
    first = encoder.encode(Batch(0, [call(shifted, 1)]))
    offset[0] = 100  # too late: the function has been sent
    second = encoder.encode(Batch(1, [call(shifted, 2)]))
    assert [decode_reply(1, run_encoded(data)).values for data in (first, second)] == [[2], [3]]


def test_a_function_that_is_looked_at_again_takes_along_what_has_changed() -> None:
    offset = [1]

    def shifted(x: int) -> int:
        return x + offset[0]

    encoder = BatchEncoder(Frame(), budget_s=None, watch=False)
    first = encoder.encode(Batch(0, [call(shifted, 1)]))
    offset[0] = 100
    encoder.look_again()
    second = encoder.encode(Batch(1, [call(shifted, 2)]))
    assert [decode_reply(1, run_encoded(data)).values for data in (first, second)] == [[2], [102]]


def test_a_large_function_is_sent_once_unless_it_changes() -> None:
    table = [bytes(100_000)]

    def measure() -> int:
        return len(table[0])

    encoder = BatchEncoder(Frame(), budget_s=None, watch=False, way="message")
    sizes, needs = [], []
    for round_number in range(4):
        if round_number == 2:
            table[0] = bytes(200_000)
        encoder.look_again()
        sizes.append(len(encoder.encode(Batch(round_number, [call(measure)]))))
        needs.append(encoder.needs)
    assert max(sizes[:2]) < 10_000
    assert needs[0] == needs[1] == tuple(encoder.messages)  # the one message that workers keep
    assert min(sizes[2:]) > 200_000  # each batch for itself, so that old states do not pile up
    assert needs[2:] == [(), ()]


def test_importable_functions_do_not_need_cloudpickle() -> None:
    data = dumps((json.dumps, [1, "two"]))
    assert b"cloudpickle" not in data
    assert pickle.loads(data) == (json.dumps, [1, "two"])


def test_lambdas_travel_by_value() -> None:
    offset = 3
    assert loads(dumps(lambda x: x + offset))(1) == 4


def test_a_module_registered_with_cloudpickle_travels_by_value() -> None:
    import cloudpickle

    cloudpickle.register_pickle_by_value(json)
    try:
        assert b"cloudpickle" in dumps(json.dumps)
    finally:
        cloudpickle.unregister_pickle_by_value(json)


def test_buffers_travel_out_of_band() -> None:
    buffers: list[pickle.PickleBuffer] = []
    data = dumps({"big": pickle.PickleBuffer(bytearray(100_000))}, buffer_callback=buffers.append)
    assert len(data) < 1000
    assert loads(data, buffers=buffers)["big"] == bytearray(100_000)


def test_a_task_that_cannot_be_unpickled_fails_with_the_reason() -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (int, ("not a number",))

    completion = cross(call(id, Evil()))
    assert isinstance(completion.error, ValueError)
    assert "where the task was unpickled" in "".join(completion.error.__notes__)


def test_notes_of_remote_errors_name_task_worker_and_cause() -> None:
    def fail(x: int) -> None:
        try:
            raise OSError("the disk")
        except OSError as cause:
            raise ValueError("the value") from cause

    completion = cross(call(fail, 1), first=7)
    notes = "".join(completion.error.__notes__)
    assert "task 7: fail(1), on w" in notes
    assert "caused by" in notes
    assert "the disk" in notes


class Attributes:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Slots:
    __slots__ = ("inside",)

    def __init__(self, inside: Any) -> None:
        self.inside = inside


LOCK = threading.Lock()


@pytest.mark.parametrize(
    ("obj", "path"),
    [
        ([1, [2, LOCK]], "x[1][1]"),
        ({"a": {"b": LOCK}}, "x['a']['b']"),
        (Attributes(deep=Attributes(lock=LOCK)), "x.deep.lock"),
        (Slots(LOCK), "x.inside"),
        (functools.partial(print, LOCK), "x.args[0]"),
        (functools.partial(print, end=LOCK), "x.keywords['end']"),
        (Attributes(lock=LOCK).__init__, "x.__self__.lock"),  # type: ignore[misc]
        ((lambda lock=LOCK: lock), "x.<default 0>"),
        ((lambda: LOCK), "x.<global LOCK>"),
    ],
)
def test_the_culprit_is_found(obj: Any, path: str) -> None:
    found, culprit, reason = find_culprit(obj, "x", is_picklable)
    assert found == path
    assert culprit is LOCK
    assert "lock" in reason


def array_of(*items: Any, dtype: Any = object) -> Any:
    np = pytest.importorskip("numpy")
    made = np.empty(len(items), dtype)
    for number, item in enumerate(items):
        made[number] = item
    return made


def frame_of(package: str, **columns: Any) -> Any:
    frames = pytest.importorskip(package)
    return frames.DataFrame(columns)


def objects_of(*items: Any) -> Any:
    polars = pytest.importorskip("polars")
    return polars.Series(items, dtype=polars.Object)


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda: {"cfg": array_of(1, LOCK)}, "x['cfg'][1]"),
        (lambda: array_of(1, 2, 3, {"a": LOCK}).reshape(2, 2), "x[1, 1]['a']"),
        (lambda: array_of(LOCK).reshape(()), "x[()]"),
        (lambda: array_of((1.0, 2), (2.0, LOCK), dtype=[("f", "f8"), ("o", "O")]), "x['o'][1]"),
        (lambda: array_of((1.0, LOCK), dtype=[("f", "f8"), ("o", "O")])[0], "x['o']"),
        (lambda: pytest.importorskip("numpy").ma.array(array_of(1, LOCK), mask=[0, 1]), "x.data[1]"),
        (lambda: [frame_of("pandas", a=[1.0, 2.0], b=[1, LOCK])], "x[0]['b'].iloc[1]"),
        (lambda: frame_of("pandas", a=[1, LOCK], b=[1, 2]).set_axis(["c", "c"], axis=1), "x.iloc[:, 0].iloc[1]"),
        (lambda: frame_of("pandas", a=[1, 2], b=[1, LOCK]).set_index("b"), "x.index[1]"),
        (lambda: frame_of("polars", a=[1, 2], b=objects_of(1, LOCK)), "x['b'][1]"),
    ],
)
def test_the_culprit_is_found_in_arrays_and_frames(make: Any, path: str) -> None:
    found, culprit, _ = find_culprit(make(), "x", is_picklable)
    assert found == path
    assert culprit is LOCK


def test_a_loop_in_the_object_does_not_keep_the_search_busy() -> None:
    loop: list[Any] = [1]
    loop.extend([loop, {"lock": LOCK}])
    with pytest.raises(UnpicklableError, match=r"\['lock'\]"):
        cross(call(len, loop))


def test_a_repr_that_raises_does_not_hide_the_error() -> None:
    class Rude:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    outcome = run_tasks([call(int, Rude())])
    assert isinstance(outcome.error, TypeError)
    assert "int(<Rude instance at " in "".join(outcome.error.__notes__)


def test_an_exception_that_can_neither_be_sent_nor_shown_is_told() -> None:
    class Hidden(Exception):
        __notes__ = 5  # no list

        def __init__(self) -> None:
            type(self).lock = threading.Lock()  # type: ignore[attr-defined]  # nor can its class be sent

        def __str__(self) -> str:
            raise RuntimeError("no text")

        def __reduce__(self) -> Any:
            raise RuntimeError("no pickle")

    def fail() -> None:
        raise Hidden

    completion = cross(call(fail))
    assert isinstance(completion.error, RemoteError)
    assert "Hidden" in str(completion.error)
    assert "no pickle" in "".join(completion.error.__notes__)


def test_a_rude_result_is_still_a_result() -> None:
    class Rude:
        @property
        def nbytes(self) -> int:
            raise RuntimeError("no")

    rude = Rude()
    assert run_tasks([call(lambda: rude)], measure=True).values == [rude]


def test_a_type_named_like_a_builtin_is_described() -> None:
    array = type("array", (), {})  # reprlib takes it for array.array
    assert "int(<" in "".join(run_tasks([call(int, array())]).error.__notes__)  # type: ignore[union-attr]


def test_a_task_that_failed_leaves_nothing_in_memory() -> None:
    """Where memory is bounded, as in a browser's worker, the next task needs it, without waiting for the collector."""
    kept: list[Any] = []

    def fill() -> None:
        class Large:
            pass

        large = Large()
        kept.append(weakref.ref(large))
        raise MemoryError

    gc.disable()
    try:
        payload = BatchEncoder(Frame(), budget_s=None, watch=False).encode(Batch(0, [call(_call_it, 0)]))
        _functions.append(fill)
        completion = decode_reply(1, run_encoded(payload, worker="w"))
        assert isinstance(completion.error, MemoryError)
        assert kept[0]() is None
    finally:
        gc.enable()
        _functions.clear()


_functions: list[Any] = []


def _call_it(number: int) -> None:
    _functions[number]()
