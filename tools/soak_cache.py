"""Writers of one cache, killed at random moments, and what they leave behind.

`soak_cache.py [--kills N] [--seconds S] [--races N] [--seed N]`: writers fill a cache with small values and large ones,
some with limits that evict, some that clear it and replace results; each is killed some hundredths of a second after it
began. Each entry that is left is then read, and must be right. Then two processes want the same keys for some seconds,
and again from the first key on in so many new caches, while others keep the CPUs busy; no key may be computed twice.
Fails when a value is wrong or cannot be read, a process raises or warns, or one waits for a minute: it tells where.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobspan import Memory
from jobspan.memory.shelf import Handling, Shelf

ROUND = 20
KEYS = 200

WRITER = textwrap.dedent(
    """
    import random, sys, warnings
    warnings.simplefilter("error")
    from jobspan import Memory
    folder, seed, role = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    chance = random.Random(seed)
    memory = Memory(folder, verbose=0, max_items=300 if role == "limited" else None)
    @memory.cache(version=1)
    def value(n):
        return [n, str(n) * (n % 7 * 3000)]
    print("ready", flush=True)
    while True:
        n = chance.randrange(400)
        found = value(n)
        assert found == [n, str(n) * (n % 7 * 3000)], found[:1]
        if role == "unruly":
            act = chance.randrange(100)
            if act == 0:
                memory.reduce_size(items_limit=50)
            elif act == 1:
                value.clear()
            elif act < 10:
                value.forget(n)
            elif act < 15:
                value.call(n)
    """
)

RACER = textwrap.dedent(
    """
    import faulthandler, sys, time, warnings
    warnings.simplefilter("error")
    from jobspan import Memory
    folder, seconds, keys = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    memory = Memory(folder, verbose=0)
    @memory.cache(version=1)
    def value(n):
        time.sleep(0.0005)
        return n
    print("ready", flush=True)
    sys.stdin.readline()
    faulthandler.dump_traceback_later(seconds + 60, exit=True)
    end = time.monotonic() + seconds
    n = 0
    while time.monotonic() < end or n < keys:
        assert value(n) == n
        n += 1
    print(memory.counts.misses, n)
    """
)


def start(source: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a process, and wait until it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", source, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None, "it is a pipe"
    if process.stdout.readline() != "ready\n":
        raise SystemExit(f"soak_cache: a process failed: {process.wait()}")
    return process


def kill_writers(kills: int, chance: random.Random) -> tuple[int, int]:
    """Return how many entries were read after kills, and of how many the value had been removed."""
    folder = Path(tempfile.mkdtemp())
    read = gone = done = 0
    try:
        while done < kills:
            for _ in range(min(ROUND, kills - done)):
                role = chance.choice(["writer", "limited", "unruly"])
                writers = [start(WRITER, folder, chance.randrange(10**6), role) for _ in range(2)]
                time.sleep(chance.uniform(0.0, 0.06))  # the moment is what is tried
                for writer in writers:
                    if writer.poll() is not None:
                        raise SystemExit(f"soak_cache: a writer ended by itself: {writer.returncode}")
                    writer.kill()
                    if said := writer.communicate()[1]:
                        raise SystemExit(f"soak_cache: a writer failed before it was killed: {said}")
                done += 2
            right, without_value = check(folder)
            read += right
            gone += without_value
            found = Memory(folder, verbose=0).verify()
            if found.damaged != without_value:
                raise SystemExit(f"soak_cache: {found}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return read, gone


def check(folder: Path) -> tuple[int, int]:
    """Read all entries and their values; how many there are, and of how many others the value was removed meanwhile.

    Who removes entries may meet a value whose entry is just about to be written: such a call misses, and is computed.
    """
    memory = Memory(folder, verbose=0, mode="r")
    rows = [row for row in memory.entries() if row.function == "__main__.value"]
    store, signer = memory.opened()
    shelf = Shelf(store, "__main__.value", signer, Handling(is_read_only=True), memory.counts)
    gone = 0
    for row in rows:
        n = int(row.arguments["n"])
        entry = shelf.find(row.key)
        if entry is None:
            raise SystemExit(f"soak_cache: the result of {n} is listed, and cannot be read")
        if entry.in_file and store.read(entry.locate()[0]) is None:
            gone += 1
        elif shelf.load(row.key, entry) != [n, str(n) * (n % 7 * 3000)]:
            raise SystemExit(f"soak_cache: the result of {n} is wrong")
    return len(rows) - gone, gone


def race(seconds: float, keys: int = 0) -> tuple[int, int]:
    """Return how many keys two processes computed together, and how many there were: these, and what time allows."""
    folder = tempfile.mkdtemp()
    racers = [start(RACER, folder, seconds, keys) for _ in range(2)]
    for racer in racers:
        assert racer.stdin is not None, "it is a pipe"
        racer.stdin.write("\n")
        racer.stdin.flush()
    told = [racer.communicate() for racer in racers]
    shutil.rmtree(folder, ignore_errors=True)
    if any(racer.returncode for racer in racers):
        raise SystemExit("\n".join(["soak_cache: a racer failed", *(said for _, said in told)]))
    counts = [tuple(map(int, counted.split())) for counted, _ in told]
    return sum(misses for misses, _ in counts), max(count for _, count in counts)


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep so many CPUs busy."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--races", type=int, default=50)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print(f"soak_cache: {options.kills} kills, seed {options.seed}", flush=True)
    read, gone = kill_writers(options.kills, random.Random(options.seed))
    print(
        f"soak_cache: {options.kills} writers killed, {read} entries read afterwards, none wrong; {gone} without value"
    )
    computed, keys = race(options.seconds)
    if computed != keys:
        raise SystemExit(f"soak_cache: {computed} calls of {keys} keys were computed")
    print(f"soak_cache: 2 processes for {options.seconds:g} s on {keys} keys, none computed twice, no error")
    with busy(2 * (os.cpu_count() or 1)):
        for number in range(options.races):
            computed, keys = race(0.0, KEYS)
            if computed != keys:
                raise SystemExit(f"soak_cache: {computed} calls of {keys} keys were computed in race {number}")
    print(f"soak_cache: {options.races} races on {KEYS} keys on busy CPUs, none computed twice, none waited in vain")


if __name__ == "__main__":
    main()
