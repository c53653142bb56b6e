"""Worker processes from their start to their end, seen from the caller and, for whole processes, from outside."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from jobspan import Parallel, WorkerLost, delayed, host

pytestmark = pytest.mark.skipif(not host.has_processes(), reason="there are no processes here")

BACKENDS = ["loky", "multiprocessing"]
PATIENCE_S = 30.0
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs fork, or /proc")


@pytest.fixture(params=BACKENDS)
def name(request: pytest.FixtureRequest) -> str:
    """The backends of jobspan's own that run processes."""
    return str(request.param)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that is bound to happen."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen: {what}"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie; one whose other threads still end is alive yet."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
            return fields[0] != "Z" or int(fields[17]) > 1
    except OSError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not os.path.isdir("/proc/self")


def workers(parallel: Parallel, tasks: int = 8) -> set[int]:
    """The processes that run the tasks of this call."""

    def work(_: int) -> int:
        time.sleep(0.005)
        return os.getpid()

    return set(parallel(delayed(work)(i) for i in range(tasks)))


# Workers are lent and kept


def test_workers_stay_for_the_next_call(name: str) -> None:
    first = workers(Parallel(2, name))
    second = workers(Parallel(2, name))
    assert os.getpid() not in first | second
    assert first & second


def test_a_with_block_has_workers_of_its_own_which_end_with_it(name: str) -> None:
    common = workers(Parallel(2, name))
    with Parallel(2, name) as parallel, Parallel(2, name) as other:
        own = workers(parallel) | workers(parallel)
        others = workers(other)
    assert len(own) <= 2
    assert not own & (common | others)
    for pid in own | others:
        wait_until(lambda pid=pid: not is_alive(pid), "the block's workers end")
    assert workers(Parallel(2, name)) & common


def test_a_with_block_ends_tasks_that_nobody_waits_for(name: str) -> None:
    with Parallel(2, name, return_as="generator") as parallel:
        results = parallel(delayed(lambda i: (os.getpid(), time.sleep(60 * (i > 0)))[0])(i) for i in range(3))
        pid = next(results)
    wait_until(lambda: not is_alive(pid), "its worker ends")
    with pytest.raises(WorkerLost):
        next(results)


def test_an_idle_worker_that_was_killed_is_not_missed(name: str) -> None:
    for pid in (killed := workers(Parallel(2, name))):
        os.kill(pid, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
    for pid in killed:
        wait_until(lambda pid=pid: not is_alive(pid), "the killed worker is dead")
    assert not workers(Parallel(2, name)) & killed


def test_workers_end_when_they_were_not_used_for_as_long_as_the_user_said(name: str) -> None:
    pids = workers(Parallel(2, name, inner_max_num_threads=61, idle_worker_timeout=0.2))
    for pid in pids:
        wait_until(lambda pid=pid: not is_alive(pid), "unused workers end")
    assert not workers(Parallel(2, name, inner_max_num_threads=61, idle_worker_timeout=0.2)) & pids


def test_workers_that_ran_another_initializer_are_not_used(name: str) -> None:
    def initialize(mark: str) -> None:
        os.environ["JOBSPAN_TEST_MARK"] = mark

    plain = workers(Parallel(2, name))
    first = workers(Parallel(2, name, initializer=initialize, initargs=("a",)))
    second = workers(Parallel(2, name, initializer=initialize, initargs=("b",)))
    assert not first & second
    assert not (first | second) & plain
    assert workers(Parallel(2, name, initializer=initialize, initargs=("a",))) & first


# How many tasks, how much memory, how many threads


def test_no_worker_runs_more_tasks_than_it_may(name: str) -> None:
    parallel = Parallel(2, name, max_tasks_per_worker=3)
    pids: list[int] = []
    for _ in range(2):
        pids += parallel(delayed(os.getpid)() for _ in range(10))
    assert max(map(pids.count, pids)) <= 3


def test_multiprocessings_name_for_it_means_the_same() -> None:
    pids = Parallel(2, "multiprocessing", maxtasksperchild=1)(delayed(os.getpid)() for _ in range(4))
    assert len(set(pids)) == 4


def test_a_batch_is_not_larger_than_what_a_worker_may_run(name: str) -> None:
    pids = Parallel(2, name, max_tasks_per_worker=2, batch_size=50)(delayed(os.getpid)() for _ in range(7))
    assert max(map(pids.count, pids)) <= 2


@LINUX
def test_a_worker_that_holds_too_much_memory_is_replaced_with_one_line_in_the_log(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    def hoard() -> int:
        import builtins

        builtins.__dict__["_hoard"] = bytearray(b"x" * 200_000_000)
        return os.getpid()

    caplog.set_level(logging.INFO, logger="jobspan")
    parallel = Parallel(2, name, max_worker_rss="150M")
    (hoarder,) = parallel([delayed(hoard)()])
    caplog.clear()
    assert hoarder not in workers(parallel, 20)
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert f"worker process {hoarder} is replaced" in caplog.text


@LINUX
def test_a_worker_that_holds_less_is_kept(name: str) -> None:
    parallel = Parallel(2, name, max_worker_rss="2G")
    assert workers(parallel) & workers(parallel)


def test_loky_does_not_replace_workers_by_a_rule_of_its_own() -> None:
    def limit() -> tuple[int, str | None]:
        from loky import process_executor

        return process_executor._MAX_MEMORY_LEAK_SIZE, os.environ.get("LOKY_MAX_MEMORY_LEAK_SIZE")

    (found,) = Parallel(2, "loky")([delayed(limit)()])
    assert found[0] > 1 << 60
    assert found[1] is None


def threads_of_libraries(parallel: Parallel) -> list[str | None]:
    names = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"]
    (found,) = parallel([delayed(lambda: [os.environ.get(name) for name in names])()])
    return list(found)


@pytest.mark.parametrize("width", [2, 3])
def test_by_default_libraries_in_a_worker_may_use_its_share_of_the_cpus(
    name: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
        monkeypatch.delenv(variable, raising=False)
    with Parallel(width, name) as parallel:
        assert threads_of_libraries(parallel) == [str(max(1, host.cpu_count() // width))] * 4


def test_the_users_environment_has_the_say_over_threads_of_libraries(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    found = threads_of_libraries(Parallel(2, name))
    assert found[0] == "7"
    assert found[1] != "7"


def test_the_number_given_for_threads_of_libraries_has_the_last_word(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert threads_of_libraries(Parallel(2, name, inner_max_num_threads=5)) == ["5"] * 4
    assert "5" not in threads_of_libraries(Parallel(2, name))


# After a failure


@POSIX
@pytest.mark.parametrize("way", ["list", "generator"])
def test_after_a_call_has_failed_nothing_of_it_runs_and_its_workers_are_kept(
    name: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobspan.backends.crew.GRACE_S", PATIENCE_S)  # the machine may be busy
    journal = tmp_path / "journal"

    def write() -> None:
        while True:
            with journal.open("a") as file:
                file.write("x")
            time.sleep(0.001)

    def fail() -> None:
        while not journal.exists():
            time.sleep(0.001)
        raise ZeroDivisionError

    before: set[int] = set()
    while len(before) < 2:  # one alone may run all tasks while the other comes up
        before |= workers(Parallel(2, name))
    with pytest.raises(ZeroDivisionError):
        list(Parallel(2, name, return_as=way)([delayed(write)(), delayed(fail)(), delayed(write)(), delayed(write)()]))
    written = journal.stat().st_size
    assert workers(Parallel(2, name), 40) <= before
    assert journal.stat().st_size == written


def test_a_task_that_will_not_stop_is_killed(name: str, tmp_path: Path) -> None:
    begun = tmp_path / "begun"

    def resist() -> None:
        while True:
            try:
                begun.write_text(str(os.getpid()))
                time.sleep(60)
            except BaseException:
                continue

    def fail() -> None:
        while not begun.exists():
            time.sleep(0.001)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Parallel(2, name)([delayed(resist)(), delayed(fail)()])
    pid = int(begun.read_text())
    assert not is_alive(pid)
    assert pid not in workers(Parallel(2, name))


def test_an_import_is_not_left_half_done(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = tmp_path / "begun"
    source = f"""
    import os, time
    with open({str(begun)!r}, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(60)
    """
    (tmp_path / "jobspan_slow_to_import.py").write_text(textwrap.dedent(source))

    def load(folder: str) -> None:
        sys.path.insert(0, folder)
        try:
            import jobspan_slow_to_import  # noqa: F401
        except KeyboardInterrupt as error:
            raise AssertionError("the import was interrupted") from error

    def fail() -> None:
        while not begun.exists() or not begun.read_text():
            time.sleep(0.001)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Parallel(2, name)([delayed(load)(str(tmp_path)), delayed(fail)()])
    assert not is_alive(int(begun.read_text()))


def test_a_lost_worker_ends_the_call_and_the_next_one_works(name: str) -> None:
    with pytest.raises(WorkerLost):
        Parallel(2, name)(delayed(os._exit)(3) for _ in range(2))
    assert Parallel(2, name)(delayed(abs)(-i) for i in range(4)) == [0, 1, 2, 3]


def test_a_lost_worker_among_rationed_ones_ends_the_call_and_the_next_one_works(name: str) -> None:
    with pytest.raises(WorkerLost):
        Parallel(2, name, max_tasks_per_worker=9)(delayed(os._exit)(3) for _ in range(2))
    assert Parallel(2, name, max_tasks_per_worker=9)(delayed(abs)(-i) for i in range(4)) == [0, 1, 2, 3]


def test_threads_that_call_at_the_same_time_do_not_meet_in_a_pool(name: str) -> None:
    answers: dict[int, list[int]] = {}

    def call(width: int) -> None:
        for _ in range(3):
            answers[width] = Parallel(width % 3 + 2, name)(delayed(abs)(-i) for i in range(width))

    threads = [threading.Thread(target=call, args=(width,), daemon=True) for width in range(4, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert answers == {width: list(range(width)) for width in range(4, 8)}


# Whole processes

SCRIPT = """
import os, signal, sys, time
from jobspan import Parallel, delayed

BACKEND = {name!r}

def task(i, ready=None, seconds=60):
    if i == ready:
        print("ready", os.getpid(), flush=True)
    time.sleep(seconds)
    return os.getpid()

def run():
    return Parallel(2, BACKEND)(delayed(abs)(-i) for i in range(5))

if __name__ == "__main__":
    {main}
"""


def start(name: str, main: str, tmp_path: Path, **environment: str) -> subprocess.Popen[str]:
    """Run a script in a process group of its own; warnings are errors there."""
    path = tmp_path / "script.py"
    path.write_text(SCRIPT.format(name=name, main=textwrap.indent(textwrap.dedent(main), "    ").strip()))
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, **environment},
    )


def finish(script: subprocess.Popen[str]) -> tuple[str, str]:
    """What it printed, on stdout and on stderr, when it and all its workers have ended."""
    try:
        output, errors = script.communicate(timeout=PATIENCE_S)
        wait_until(lambda: not _is_group_alive(script.pid), "all processes end")
    except BaseException:
        os.killpg(script.pid, signal.SIGKILL)
        raise
    return output, errors


def _is_group_alive(group: int) -> bool:
    """Whether it has a process that is no zombie, which only waits for init to take note of it."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    members = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, its_group = path.read_text().rpartition(")")[2].split()[:3]
            members.append((int(its_group), state))
    return not members or any(its_group == group and state != "Z" for its_group, state in members)


ENDINGS = {
    "it is done": "print(run())",
    "it is done with a with block": "with Parallel(2, BACKEND) as p: print(p(delayed(abs)(-i) for i in range(5)))",
    "workers were rationed": "print(Parallel(2, BACKEND, max_tasks_per_worker=2)(delayed(abs)(-i) for i in range(5)))",
    "nothing was there to do": "print(Parallel(2, BACKEND)([]) or [0, 1, 2, 3, 4])",
    "a generator is half consumed": """
        results = Parallel(2, BACKEND, return_as="generator")(delayed(task)(i, None, 60 * (i > 0)) for i in range(9))
        next(results)
        print([0, 1, 2, 3, 4])
        """,
    "a worker was killed": """
        for pid in set(Parallel(2, BACKEND)(delayed(task)(i, None, 0.01) for i in range(4))):
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
        print(run())
        """,
    "tasks have used workers of their own": """
        inner = lambda i: Parallel(2, "loky")(delayed(abs)(-k) for k in range(i + 2))[i]
        print(Parallel(2, BACKEND)(delayed(inner)(i) for i in range(5)))
        """,
    "tasks of workers that are replaced have used workers of their own": """
        inner = lambda i: Parallel(2, "loky")(delayed(abs)(-k) for k in range(i + 2))[i]
        print(Parallel(2, BACKEND, max_tasks_per_worker=2)(delayed(inner)(i) for i in range(5)))
        """,
    "tasks on the user's own pool have used workers of jobspan's": """
        from loky import ProcessPoolExecutor
        inner = lambda i: Parallel(2, BACKEND)(delayed(abs)(-k) for k in range(i + 2))[i]
        with ProcessPoolExecutor(2) as executor:
            print(Parallel(backend=executor)(delayed(inner)(i) for i in range(5)))
        """,
    "a task has left by sys.exit": """
        try:
            Parallel(2, BACKEND)(delayed(sys.exit)(7) for i in range(2))
        except SystemExit as leave:
            assert leave.code == 7
        print(run())
        """,
}


@POSIX
@pytest.mark.parametrize("ending", ENDINGS)
def test_the_end_is_quiet_and_leaves_nothing_when(name: str, ending: str, tmp_path: Path) -> None:
    output, errors = finish(start(name, ENDINGS[ending], tmp_path))
    assert output == "[0, 1, 2, 3, 4]\n"
    assert errors == ""


@POSIX
def test_the_end_does_not_wait_for_a_daemon_thread_in_the_middle_of_a_call(name: str, tmp_path: Path) -> None:
    main = """
    import threading
    run()  # the workers are up
    threading.Thread(target=lambda: Parallel(2, BACKEND)(delayed(task)(i, 1) for i in range(9)), daemon=True).start()
    time.sleep(2)
    """
    output, _ = finish(start(name, main, tmp_path))
    assert output.startswith("ready")


@POSIX
@pytest.mark.parametrize("blow", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("busy", [True, False])
def test_workers_end_with_a_parent_that_was_struck_down(
    name: str, blow: signal.Signals, busy: bool, tmp_path: Path
) -> None:
    rest = "Parallel(2, BACKEND)(delayed(task)(i, 1) for i in range(9))"
    script = start(name, rest if busy else "run(); print('ready', flush=True); time.sleep(60)", tmp_path)
    assert script.stdout is not None
    assert script.stdout.readline().startswith("ready")
    script.send_signal(blow)
    _, errors = finish(script)
    assert script.returncode == -blow
    assert errors == ""


@POSIX
@pytest.mark.parametrize("way", ["list", "generator"])
def test_ctrl_c_is_the_parents_to_report(name: str, way: str, tmp_path: Path) -> None:
    main = f"list(Parallel(2, BACKEND, return_as={way!r})(delayed(task)(i, 1) for i in range(99)))"
    script = start(name, main, tmp_path)
    assert script.stdout is not None
    assert script.stdout.readline().startswith("ready")
    os.killpg(script.pid, signal.SIGINT)
    _, errors = finish(script)
    assert errors.count("Traceback") == 1
    assert errors.rstrip().endswith("KeyboardInterrupt")


@POSIX
@pytest.mark.parametrize("daemon", [True, False])
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_it_works_in_a_child_of_multiprocessing_daemonic_or_not(
    name: str, daemon: bool, method: str, tmp_path: Path
) -> None:
    main = f"""
    import multiprocessing
    child = multiprocessing.get_context({method!r}).Process(target=say, daemon={daemon})
    child.start()
    child.join()
    print(child.exitcode)
    """
    script = "def say():\n    print(run(), flush=True)\n\n" + 'if __name__ == "__main__":'
    global_script = SCRIPT.replace('if __name__ == "__main__":', script)
    path = tmp_path / "daemonic.py"
    path.write_text(global_script.format(name=name, main=textwrap.indent(textwrap.dedent(main), "    ").strip()))
    done = subprocess.Popen(
        [sys.executable, "-W", "error", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert finish(done) == ("[0, 1, 2, 3, 4]\n0\n", "")


def run_alone(source: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a script to its end."""
    path = folder / "script.py"
    path.write_text(textwrap.dedent(source))
    command = [sys.executable, *options, path]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


_IN_A_POOL = """
import multiprocessing
from dataclasses import dataclass
from jobspan import Parallel, delayed

@dataclass(slots=True)
class Point:
    x: int

def make(i):
    return Point(i)

def run(n):
    found = Parallel(n_jobs=2, backend={name!r})(delayed(make)(i) for i in range(n))
    return [point.x for point in found if type(point) is Point]

if __name__ == "__main__":
    for method in ("spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            print(pool.map(run, [3, 2]))
"""


@POSIX
def test_what_the_script_defines_is_found_from_children_that_run_it_again(name: str, tmp_path: Path) -> None:
    done = run_alone(_IN_A_POOL.format(name=name), tmp_path)
    assert done.stdout == "[[0, 1, 2], [0, 1]]\n" * 2, done.stderr


@LINUX
def test_a_forked_child_leaves_quietly_by_itself(name: str, tmp_path: Path) -> None:
    script = f"""
    import os, sys
    from jobspan import Parallel, delayed
    if __name__ == "__main__":
        Parallel(2, {name!r})(delayed(abs)(i) for i in range(3))
        child = os.fork()
        if child == 0:
            sys.exit(0)
        os.waitpid(child, 0)
    """
    done = run_alone(script, tmp_path, "-W", "ignore")
    assert (done.returncode, done.stderr) == (0, "")


@POSIX
def test_a_caller_that_is_killed_leaves_no_noise(name: str, tmp_path: Path) -> None:
    script = f"""
    import os, signal
    from jobspan import Parallel, delayed
    if __name__ == "__main__":
        Parallel(2, {name!r})(delayed(abs)(i) for i in range(4))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = run_alone(script, tmp_path)
    assert (done.returncode, done.stderr) == (-signal.SIGKILL, "")  # which what tidies up after it writes to, too


@POSIX
def test_a_task_is_stopped_even_where_nothing_can_be_raised(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    def work(i: int) -> int:
        import weakref

        class Value:
            def __del__(self) -> None:
                sum(range(300))

        values: Any = weakref.WeakValueDictionary()
        end = time.monotonic() + 0.2
        while time.monotonic() < end:
            for _ in range(200):
                values[1] = value = Value()
                del value
        return i

    for _ in range(5):
        results = Parallel(2, name, return_as="generator")(delayed(work)(i) for i in range(20))
        assert next(results) == 0
        results.close()
    assert Parallel(2, name)([delayed(abs)(-1)] * 4) == [1] * 4
    assert "ignored" not in capfd.readouterr().err


@pytest.mark.parametrize("tasks", [5, 500])
@pytest.mark.parametrize("return_as", ["generator", "generator_unordered"])
def test_a_generator_that_is_read_after_its_block_says_so(name: str, return_as: str, tasks: int) -> None:
    with Parallel(2, name, return_as=return_as) as parallel:
        results = parallel(delayed(abs)(i) for i in range(tasks))
    with pytest.raises(WorkerLost, match="inside of the block"):
        list(results)


@LINUX
def test_no_executor_is_ending_still_when_concurrent_futures_wakes_them_all(tmp_path: Path) -> None:
    main = """
    from concurrent.futures import process

    class Watched(type(process._threads_wakeups)):
        def items(self):
            if os.getpid() == here:
                print([thread.is_alive() for thread, _ in super().items()])
            return super().items()

    here = os.getpid()
    process._threads_wakeups = Watched()
    print(run())
    """
    output, errors = finish(start("multiprocessing", main, tmp_path))
    first, ended = output.splitlines()
    assert (first, errors) == ("[0, 1, 2, 3, 4]", "")
    assert set(json.loads(ended.lower())) <= {False}


@LINUX
def test_workers_of_a_forked_child_end_with_it_however_it_leaves(name: str, tmp_path: Path) -> None:
    main = """
    pid = os.fork()
    if pid == 0:
        print(Parallel(2, BACKEND)(delayed(os.getpid)() for _ in range(2))[0], flush=True)
        os._exit(3)
    os.waitpid(pid, 0)
    time.sleep(60)
    """
    script = start(name, main, tmp_path)
    assert script.stdout is not None
    worker = int(script.stdout.readline())
    wait_until(lambda: not is_alive(worker), "the child's worker ends")
    script.kill()
    finish(script)


# How multiprocessing starts them

FORKED = """
import math
{before}
math.mark = 1
def look(): import math; return hasattr(math, "mark")
print(Parallel(2, BACKEND)([delayed(look)()]))
"""


@LINUX
@pytest.mark.skipif(sys.version_info >= (3, 14), reason="forking is no longer the default")
@pytest.mark.parametrize(
    ("before", "environment", "forked"),
    [
        ("", {}, True),
        ("import threading; threading.Thread(target=time.sleep, args=(9,), daemon=True).start()", {}, False),
        ("import multiprocessing; multiprocessing.set_start_method('spawn')", {}, False),
        ("", {"JOBLIB_START_METHOD": "spawn"}, False),
        ("", {"JOBSPAN_START_METHOD": "fork", "JOBLIB_START_METHOD": "spawn"}, True),
    ],
)
def test_a_process_is_forked_only_while_that_is_safe_and_nothing_else_was_asked_for(
    before: str, environment: dict[str, str], forked: bool, tmp_path: Path
) -> None:
    script = start("multiprocessing", FORKED.format(before=before), tmp_path, **environment)
    assert finish(script) == (f"[{forked}]\n", "")


def test_an_unknown_way_to_start_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBSPAN_START_METHOD", "loky")
    with (
        pytest.raises(ValueError, match="JOBSPAN_START_METHOD='loky' is no way to start processes here"),
        Parallel(2, "multiprocessing") as parallel,
    ):
        parallel(delayed(abs)(i) for i in range(3))


def test_a_context_of_multiprocessing_says_how_workers_start() -> None:
    import multiprocessing

    from jobspan.backends.multiprocessing import of_context

    def who() -> str:
        import multiprocessing

        return multiprocessing.current_process().name

    context = multiprocessing.get_context("spawn")
    with Parallel(2, of_context(context)) as parallel:
        assert parallel([delayed(who)()])[0].startswith("SpawnProcess")
    assert of_context(context) is of_context(multiprocessing.get_context("spawn"))


# What the environment says


@pytest.mark.parametrize("variable", ["JOBSPAN_CPU_COUNT", "LOKY_MAX_CPU_COUNT"])
def test_the_user_can_bound_the_cpus(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "1")
    assert host.cpu_count() == 1
    monkeypatch.setenv(variable, "many")
    with pytest.raises(ValueError, match=f"{variable}='many' in the environment is not a whole number"):
        host.cpu_count()


@pytest.mark.parametrize("variable", ["JOBSPAN_MULTIPROCESSING", "JOBLIB_MULTIPROCESSING"])
def test_the_user_can_forbid_processes(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "0")
    ask: Any = host.has_processes
    assert ask.__wrapped__() is False
    monkeypatch.setenv(variable, "1")
    assert ask.__wrapped__() is True
