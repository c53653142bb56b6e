"""What tasks print and log in other processes reaches the caller's streams and handlers."""

from __future__ import annotations

import io
import logging
import os
import socket
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import Executor
from contextlib import redirect_stderr, redirect_stdout
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from jobspan import Parallel, WorkerLost, delayed, host

needs_processes = pytest.mark.skipif(not host.has_processes(), reason="there are no processes here")
pytestmark = needs_processes

BACKENDS = ["loky", "multiprocessing", "ProcessPoolExecutor"]
PATIENCE_S = 60
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs fork, or /proc")


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, executors: dict[str, Executor]) -> Any:
    """All that run tasks in processes of this machine; the executor's are spawned."""
    return executors.get(request.param, request.param)


def lines(text: str) -> list[str]:
    """The lines, in an order that does not depend on which worker was quicker."""
    return sorted(text.splitlines())


def run_script(script: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script as a user would, from a file of its own."""
    file = folder / "script.py"
    file.write_text(textwrap.dedent(script))
    return subprocess.run(
        [sys.executable, str(file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
        env={**os.environ, **environment},
    )


# What is printed


def test_what_tasks_print_is_written_where_the_call_was_made(backend: Any) -> None:
    def task(i: int) -> None:
        print("to stdout", i)
        print("to stderr", i, file=sys.stderr)

    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        Parallel(n_jobs=2, backend=backend)(delayed(task)(i) for i in range(6))
    assert lines(out.getvalue()) == [f"to stdout {i}" for i in range(6)]
    assert lines(err.getvalue()) == [f"to stderr {i}" for i in range(6)]


def test_one_stream_may_be_redirected_and_the_other_not(backend: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def task() -> None:
        print("here")
        print("there", file=sys.stderr)

    out = io.StringIO()
    with redirect_stdout(out):
        Parallel(n_jobs=2, backend=backend)([delayed(task)()])
    assert out.getvalue() == "here\n"
    assert capsys.readouterr() == ("", "there\n")


def test_each_call_decides_anew(backend: Any) -> None:
    parallel = Parallel(n_jobs=2, backend=backend)
    streams = [io.StringIO() for _ in range(3)]
    for number, stream in enumerate(streams):
        with redirect_stdout(stream):
            parallel([delayed(print)(number)])
    assert [stream.getvalue() for stream in streams] == ["0\n", "1\n", "2\n"]


def test_capsys_sees_what_tasks_print(backend: Any, capsys: pytest.CaptureFixture[str]) -> None:
    Parallel(n_jobs=2, backend=backend)(delayed(print)(i) for i in range(4))
    assert lines(capsys.readouterr().out) == ["0", "1", "2", "3"]


def test_capfd_sees_what_tasks_print_on_workers_that_are_older_than_it(
    backend: Any, request: pytest.FixtureRequest
) -> None:
    Parallel(n_jobs=2, backend=backend)(delayed(abs)(i) for i in range(4))
    capfd = request.getfixturevalue("capfd")
    Parallel(n_jobs=2, backend=backend)(delayed(print)(i) for i in range(4))
    assert lines(capfd.readouterr().out) == ["0", "1", "2", "3"]


def test_all_of_it_has_come_when_the_call_returns(backend: Any) -> None:
    def task(i: int) -> None:
        print(str(i) * 300_000)

    for _ in range(3):
        out = io.StringIO()
        with redirect_stdout(out):
            Parallel(n_jobs=2, backend=backend)(delayed(task)(i) for i in range(8))
        assert lines(out.getvalue()) == [str(i) * 300_000 for i in range(8)]


def test_it_comes_while_the_task_goes_on(backend: Any, tmp_path: Path) -> None:
    seen = tmp_path / "seen"

    class Seeing(io.StringIO):
        def write(self, text: str) -> int:
            seen.touch()
            return super().write(text)

    def task() -> bool:
        import time

        print("are you there?")
        for _ in range(3000):
            if seen.exists():
                return True
            time.sleep(0.01)
        return False

    with redirect_stdout(Seeing()):
        assert Parallel(n_jobs=2, backend=backend)([delayed(task)()]) == [True]


def test_what_one_worker_prints_stays_in_order(backend: Any) -> None:
    def task() -> None:
        import itertools

        count = sys.__dict__.setdefault("_of_test_relay", itertools.count())
        for _ in range(20):
            print(os.getpid(), next(count))

    out = io.StringIO()
    with redirect_stdout(out):
        Parallel(n_jobs=2, backend=backend)(delayed(task)() for _ in range(40))
    of_worker: dict[str, list[int]] = {}
    for line in out.getvalue().splitlines():
        pid, number = line.split()
        of_worker.setdefault(pid, []).append(int(number))
    for numbers in of_worker.values():
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert sum(map(len, of_worker.values())) == 800


@pytest.mark.parametrize("name", ["loky", "multiprocessing"])
def test_what_was_printed_before_a_crash_is_there(name: str) -> None:
    def task() -> None:
        print("last words")
        print("last error", file=sys.stderr)
        os._exit(3)

    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(WorkerLost):
        Parallel(n_jobs=2, backend=name)([delayed(task)()])
    assert out.getvalue() == "last words\n"
    assert err.getvalue().startswith("last error\n")


def test_what_was_printed_before_a_task_failed_is_there(backend: Any) -> None:
    def task() -> None:
        print("on the way", end="")
        raise LookupError("lost")

    out = io.StringIO()
    with redirect_stdout(out), pytest.raises(LookupError):
        Parallel(n_jobs=2, backend=backend)([delayed(task)()])
    assert out.getvalue() == "on the way"


def test_what_stands_on_an_unfinished_line_comes_too_and_any_character(backend: Any) -> None:
    out = io.StringIO()
    with redirect_stdout(out):
        Parallel(n_jobs=2, backend=backend)([delayed(print)("naïve ☃ \udc80", end="")])
    assert out.getvalue() == "naïve ☃ \\udc80"


def test_generators_write_where_they_were_made(backend: Any) -> None:
    parallel = Parallel(n_jobs=2, backend=backend, return_as="generator")
    first, second, later = io.StringIO(), io.StringIO(), io.StringIO()
    with redirect_stdout(first):
        one = parallel(delayed(print)("one") for _ in range(3))
    with redirect_stdout(second):
        two = parallel(delayed(print)("two") for _ in range(3))
    with redirect_stdout(later):
        assert [*one, *two] == [None] * 6
    assert (first.getvalue(), second.getvalue(), later.getvalue()) == ("one\n" * 3, "two\n" * 3, "")


def test_calls_of_several_threads_write_each_to_its_own_stream(backend: Any) -> None:
    """As in a notebook, whose stream asks the context which cell is printing."""
    cell: ContextVar[io.StringIO] = ContextVar("cell")

    class Notebook(io.TextIOBase):
        def write(self, text: str) -> int:
            return cell.get().write(text)

    cells = [io.StringIO() for _ in range(4)]

    def call(number: int) -> None:
        cell.set(cells[number])
        Parallel(n_jobs=2, backend=backend)(delayed(print)(number) for _ in range(10))

    with redirect_stdout(Notebook()):
        threads = [threading.Thread(target=call, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
    assert [each.getvalue() for each in cells] == [f"{number}\n" * 10 for number in range(4)]


def test_what_nested_calls_print_comes_all_the_way(backend: Any) -> None:
    def outer(i: int) -> None:
        print("outer", i)
        Parallel(n_jobs=2, backend="loky")(delayed(print)("inner", i, j) for j in range(2))

    out = io.StringIO()
    with redirect_stdout(out):
        Parallel(n_jobs=2, backend=backend)(delayed(outer)(i) for i in range(2))
    assert lines(out.getvalue()) == sorted(
        [f"outer {i}" for i in range(2)] + [f"inner {i} {j}" for i in range(2) for j in range(2)]
    )


def test_a_task_may_redirect_its_own_output(backend: Any) -> None:
    def task() -> str:
        inside = io.StringIO()
        with redirect_stdout(inside):
            print("kept")
        print("sent")
        return inside.getvalue()

    out = io.StringIO()
    with redirect_stdout(out):
        assert Parallel(n_jobs=2, backend=backend)([delayed(task)()]) == ["kept\n"]
    assert out.getvalue() == "sent\n"


def test_a_stream_that_cannot_be_written_to_does_no_harm(backend: Any) -> None:
    class Broken(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError("no room")

    with redirect_stdout(Broken()):
        assert Parallel(n_jobs=2, backend=backend)(delayed(print)(i) for i in range(3)) == [None] * 3


# A prefix on request


@pytest.mark.parametrize(("said", "begin"), [("1", "[process {pid}] "), ("w{pid}| ", "w{pid}| "), ("0", "")])
def test_lines_begin_with_their_worker_on_request(
    backend: Any, said: str, begin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBSPAN_PREFIX_OUTPUT", said)

    def task() -> int:
        print("one ", end="")
        print("line\nand another")
        return os.getpid()

    out = io.StringIO()
    with redirect_stdout(out):
        pid = Parallel(n_jobs=2, backend=backend)([delayed(task)()])[0]
    mark = begin.replace("{pid}", str(pid))
    assert out.getvalue() == f"{mark}one line\n{mark}and another\n"


# What is logged


def test_log_records_reach_the_handlers_of_the_caller_once(backend: Any, caplog: pytest.LogCaptureFixture) -> None:
    def task(i: int) -> int:
        import logging

        logging.getLogger("of_test.relay").warning("task %d says %s", i, "hello", extra={"colour": "red"})
        return os.getpid()

    pids = set(Parallel(n_jobs=2, backend=backend)(delayed(task)(i) for i in range(4)))
    records = sorted(caplog.records, key=lambda record: record.getMessage())
    assert [record.getMessage() for record in records] == [f"task {i} says hello" for i in range(4)]
    assert {(record.name, record.levelname, record.funcName) for record in records} == {
        ("of_test.relay", "WARNING", "task")
    }
    assert {record.process for record in records} == pids
    assert {vars(record)["colour"] for record in records} == {"red"}


def test_levels_of_the_caller_hold_in_the_workers_and_only_for_the_call(
    backend: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def task() -> bool:
        import logging

        logger = logging.getLogger("of_test.relay")
        logger.debug("too fine")
        logger.info("fine")
        logger.error("bad")
        return logger.isEnabledFor(logging.INFO)

    with caplog.at_level(logging.INFO, logger="of_test.relay"):
        assert Parallel(n_jobs=2, backend=backend)([delayed(task)()] * 2) == [True, True]
    assert sorted(record.getMessage() for record in caplog.records) == ["bad", "bad", "fine", "fine"]
    caplog.clear()
    assert Parallel(n_jobs=2, backend=backend)([delayed(task)()] * 2) == [False, False]
    assert [record.getMessage() for record in caplog.records] == ["bad", "bad"]


def test_handlers_get_what_their_logger_and_level_let_through(backend: Any, caplog: pytest.LogCaptureFixture) -> None:
    def task() -> None:
        import logging

        logging.getLogger("of_test.alone.child").error("to both")
        logging.getLogger("of_test.alone").warning("to the one")
        logging.getLogger("of_test.other").error("elsewhere")

    all_of_it, bad = io.StringIO(), io.StringIO()
    strict = logging.StreamHandler(bad)
    strict.setLevel(logging.ERROR)
    logger = logging.getLogger("of_test.alone")
    handlers = [logging.StreamHandler(all_of_it), strict]
    logger.propagate = False
    for handler in handlers:
        logger.addHandler(handler)
    try:
        Parallel(n_jobs=2, backend=backend)([delayed(task)()])
    finally:
        logger.propagate = True
        for handler in handlers:
            logger.removeHandler(handler)
    assert all_of_it.getvalue() == "to both\nto the one\n"
    assert bad.getvalue() == "to both\n"
    assert "elsewhere" in caplog.messages


def test_an_exception_that_is_logged_keeps_its_traceback(backend: Any, caplog: pytest.LogCaptureFixture) -> None:
    def task() -> None:
        import logging

        try:
            raise LookupError("not there")
        except LookupError:
            logging.getLogger("of_test.relay").exception("while looking")

    Parallel(n_jobs=2, backend=backend)([delayed(task)()])
    assert "while looking" in caplog.text
    assert "in task" in caplog.text
    assert "LookupError: not there" in caplog.text


def test_extra_attributes_that_cannot_travel_come_as_text(backend: Any, caplog: pytest.LogCaptureFixture) -> None:
    def task() -> None:
        import logging

        logging.getLogger("of_test.relay").warning("locked", extra={"lock": threading.Lock(), "size": 3})

    Parallel(n_jobs=2, backend=backend)([delayed(task)()])
    (record,) = caplog.records
    assert "lock object" in vars(record)["lock"]
    assert vars(record)["size"] == 3


def test_a_handler_that_a_task_sets_up_is_served_beside_those_of_the_caller(
    backend: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    path = str(tmp_path / "of_the_task.log")

    def task() -> None:
        import logging

        logger = logging.getLogger("of_test.own")
        handler = logging.FileHandler(path)
        logger.addHandler(handler)
        logger.error("once each")
        logger.removeHandler(handler)
        handler.close()

    Parallel(n_jobs=2, backend=backend)([delayed(task)()])
    assert Path(path).read_text() == "once each\n"
    assert caplog.messages == ["once each"]


def test_a_handler_that_fails_does_not_fail_the_task(backend: Any) -> None:
    class Failing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError(f"cannot take {record.msg}")

    def task() -> str:
        import logging

        logging.getLogger("of_test.failing").error("this")
        return "done"

    handler = Failing()
    logging.getLogger("of_test.failing").addHandler(handler)
    err = io.StringIO()
    try:
        with redirect_stderr(err):
            assert Parallel(n_jobs=2, backend=backend)([delayed(task)()]) == ["done"]
    finally:
        logging.getLogger("of_test.failing").removeHandler(handler)
    assert "cannot take this" in err.getvalue()


# Whole processes


def test_ordinary_streams_are_left_alone_and_nothing_is_opened_for_them(tmp_path: Path) -> None:
    done = run_script(
        """
        import sys, threading
        from jobspan import Parallel, delayed
        if __name__ == "__main__":
            for number in range(2):
                Parallel(n_jobs=2, backend="loky")([delayed(print)("task", number, flush=True)])
            assert "jobspan.backends.hub" not in sys.modules
            assert not any(thread.name == "jobspan-relay" for thread in threading.enumerate())
        """,
        tmp_path,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout == "task 0\ntask 1\n"


def test_workers_print_again_where_they_used_to_after_a_call_that_was_redirected(tmp_path: Path) -> None:
    done = run_script(
        """
        import io
        from contextlib import redirect_stdout
        from jobspan import Parallel, delayed
        if __name__ == "__main__":
            for backend in ("multiprocessing", "loky"):
                with redirect_stdout(io.StringIO()) as out:
                    Parallel(n_jobs=2, backend=backend)([delayed(print)("first")])
                assert out.getvalue() == "first\\n"
                Parallel(n_jobs=2, backend=backend)([delayed(print)("second", flush=True)])
                assert out.getvalue() == "first\\n"
        """,
        tmp_path,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("second\nsecond\n", "", 0)


def test_records_of_plain_scripts_are_formatted_as_the_script_says(tmp_path: Path) -> None:
    done = run_script(
        """
        import logging
        from jobspan import Parallel, delayed

        def task(i):
            logging.getLogger("lib").info("task %d", i)
            logging.getLogger("lib").debug("unheard")

        if __name__ == "__main__":
            logging.basicConfig(level=logging.INFO, format="%(name)s/%(levelname)s/%(message)s")
            Parallel(n_jobs=2, backend="loky")(delayed(task)(i) for i in range(2))
        """,
        tmp_path,
    )
    assert lines(done.stderr) == ["lib/INFO/task 0", "lib/INFO/task 1"]


@LINUX
@pytest.mark.skipif(not host.is_gil_enabled(), reason="a fork may copy the lock of a dict that another thread holds")
def test_parent_and_child_of_a_fork_each_get_their_own(tmp_path: Path) -> None:
    done = run_script(
        """
        import io, os, warnings
        from contextlib import redirect_stdout
        from jobspan import Parallel, delayed

        warnings.filterwarnings("ignore", category=DeprecationWarning)  # of os.fork, where there are threads

        def printed(what):
            with redirect_stdout(io.StringIO()) as out:
                Parallel(n_jobs=2, backend="loky")(delayed(print)(what) for _ in range(3))
            return out.getvalue()

        if __name__ == "__main__":
            assert printed("parent") == "parent\\n" * 3
            child = os.fork()
            if child == 0:
                os._exit(0 if printed("child") == "child\\n" * 3 else 1)
            assert printed("again") == "again\\n" * 3
            assert os.waitpid(child, 0)[1] == 0
        """,
        tmp_path,
    )
    # A fork that ends by os._exit leaves its pools to loky's tracker, which tells of it.
    assert (done.stdout, done.returncode) == ("", 0), done.stderr


@LINUX
def test_nothing_is_left_once_the_workers_have_gone(tmp_path: Path) -> None:
    done = run_script(
        """
        import io, multiprocessing, os, threading, time
        from concurrent.futures import ProcessPoolExecutor
        from contextlib import redirect_stdout
        from jobspan import Parallel, delayed
        from jobspan.backends import hub

        def call():
            with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
                with redirect_stdout(io.StringIO()) as out:
                    Parallel(n_jobs=2, backend=executor)(delayed(print)(i) for i in range(4))
            assert len(out.getvalue()) == 8
            while any(thread.name == "jobspan-relay" for thread in threading.enumerate()):
                time.sleep(0.01)
            return len(os.listdir("/proc/self/fd")), threading.active_count()

        if __name__ == "__main__":
            hub._IDLE_S = 0.05
            first = call()
            assert [call() for _ in range(3)] == [first] * 3
        """,
        tmp_path,
        TMPDIR=str(tmp_path),
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    assert os.listdir(tmp_path) == ["script.py"]


@pytest.mark.parametrize("ending", ["", "raise SystemExit", "import os; os.kill(os.getpid(), 9)"])
def test_a_process_ends_quietly_and_leaves_no_socket(ending: str, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    done = run_script(
        f"""
        import io
        from contextlib import redirect_stdout
        from jobspan import Parallel, delayed
        if __name__ == "__main__":
            with redirect_stdout(io.StringIO()) as out:
                Parallel(n_jobs=2, backend="loky")(delayed(print)(i) for i in range(4))
            assert len(out.getvalue()) == 8
            {ending}
        """,
        tmp_path,
        TMPDIR=str(scratch),
    )
    if "kill" not in ending:  # after which loky cleans up, not without a word
        assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    assert not list(scratch.glob("**/jobspan-*"))


# The channel itself


def test_a_machine_without_sockets_is_told_of_once_and_tasks_run(tmp_path: Path) -> None:
    done = run_script(
        """
        import io, socket, warnings
        from contextlib import redirect_stdout
        from jobspan import FallbackWarning, Parallel, delayed
        from jobspan.backends import hub

        def refuse(*_):
            raise OSError("not allowed")

        if __name__ == "__main__":
            hub._listen = refuse
            with warnings.catch_warnings(record=True) as said, redirect_stdout(io.StringIO()) as out:
                warnings.simplefilter("always")
                for _ in range(2):
                    Parallel(n_jobs=2, backend="loky")([delayed(print)("as ever")])
            assert [each.category for each in said] == [FallbackWarning]
            assert "not allowed" in str(said[0].message)
            assert out.getvalue() == ""
        """,
        tmp_path,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("as ever\nas ever\n", "", 0)


def test_who_does_not_know_the_key_is_not_heard() -> None:
    from jobspan.backends import hub
    from jobspan.worker.relay import HEADER_BYTES, KEY_BYTES, NUMBER_BYTES, STDOUT

    out = io.StringIO()
    with redirect_stdout(out):
        relay = hub.open_route()
    frame = STDOUT + relay.route.to_bytes(NUMBER_BYTES, "big") + (4).to_bytes(NUMBER_BYTES, "big") + b"text"
    assert len(frame) == HEADER_BYTES + 4
    family = socket.AF_UNIX if isinstance(relay.address, str) else socket.AF_INET
    with socket.socket(family) as stranger, socket.socket(family) as worker:
        stranger.connect(relay.address)
        stranger.sendall(b"?" * KEY_BYTES + frame)
        worker.connect(relay.address)
        worker.sendall(relay.key + frame)
        found = hub.find_hub()
        assert found is not None
        found.close_route(relay.route)
    assert out.getvalue() == "text"
