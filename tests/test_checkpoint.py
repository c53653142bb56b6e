"""Runs that are taken up again: what was done is not done again, whatever ended the run, and nothing is made up."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobspan import Checkpoint, FallbackWarning, JobspanError, Parallel, TaskError, attempt, delayed, errors, host
from jobspan.cli import main
from jobspan.persist.hashing import digest
from jobspan.persist.journal import Journal, read_journal

Run = Callable[..., list[Any]]


def stamp(index: int) -> tuple[int, bytes]:
    """Another result each time it is run."""
    return index, os.urandom(8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.ckpt"


def test_what_is_done_is_not_done_again(backend: Any, run: Run, path: Path) -> None:
    first = run((delayed(stamp)(i) for i in range(30)), n_jobs=2, backend=backend, checkpoint=path)
    again = run((delayed(stamp)(i) for i in range(40)), n_jobs=2, backend=backend, checkpoint=str(path))
    assert again[:30] == first
    assert [index for index, _ in again] == list(range(40))


def test_the_rest_is_done_wherever_it_is(backend: Any, path: Path) -> None:
    done = Parallel(checkpoint=path)(delayed(stamp)(i) for i in (7, 2, 9, 3))
    calls = (delayed(stamp)(i) for i in range(12))
    results = Parallel(n_jobs=2, backend=backend, checkpoint=path)(calls)
    assert [index for index, _ in results] == list(range(12))
    assert set(done) <= set(results)


def test_unordered_results_come_from_a_checkpoint_too(backend: Any, path: Path) -> None:
    first = Parallel(checkpoint=path)(delayed(stamp)(i) for i in range(5))
    calls = [delayed(stamp)(i) for i in range(9)]
    results = Parallel(n_jobs=2, backend=backend, checkpoint=path, return_as="generator_unordered")(calls)
    found = sorted(results)
    assert found[:5] == first
    assert len(found) == 9


def test_tasks_that_are_the_same_are_as_many_tasks(path: Path) -> None:
    first = Parallel(checkpoint=path)(delayed(os.urandom)(8) for _ in range(100))
    assert len(set(first)) == 100
    again = Parallel(checkpoint=path)(delayed(os.urandom)(8) for _ in range(120))
    assert again[:100] == first
    assert len(set(again)) == 120


def test_other_arguments_and_other_code_are_other_tasks(path: Path) -> None:
    def first(x: int) -> str:
        return f"{x} at first"

    def second(x: int) -> str:
        return f"{x} later"

    second.__qualname__ = first.__qualname__  # as if it had been edited
    assert Parallel(checkpoint=path)([delayed(first)(1)]) == ["1 at first"]
    assert Parallel(checkpoint=path)([delayed(first)(2), delayed(second)(1)]) == ["2 at first", "1 later"]
    assert Parallel(checkpoint=path)([delayed(first)(x=1), delayed(first)(1)])[1] == "1 at first"


def test_a_position_can_be_what_a_task_is_known_by(path: Path) -> None:
    checkpoint = Checkpoint(path, by="index")
    first = Parallel(checkpoint=checkpoint)(delayed(stamp)(i) for i in range(3))
    lock = threading.Lock()
    assert Parallel(checkpoint=checkpoint)(delayed(id)(lock) for _ in range(3)) == first
    assert Checkpoint(path).results() == dict(enumerate(first))


def test_what_failed_is_tried_again(backend: Any, path: Path) -> None:
    results = Parallel(n_jobs=2, backend=backend, errors="return", checkpoint=path)(
        delayed(int)(text) for text in ("1", "x", "3")
    )
    assert [isinstance(each, TaskError) for each in results] == [False, True, False]
    assert sorted(Checkpoint(path).results()) == [0, 2]


def test_what_was_done_before_the_call_failed_is_kept(backend: Any, path: Path) -> None:
    def fail_once(index: int) -> tuple[int, bytes]:
        if index == 8:
            raise ValueError("bad luck")
        return stamp(index)

    with pytest.raises(ValueError, match="bad luck"):
        Parallel(n_jobs=2, backend=backend, checkpoint=path, batch_size=1)(delayed(fail_once)(i) for i in range(9))
    kept = Checkpoint(path).results()
    assert kept
    assert 8 not in kept


def test_a_plain_loop_with_a_checkpoint_is_told_of_as_any_run(path: Path) -> None:
    parallel = Parallel(checkpoint=path)
    assert parallel(delayed(abs)(-i) for i in range(3)) == [0, 1, 2]
    with pytest.raises(TypeError) as raised:
        parallel(delayed(abs)(i) for i in (0, -1, -2, -3, "x", 5))
    assert "task 4" in "".join(raised.value.__notes__)
    assert raised.value.partial == {0: 0, 1: 1, 2: 2, 3: 3}  # type: ignore[attr-defined]
    report = parallel.report()
    assert (report.known, report.done, report.failed) == (3, 1, 1)
    assert [stretch.first for stretch in report.stretches] == [3, 4]

    def broken() -> Iterator[Any]:
        yield delayed(abs)(-9)
        raise OSError("no more")

    with pytest.raises(OSError, match="no more") as ended:
        parallel(broken())
    assert ended.value.__notes__ == ["jobspan: raised by the input of tasks, after 1 of them"]
    assert parallel(delayed(abs)(i) for i in (-9, 7)) == [9, 7]
    assert parallel.report().known == 1


def test_retries_and_a_checkpoint_go_together(backend: Any, path: Path) -> None:
    def second_time() -> int:
        if attempt() == 1:
            raise OSError
        return attempt()

    for _ in range(2):
        calls = [delayed(second_time)()] * 3
        assert Parallel(n_jobs=2, backend=backend, retries=1, backoff=0, checkpoint=path)(calls) == [2] * 3


def test_results_can_be_read_while_the_run_goes_on(path: Path) -> None:
    results = Parallel(checkpoint=path, return_as="generator")(delayed(abs)(-i) for i in range(5))
    seen = [next(results), next(results), next(results)]
    assert seen == [0, 1, 2]
    found = Checkpoint(path).results()
    assert set(found.items()) <= {(0, 0), (1, 1), (2, 2)}
    assert found
    results.close()
    assert Checkpoint(path).results() == {0: 0, 1: 1, 2: 2}


@pytest.mark.skipif(host.in_pyodide(), reason="one process has it all to itself")
def test_two_runs_do_not_write_to_one_file(path: Path) -> None:
    results = Parallel(checkpoint=path, return_as="generator")(delayed(abs)(-i) for i in range(5))
    next(results)
    with pytest.raises(JobspanError, match="is in use by another run"):
        Parallel(checkpoint=path)([delayed(abs)(-1)])
    results.close()
    assert Parallel(checkpoint=path)([delayed(abs)(-1)]) == [1]


def test_another_file_is_refused_and_left_alone(path: Path) -> None:
    path.write_bytes(b"my thesis")
    with pytest.raises(JobspanError, match="is no checkpoint of jobspan's: it begins with b'my thesis'"):
        Parallel(checkpoint=path)([delayed(abs)(-1)])
    assert path.read_bytes() == b"my thesis"


def test_a_task_that_cannot_be_known_again_is_refused(path: Path) -> None:
    with pytest.raises(JobspanError, match=r"task 1, id\(.*by='index'"):
        Parallel(checkpoint=path)([delayed(stamp)(0), delayed(id)(threading.Lock())])


def test_a_result_that_cannot_be_kept_is_said(path: Path) -> None:
    errors._said.clear()
    with pytest.warns(FallbackWarning, match="the result of task 1 cannot be pickled"):
        results = Parallel(checkpoint=path)([delayed(abs)(-1), delayed(threading.Lock)(), delayed(abs)(-2)])
    assert (results[0], results[2]) == (1, 2)
    assert sorted(Checkpoint(path).results()) == [0, 2]


def test_a_place_that_does_not_exist_is_told_before_anything_runs(tmp_path: Path) -> None:
    ran: list[int] = []
    with pytest.raises(FileNotFoundError):
        Parallel(checkpoint=tmp_path / "nowhere" / "run.ckpt")([delayed(ran.append)(1)])
    assert ran == []


def test_what_is_no_path_is_refused() -> None:
    with pytest.raises(TypeError, match="checkpoint=3 is no path"):
        Parallel(checkpoint=3)
    with pytest.raises(ValueError, match="by='name' is none of 'content', 'index'"):
        Parallel(checkpoint=Checkpoint("x", by="name"))


# --- the journal ------------------------------------------------------------------------------------------------------


def key(number: int) -> tuple[bytes, int]:
    return digest(number), number


def write(path: Path, count: int) -> bytes:
    journal = Journal(path)
    for number in range(count):
        journal.append([(key(number), number, b"result %d" % number)])
    journal.close()
    return path.read_bytes()


def test_a_journal_that_is_cut_at_any_byte_keeps_what_was_whole_and_goes_on(path: Path) -> None:
    whole = write(path, 4)
    ends = [record.end for record, _ in read_journal(path)]
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        kept = sum(end <= length for end in ends)
        journal = Journal(path)
        assert len(journal) == kept
        assert [journal.read(key(number)) for number in range(kept)] == [b"result %d" % n for n in range(kept)]
        journal.append([(key(9), 9, b"later")])
        journal.close()
        assert [data for _, data in read_journal(path)] == [*(b"result %d" % n for n in range(kept)), b"later"]


def test_damage_costs_what_is_damaged(path: Path) -> None:
    whole = write(path, 4)
    records = [record for record, _ in read_journal(path)]
    for position in range(records[0].end, records[1].end):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        journal = Journal(path)
        found = {number: journal.read(key(number)) for number in range(4) if key(number) in journal}
        journal.close()
        assert all(data == b"result %d" % number for number, data in found.items())
        assert len(found) >= 3


def test_results_of_any_bytes_are_whole(path: Path) -> None:
    chance = random.Random(5)
    results = [chance.randbytes(chance.randrange(200)) + b"\xf1JOB" * chance.randrange(3) for _ in range(50)]
    journal = Journal(path)
    journal.append([(key(number), number, data) for number, data in enumerate(results)])
    journal.close()
    assert [data for _, data in read_journal(path)] == results


needs_fork = pytest.mark.skipif(not hasattr(os, "fork") or host.in_pyodide(), reason="there is no fork here")


def run_script(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


@needs_fork
def test_a_driver_that_is_killed_a_hundred_times_loses_nothing_that_was_written(path: Path) -> None:
    done = run_script(
        """
        import os, random, signal, sys, time
        from jobspan import Checkpoint, Parallel, delayed, hash

        path, chance = sys.argv[1], random.Random(7)

        def task(i):
            time.sleep(0.0005)
            return i, os.urandom(4)

        def drive():
            Parallel(checkpoint=path)(delayed(task)(i) for i in range(3000))

        hash(task)  # here, once: the children shall not be killed while they import and parse
        known, kills = {}, 0
        while kills < 100:
            child = os.fork()
            if child == 0:
                drive()
                os._exit(0)
            time.sleep(chance.random() * 0.04)
            os.kill(child, signal.SIGKILL)
            kills += os.waitpid(child, 0)[1] == signal.SIGKILL
            if os.path.exists(path):
                now = Checkpoint(path).results()
                assert known.items() <= now.items(), "something is lost or changed"
                assert all(value[0] == index for index, value in now.items())
                known = now
        print(len(known) > 500)
        """,
        str(path),
    )
    assert (done.stdout.strip(), done.returncode) == ("True", 0), done.stderr


@needs_fork
def test_a_full_disk_costs_the_checkpoint_and_not_the_run(path: Path) -> None:
    done = run_script(
        """
        import resource, signal, sys, warnings
        from jobspan import Checkpoint, Parallel, delayed

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert Parallel(checkpoint=sys.argv[1])(delayed(abs)(-i) for i in range(300)) == list(range(300))
        (said,) = caught
        print("cannot be written" in str(said.message), Checkpoint(sys.argv[1]).results().items() <= dict(
            zip(range(300), range(300))).items())
        """,
        str(path),
    )
    assert (done.stdout.strip(), done.returncode) == ("True True", 0), done.stderr


def can_mount() -> bool:
    """Whether this user may mount a file system for a process of its own."""
    command = ["unshare", "-rm", "sh", "-c", "mount -t tmpfs -o size=64k tmpfs /mnt"]
    return (
        shutil.which("unshare") is not None and not subprocess.run(command, check=False, capture_output=True).returncode
    )


@needs_fork
def test_a_full_file_system_costs_the_checkpoint_and_not_the_run(tmp_path: Path) -> None:
    if not can_mount():
        pytest.skip("no small file system can be mounted here")
    script = """
        import os, sys, warnings
        from jobspan import Checkpoint, Parallel, delayed

        path = os.path.join(sys.argv[1], "run.ckpt")
        def call():
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                results = Parallel(2, "threads", checkpoint=path)(delayed(bytes)(999) for i in range(300))
            assert results == [bytes(999)] * 300
            return [str(each.message) for each in caught]
        (said,) = call()
        assert "cannot be written" in said and "No space left" in said, said
        kept = Checkpoint(path).results()
        assert 20 < len(kept) < 66 and set(kept.values()) == {bytes(999)}, len(kept)
        call()
        print("survived")
    """
    mount = 'mount -t tmpfs -o size=64k tmpfs "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "-rm", "sh", "-c", mount, "sh", str(tmp_path), sys.executable, textwrap.dedent(script)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.returncode) == ("survived", 0), done.stderr


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_shows_what_is_there(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Parallel(checkpoint=path)(delayed(abs)(-i) for i in range(4))
    assert main(["ckpt", "show", str(path)]) == 0
    out = capsys.readouterr().out
    assert "4 results" in out
    assert "tasks 0 to 3" in out
    assert main(["ckpt", "show", "--results", str(path)]) == 0
    assert "3  3" in capsys.readouterr().out


def test_the_command_says_what_is_wrong(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ckpt", "show", str(path)]) == 1
    assert "run.ckpt" in capsys.readouterr().err
