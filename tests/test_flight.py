"""One computes, others wait; and nobody waits for the dead."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest

from jobspan import Memory, Parallel, delayed, host
from jobspan.memory.flight import Flight, Leases, Ranges, Stripes, Within, flight_for, wait_for_lead
from jobspan.memory.folder import FolderStore

needs_processes = pytest.mark.skipif(not host.has_processes(), reason="starts processes; there are none here")
needs_threads = pytest.mark.skipif(not host.has_threads(), reason="starts threads; there are none here")

KINDS = [Within, Leases] if host.has_threads() else [Within]
try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]
if fcntl is not None and not host.in_pyodide():
    KINDS += [Stripes, *([Ranges] if hasattr(fcntl, "F_OFD_SETLK") else [])]


@pytest.fixture(params=KINDS)
def flight(request: pytest.FixtureRequest, tmp_path: Path) -> Flight:
    if request.param is Within:
        return Within()
    if request.param is Leases:
        return Leases(FolderStore(str(tmp_path / "leases")))
    made: Flight = request.param(str(tmp_path / "locks"))
    return made


def test_one_leads_until_it_lets_go(flight: Flight) -> None:
    release = flight.lead("a")
    assert release is not None
    if not isinstance(flight, Stripes):  # there, who has a lock takes no other
        assert flight.lead("a") is None
        other = flight.lead("b")
        assert other is not None
        other()
    release()
    again = flight.lead("a")
    assert again is not None
    again()


@needs_threads
def test_only_one_of_many_threads_leads(flight: Flight) -> None:
    leading = most = 0
    counting = threading.Lock()

    def work() -> None:
        nonlocal leading, most
        for _ in range(5):
            release = wait_for_lead(flight, "a")
            with counting:
                leading += 1
                most = max(most, leading)
            with counting:
                leading -= 1
            release()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


@needs_threads
def test_a_lease_that_is_not_renewed_is_taken_over(tmp_path: Path) -> None:
    now = 1000.0
    store = FolderStore(str(tmp_path))
    dead = Leases(store, beat_s=3600.0, now=lambda: now)
    living = Leases(store, beat_s=3600.0, now=lambda: now)
    assert dead.lead("a") is not None
    assert living.lead("a") is None
    now += 3 * 3600 + 1
    release = living.lead("a")
    assert release is not None
    release()


def test_a_folder_has_the_systems_locks_where_there_are_some(tmp_path: Path) -> None:
    assert type(flight_for(FolderStore(str(tmp_path)))) is KINDS[-1 if len(KINDS) > 2 else 0]


@needs_threads
def test_threads_that_make_the_same_call_compute_it_once(tmp_path: Path) -> None:
    gate = threading.Barrier(4)
    counts: list[int] = []

    memory = Memory(tmp_path, verbose=0)

    @memory.cache(version=1)
    def slow(x: int) -> int:
        counts.append(x)
        return x

    def work() -> None:
        gate.wait()
        for x in range(20):
            slow(x)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counts) == list(range(20))
    assert (memory.counts.hits, memory.counts.misses) == (60, 20)


def test_coroutines_that_make_the_same_call_compute_it_once(tmp_path: Path) -> None:
    memory = Memory(tmp_path, verbose=0)

    @memory.cache
    async def slow(x: int) -> int:
        for _ in range(3):
            await asyncio.sleep(0)
        return x

    async def main() -> list[int]:
        return list(await asyncio.gather(*(slow(x % 2) for x in range(6))))

    assert asyncio.run(main()) == [0, 1, 0, 1, 0, 1]
    assert (memory.counts.hits, memory.counts.misses) == (4, 2)


def test_a_call_that_fails_lets_the_next_one_compute(tmp_path: Path) -> None:
    memory = Memory(tmp_path, verbose=0)
    failing = True

    @memory.cache(version=1)
    def work(x: int) -> int:
        if failing:
            raise OSError("not now")
        return x

    with pytest.raises(OSError, match="not now"):
        work(1)
    failing = False
    assert work(1) == 1


def test_a_function_that_calls_itself_does_not_wait_for_itself(tmp_path: Path) -> None:
    memory = Memory(tmp_path, verbose=0)

    @memory.cache
    def fibonacci(n: int) -> int:
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    assert fibonacci(15) == 610
    assert memory.counts.misses == 16

    depth = 0

    @memory.cache(version=1)
    def again(n: int) -> int:
        nonlocal depth
        depth += 1
        return again(n) if depth < 5 else n

    assert again(3) == 3


def slow_square(x: int) -> int:
    import time

    time.sleep(0.002)  # so long that others come while it is computed
    return x * x


@pytest.mark.parametrize(
    "backend", [*(["threads"] if host.has_threads() else []), *(["loky"] if host.has_processes() else [])]
)
def test_tasks_of_a_run_compute_the_same_call_once(tmp_path: Path, backend: str) -> None:
    memory = Memory(tmp_path, verbose=0)
    cached = memory.cache(slow_square)
    results = Parallel(n_jobs=3, backend=backend, batch_size=1)(delayed(cached)(n % 4) for n in range(40))
    assert results == [(n % 4) ** 2 for n in range(40)]
    assert len(cached.entries()) == 4


_RACER = """
    import sys, time
    from jobspan import Memory
    count = 0
    @Memory(sys.argv[1], verbose=0).cache(version=1)
    def slow(n):
        global count
        count += 1
        time.sleep(0.001)
        return n
    print("ready", flush=True)
    sys.stdin.readline()
    for n in range(int(sys.argv[2])):
        assert slow(n) == n
    print(count)
"""


def start(folder: Path, *arguments: Any, source: str = _RACER) -> subprocess.Popen[str]:
    script = folder / "racer.py"
    script.write_text(textwrap.dedent(source))
    command = [sys.executable, str(script), str(folder / "cache"), *map(str, arguments)]
    racer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert racer.stdout is not None
    assert racer.stdout.readline() == "ready\n"
    return racer


@needs_processes
def test_two_processes_compute_nothing_twice(tmp_path: Path) -> None:
    racers = [start(tmp_path, 100) for _ in range(2)]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    counts = [int(racer.communicate(timeout=60)[0]) for racer in racers]
    assert sum(counts) == 100
    assert len(Memory(tmp_path / "cache", verbose=0).entries()) == 100


_LEADER = """
    import sys, time
    from jobspan import Memory
    @Memory(sys.argv[1], verbose=0).cache(version=1)
    def slow(n):
        if sys.argv[2] == "hang":
            print("ready", flush=True)
            time.sleep(600)
        return n
    slow.__module__ = "racer"
    if sys.argv[2] != "hang":
        print("ready", flush=True)
    print(slow(7))
"""


@needs_processes
@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGKILL")
def test_who_waits_goes_on_when_the_leader_is_killed(tmp_path: Path) -> None:
    leader = start(tmp_path, "hang", source=_LEADER)
    follower = start(tmp_path, "go", source=_LEADER)
    leader.send_signal(signal.SIGKILL)
    assert follower.communicate(timeout=60)[0] == "7\n"
    leader.communicate()


_PARENT = """
    import os, sys, time
    from jobspan.memory.flight import Ranges, Stripes
    release = {"ranges": Ranges, "stripes": Stripes}[sys.argv[2]](sys.argv[1]).lead("key")
    read, write = os.pipe()
    if os.fork() == 0:
        release()  # it is not the child's to end
        os.write(write, b"!")
        os.read(0, 1)
        os._exit(0)
    os.read(read, 1)
    print("ready", flush=True)
    time.sleep(600)
"""


@needs_processes
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("kind", [Ranges, Stripes])
def test_a_forked_child_neither_ends_nor_keeps_the_lead_of_its_parent(tmp_path: Path, kind: type) -> None:
    parent = start(tmp_path, kind.__name__.lower(), source=_PARENT)
    flight = kind(str(tmp_path / "cache"))
    assert flight.lead("key") is None
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    release = flight.lead("key")
    parent.communicate()  # its child ends with its input
    assert release is not None
    release()
