"""`Memory` as joblib's users know it, and what is new in the same calls."""

from __future__ import annotations

import asyncio
import functools
import pickle
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobspan import CacheWarning, JobspanError, MemorizedResult, Memory, UnhashableError, expires_after
from jobspan.memory.results import NotMemorizedResult


class Calls(list[Any]):
    """A record of calls. It is no plain list, which would count as a global of the functions that write to it."""


calls = Calls()


@pytest.fixture(autouse=True)
def no_calls() -> None:
    calls.clear()


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path, verbose=0)


def area(width: float, height: float = 2.0) -> float:
    calls.append((width, height))
    return width * height


def test_a_result_is_computed_once(memory: Memory) -> None:
    cached = memory.cache(area)
    assert [cached(3), cached(3), cached(4)] == [6, 6, 8]
    assert calls == [(3, 2.0), (4, 2.0)]


def test_another_memory_at_the_same_place_has_it(memory: Memory, tmp_path: Path) -> None:
    memory.cache(area)(3)
    assert Memory(tmp_path, verbose=0).cache(area)(3) == 6
    assert len(calls) == 1


def test_equal_calls_are_one_however_they_are_written(memory: Memory) -> None:
    cached = memory.cache(area)
    assert {cached(3), cached(3, 2.0), cached(width=3), cached(height=2.0, width=3)} == {6}
    assert len(calls) == 1


@pytest.mark.parametrize("other", [3.0, True, "3", (3,), None])
def test_arguments_of_different_types_are_different_calls(memory: Memory, other: Any) -> None:
    cached = memory.cache(repr_of)
    assert cached(3) != cached(other)


def repr_of(value: Any) -> str:
    return repr(value)


def test_it_decorates_with_and_without_arguments(memory: Memory) -> None:
    @memory.cache
    def plain(x: int) -> int:
        """Its docstring."""
        calls.append(x)
        return x

    @memory.cache(ignore=["noise"])
    def ignoring(x: int, noise: int) -> int:
        calls.append((x, noise))
        return x

    assert [plain(1), plain(1), ignoring(1, noise=2), ignoring(1, noise=3)] == [1, 1, 1, 1]
    assert calls == [1, (1, 2)]
    assert (plain.__name__, plain.__doc__) == ("plain", "Its docstring.")


def test_what_is_ignored_must_exist(memory: Memory) -> None:
    with pytest.raises(
        ValueError, match=r"ignore= names 'depth', which is no parameter of area; there are width, height"
    ):
        memory.cache(area, ignore=["depth"])


def test_ignoring_one_parameter_is_not_ignoring_the_other(memory: Memory) -> None:
    first, second = memory.cache(area, ignore=["width"]), memory.cache(area, ignore=["height"])
    assert (first(1, 5), second(5, 1)) == (5, 5)
    assert len(calls) == 2


def collect(first: int, *rest: int, scale: int = 1, **named: int) -> tuple[Any, ...]:
    calls.append(first)
    return first, rest, scale, named


def test_stars_and_keywords_count(memory: Memory) -> None:
    cached = memory.cache(collect)
    variants = [((1,), {}), ((1, 2), {}), ((1,), {"scale": 2}), ((1,), {"other": 2}), ((1, 2, 3), {"a": 1, "b": 2})]
    assert [cached(*args, **kwargs) for args, kwargs in variants] == [collect(*a, **k) for a, k in variants]
    calls.clear()
    assert [cached(*args, **kwargs) for args, kwargs in variants]
    assert cached(1, 2, 3, b=2, a=1)
    assert calls == []


def test_stars_are_ignored_by_joblibs_names(memory: Memory) -> None:
    cached = memory.cache(collect, ignore=["*", "**"])
    assert cached(1, 2, a=3) == cached(1, 5, b=6)


def test_arguments_that_do_not_fit_are_a_type_error(memory: Memory) -> None:
    with pytest.raises(TypeError, match=r"area\(\): too many positional arguments"):
        memory.cache(area)(1, 2, 3)
    with pytest.raises(TypeError, match="unexpected keyword argument 'depth'"):
        memory.cache(area)(1, depth=3)
    with pytest.raises(TypeError, match="missing a required argument: 'width'"):
        memory.cache(area)()


def test_an_argument_without_content_is_refused_by_its_name(memory: Memory) -> None:
    with pytest.raises(UnhashableError, match=r"argument 'value' has no digest.*ignore=\['value'\]"):
        memory.cache(repr_of)(each for each in ())


def test_a_partial_is_its_function_with_arguments(memory: Memory) -> None:
    assert memory.cache(functools.partial(area, 3))() == 6
    assert memory.cache(functools.partial(area, width=3))(height=2.0) == 6
    assert memory.cache(area)(3) == 6
    assert len(calls) == 1


class Model:
    """Has methods."""

    memory = Memory(None)

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def predict(self, x: int) -> int:
        calls.append((self.factor, x))
        return self.factor * x


def test_methods_count_their_object(memory: Memory) -> None:
    class Cached(Model):
        predict = memory.cache(Model.predict)

    assert [Cached(2).predict(5), Cached(3).predict(5), Cached(2).predict(5)] == [10, 15, 10]
    assert calls == [(2, 5), (3, 5)]


def test_a_bound_method_can_be_cached(memory: Memory) -> None:
    assert [memory.cache(Model(2).predict)(5), memory.cache(Model(2).predict)(5)] == [10, 10]
    assert memory.cache(Model(4).predict)(5) == 20
    assert calls == [(2, 5), (4, 5)]


def test_static_and_class_methods_are_cached_below_their_decorators(memory: Memory) -> None:
    class Tools:
        @staticmethod
        @memory.cache
        def double(x: int) -> int:
            calls.append(x)
            return 2 * x

        @classmethod
        @memory.cache
        def name(cls, x: int) -> str:
            calls.append(x)
            return f"{cls.__name__}{x}"

    assert [Tools.double(1), Tools().double(1), Tools.name(1), Tools().name(1)] == [2, 2, "Tools1", "Tools1"]
    assert calls == [1, 1]


def test_a_classmethod_above_the_cache_is_refused(memory: Memory) -> None:
    with pytest.raises(TypeError, match=r"put @classmethod above @memory\.cache"):
        memory.cache(classmethod(area))


def test_coroutine_functions_are_awaited_once(memory: Memory) -> None:
    @memory.cache
    async def fetch(x: int) -> int:
        calls.append(x)
        await asyncio.sleep(0)
        return x + 1

    async def main() -> list[int]:
        return [await fetch(1), await fetch(1), *await asyncio.gather(fetch(2), fetch(2), fetch(2))]

    assert asyncio.run(main()) == [2, 2, 3, 3, 3]
    assert calls == [1, 2]


def test_call_computes_and_keeps(memory: Memory) -> None:
    counter = iter(range(10))

    def number() -> int:
        return next(counter)

    cached = memory.cache(number, ignore_code=True, version=1)
    assert cached() == 0
    value, metadata = cached.call()
    assert (value, cached()) == (1, 1)
    assert metadata["duration"] >= 0


def test_a_reference_to_a_result_can_be_sent(memory: Memory) -> None:
    reference = memory.cache(area).call_and_shelve(3)
    assert isinstance(reference, MemorizedResult)
    copy = pickle.loads(pickle.dumps(reference))
    assert (reference.get(), copy.get(), len(calls)) == (6, 6, 1)
    assert copy.metadata["input_args"] == {"width": "3", "height": "2.0"}
    copy.clear()
    with pytest.raises(KeyError, match="call the function again"):
        reference.get()


def test_looking_says_whether_it_is_there_and_writes_nothing(memory: Memory, tmp_path: Path) -> None:
    cached = memory.cache(area)
    assert not cached.check_call_in_cache(3)
    assert list(tmp_path.iterdir()) == []
    cached(3)
    before = _tree(tmp_path)
    assert cached.check_call_in_cache(3)
    assert not cached.check_call_in_cache(4)
    assert cached(3) == 6
    assert _tree(tmp_path) == before


def _tree(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_clearing_one_function_leaves_the_others(memory: Memory) -> None:
    first, second = memory.cache(area), memory.cache(repr_of)
    first(1), second(1)
    first.clear()
    assert not first.check_call_in_cache(1)
    assert second.check_call_in_cache(1)
    memory.clear(warn=False)
    assert not second.check_call_in_cache(1)
    assert second(1) == "1"


def test_eval_calls_through_the_cache(memory: Memory) -> None:
    assert [memory.eval(area, 3, height=1.0), memory.eval(area, 3, 1.0)] == [3, 3]
    assert len(calls) == 1


def test_without_a_location_nothing_is_kept() -> None:
    cached = Memory(None).cache(area)
    assert [cached(3), cached(3)] == [6, 6]
    assert len(calls) == 2
    assert not cached.check_call_in_cache(3)
    shelved = cached.call_and_shelve(3)
    assert isinstance(shelved, NotMemorizedResult)
    assert shelved.get() == 6
    assert cached.call(3) == (6, {})
    assert "there is no cache" in str(cached.explain(3))
    assert cached.entries() == []


def test_without_a_location_coroutines_are_still_awaited() -> None:
    @Memory(None).cache
    async def fetch(x: int) -> int:
        return x

    assert asyncio.run(fetch(1)) == 1
    assert asyncio.run(fetch.call(1)) == (1, {})


def test_results_expire(memory: Memory) -> None:
    cached = memory.cache(area, cache_validation_callback=expires_after(hours=1))
    never = memory.cache(area, cache_validation_callback=expires_after(seconds=0))
    assert [cached(3), cached(3), never(3)] == [6, 6, 6]
    assert len(calls) == 2


def test_the_callback_is_told_of_the_entry(memory: Memory) -> None:
    told: list[dict[str, Any]] = []

    def accept(metadata: dict[str, Any]) -> bool:
        told.append(metadata)
        return True

    cached = memory.cache(area, cache_validation_callback=accept)
    cached(3), cached(3)
    assert told[0]["input_args"] == {"width": "3", "height": "2.0"}
    assert abs(told[0]["time"] - time.time()) < 60
    with pytest.raises(ValueError, match="cache_validation_callback needs to be callable"):
        memory.cache(area, cache_validation_callback=1)  # type: ignore[arg-type]


def test_a_time_to_live_is_that_of_the_memory_or_of_the_function(tmp_path: Path) -> None:
    short, long = Memory(tmp_path, verbose=0, ttl="1ms"), Memory(tmp_path, verbose=0, ttl="1h")
    for width, cached in enumerate((short.cache(area), long.cache(area, ttl=1e-3))):
        cached(width)
        _wait_until_older(cached.entries()[0].written, 2e-3)
        assert not cached.check_call_in_cache(width)
        assert long.cache(area).check_call_in_cache(width)
        assert cached(width) == area(width)


def _wait_until_older(written: float, age: float) -> None:
    while time.time() - written < age:
        pass


def test_what_cannot_be_kept_is_returned_and_said(memory: Memory) -> None:
    @memory.cache
    def open_something() -> Any:
        return [{"rows": (each for each in ())}]

    with pytest.warns(CacheWarning, match=r"could not be kept.*\[0\]\['rows'\] cannot be pickled"):
        assert open_something()
    assert memory.counts.failed == 1


def test_a_memory_that_only_reads_keeps_nothing(memory: Memory, tmp_path: Path) -> None:
    memory.cache(area)(3)
    reading = Memory(tmp_path, verbose=0, mode="r").cache(area)
    before = _tree(tmp_path)
    assert [reading(3), reading(4)] == [6, 8]
    assert _tree(tmp_path) == before
    only = Memory(tmp_path, verbose=0, mode="r")
    changes = [
        lambda: reading.forget(3), lambda: reading.put(1, 3), reading.clear, only.clear, only.verify, only.trust,
        lambda: only.reduce_size(items_limit=0), lambda: only.prune(max_items=0), lambda: only.merge(tmp_path),
    ]  # fmt: skip
    for change in changes:
        with pytest.raises(JobspanError, match="only looks up, since it was made with mode='r'"):
            change()
    assert _tree(tmp_path) == before
    with pytest.raises(ValueError, match="neither 'rw' nor 'r'"):
        Memory(tmp_path, mode="w")


def test_results_in_memory_are_the_same_object(memory: Memory) -> None:
    @memory.cache(in_process=2)
    def make(x: int) -> list[int]:
        calls.append(x)
        return [x]

    assert make(1) is make(1)
    make(2), make(3)
    assert make(1) == [1]
    assert calls == [1, 2, 3]


@pytest.mark.parametrize("in_process", [0, 9])
def test_arguments_that_are_equal_and_of_other_types_are_other_calls_when_made_again(
    memory: Memory, in_process: int
) -> None:
    @memory.cache(in_process=in_process)
    def name(x: object, y: object = 0) -> str:
        calls.append(x)
        return f"{x!r}, {y!r}"

    made: list[tuple[tuple[object, ...], dict[str, object]]] = [
        ((1,), {}),
        ((True,), {}),
        ((1.0,), {}),
        ((0.0,), {}),
        ((-0.0,), {}),
        ((1, 2), {}),
        ((2,), {"y": 1}),
        ((), {"y": 1, "x": "1"}),
    ]
    for _ in range(3):
        assert [name(*args, **named) for args, named in made] == [
            "1, 0", "True, 0", "1.0, 0", "0.0, 0", "-0.0, 0", "1, 2", "2, 1", "'1', 1"
        ]  # fmt: skip
        assert name(1, y=2) == name(y=2, x=1) == "1, 2"
    assert len(calls) == len(made)


def test_calls_that_were_made_before_see_defaults_that_were_bound_anew(memory: Memory) -> None:
    def add(x: int, y: int = 1) -> int:
        return x + y

    cached = memory.cache(add, in_process=5)
    assert [cached(1), cached(1)] == [2, 2]
    add.__defaults__ = (5,)
    assert [cached(1), cached(1)] == [6, 6]


def test_a_list_that_was_changed_in_place_is_another_argument(memory: Memory) -> None:
    cached = memory.cache(sum, in_process=5)
    numbers = [1, 2]
    assert cached(numbers) == 3
    numbers.append(3)
    assert cached(numbers) == 6


def test_results_in_memory_expire_and_are_cleared_as_others(tmp_path: Path) -> None:
    memory = Memory(tmp_path, verbose=0)
    short = memory.cache(area, ttl=1e-3, in_process=5)
    short(1)
    _wait_until_older(short.entries()[0].written, 2e-3)
    short(1)
    assert len(calls) == 2
    kept = memory.cache(area, in_process=5)
    for remove in (lambda: memory.clear(warn=False), lambda: memory.reduce_size(items_limit=0), lambda: kept.forget(2)):
        kept(2)
        calls.clear()
        remove()
        kept(2)
        assert len(calls) == 1
    asked = memory.cache(area, in_process=5, cache_validation_callback=lambda _: False)
    asked(3), asked(3)
    assert len(calls) == 3


def test_a_cached_function_tells_what_joblibs_tells(memory: Memory, tmp_path: Path) -> None:
    before = time.time()
    cached = memory.cache(functools.partial(area, 3))
    assert before <= cached.timestamp <= time.time()
    text, file, line = cached.func_code_info
    assert text.startswith("def area(width: float, height: float = 2.0) -> float:\n    calls.append((width, height))\n")
    assert (file, line) == (area.__code__.co_filename, area.__code__.co_firstlineno)
    assert memory.cache(len).func_code_info == ("", "", -1)
    cached()
    assert str(tmp_path) in cached.store_backend.location
    assert any(item.name.startswith(cached.func_id) for item in cached.store_backend.list(""))
    again = pickle.loads(pickle.dumps(cached))
    assert (again.timestamp, again.func_code_info) == (cached.timestamp, cached.func_code_info)


def test_arguments_may_have_any_names(memory: Memory) -> None:
    def named(self: int, func: int, value: int) -> int:
        return self + func + value

    cached = memory.cache(named)
    assert cached(self=1, func=2, value=3) == memory.eval(named, self=1, func=2, value=3) == 6
    assert cached.check_call_in_cache(self=1, func=2, value=3)


def test_verbose_prints_calls_as_joblib_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cached = Memory(tmp_path, verbose=1).cache(area)
    cached(3)
    printed = capsys.readouterr().out
    assert f"[Memory] Calling {area.__module__}.area...\narea(3)" in printed
    assert printed.rstrip().endswith("area - 0.0s, 0.0min")
    cached(3)
    assert capsys.readouterr().out == ""


def test_a_value_can_be_put_and_forgotten(memory: Memory) -> None:
    cached = memory.cache(area)
    cached.put(100, 3)
    assert cached(3) == 100
    assert cached.forget(3)
    assert not cached.forget(3)
    assert cached(3) == 6


def test_entries_are_a_table(memory: Memory) -> None:
    cached = memory.cache(area)
    cached(3)
    _wait_until_older(cached.entries()[0].written, 5e-3)  # some clocks tick in milliseconds
    cached(4)
    table = cached.entries()
    assert [row.arguments["width"] for row in table] == ["4", "3"]
    assert "width=4, height=2.0" in str(table)
    assert "<td>width=4, height=2.0</td>" in table._repr_html_()
    assert memory.entries() == table
    assert Memory(None).entries() == []


def test_reduce_size_keeps_what_was_used_last(memory: Memory) -> None:
    cached = memory.cache(area)
    for width in range(10):
        cached(width)
        _wait_until_older(time.time(), 2e-3)  # some clocks tick in milliseconds
    cached(0)
    memory.reduce_size(items_limit=3)
    assert sorted(row.arguments["width"] for row in cached.entries()) == ["0", "8", "9"]
    memory.reduce_size(bytes_limit=0)
    assert cached.entries() == []
    with pytest.raises(ValueError, match="positive timedelta"):
        memory.reduce_size(age_limit=timedelta(days=-1))


def test_reduce_size_by_age(memory: Memory) -> None:
    memory.cache(area)(1)
    memory.reduce_size(age_limit=timedelta(days=1))
    assert len(memory.entries()) == 1
    memory.reduce_size(age_limit=timedelta(0))
    assert memory.entries() == []


def test_a_pickled_memory_and_function_find_the_same_results(memory: Memory) -> None:
    cached = memory.cache(area)
    cached(3)
    again = pickle.loads(pickle.dumps(cached))
    assert again(3) == 6
    assert pickle.loads(pickle.dumps(memory)).cache(area)(3) == 6
    assert len(calls) == 1


def test_rounding_is_asked_for(memory: Memory) -> None:
    rounded, stepped = memory.cache(area, round={"width": 3}), memory.cache(area, tol={"width": 0.5})
    assert rounded(1.0001) == rounded(1.0002) == area(1.0001)
    assert stepped(1.1) == stepped(0.9) == area(1.1)
    assert len(calls) == 4
    with pytest.raises(ValueError, match="round= names 'x'"):
        memory.cache(area, round={"x": 2})
    with pytest.raises(ValueError, match="is no positive number"):
        memory.cache(area, tol={"width": 0})


def test_a_function_without_signature_is_refused(memory: Memory) -> None:
    with pytest.raises(TypeError, match=r"parameters .* cannot be found out"):
        memory.cache(iter)([1])


@pytest.mark.parametrize("wrong", [3, object()])
def test_only_functions_are_cached(memory: Memory, wrong: Any) -> None:
    with pytest.raises(TypeError, match="takes a function"):
        memory.cache(wrong)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mmap_mode": "x"}, "mmap_mode='x' is none of"),
        ({"max_bytes": "many"}, "max_bytes='many' is not a number of bytes"),
        ({"ttl": -1}, "ttl=-1 is not a positive number"),
        ({"on_miss": 3}, "on_miss=3 is neither"),
        ({"key": "short"}, "at least 16 bytes"),
        ({"trusted": "all"}, "trusted='all' is neither"),
    ],
)
def test_settings_that_mean_nothing_are_refused_at_once(tmp_path: Path, settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Memory(tmp_path, **settings)


def test_a_location_must_be_a_place() -> None:
    with pytest.raises(TypeError, match="takes a folder, a URL, a store, or None"):
        Memory(3)
    with pytest.raises(TypeError, match=r"Unknown location .* or backend cloud"):
        Memory("somewhere", backend="cloud")
