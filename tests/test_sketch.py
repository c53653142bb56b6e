"""Sketches: which values find each other, what is told of a difference, and what is rounded."""

from __future__ import annotations

import math
import random
import struct
import sys
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import jobspan
from jobspan import JobspanError
from jobspan.persist.sketches import folds
from jobspan.persist.sketches.difference import Difference, compare
from jobspan.persist.sketches.quantize import quantize
from jobspan.persist.sketches.recovery import recover
from jobspan.persist.sketches.sketch import NEAR, Sketch, make_sketch

GOLDEN_TAGS = [
    "43dfd68f400d8e8f",
    "c4e198a1f58e3ca0",
    "31a507c2a0462d84",
    "dfb1578af09ae293",
    "5ef766ab0f7c37ff",
    "cb33b35817a3ffb8",
    "a6ff52ad94d65c06",
    "6172a871da7f39bd",
    "7fea1ad6f3f01260",
    "3685d32ee655c7c4",
    "c6b4af9b84f3f59e",
    "1a2d5282b69c6e49",
    "c6306c023258c641",
    "45af086e9af873e3",
]
GOLDEN_SUMS = (13990264701801436246, 2057883412)


def plain(size: int, seed: int = 0, mean: float = 5.0) -> list[float]:
    draw = random.Random(seed)
    return [draw.gauss(mean, 1) for _ in range(size)]


def noisy(numbers: list[float], level: float, seed: int = 1) -> list[float]:
    draw = random.Random(seed)
    return [number * (1 + level * draw.gauss(0, 1)) for number in numbers]


def sketch(value: Any) -> Sketch:
    made = make_sketch(value)
    assert made is not None
    return Sketch.decode(made.encode())


def share(old: Any, new: Any) -> bool:
    return not set(sketch(old).bands).isdisjoint(sketch(new).bands)


def difference(old: Any, new: Any) -> Difference:
    found = compare(sketch(old), new, sketch(new))
    assert found is not None
    return found


# Without numpy


@pytest.mark.parametrize("value", ["text", None, 1.5, [], [1.0, 2.0, 3.0], {"a": 1}, object(), [[], [], "abc"]])
def test_what_has_hardly_any_numbers_has_no_sketch(value: Any) -> None:
    assert make_sketch(value) is None


def test_too_many_arrays_or_a_list_that_contains_itself_do_no_harm() -> None:
    endless: list[Any] = [1.0, 2.0, 3.0, 4.0, "text"]
    endless.append(endless)
    assert make_sketch(endless) is not None


@pytest.mark.parametrize("size", [10, 100, 500, 3000])
@pytest.mark.parametrize("level", [1e-16, 1e-12, 1e-8, 1e-5, 1e-3])
def test_noise_is_found(size: int, level: float) -> None:
    numbers = plain(size, mean=0)
    assert share(numbers, noisy(numbers, level))


@pytest.mark.parametrize("mean", [0.0, 1e5])
def test_unrelated_lists_share_nothing(mean: float) -> None:
    found = [sketch(plain(300, seed, mean)) for seed in range(40)]
    tags = [tag for each in found for tag in each.bands]
    assert len(set(tags)) == len(tags)
    assert all((one.distance(other) or 0) > NEAR for one in found for other in found if one is not other)


def test_other_lengths_share_nothing_and_have_no_distance() -> None:
    numbers = plain(100)
    assert not share(numbers, numbers[:-1])
    assert sketch(numbers).distance(sketch(numbers[:-1])) is None


@pytest.mark.parametrize("size", [50, 2000])
@pytest.mark.parametrize("level", [1e-5, 1e-3, 1e-2])
def test_the_distance_is_about_the_noise(size: int, level: float) -> None:
    numbers = plain(size, mean=0)
    distance = sketch(numbers).distance(sketch(noisy(numbers, level)))
    assert distance is not None
    assert level / 3 < distance < 3 * level


@pytest.mark.parametrize("change", [sorted, lambda numbers: numbers[::-1], lambda numbers: numbers[7:] + numbers[:7]])
@pytest.mark.parametrize("size", [40, 2000])
def test_another_order_is_found_and_told(size: int, change: Any) -> None:
    numbers = plain(size)
    assert share(numbers, change(numbers))
    assert difference(numbers, change(numbers)).verdict.startswith("the same numbers")


def test_it_is_told_by_how_many_places_numbers_have_moved() -> None:
    numbers = plain(500)
    assert difference(numbers, numbers[-3:] + numbers[:-3]).verdict == "the same numbers, moved by 3 places?"
    assert difference(numbers, numbers[3:] + numbers[:3]).verdict == "the same numbers, moved by -3 places?"
    assert difference(numbers, numbers[::-1]).verdict == "the same numbers in reverse?"


def test_another_sum_is_no_other_order() -> None:
    assert difference([1, 4, 4, 0, 9], [2, 2, 5, 0, 9]).verdict == ""  # same sum, same sum of squares


def test_what_was_added_or_multiplied_is_found_and_told() -> None:
    numbers = plain(500)
    moved, scaled = [number + 100 for number in numbers], [number * 1000 for number in numbers]
    assert share(numbers, moved)
    assert share(numbers, scaled)
    assert difference(numbers, moved).verdict == "every number plus 100?"
    assert difference(numbers, scaled).verdict == "every number times 1000?"


@pytest.mark.parametrize("size", [20, 128, 1000, 20_000])
def test_one_element_is_found_however_much_it_differs(size: int) -> None:
    numbers = plain(size)
    changed = list(numbers)
    changed[size // 3] = 1e12
    assert share(numbers, changed)
    found = difference(numbers, changed)
    if size != 1000 or found.how == "exactly":
        assert (found.differing, found.how, found.places) == (1, "exactly", (f"[{size // 3}]",))
        assert found.largest == 1e12 - numbers[size // 3]


def test_few_elements_are_told_exactly() -> None:
    old = plain(20_000)
    new = list(old)
    for index in (17, 4242, 19_999):
        new[index] = math.nextafter(old[index], 100)
    found = difference(old, new)
    assert (found.differing, found.how, found.compared) == (3, "exactly", 20_000)
    assert found.places == ("[17]", "[4242]", "[19999]")
    assert found.largest == max(abs(one - other) for one, other in zip(old, new, strict=True))
    assert found.verdict == "rounding noise?"


def test_a_run_of_elements_is_told_exactly() -> None:
    old = plain(20_000)
    found = difference(old, [*old[:400], *[0.0] * 200, *old[600:]])
    assert (found.differing, found.how, found.places[0]) == (200, "exactly", "[400]")


def test_many_elements_are_estimated_and_said_to_be() -> None:
    old = plain(20_000)
    draw = random.Random(2)
    for share_changed in (0.005, 0.5):
        changed = set(draw.sample(range(20_000), int(20_000 * share_changed)))
        found = difference(old, [number + (index in changed) for index, number in enumerate(old)])
        assert found.how == "about"
        assert found.differing is not None
        assert 0.5 < found.differing / len(changed) < 2
        assert found.compared < 20_000
        assert "compared" in found.describe()
        assert "about" in found.describe()


def test_what_the_tables_name_has_changed() -> None:
    moduli = (11, 13, 17)
    for seed in range(300):
        draw = random.Random(seed)
        size = draw.choice([50, 500, 2000])
        old = [draw.choice([0, 1]) for _ in range(size)]
        changed = set(draw.sample(range(size), draw.choice([0, 1, 2, 4, 8, 20])))
        new = [number ^ (index in changed) for index, number in enumerate(old)]
        tables = [folds.measure(array("q", each), 0, moduli).cells for each in (old, new)]
        found = recover(*tables, moduli, size)
        assert set(found.changes) <= changed
        assert found.least <= len(changed)
        if found.is_all:
            assert set(found.changes) == changed
        for index, change in found.changes.items():
            assert folds.displace_word(folds.place_word(new[index], index) ^ change, index) == old[index]


@given(st.integers(0, 2**64 - 1), st.integers(0, 10**9))
def test_what_was_mixed_is_had_back(word: int, index: int) -> None:
    assert folds.displace_word(folds.place_word(word, index), index) == word


def test_nan_and_infinities_do_not_hide_the_rest() -> None:
    numbers = plain(2000)
    broken = [*numbers[:10], float("nan"), float("-inf"), 1e200, *numbers[13:]]
    made = sketch(broken)
    assert (made.parts[0].nans, made.parts[0].infinities) == (1, 1)
    assert all(map(math.isfinite, made.projections))
    assert share(broken, noisy(broken, 1e-9))
    assert share(broken, numbers)
    assert difference(numbers, broken).verdict == "1 NaN now, 0 before"
    assert difference(broken, list(broken)).differing == 0


@pytest.mark.parametrize(
    "value", [[0.0] * 100, [7.0] * 100, [1e308] * 100, [5e-324] * 100, [float("nan")] * 100, [2**70] * 9]
)
def test_numbers_without_a_spread_have_a_sketch(value: Any) -> None:
    assert share(value, list(value))
    assert difference(value, list(value)).differing == 0


def test_noise_on_a_constant_is_found() -> None:
    assert share([7.0] * 300, noisy([7.0] * 300, 1e-12))
    assert difference([7.0] * 300, noisy([7.0] * 300, 1e-15)).verdict == "rounding noise?"


def test_signs_of_zeros_are_told() -> None:
    assert difference([0.0, 1.0, 2.0, 3.0], [-0.0, 1.0, 2.0, 3.0]).verdict == "only the signs of zeros"


def test_noise_near_zero_is_not_large() -> None:
    old = [*plain(50), 0.0]
    assert difference(old, [*old[:-1], 1e-16]).verdict == "rounding noise, seen near zero?"
    assert difference(old, [*old[:-1], 1e-3]).verdict == ""


def test_places_in_nested_values_are_paths() -> None:
    old = {"weights": [plain(5), plain(5, 1)], "rate": 0.1, "point": 1 + 2j, "name": "text"}
    new = {"name": "text", "point": 1 + 3j, "rate": 0.2, "weights": [plain(5), [*plain(5, 1)[:4], 0.0]]}
    assert difference(old, new).places == ("['point']", "['rate']", "['weights'][1][4]")


def test_other_forms_are_told() -> None:
    numbers = plain(6)
    assert (
        difference(numbers, tuple(numbers)).describe().startswith("was list of 6 float; is tuple of 6 float; none of 6")
    )
    assert difference([1, 2, 3, 4], [1.0, 2.0, 3.0, 4.0]).verdict == "the same numbers, of another type?"
    assert difference(numbers, [*numbers, 1.0]).verdict == "7 numbers now, 6 before, added at the end?"
    assert difference(numbers, numbers[:5]).verdict == "5 numbers now, 6 before, cut off at the end?"
    assert difference([[1.0] * 3] * 2, [[1.0] * 2] * 3).forms == (
        "list of 2 times (list of 3 float)",
        "list of 3 times (list of 2 float)",
    )


def test_a_description_has_at_most_three_lines() -> None:
    old = plain(5000)
    for new in (old, noisy(old, 1e-3), old[::-1], old[1:], [int(number) for number in old]):
        assert 1 <= len(difference(old, new).describe().splitlines()) <= 3


# As bytes


@pytest.mark.parametrize(
    "value", [plain(10), list(range(200)), plain(5000), {"a": [1.5] * 9, "b": [1j, 2]}, [float("nan")] * 9]
)
def test_bytes_are_taken_back(value: Any) -> None:
    made = make_sketch(value)
    assert made is not None
    assert Sketch.decode(made.encode()) == made
    assert Sketch.decode(made.encode()).bands == made.bands


def test_bytes_that_are_cut_or_altered_are_refused_or_another_sketch() -> None:
    data = sketch(plain(40)).encode()
    for end in range(len(data)):
        with pytest.raises(JobspanError, match="no sketch"):
            Sketch.decode(data[:end])
    with pytest.raises(JobspanError, match="version 2"):
        Sketch.decode(b"\x02" + data[1:])


@pytest.mark.parametrize("size", [129, 200, 1000, 20_000])
def test_a_sketch_takes_a_quarter_of_the_room_at_most(size: int) -> None:
    assert len(sketch(plain(size)).encode()) <= min(8 * size // 4, 7168)


def test_sketches_are_the_same_everywhere() -> None:
    numbers = [(number * 7919 % 1009) / 8 for number in range(3000)]
    made = sketch(numbers)
    assert [tag.hex() for tag in made.bands] == GOLDEN_TAGS
    assert made.parts[0].unordered == GOLDEN_SUMS[0]
    assert made.parts[0].ordered == GOLDEN_SUMS[1]


# With numpy


KINDS = ["float64", "float32", "float16", "int64", "int32", "uint8", "uint64", "bool", "complex128", "complex64", ">f8"]


def numbers_of(np: Any, kind: str, size: int, seed: int = 0) -> Any:
    draw = np.random.default_rng(seed).normal(5, 2, 2 * size)
    return (draw[:size] + 1j * draw[size:]).astype(kind) if "complex" in kind else abs(draw[:size]).astype(kind)


@pytest.mark.parametrize("size", [5, 250, 251, 252, 3000, 40_000])
@pytest.mark.parametrize("start", [0, 12_345])
def test_numpy_measures_what_is_measured_without(size: int, start: int) -> None:
    pytest.importorskip("numpy")
    from jobspan.arrays.sketch import measure_plain

    numbers = array("d", plain(size))
    numbers[1:4] = array("d", [float("nan"), float("inf"), 1e200])
    for own in (array("d", plain(size)), numbers, array("q", range(-5, size - 5))):
        moduli = (11, 251)
        slow, fast = folds.measure(own, start, moduli), measure_plain(own, start, moduli)
        assert slow[2:] == fast[2:]
        assert slow.mean == pytest.approx(fast.mean)
        assert slow.fold == pytest.approx(fast.fold, abs=1e-7)


def test_lists_have_the_same_tags_with_and_without_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numpy")
    numbers = plain(5000)
    fast = sketch(numbers)
    monkeypatch.delitem(sys.modules, "numpy")
    slow = sketch(noisy(numbers, 1e-13))
    assert not set(fast.bands).isdisjoint(slow.bands)


def test_too_many_numbers_have_a_sketch_with_numpy_only(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numpy")
    assert make_sketch([1.5] * 70_000) is not None
    monkeypatch.delitem(sys.modules, "numpy")
    assert make_sketch([1.5] * 70_000) is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [40, 3000, 300_000])
def test_one_element_of_any_type_is_told_exactly(kind: str, size: int) -> None:
    np = pytest.importorskip("numpy")
    old = numbers_of(np, kind, size)
    new = old.copy()
    new.real[size // 2] = 0 if old[size // 2] else 1
    found = difference(old, new)
    assert (found.differing, found.how, found.places) == (1, "exactly", (f"[{size // 2}]",)), found
    assert found.largest == pytest.approx(abs(float(new.real[size // 2]) - float(old.real[size // 2])))


@pytest.mark.parametrize("kind", ["O", "U3", "S3", "f8,i4", "longdouble"])
def test_other_types_have_no_sketch(kind: str) -> None:
    np = pytest.importorskip("numpy")
    if kind == "longdouble" and np.dtype(kind).itemsize == 8:
        pytest.skip("here it is a double")
    assert make_sketch(np.zeros(100, kind)) is None


def test_scalars_and_empty_arrays_have_no_sketch() -> None:
    np = pytest.importorskip("numpy")
    nothing = np.zeros(1, "f8,i4")[0], np.random.default_rng(0), np.dtype("f8"), np.float64
    for value in (np.float64(1), np.array(5.0), np.zeros((0, 5)), np.zeros(3), *nothing):
        assert make_sketch(value) is None


def test_the_layout_makes_no_difference() -> None:
    np = pytest.importorskip("numpy")
    base = np.random.default_rng(0).normal(size=(300, 200, 4))
    wide = np.zeros((600, 200, 4))
    wide[::2] = base
    for other in (
        np.asfortranarray(base),
        wide[::2],
        base.astype(">f8"),
        base.transpose(2, 0, 1).copy().transpose(1, 2, 0),
    ):
        assert sketch(other)[1:] == sketch(base)[1:]
    found = difference(base, np.asfortranarray(base))
    assert found.differing == 0
    assert "order in memory" in found.verdict


def test_only_pieces_of_an_array_are_copied() -> None:
    np = pytest.importorskip("numpy")
    tracemalloc = pytest.importorskip("tracemalloc")
    for value in (np.zeros(4_000_000), np.zeros((2000, 2000), order="F"), np.zeros(8_000_000, "f4")[::2]):
        make_sketch(value)
        tracemalloc.start()
        try:
            make_sketch(value)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < value.size * 8 / 2


def test_places_in_arrays_of_several_dimensions_are_tuples() -> None:
    np = pytest.importorskip("numpy")
    old = np.zeros((30, 40, 50))
    new = old.copy()
    new[3, 4, 5] = 1
    assert difference(old, new).places == ("[3, 4, 5]",)
    assert difference({"a": old}, {"a": new}).places == ("['a'][3, 4, 5]",)


def test_another_type_or_shape_of_the_same_numbers_is_near() -> None:
    np = pytest.importorskip("numpy")
    old = np.random.default_rng(0).normal(size=10_000)
    for new in (old.astype("f4"), old.reshape(100, 100), old.astype(complex)[:5000]):
        if new.dtype != complex:
            assert share(old, new)
    assert difference(old, old.astype("f4")).verdict == "rounding noise?"
    whole = np.arange(10_000)
    assert share(whole, whole.astype(float))
    assert difference(whole, whole.astype(float)).verdict == "the same numbers, of another type?"
    text = difference(old, old.reshape(100, 100)).describe()
    assert text.startswith("was float64 array of shape (10000,); is float64 array of shape (100, 100); none of 10 000")


def test_smooth_arrays_are_told_apart() -> None:
    np = pytest.importorskip("numpy")
    walks = [sketch(np.random.default_rng(seed).normal(size=30_000).cumsum()) for seed in range(60)]
    tags = [tag for each in walks for tag in each.bands]
    assert len(tags) - len(set(tags)) <= 2


def test_a_masked_array_is_its_data_and_its_mask() -> None:
    np = pytest.importorskip("numpy")
    old = np.ma.masked_greater(np.arange(1000.0), 500)
    new = np.ma.masked_greater(np.arange(1000.0), 501)
    assert difference(old, new).places == (".mask[501]",)


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_frames_are_compared_column_by_column(package: str) -> None:
    np = pytest.importorskip("numpy")
    frames = pytest.importorskip(package)
    draw = np.random.default_rng(0)
    columns = {"a": draw.normal(size=1000), "b": np.arange(1000), "c": draw.normal(1e9, 1, 1000), "d": ["x"] * 1000}
    old = frames.DataFrame(columns)
    new = frames.DataFrame(columns | {"a": draw.normal(size=1000)})
    assert share(old, new)
    found = difference(old, new)
    assert found.parts == ("['a']",)
    assert found.places[0].startswith("['a'] row ")
    one = columns["c"].copy()
    one[17] += 1e-3
    found = difference(old, frames.DataFrame(columns | {"c": one}))
    assert (found.differing, found.how, found.places) == (1, "exactly", ("['c'] row 17",))
    assert (
        "a float64"
        in difference(old, frames.DataFrame({"z" if key == "b" else key: each for key, each in columns.items()}))
        .forms[0]
        .lower()
    )


def test_wide_frames_have_a_sketch_and_name_the_column() -> None:
    np = pytest.importorskip("numpy")
    pd = pytest.importorskip("pandas")
    old = pd.DataFrame(
        np.random.default_rng(0).normal(size=(200, 300)), columns=[f"c{number}" for number in range(300)]
    )
    new = old.copy()
    new.iloc[3, 120] = 7
    assert share(old, new)
    assert difference(old, new).places == ("['c120'] row 3",)


def test_missing_values_of_frames_are_nan() -> None:
    pd = pytest.importorskip("pandas")
    old = pd.DataFrame(
        {"a": pd.array([1, None, 3, 4] * 50, dtype="Int64"), "t": pd.date_range("2024", periods=200, tz="UTC")}
    )
    assert sketch(old).parts[0].nans == 50
    assert difference(old, old.copy()).differing == 0


def test_derived_arrays_and_frames_are_taken_as_what_they_are() -> None:
    np = pytest.importorskip("numpy")

    class Mine(np.ndarray):
        pass

    mine = np.arange(50.0).view(Mine)
    assert sketch(mine).size == 50
    rounded = quantize(mine + 0.01, digits=1)
    assert type(rounded) is Mine
    assert rounded.tolist() == mine.tolist()


def test_arrays_of_a_dict_are_named() -> None:
    np = pytest.importorskip("numpy")
    old = {"x": np.arange(1000.0), "y": np.arange(50), "z": 5.0}
    new = old | {"x": np.arange(1000.0)[::-1].copy()}
    assert share(old, new)
    assert difference(old, new).parts == ("['x']",)


# Rounded


def test_numbers_are_rounded_wherever_they_are() -> None:
    value = {"a": [1.26, (2, 3.14)], "b": {0.1 + 0.2}, "c": 1.26 + 2.26j, "d": "1.26", "e": True}
    assert quantize(value, digits=1) == {"a": [1.3, (2, 3.1)], "b": {0.3}, "c": 1.3 + 2.3j, "d": "1.26", "e": True}
    assert value["a"] == [1.26, (2, 3.14)]
    assert quantize([0.98, 12, -7.6], tol=0.25) == [1.0, 12, -7.5]


def test_what_is_no_number_or_has_no_decimals_stays() -> None:
    for options in ({"digits": 2}, {"tol": 0.5}):
        assert struct.pack("<d", quantize(-0.001, **options)) == struct.pack("<d", 0.0)
        assert math.isnan(quantize(float("nan"), **options))
        assert quantize([math.inf, -math.inf, 1e308], **options) == [math.inf, -math.inf, 1e308]
        assert quantize([10**30, True, None, b"x"], **options) == [10**30, True, None, b"x"]


def test_rounded_values_have_the_digest_of_their_neighbours() -> None:
    one, other = [0.1 + 0.2, 5.0], [0.3, 5.0 + 1e-12]
    assert jobspan.hash(one) != jobspan.hash(other)
    assert jobspan.hash(quantize(one, digits=6)) == jobspan.hash(quantize(other, digits=6))
    assert jobspan.hash(quantize([0.05 - 1e-12], digits=1)) != jobspan.hash(quantize([0.05 + 1e-12], digits=1))


@pytest.mark.parametrize("options", [{}, {"digits": 1, "tol": 1.0}, {"tol": 0}, {"tol": -1.0}, {"tol": math.nan}])
def test_what_to_round_to_is_said_once_and_positive(options: Any) -> None:
    with pytest.raises(ValueError, match=r"quantize takes|no positive number"):
        quantize([1.0], **options)


def test_arrays_keep_their_type_and_layout_when_rounded() -> None:
    np = pytest.importorskip("numpy")
    for kind in ("f2", "f4", "f8", "c8", "c16", ">f8"):
        old = np.asfortranarray(np.full((3, 4), 1.26, kind))
        new = quantize(old, digits=1)
        assert (new.dtype, new.flags.f_contiguous) == (old.dtype, True)
        assert np.allclose(new, 1.3, atol=1e-3)
        assert np.allclose(old, 1.26, atol=1e-3)
    whole = np.arange(5)
    assert quantize(whole, digits=1) is whole
    huge = np.array([1e38, np.nan, -0.01, np.inf], "f4")
    assert quantize(huge, digits=1).tobytes() == np.array([1e38, np.nan, 0.0, np.inf], "f4").tobytes()
    assert type(quantize(np.float32(1.26), digits=1)) is np.float32


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_frames_are_rounded_in_their_float_columns(package: str) -> None:
    pytest.importorskip("numpy")
    frames = pytest.importorskip(package)
    made = [frames.DataFrame({"a": [1.26, number], "b": [1, 2], "c": ["x", "y"]}) for number in (0.3, 0.1 + 0.2)]
    assert jobspan.hash(made[0]) != jobspan.hash(made[1])
    for options in ({"digits": 1}, {"tol": 0.5}):
        rounded = [quantize(each, **options) for each in made]
        assert jobspan.hash(rounded[0]) == jobspan.hash(rounded[1])
        assert list(rounded[0].dtypes) == list(made[0].dtypes)
    assert made[0]["a"][0] == 1.26
