"""Calls through caches: hits, misses, decorating, upkeep, with joblib, diskcache and cachier beside jobspan."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Repeat = Callable[[int], dict[str, float]]
Cached = Callable[..., Any]
RACE_S = 120.0  # is more than ten times what a race takes


def add(a: int, b: float = 2.0, name: str = "x") -> float:  # noqa: ARG001  an argument that a cache has to look at
    """Something cheap."""
    return a + b


def weigh(data: Any) -> int:
    """Something with a large argument."""
    return len(data)


def make(library: str, folder: str, function: Cached, **options: Any) -> tuple[Any, Cached]:
    """Return the cache, and the function cached in it."""
    if library == "diskcache":
        import diskcache

        cache = diskcache.Cache(folder)
        return cache, cache.memoize()(function)
    if library == "cachier":
        from cachier import cachier

        return None, cachier(cache_dir=folder, separate_files=True)(function)
    import importlib

    memory = importlib.import_module(library).Memory(folder, verbose=0)
    return memory, memory.cache(function, **options)


def _timed(call: Callable[[], Any], calls: int) -> dict[str, float]:
    began, cpu_began = time.perf_counter(), time.process_time()
    for _ in range(calls):
        call()
    cpu = time.process_time() - cpu_began
    return {"us": (time.perf_counter() - began) / calls * 1e6, "cpu_us": cpu / calls * 1e6}


def hit(library: str, calls: int, **options: Any) -> Repeat:
    """Return the time of one call whose result is there."""
    folder = tempfile.mkdtemp()
    _, cached = make(library, folder, add, **options)
    for a in range(20):
        cached(a)

    def repeat(_: int) -> dict[str, float]:
        return _timed(lambda: cached(7), calls)

    return repeat


def miss(library: str, calls: int) -> Repeat:
    """Return the time of one call whose result is not there, and is kept."""

    def repeat(_: int) -> dict[str, float]:
        folder = tempfile.mkdtemp()
        _, cached = make(library, folder, add)
        cached(-1)
        numbers = iter(range(calls))
        figures = _timed(lambda: cached(next(numbers)), calls)
        shutil.rmtree(folder)
        return figures

    return repeat


def decorate(library: str, calls: int) -> Repeat:
    """Return the time of one decoration."""
    folder = tempfile.mkdtemp()
    cache, _ = make(library, folder, add)

    def repeat(_: int) -> dict[str, float]:
        return _timed(lambda: cache.cache(add), calls)

    return repeat


_FIRST = """
import sys, time
sys.path.insert(0, {benchmarks!r})
from workloads.caching import add
began, cpu_began = time.perf_counter(), time.process_time()
import {library}
cached = {library}.Memory({folder!r}, verbose=0).cache(add)
imported = time.perf_counter()
cached(7)
ended = time.perf_counter()
print((ended - began) * 1e3, (ended - imported) * 1e3)
"""


def first_hit(library: str) -> Repeat:
    """Return how long the first hit takes in a fresh process, after the import and with it."""
    folder = tempfile.mkdtemp()
    benchmarks = str(Path(__file__).resolve().parent.parent)
    script = _FIRST.format(library=library, folder=folder, benchmarks=benchmarks)
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)

    def repeat(_: int) -> dict[str, float]:
        done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
        with_import, alone = map(float, done.stdout.split())
        return {"with_import_ms": with_import, "ms": alone}

    return repeat


def _filled(library: str, items: int) -> tuple[str, Any, Cached]:
    folder = tempfile.mkdtemp()
    cache, cached = make(library, folder, add)
    for a in range(items):
        cached(a)
    return folder, cache, cached


def upkeep(library: str, items: int) -> Repeat:
    """Return files and bytes an entry, and how long it takes to remove half of the entries, and then all."""

    def repeat(_: int) -> dict[str, float]:
        folder, cache, _ = _filled(library, items)
        paths = list(Path(folder).rglob("*"))
        files = sum(path.is_file() for path in paths)
        nbytes = sum(os.lstat(path).st_blocks * 512 for path in paths)
        figures = {"files": files / items, "bytes": nbytes / items, "reduce_s": 0.0}
        began = time.perf_counter()
        if library != "diskcache":
            cache.reduce_size(items_limit=items // 2)
            figures["reduce_s"] = time.perf_counter() - began
            began = time.perf_counter()
        if library == "diskcache":
            cache.clear()
        else:
            cache.clear(warn=False)
        figures["clear_s"] = time.perf_counter() - began
        shutil.rmtree(folder)
        return figures

    return repeat


def large_argument(library: str, megabytes: int) -> Repeat:
    """Return how long a hit takes with a large array as argument, and how long its digest alone."""
    import importlib

    import numpy as np

    data = np.random.default_rng(5).random(megabytes * 125_000)
    _, cached = make(library, tempfile.mkdtemp(), weigh)
    cached(data)
    hash_ = importlib.import_module(library).hash

    def repeat(_: int) -> dict[str, float]:
        began = time.perf_counter()
        cached(data)
        middle = time.perf_counter()
        hash_(data)
        return {"ms": (middle - began) * 1e3, "digest_ms": (time.perf_counter() - middle) * 1e3}

    return repeat


def explain(library: str, items: int) -> Repeat:
    """Return how long it takes to say why a call missed: one with one argument changed, and one with all of them."""
    cached = _filled(library, items)[2]

    def repeat(number: int) -> dict[str, float]:
        began = time.perf_counter()
        near = cached.explain(5, 3.5 + number, "x")
        middle = time.perf_counter()
        far = cached.explain(-5 - number, -3.5, "y")
        assert not near.is_hit, "it was never called so"
        assert not far.is_hit, "neither was this"
        return {"near_ms": (middle - began) * 1e3, "far_ms": (time.perf_counter() - middle) * 1e3}

    return repeat


_RACER = """
import sys, time
sys.path.insert(0, {benchmarks!r})
from workloads import caching
count = 0
def slow(n):
    global count
    count += 1
    time.sleep(0.002)  # so long that the other one comes while it is computed
    return n
slow.__module__ = "racer"
cache, cached = caching.make({library!r}, {folder!r}, slow)
sys.stdout.write("ready\\n"); sys.stdout.flush()
sys.stdin.readline()
for n in range({keys}):
    cached(n)
print(count)
"""


def race(library: str, keys: int) -> Repeat:
    """Return how many of so many keys two processes compute twice, if both want all of them at the same time."""
    benchmarks = str(Path(__file__).resolve().parent.parent)

    def repeat(_: int) -> dict[str, float]:
        folder = tempfile.mkdtemp()
        script = Path(folder) / "racer.py"
        script.write_text(_RACER.format(library=library, folder=folder, keys=keys, benchmarks=benchmarks))
        racers = [
            subprocess.Popen([sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        for racer in racers:
            assert racer.stdout is not None, "it is a pipe"
            racer.stdout.readline()
        for racer in racers:
            assert racer.stdin is not None, "it is a pipe"
            racer.stdin.write("\n")
            racer.stdin.flush()
        try:
            computed = sum(int(racer.communicate(timeout=RACE_S)[0]) for racer in racers)
        except subprocess.TimeoutExpired:  # cachier waits for a result that came before it listened
            raise RuntimeError(f"{library}: two processes on the same keys did not end in {RACE_S:g} s") from None
        finally:
            for racer in racers:
                racer.kill()
                racer.wait()
            shutil.rmtree(folder, ignore_errors=True)
        return {"twice": computed - keys}

    return repeat
