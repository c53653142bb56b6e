"""How well sketches find near arrays: recall over noise, false alarms, what is told exactly, time and room.

    python benchmarks/near_misses.py [--quick]

writes `docs/near_misses.svg`, and the tables between the marks in `docs/near_misses.md`. Recall is the share of changed
arrays that have a tag in common with the array they were made from; a false alarm is a pair of unrelated arrays that
has one.

Invariant: everything is drawn from generators with fixed seeds, so that only the times differ from run to run.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable, Iterable
from hashlib import sha256
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jobspan.persist.sketches.difference import compare
from jobspan.persist.sketches.sketch import NEAR, Sketch, make_sketch

DOCS = Path(__file__).parents[1] / "docs"
SIZES = (10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000)
NOISES = tuple(10.0**exponent for exponent in range(-16, 0))
COLOURS = ("#1b9e77", "#d95f02", "#7570b3", "#e7298a", "#66a61e", "#e6ab02", "#a6761d")

Make = Callable[[np.random.Generator, int], Any]

SOURCES: dict[str, Make] = {
    "normal, mean 0": lambda rng, size: rng.normal(size=size),
    "normal, mean 100 spreads": lambda rng, size: rng.normal(100, 1, size),
    "normal, mean 100 000 spreads": lambda rng, size: rng.normal(1e5, 1, size),
    "random walk": lambda rng, size: rng.normal(size=size).cumsum(),
    "whole numbers 0 to 9": lambda rng, size: rng.integers(0, 10, size),
}

CHANGES: dict[str, Callable[[np.random.Generator, Any], Any]] = {
    "permuted": lambda rng, array: rng.permutation(array),
    "rolled by a random number of places": lambda rng, array: np.roll(array, int(rng.integers(1, len(array)))),
    "a constant added": lambda rng, array: array + float(rng.normal()),
    "multiplied by a constant": lambda rng, array: array * float(rng.uniform(0.1, 9)),
    "one element replaced by 10⁹": lambda rng, array: _put(rng, array, 1, 1e9),
    "one element NaN": lambda rng, array: _put(rng, array, 1, np.nan),
    "as float32": lambda _, array: array.astype(np.float32),
    "moved by one place, a new element at the end": lambda rng, array: np.append(array[1:], rng.normal()),
}


def _put(rng: np.random.Generator, array: Any, number: int, value: Any) -> Any:
    changed = array.copy()
    changed[rng.choice(len(array), number, replace=False)] = value
    return changed


def trials(size: int, quick: bool) -> int:
    """How often to try, for a bearable time."""
    most = 20 if quick else 300
    return max(3, min(most, 10_000_000 // size))


def sketch(array: Any) -> Sketch:
    """A sketch that has been stored."""
    made = make_sketch(array)
    assert made is not None, "it is an array of numbers"
    return Sketch.decode(made.encode())


def share(old: Sketch, new: Sketch) -> bool:
    return not set(old.bands).isdisjoint(new.bands)


def recall(size: int, make: Make, change: Callable[[np.random.Generator, Any], Any], quick: bool) -> float:
    found = []
    for seed in range(trials(size, quick)):
        rng = np.random.default_rng((size, seed))
        array = make(rng, size)
        found.append(share(sketch(array), sketch(change(rng, array))))
    return sum(found) / len(found)


def with_noise(level: float) -> Callable[[np.random.Generator, Any], Any]:
    return lambda rng, array: array * (1 + level * rng.normal(size=len(array)))


def false_alarms(size: int, make: Make, quick: bool) -> tuple[int, int, int]:
    """Pairs of unrelated arrays; how many share a tag; how many of these are near by their distance, too."""
    number = min(2000 if not quick else 100, max(12, 40_000_000 // size))
    sketches = [sketch(make(np.random.default_rng((size, seed, 1)), size)) for seed in range(number)]
    by_tag: dict[bytes, list[int]] = {}
    for index, each in enumerate(sketches):
        for tag in set(each.bands):
            by_tag.setdefault(tag, []).append(index)
    pairs = {pair for same in by_tag.values() for pair in combinations(same, 2)}
    near = sum((sketches[one].distance(sketches[other]) or 0.0) < NEAR for one, other in pairs)
    return number * (number - 1) // 2, len(pairs), near


def exactness(size: int, number: int, quick: bool) -> tuple[float, float]:
    """How often so many changed elements are all found, and are named without an error among them."""
    every, sound = [], []
    for seed in range(min(20, trials(size, quick))):
        rng = np.random.default_rng((size, number, seed))
        old = rng.normal(5, 1, size)
        changed = rng.choice(size, number, replace=False)
        new = old.copy()
        new[changed] = np.nextafter(old[changed], 9)
        found = compare(sketch(old), new, sketch(new))
        assert found is not None, "it is an array"
        every.append(found.how == "exactly" and found.differing == number)
        places = {int(place.strip("[]")) for place in found.places}
        sound.append(places <= set(changed.tolist()))
    return sum(every) / len(every), sum(sound) / len(sound)


def seconds(work: Callable[[], Any]) -> float:
    """The best of several times."""
    best, end = float("inf"), time.perf_counter() + 1.0
    while time.perf_counter() < end:
        begin = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begin)
    return best


def table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    head = list(head)
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def say_size(size: int) -> str:
    return f"{size:,}".replace(",", " ")


def percent(part: float) -> str:
    return f"{100 * part:.3g} %"


def costs() -> str:
    rows = []
    for kind in ("f8", "f4", "i8"):
        for size in (100, 10_000, 1_000_000, 10_000_000):
            array = (np.random.default_rng(size).normal(size=size) * 1000).astype(kind)
            mine, theirs = seconds(lambda: make_sketch(array)), seconds(lambda: sha256(array).digest())  # noqa: B023  called at once
            room = len(sketch(array).encode())
            rates = [f"{array.nbytes / each / 1e9:.2f}" for each in (mine, theirs)]
            rows.append(
                [array.dtype, say_size(size), say_size(array.nbytes), say_size(room), f"{mine * 1e3:.2f}", *rates]
            )
    plain = [float(number) for number in np.random.default_rng(0).normal(size=10_000)]
    mine = seconds(lambda: make_sketch(plain))
    rows.append(
        [
            "list of float",
            "10 000",
            "80 000",
            say_size(len(sketch(plain).encode())),
            f"{mine * 1e3:.2f}",
            f"{80_000 / mine / 1e9:.2f}",
            "",
        ]
    )
    return table(
        ["", "numbers", "bytes", "sketch, bytes", "sketch, ms", "sketch, GB/s", "SHA-256 on one CPU, GB/s"], rows
    )


def study(quick: bool) -> dict[str, Any]:
    """All that is measured but times."""
    sizes = SIZES[:5] if quick else SIZES
    curves = {
        name: {size: [recall(size, SOURCES[name], with_noise(level), quick) for level in NOISES] for size in sizes}
        for name in ("normal, mean 0", "normal, mean 100 spreads", "random walk")
    }
    changes = {
        name: {size: recall(size, SOURCES["normal, mean 0"], change, quick) for size in sizes}
        for name, change in CHANGES.items()
    }
    for level in (1e-16, 1e-8, 1e-2):
        single = {size: recall(size, SOURCES["normal, mean 0"], _one(level), quick) for size in sizes}
        changes[f"one element, by {level:.0e} of itself"] = single
    alarms = {name: {size: false_alarms(size, make, quick) for size in sizes} for name, make in SOURCES.items()}
    exact = {
        number: {size: exactness(size, number, quick) for size in sizes if size >= 4 * number}
        for number in (1, 3, 10, 30, 60, 100)
    }
    return {"sizes": sizes, "curves": curves, "changes": changes, "alarms": alarms, "exact": exact}


def _one(level: float) -> Callable[[np.random.Generator, Any], Any]:
    def change(rng: np.random.Generator, array: Any) -> Any:
        changed = array.copy()
        changed[rng.integers(len(array))] *= 1 + max(level, 2.3e-16)  # less would change nothing
        return changed

    return change


def tables(found: dict[str, Any]) -> dict[str, str]:
    sizes = found["sizes"]
    head = [say_size(size) for size in sizes]
    curves = "\n\n".join(
        f"Noise on all elements, {name}:\n\n"
        + table(
            ["noise", *head],
            [[f"{level:.0e}", *(percent(curve[size][at]) for size in sizes)] for at, level in enumerate(NOISES)][7:],
        )
        for name, curve in found["curves"].items()
    )
    changes = table(
        ["change", *head], [[name, *(percent(each[size]) for size in sizes)] for name, each in found["changes"].items()]
    )
    alarms = table(
        ["unrelated arrays", *head],
        [
            [
                name,
                *(f"{shared} / {near} of {say_size(pairs)}" for pairs, shared, near in (each[size] for size in sizes)),
            ]
            for name, each in found["alarms"].items()
        ],
    )
    exact = table(
        ["elements changed", *head],
        [
            [number, *(percent(each[size][0]) if size in each else "" for size in sizes)]
            for number, each in found["exact"].items()
        ],
    )
    wrong = sum(sound < 1 for each in found["exact"].values() for _, sound in each.values())
    exact += f"\n\nPlaces named that had not changed: {wrong or 'none'}."
    return {"recall": curves, "changes": changes, "alarms": alarms, "exact": exact}


WIDE, HIGH, LEFT, TOP = 300, 220, 46, 40


def draw(found: dict[str, Any]) -> str:
    """Recall over noise: a panel for each kind of numbers, a line for each size."""
    panels = [_panel(number, name, curve) for number, (name, curve) in enumerate(found["curves"].items())]
    width = len(panels) * (WIDE + LEFT) + 120
    key = [
        f'<line x1="{width - 108}" x2="{width - 88}" y1="{TOP + 8 + 20 * at}" y2="{TOP + 8 + 20 * at}" '
        f'stroke="{COLOURS[at]}" stroke-width="2"/>'
        f'<text x="{width - 82}" y="{TOP + 12 + 20 * at}">{say_size(size)}</text>'
        for at, size in enumerate(found["sizes"])
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HIGH + TOP + 46}" '
        f'font-family="sans-serif" font-size="11" fill="#555">\n'
        f"<title>Recall of near arrays over noise, for arrays of 10 to 10 000 000 numbers</title>\n"
        + "\n".join([*panels, *key])
        + "\n</svg>\n"
    )


def _panel(number: int, name: str, curve: dict[int, list[float]]) -> str:
    left = LEFT + number * (WIDE + LEFT)
    step = WIDE / (len(NOISES) - 1)

    def across(at: int) -> float:
        return round(left + at * step, 1)

    def down(part: float) -> float:
        return round(TOP + HIGH * (1 - part), 1)

    parts = [f'<text x="{left}" y="{TOP - 16}" font-size="13">{name}</text>']
    for part in (0, 0.25, 0.5, 0.75, 1):
        y = down(part)
        parts.append(f'<line x1="{left}" x2="{left + WIDE}" y1="{y}" y2="{y}" stroke="#8884"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{part:.0%}</text>')
    for at, level in enumerate(NOISES):
        if at % 3 == 0:
            parts.append(f'<text x="{across(at)}" y="{TOP + HIGH + 18}" text-anchor="middle">{level:.0e}</text>')
    parts.append(
        f'<text x="{left + WIDE / 2}" y="{TOP + HIGH + 36}" text-anchor="middle">noise of each element, relative</text>'
    )
    for colour, values in zip(COLOURS, curve.values(), strict=False):
        points = [(across(at), down(value)) for at, value in enumerate(values)]
        for (x1, y1), (x2, y2) in pairwise(points):
            parts.append(f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}" stroke-width="2"/>')
    return "\n".join(parts)


def put_into(page: str, name: str, text: str) -> str:
    """The page with another text between two marks."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    replaced, times = re.subn(f"{begin}.*?{end}", lambda _: f"{begin}\n\n{text}\n\n{end}", page, flags=re.DOTALL)
    assert times == 1, f"the page has one place for {name}"
    return replaced


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few trials, small arrays; writes nothing")
    quick = parser.parse_args().quick
    found = study(quick)
    texts = tables(found) | {"costs": costs()}
    print("\n\n".join(texts.values()))
    if quick:
        return
    (DOCS / "near_misses.svg").write_text(draw(found))
    path = DOCS / "near_misses.md"
    page = path.read_text()
    for name, text in texts.items():
        page = put_into(page, name, text)
    path.write_text(page)


if __name__ == "__main__":
    main()
