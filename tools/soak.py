"""Random concurrent use for some minutes, and at the end a look for what was left behind.

`soak.py [--minutes M] [--seed N]`: four threads and an event loop call `Parallel` at once, on every backend of this
machine, with lists, generators that are left half-way, failures, nested calls, killed workers and large arguments. It
fails when a call gives a wrong result or takes longer than two minutes, and when processes, threads, file descriptors,
files in memory or resident memory grow.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import gc
import glob
import os
import random
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import numpy as np
import psutil

from jobspan import Parallel, TaskError, WorkerLost, delayed, shared
from jobspan.testing import chaos

BACKENDS = ("threads", "loky", "multiprocessing")
CALLERS = 4
PATIENCE_S = 120.0
GROWTH_MB = 150.0
SPARE_S = 4.0  # idle workers stay so long; then all that is left is counted

_Parallel = partial(Parallel, idle_worker_timeout=SPARE_S)


def _list(chance: random.Random, backend: str, width: int) -> None:
    n, power = chance.randrange(200), chance.randrange(4)
    found = _Parallel(n_jobs=width, backend=backend)(delayed(pow)(k, power) for k in range(n))
    assert found == [k**power for k in range(n)]


def _left_generator(chance: random.Random, backend: str, width: int) -> None:
    stop = chance.randrange(1, 40)
    results = _Parallel(n_jobs=width, backend=backend, return_as="generator")(delayed(abs)(-k) for k in range(100))
    for k, value in enumerate(results):
        assert value == k
        if k == stop:
            break


def _failure(_chance: random.Random, backend: str, width: int) -> None:
    try:
        _Parallel(n_jobs=width, backend=backend)(delayed(int)(text) for text in ("1", "x", "2"))
    except ValueError:
        return
    raise AssertionError("a failing task was not told of")


def _nested(_chance: random.Random, backend: str, width: int) -> None:
    def inner(n: int) -> list[int]:
        return Parallel(n_jobs=2)(delayed(abs)(-k) for k in range(n))

    assert _Parallel(n_jobs=width, backend=backend)(delayed(inner)(n) for n in range(6)) == [
        list(range(n)) for n in range(6)
    ]


def _large(chance: random.Random, backend: str, width: int) -> None:
    array = np.full(300_000, chance.randrange(9), dtype=float)
    given = shared(array) if chance.random() < 0.3 else array
    results = _Parallel(n_jobs=width, backend=backend)(delayed(np.add)(given, k) for k in range(6))
    assert [float(each[5]) for each in results] == [array[5] + k for k in range(6)]


def _killed(chance: random.Random, backend: str, width: int) -> None:
    if backend == "threads":
        return
    with _Parallel(n_jobs=width, backend=backend) as parallel:
        victim = chance.randrange(4)
        with suppress(WorkerLost):
            parallel(delayed(os._exit)(1) if k == victim else delayed(abs)(k) for k in range(4))
        assert parallel([delayed(abs)(-1)] * 3) == [1, 1, 1]


def _block(_chance: random.Random, backend: str, width: int) -> None:
    with _Parallel(n_jobs=width, backend=backend) as parallel:
        for _ in range(3):
            assert parallel(delayed(abs)(-k) for k in range(9)) == list(range(9))


def _gather(_chance: random.Random, backend: str, width: int) -> None:
    async def main() -> list[list[int]]:
        calls = [_Parallel(n_jobs=width, backend=backend).gather([delayed(abs)(-k)] * 5) for k in range(3)]
        return await asyncio.gather(*calls)

    assert asyncio.run(main()) == [[k] * 5 for k in range(3)]


def _chaos(chance: random.Random, backend: str, width: int) -> None:
    faults: list[chaos.Fault] = ["raise", "sleep"] if backend == "threads" else ["raise", "sleep", "die", "die"]
    count = chance.randrange(1, 120)
    script = chaos.draw_script(chance, count, faults, share=0.04)
    injected = chaos.survive(
        script,
        count,
        retries=chance.randrange(4),
        n_jobs=width,
        backend=backend,
        idle_worker_timeout=SPARE_S,
        timeout=2.0,
        return_as=chance.choice(["list", "generator", "generator_unordered"]),
        batch_size=chance.choice(["auto", 1, 7]),
        watched=chance.random() < 0.5,
        consume=bool if chance.random() < 0.7 else lambda: time.sleep(0.002),
    )
    _tally(f"runs with faults on {backend}", 1)
    _tally("faults injected and survived", injected)


def _raid(chance: random.Random, backend: str, width: int) -> None:
    """Workers are killed from outside, at any moment."""
    if backend == "threads":
        return
    calls = (delayed(_nap_and_tell)(k) for k in range(40))
    pids: set[int] = set()
    found = []
    for value in _Parallel(
        n_jobs=width, backend=backend, retries=20, backoff=0, errors="return", return_as="generator_unordered"
    )(calls):
        if isinstance(value, TaskError):  # three workers were killed under it
            assert isinstance(value.error, WorkerLost), str(value)
            found.append(value.index)
            continue
        k, pid = value
        found.append(k)
        pids.add(pid)
        if chance.random() < 0.1:
            with suppress(psutil.NoSuchProcess):
                victim = psutil.Process(chance.choice(sorted(pids)))
                if victim.ppid() == os.getpid():
                    victim.kill()
                    _tally("workers killed from outside", 1)
    assert sorted(found) == list(range(40))


def _nap_and_tell(k: int) -> tuple[int, int]:
    time.sleep(0.005)
    return k, os.getpid()


_tallies: Counter[str] = Counter()


def _tally(what: str, count: int) -> None:
    with _counting:
        _tallies[what] += count


_counting = threading.Lock()

ACTS: tuple[Callable[[random.Random, str, int], None], ...] = (
    _list, _list, _left_generator, _failure, _nested, _large, _killed, _block, _gather, _chaos, _raid,
)  # fmt: skip


def _census() -> dict[str, float]:
    gc.collect()
    me = psutil.Process()
    return {
        "processes": len(me.children(recursive=True)),
        "threads": threading.active_count(),
        "descriptors": me.num_fds(),
        "files in memory": len(glob.glob("/dev/shm/jobspan-*/[0-9]*")),
        "resident MB": me.memory_info().rss / 1e6,
    }


def _descriptors() -> Counter[str]:
    """How many descriptors there are of each kind, by what they lead to."""
    found: Counter[str] = Counter()
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the one that lists them
            found[re.sub(r"\d+", "N", os.readlink(f"/proc/self/fd/{name}"))] += 1
    return found


def _soak(seed: int, seconds: float) -> int:
    """Number of calls made."""
    end = time.monotonic() + seconds
    calls = 0
    errors: list[BaseException] = []

    def call(number: int) -> None:
        nonlocal calls
        chance = random.Random(seed * CALLERS + number)
        try:
            while time.monotonic() < end and not errors:
                chance.choice(ACTS)(chance, chance.choice(BACKENDS), chance.randrange(2, 5))
                calls += 1
        except BaseException as error:  # noqa: BLE001  raised in the main thread
            errors.append(error)

    threads = [threading.Thread(target=call, args=(number,), daemon=True) for number in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + PATIENCE_S)
        if thread.is_alive():
            faulthandler.dump_traceback()
            sys.exit(f"soak: a call hangs (seed {seed}); what each thread waits for stands above")
    if errors:
        raise errors[0]
    return calls


def main() -> None:
    """Warm up for a tenth of the time, look, soak, look again."""
    parser = argparse.ArgumentParser(description="random concurrent use, watching for hangs and leaks")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    seconds = 60 * options.minutes
    print(f"soak: {options.minutes:g} minutes, seed {options.seed}", flush=True)
    _soak(options.seed, max(5.0, seconds / 10))
    time.sleep(2 * SPARE_S)
    before, kinds = _census(), _descriptors()
    calls = _soak(options.seed + 1, 0.9 * seconds)
    time.sleep(2 * SPARE_S)
    after = _census()
    grown = []
    for what, was in before.items():
        allowed = GROWTH_MB if "MB" in what else 12
        mark = ""
        if after[what] - was > allowed:
            grown.append(what)
            mark = "  <- has grown"
        print(f"{what:16} {was:8.0f} -> {after[what]:8.0f}{mark}")
    if "descriptors" in grown:
        print(f"descriptors that are new: {dict(_descriptors() - kinds)}")
    if grown:
        sys.exit(f"soak: after {calls} calls there are more {', '.join(grown)} than before")
    print(f"soak: {calls} calls, nothing left behind; " + ", ".join(f"{n} {what}" for what, n in _tallies.items()))


if __name__ == "__main__":
    main()
