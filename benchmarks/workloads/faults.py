"""Workers that die: when the caller hears of it, and what a run costs that goes on.

The clock is the same for all processes of a machine, so the task tells when it ended its worker.
"""

import os
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from workloads.library import load

DEATHS, TASKS, TASK_S = 4, 80, 0.01


def end_worker(note: str) -> None:
    """Tell when, and end this process as the system would."""
    time.sleep(0.02)  # the others have begun
    Path(note).write_text(str(time.time()))
    os.kill(os.getpid(), signal.SIGKILL)


def killed(library: str, n_jobs: int) -> Callable[[int], dict[str, float]]:
    """Return `told_ms`, from the end of a worker to the caller's `except`."""
    module, name = load(library, "loky")

    def repeat(_: int) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            note = os.path.join(folder, "when")
            try:
                module.Parallel(n_jobs=n_jobs, backend=name)(
                    module.delayed(end_worker)(note) if i == 1 else module.delayed(time.sleep)(0.5) for i in range(2)
                )
            except Exception:  # noqa: BLE001  each library has a name of its own for it
                return {"told_ms": (time.time() - float(Path(note).read_text())) * 1e3}
        raise AssertionError("nobody was told of the dead worker")

    return repeat


def end_or_sleep(index: int) -> int:
    """Sleep, or end this process."""
    time.sleep(TASK_S)  # the work of the task
    if index % (TASKS // DEATHS) == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return index


def survived(n_jobs: int) -> Callable[[int], dict[str, float]]:
    """Run on through four deaths: `death_ms` is what each of them costs, beside the same run without any."""
    from jobspan import Parallel, delayed

    guarded = Parallel(n_jobs=n_jobs, backend="loky", errors="skip")

    def timed(calls: object) -> float:
        begun = time.perf_counter()
        guarded(calls)
        return time.perf_counter() - begun

    def repeat(_: int) -> dict[str, float]:
        timed(delayed(abs)(i) for i in range(n_jobs))
        calm = timed(delayed(time.sleep)(TASK_S) for _ in range(TASKS))
        stormy = timed(delayed(end_or_sleep)(i) for i in range(TASKS))
        return {"calm_ms": calm * 1e3, "death_ms": (stormy - calm) / DEATHS * 1e3}

    return repeat
