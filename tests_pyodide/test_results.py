"""Tasks on Web Workers: what comes back, in which order, and what is told on the way."""

import pytest
from pytest_pyodide import run_in_pyodide

pytestmark = pytest.mark.parametrize("isolated", [False, True], indirect=True, scope="module")


@run_in_pyodide(packages=["jobspan", "pytest"])
def test_returns_a_list_in_order(selenium):
    from jobspan import Parallel, delayed

    tasks = [delayed(lambda x, offset: x * x + offset)(i, offset=1) for i in range(300)]
    assert Parallel(n_jobs=2, backend="web")(tasks) == [i * i + 1 for i in range(300)]
    assert Parallel(n_jobs=2, backend="web")([]) == []


@run_in_pyodide(packages=["jobspan", "pytest"])
def test_is_what_auto_means(selenium):
    import builtins

    from jobspan import Parallel, delayed

    def is_here():
        return hasattr(builtins, "the_caller_is_here")

    builtins.the_caller_is_here = True
    try:
        assert is_here()
        assert Parallel(n_jobs=2)(delayed(is_here)() for _ in range(4)) == [False] * 4
        assert Parallel(n_jobs=1)([delayed(is_here)()]) == [True]
        assert Parallel(n_jobs=1, backend="web")([delayed(is_here)()]) == [False]
    finally:
        del builtins.the_caller_is_here


@run_in_pyodide(packages=["jobspan", "pytest"])
def test_hands_out_results_from_generators(selenium):
    import time

    from jobspan import Parallel, delayed

    def sleepy(i):
        time.sleep(0.5 if i == 0 else 0)
        return i

    results = Parallel(n_jobs=2, backend="web", return_as="generator")(delayed(sleepy)(i) for i in range(20))
    assert list(results) == list(range(20))
    results = Parallel(n_jobs=2, backend="web", return_as="generator_unordered", batch_size=1)(
        delayed(sleepy)(i) for i in range(20)
    )
    order = list(results)
    assert sorted(order) == list(range(20))
    assert order[0] != 0


@run_in_pyodide(packages=["jobspan", "pytest"])
def test_begins_at_the_call_of_a_generator(selenium):
    import time

    from pyodide.ffi import run_sync

    from jobspan import Parallel, delayed

    Parallel(n_jobs=1, backend="web")([delayed(int)()])  # warm
    results = Parallel(n_jobs=1, backend="web", return_as="generator")([delayed(time.time)()])
    begun = time.time()
    import asyncio

    run_sync(asyncio.sleep(0.3))
    assert next(results) < begun + 0.2


@run_in_pyodide(packages=["jobspan", "pytest"])
def test_sends_functions_and_classes_by_value(selenium):
    import __main__
    from jobspan import Parallel, delayed

    exec(
        "class Point:\n"
        "    def __init__(self, x): self.x = x\n"
        "    def __eq__(self, other): return type(self) is type(other) and self.x == other.x\n"
        "def move(point, by): return Point(point.x + by)\n",
        __main__.__dict__,
    )
    offset = 10

    def closure(x):
        return x + offset

    assert Parallel(n_jobs=2, backend="web")(delayed(closure)(i) for i in range(3)) == [10, 11, 12]
    moved = Parallel(n_jobs=2, backend="web")(delayed(__main__.move)(__main__.Point(i), 5) for i in range(3))
    assert moved == [__main__.Point(i + 5) for i in range(3)]


@run_in_pyodide(packages=["jobspan", "pytest"])
def test_raises_the_task_s_own_exception(selenium):
    import pytest

    from jobspan import Parallel, delayed

    class Odd(ValueError):
        def __init__(self, number, *, why):
            super().__init__(number)
            self.why = why

    def divide(x):
        return 1 / (x - 7)

    def refuse(x):
        raise Odd(x, why="it cannot be unpickled")

    with pytest.raises(ZeroDivisionError) as caught:
        Parallel(n_jobs=2, backend="web")(delayed(divide)(i) for i in range(100))
    notes = "\n".join(caught.value.__notes__)
    assert "raised by task 7: divide(7), on web-" in notes
    assert "in divide" in notes
    from jobspan.errors import RemoteError

    with pytest.raises(RemoteError, match="Odd"):
        Parallel(n_jobs=2, backend="web")([delayed(refuse)(1)])
    with pytest.raises(SystemExit):
        Parallel(n_jobs=2, backend="web")([delayed(exit)(3)])
    assert Parallel(n_jobs=2, backend="web")([delayed(abs)(-1)]) == [1]


@run_in_pyodide(packages=["jobspan", "pytest"])
def test_names_what_cannot_be_pickled(selenium):
    import pytest

    from jobspan import Parallel, delayed
    from jobspan.errors import UnpicklableError

    def lookup(config):
        return config

    with pytest.raises(UnpicklableError, match=r"argument 'config'\['stream'\]"):
        Parallel(n_jobs=2, backend="web")([delayed(lookup)({"stream": (i for i in "abc")})])
    with pytest.raises(UnpicklableError, match="the result of task 1"):
        Parallel(n_jobs=2, backend="web")([delayed(iter)([1]), delayed(lambda: (i for i in "abc"))()])
    with pytest.raises(TypeError, match="item 1 of the input is 3"):
        Parallel(n_jobs=2, backend="web")([delayed(abs)(1), 3])


@run_in_pyodide(packages=["jobspan", "pytest"])
def test_carries_large_buffers_both_ways(selenium):
    import pickle

    from jobspan import Parallel, delayed

    def reverse(data):
        return data[::-1]

    class Raw:
        """Travels out of band, as arrays do."""

        def __init__(self, data):
            self.data = data

        def __reduce_ex__(self, protocol):
            return Raw, (pickle.PickleBuffer(self.data),)

    def double(raw):
        view = memoryview(raw.data)
        view[0] = 2 * view[0]  # arrives writable
        return raw

    size = 20_000_000
    data = bytes(range(256)) * (size // 256)
    for kind in bytes, bytearray:
        (result,) = Parallel(n_jobs=2, backend="web")([delayed(reverse)(kind(data))])
        assert type(result) is kind
        assert result == data[::-1]
    raw = Raw(bytearray(b"\x04") * size)
    results = Parallel(n_jobs=2, backend="web")(delayed(double)(raw) for _ in range(2))
    for result in results:
        view = memoryview(result.data)
        assert len(view) == size
        assert (view[0], view[1]) == (8, 4)
        assert not view.readonly
    assert raw.data[0] == 4
    (empty,) = Parallel(n_jobs=2, backend="web")([delayed(lambda raw: raw)(Raw(bytearray()))])
    assert len(empty.data) == 0


@run_in_pyodide(packages=["jobspan", "pytest"])
def test_prints_where_the_caller_prints(selenium):
    import contextlib
    import io
    import sys

    from jobspan import Parallel, delayed

    def speak(i):
        print(f"out {i}")
        print(f"err {i}", file=sys.stderr)
        print("no end", end="")

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        Parallel(n_jobs=2, backend="web")(delayed(speak)(i) for i in range(4))
    assert all(f"out {i}\n" in out.getvalue() for i in range(4))
    assert out.getvalue().count("no end") == 4
    assert sorted(err.getvalue().split("\n")) == ["", *(f"err {i}" for i in range(4))]


@run_in_pyodide(packages=["jobspan", "pytest"])
def test_two_workers_work_at_the_same_time(selenium):
    import asyncio
    import time

    from pyodide.ffi import run_sync

    from jobspan import Parallel, delayed, registry

    Parallel(n_jobs=2, backend="web")(delayed(abs)(1) for _ in range(8))
    pool = registry.find("web").pool
    while any(worker.state != "idle" for worker in pool._workers):
        run_sync(asyncio.sleep(0.05))
    events = []
    Parallel(n_jobs=2, backend="web", on_event=events.append)(delayed(time.sleep)(0.5) for _ in range(2))
    assert sorted((event.kind, event.index) for event in events) == [
        ("done", 0), ("done", 1), ("started", 0), ("started", 1),
    ]  # fmt: skip
    assert [event.kind for event in events[:2]] == ["started", "started"]
    spans = [event for event in events if event.kind == "done"]
    assert len({event.worker for event in spans}) == 2
    assert max(span.start for span in spans) < min(span.end for span in spans)


@run_in_pyodide(packages=["jobspan", "pytest"])
def test_tells_of_starts_while_tasks_run(selenium):
    import time

    from jobspan import Parallel, delayed

    heard = []
    slow = delayed(time.sleep)(0.3)
    Parallel(n_jobs=1, backend="web")([slow])  # warm
    Parallel(n_jobs=1, backend="web", on_event=lambda event: heard.append((event.kind, time.time())))([slow])
    (first, began), (second, ended) = heard
    assert (first, second) == ("started", "done")
    assert ended - began > 0.2


@run_in_pyodide(packages=["jobspan", "pytest"])
def test_runs_one_after_the_other_inside_a_task_by_default(selenium):
    from jobspan import Parallel, delayed

    def nested(i):
        return Parallel(n_jobs=2)(delayed(pow)(i, k) for k in range(3))

    assert Parallel(n_jobs=2, backend="web")(delayed(nested)(i) for i in (2, 3)) == [[1, 2, 4], [1, 3, 9]]


@run_in_pyodide(packages=["jobspan", "pytest"])
def test_workers_have_workers_where_asked_for(selenium):
    from jobspan import Parallel, delayed

    def nested(i):
        return Parallel(n_jobs=1, backend="web")(delayed(pow)(i, k) for k in range(3))

    assert Parallel(n_jobs=1, backend="web")([delayed(nested)(2)]) == [[1, 2, 4]]
