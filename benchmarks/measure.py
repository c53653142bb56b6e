"""Repetitions and their statistics: contestants take turns, each in a process of its own.

A contestant never shares an interpreter with another, so what one imports or leaves behind (numpy's
threads, a larger heap) cannot slow the other down. Round by round everybody runs once, so that a noisy
minute hits all alike.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

HERE = Path(__file__).resolve().parent
ANSWER_WITHIN_S = 300.0

Reading = Mapping[str, float]


class ContestantFailedError(RuntimeError):
    """A contestant ended or raised where a reading was expected; the message holds its standard error."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Repetitions of one figure, in the order of the rounds."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """Return the middle value."""
        return statistics.median(self.values)

    @property
    def quartiles(self) -> tuple[float, float]:
        """Return the first and the third quartile."""
        if len(self.values) == 1:
            return self.values[0], self.values[0]
        low, _, high = statistics.quantiles(self.values, n=4, method="inclusive")
        return low, high

    def minus(self, other: "Sample") -> "Sample":
        """Subtract round by round: what both had in common in that minute goes away."""
        return Sample(tuple(a - b for a, b in zip(self.values, other.values, strict=True)))


def environment() -> dict[str, str]:
    """Return the environment of every contestant: byte code is cached, as it is for an installed package."""
    kept = {k: v for k, v in os.environ.items() if k not in {"PYTHONDONTWRITEBYTECODE", "PYTHONPROFILEIMPORTTIME"}}
    return kept | {"PYTHONHASHSEED": "0"}


def _end(process: subprocess.Popen[str], grace_s: float) -> None:
    """Wait for a contestant, then end its process group, of which it is the leader."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(grace_s)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str], IO[str]]:
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise ValueError("the process was started without its three pipes")
    return process.stdin, process.stdout, process.stderr


class Warm:
    """One contestant that stays alive between rounds: `ask(n)` runs repetition `n` there."""

    def __init__(self, workload: str, **options: object) -> None:
        """Start the interpreter; the workload (`module:function`) is built at the first `ask`."""
        self.workload = workload
        command = [sys.executable, str(HERE / "contestant.py"), workload, json.dumps(options)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=environment(), start_new_session=True,
        )  # fmt: skip
        self._questions, self._answers, self._warnings = _pipes(self._process)
        self._complaints: list[str] = []
        # Read on the side: a contestant that warns a lot must not block on a full pipe.
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        self._complaints.extend(self._warnings)

    def ask(self, number: int) -> Reading:
        """Run repetition `number` and return its reading; a contestant that takes five minutes is ended."""
        alarm = threading.Timer(ANSWER_WITHIN_S, os.killpg, (self._process.pid, signal.SIGKILL))
        alarm.start()
        try:
            self._questions.write(f"{number}\n")
            self._questions.flush()
            answer = self._answers.readline()
        except BrokenPipeError:
            answer = ""
        finally:
            alarm.cancel()
        if not answer:
            _end(self._process, 1.0)
            self._listener.join(1.0)
            raise ContestantFailedError(f"{self.workload}: {''.join(self._complaints)[-1500:]}")
        reading: dict[str, float] = json.loads(answer)
        return reading

    def __enter__(self) -> Self:
        """Return the contestant, running."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End its input, give it time to leave, and end what is left of its process group."""
        with suppress(BrokenPipeError):
            self._questions.close()
        _end(self._process, 15.0)


def cold(arguments: Sequence[str]) -> Reading:
    """Run a fresh interpreter and time it from outside.

    Returns `first_ms`: from the start to its first line of output; `exit_ms`: from there to the end of its
    process; `gone_ms`: from there until no process holds its standard output any more, so until its workers
    are gone too; `cpu_ms`: CPU time of the process and of the children it waited for.
    """
    read_end, write_end = os.pipe()
    first = gone = 0.0

    def read() -> None:
        nonlocal first, gone
        os.read(read_end, 4096)
        first = time.perf_counter()
        while os.read(read_end, 4096):
            pass
        gone = time.perf_counter()

    with tempfile.TemporaryFile("w+") as complaints:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *arguments], stdout=write_end, stderr=complaints, text=True, env=environment(),
            start_new_session=True,
        )  # fmt: skip
        os.close(write_end)
        reader = threading.Thread(target=read)
        reader.start()
        alarm = threading.Timer(ANSWER_WITHIN_S, os.killpg, (process.pid, signal.SIGKILL))
        alarm.start()
        # Not `process.wait`: only the system call tells what CPU time the process and its children took.
        _, status, usage = os.wait4(process.pid, 0)
        exited = time.perf_counter()
        alarm.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        reader.join(10.0)
        stayed = reader.is_alive()
        if stayed:
            os.killpg(process.pid, signal.SIGKILL)
            reader.join()
        os.close(read_end)
        complaints.seek(0)
        if process.returncode:
            raise ContestantFailedError(f"{arguments}: {complaints.read()[-1500:]}")
        if stayed:
            raise ContestantFailedError(f"{arguments}: a process of it was still there 10 s after its end")
    return {
        "first_ms": (first - start) * 1e3,
        "exit_ms": (exited - first) * 1e3,
        "gone_ms": (gone - first) * 1e3,
        "cpu_ms": (usage.ru_utime + usage.ru_stime) * 1e3,
    }


def take_turns(contestants: Mapping[str, Callable[[int], Reading]], rounds: int) -> dict[str, dict[str, Sample]]:
    """Run every contestant once per round and return contestant -> figure -> sample.

    The first round is thrown away: it starts workers and writes byte code. Who begins changes from round to
    round.
    """
    names = list(contestants)
    readings: dict[str, list[Reading]] = {name: [] for name in names}
    for number in range(rounds + 1):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            reading = contestants[name](number)
            if number:
                readings[name].append(reading)
    return {
        name: {figure: Sample(tuple(r[figure] for r in taken)) for figure in taken[0]}
        for name, taken in readings.items()
    }
