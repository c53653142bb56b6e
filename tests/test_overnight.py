"""The example that this is all for, with a driver that is killed twice."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobspan import host

if not host.has_processes():
    pytest.skip("starts interpreters; there are no processes here", allow_module_level=True)

from jobspan.persist.journal import read_journal

SCRIPT = Path(__file__).parents[1] / "docs" / "examples" / "overnight.py"
COUNT = 10_000


def expected() -> tuple[int, float, dict[str, list[int]]]:
    bad = {
        "ValueError": [i for i in range(COUNT) if i % 1000 == 17],
        "TaskTimeout": [i for i in range(COUNT) if i % 2500 == 33],
        "WorkerLost": [i for i in range(COUNT) if i % 3000 == 51],
    }
    unlucky = {index for indices in bad.values() for index in indices}
    good = [index**0.5 for index in range(COUNT) if index not in unlucky]
    return len(good), sum(good), bad


def test_a_night_with_everything_that_can_go_wrong(tmp_path: Path) -> None:
    path = tmp_path / "overnight.ckpt"
    command = [sys.executable, str(SCRIPT), str(path)]
    for least in (500, 4000):
        driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not path.exists() or len(list(read_journal(path))) < least:
            assert time.monotonic() < deadline, "the run makes no progress"
            assert driver.poll() is None, "it is over before it was killed"
            time.sleep(0.02)
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    kept = {record.index for record, _ in read_journal(path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    count, total, bad = expected()
    assert f"{count} results, their sum {total:.3f}" in done.stdout
    for kind, indices in bad.items():
        assert f"{len(indices)} x {kind}" in done.stdout
        for index in indices:
            assert re.search(rf"task {index}: weigh\({index}\).*", done.stdout), index
    now = list(read_journal(path))
    assert len(now) == count  # each once: what was kept is not run again
    assert kept <= {record.index for record, _ in now}
