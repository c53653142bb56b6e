"""Ctrl-C, exit, and what is left behind: seen from outside, on whole processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from jobspan import host

pytestmark = pytest.mark.skipif(not host.has_processes(), reason="starts interpreters; there are no processes here")

SCRIPT = """
import os, sys, time
from jobspan import Parallel, delayed

def task(i):
    if i == {ready}:
        print("ready", os.getpid(), flush=True)
    time.sleep({seconds})

if __name__ == "__main__":
    {main}
"""


def start(main: str, *, seconds: float = 60, ready: int = 1) -> subprocess.Popen[str]:
    script = SCRIPT.format(main=textwrap.indent(textwrap.dedent(main), "    ").strip(), seconds=seconds, ready=ready)
    return subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_until_nobody_is_left(group: int, patience_s: float = 10.0) -> None:
    """All processes of a process group have ended."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    listing = subprocess.run(["ps", "-o", "pid,args", "-g", str(group)], capture_output=True, text=True, check=False)
    raise AssertionError(f"processes are left behind:\n{listing.stdout}")


@pytest.mark.parametrize("backend", ["sequential", "threads", "loky"])
@pytest.mark.parametrize("way", ["list", "generator"])
def test_ctrl_c_ends_promptly_and_leaves_no_process(backend: str, way: str) -> None:
    ready = 1 if backend != "sequential" else 0
    script = start(
        f"list(Parallel(2, {backend!r}, return_as={way!r})(delayed(task)(i) for i in range(100)))", ready=ready
    )
    assert script.stdout is not None
    assert script.stdout.readline().startswith("ready")
    begin = time.monotonic()
    os.killpg(script.pid, signal.SIGINT)
    _, errors = script.communicate(timeout=20)
    assert time.monotonic() - begin < 10
    assert script.returncode != 0
    assert errors.count("KeyboardInterrupt") >= 1
    wait_until_nobody_is_left(script.pid)


def test_a_finished_script_leaves_no_process_and_prints_nothing() -> None:
    script = start("print(Parallel(2, 'loky')(delayed(abs)(-i) for i in range(5)))")
    output, errors = script.communicate(timeout=60)
    assert output == "[0, 1, 2, 3, 4]\n"
    assert errors == ""
    wait_until_nobody_is_left(script.pid)


def test_a_stuck_thread_does_not_keep_the_interpreter() -> None:
    script = start(
        """
        results = Parallel(2, "threads", return_as="generator_unordered")(delayed(task)(i) for i in range(2))
        time.sleep(0.2)
        print("leaving")
        sys.exit(0)
        """,
        ready=-1,
    )
    output, errors = script.communicate(timeout=20)
    assert output == "leaving\n"
    assert script.returncode == 0
    assert errors == ""


@pytest.mark.parametrize("backend", ["threads", "loky"])
def test_a_run_works_after_a_fork(backend: str) -> None:
    script = start(
        f"""
        run = lambda: Parallel(2, {backend!r})(delayed(abs)(-i) for i in range(5))
        import warnings; warnings.simplefilter("ignore")  # Python's own warning about forks and threads
        run()
        pid = os.fork()
        if pid == 0:
            assert run() == [0, 1, 2, 3, 4]
            sys.exit(42)  # not os._exit: loky's own exit handlers end the child's workers
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """
    )
    output, _ = script.communicate(timeout=60)
    assert output == "42\n"


def test_when_a_task_fails_the_others_are_ended() -> None:
    script = start(
        """
        def fail():
            time.sleep(0.3)
            raise ValueError("stop")
        begin = time.time()
        try:
            Parallel(2, "loky")([delayed(task)(0), delayed(fail)(), delayed(task)(2)])
        except ValueError:
            print("raised")
        """,
        ready=-1,
    )
    begin = time.monotonic()
    output, _ = script.communicate(timeout=50)
    assert output == "raised\n"
    assert time.monotonic() - begin < 30
    wait_until_nobody_is_left(script.pid)
