"""Many callers at once, on few workers: nobody hangs, and everybody gets the right results."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from jobspan import Parallel, delayed, host

pytestmark = pytest.mark.skipif(not host.has_processes(), reason="starts threads and processes; there are none here")

CALLS = 8


def at_once(callers: list[Callable[[], None]]) -> None:
    """Run each in a thread; what one raises is raised here."""
    errors: list[BaseException] = []

    def guarded(caller: Callable[[], None]) -> None:
        try:
            caller()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(caller,), daemon=True) for caller in callers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive(), "a caller hangs"
    if errors:
        raise errors[0]


@pytest.mark.parametrize("backends", [["loky"], ["threads"], ["loky", "threads", "multiprocessing"]])
def test_threads_that_call_with_different_widths_never_hang(backends: list[str]) -> None:
    def caller(number: int) -> Callable[[], None]:
        def call() -> None:
            backend = backends[number % len(backends)]
            for i in range(CALLS):
                width = 2 + (number + i) % 3
                found = Parallel(n_jobs=width, backend=backend)(delayed(pow)(k, number) for k in range(30))
                assert found == [k**number for k in range(30)]

        return call

    at_once([caller(number) for number in range(4)])


def test_failures_in_some_threads_do_not_disturb_the_others() -> None:
    def failing() -> None:
        for _ in range(CALLS):
            with pytest.raises(ValueError, match="invalid literal"):
                Parallel(n_jobs=2, backend="loky")(delayed(int)(text) for text in ("1", "x", "2"))

    def working() -> None:
        for _ in range(CALLS):
            assert Parallel(n_jobs=2, backend="loky")(delayed(int)(text) for text in "123") == [1, 2, 3]

    at_once([failing, working, failing, working])


def test_generators_that_are_left_and_calls_inside_their_loops_never_hang() -> None:
    def caller() -> None:
        for _ in range(CALLS):
            for value in Parallel(n_jobs=2, backend="loky", return_as="generator")(delayed(abs)(-i) for i in range(50)):
                assert Parallel(n_jobs=2, backend="loky")([delayed(abs)(-value)]) == [value]
                if value == 3:
                    break

    at_once([caller, caller, caller])


@pytest.mark.parametrize(
    ("outer", "inner"), [("loky", None), ("threads", "loky"), ("threads", None), ("loky", "threads")]
)
def test_calls_from_inside_tasks_never_hang(outer: str, inner: str | None) -> None:
    def task(n: int) -> list[int]:
        return Parallel(n_jobs=2, backend=inner)(delayed(pow)(k, 2) for k in range(n))

    found = Parallel(n_jobs=2, backend=outer)(delayed(task)(n) for n in range(12))
    assert found == [[k * k for k in range(n)] for n in range(12)]


def test_tasks_of_one_event_loop_may_all_gather_at_once() -> None:
    def tasks(n: int) -> Any:
        return (delayed(pow)(k, n) for k in range(20))

    async def main() -> list[list[int]]:
        backends = ["loky", "threads", "loky", "threads"]
        calls = [Parallel(n_jobs=2, backend=backend).gather(tasks(n)) for n, backend in enumerate(backends)]
        return await asyncio.gather(*calls)

    assert asyncio.run(main()) == [[k**n for k in range(20)] for n in range(4)]


def test_one_object_may_be_called_while_it_is_iterated(backend: Any) -> None:
    parallel = Parallel(n_jobs=2, backend=backend, return_as="generator")
    first = parallel(delayed(abs)(-i) for i in range(40))
    assert next(first) == 0
    assert list(parallel(delayed(abs)(-i) for i in range(5))) == [0, 1, 2, 3, 4]
    assert list(first) == list(range(1, 40))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_has_workers_of_its_own_and_the_parent_keeps_its() -> None:
    code = """
import os, sys
from jobspan import Parallel, delayed
def run(): return Parallel(n_jobs=2, backend=sys.argv[1])(delayed(abs)(-i) for i in range(5)) == list(range(5))
if __name__ == "__main__":
    good = run()
    child = os.fork()
    if child == 0:
        os._exit(0 if run() and run() else 1)
    _, status = os.waitpid(child, 0)
    print(good and run(), os.waitstatus_to_exitcode(status))
"""
    for backend in ("loky", "threads"):
        done = subprocess.run(
            [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code, backend],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stdout == "True 0\n"
        if backend == "threads":  # loky's tracker tells of what a child that leaves by os._exit could not tidy up
            assert done.stderr == ""


HALF_CONSUMED = """
results = Parallel(n_jobs=2, backend=backend, return_as="generator")(delayed(time.sleep)(i) for i in (0, 30, 30))
next(results)
"""
AT_EXIT = """
import atexit
atexit.register(lambda: print(Parallel()(delayed(abs)(i) for i in range(3))))
"""


@pytest.mark.parametrize("backend", ["loky", "threads", "multiprocessing"])
@pytest.mark.parametrize("ending", [HALF_CONSUMED, AT_EXIT, "raise SystemExit"], ids=["half", "atexit", "SystemExit"])
def test_the_interpreter_ends_soon_and_quietly(backend: str, ending: str) -> None:
    begin = f"import time\nfrom jobspan import Parallel, delayed\nbackend = {backend!r}\n"
    warm = "Parallel(n_jobs=2, backend=backend)(delayed(abs)(i) for i in range(4))\n"
    done = subprocess.run(
        [sys.executable, "-c", begin + warm + ending], capture_output=True, text=True, timeout=25, check=False
    )
    assert done.stderr == ""
    assert done.returncode == 0
