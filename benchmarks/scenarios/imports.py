"""CPU time and modules of an import, and of an import with one sequential run, in fresh interpreters."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator

from measure import HERE, ContestantFailedError, Reading, cold, environment, take_turns
from rows import Effort, Row, Scenario, at_most

FORBIDDEN = ("numpy", "multiprocessing", "asyncio", "loky", "cloudpickle")
FIRST_RUN = "from {0} import Parallel, delayed; Parallel(n_jobs=1)([delayed(abs)(-1)])"
MODULES = "import json, sys; before = set(sys.modules)\n{0}\nprint(json.dumps(sorted(set(sys.modules) - before)))"


def _new_modules(code: str) -> list[str]:
    command = [sys.executable, "-c", MODULES.format(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(), cwd=HERE)
    if done.returncode:
        raise ContestantFailedError(f"{code}: {done.stderr[-1500:]}")
    names: list[str] = json.loads(done.stdout)
    return names


def _note(library: str) -> str:
    counts = []
    for what, code in (("import", f"import {library}"), ("with a sequential run", FIRST_RUN.format(library))):
        names = _new_modules(code)
        forbidden = [name for name in FORBIDDEN if name in names]
        counts.append(f"{what}: {len(names)} modules, of the forbidden ones {', '.join(forbidden) or 'none'}")
    return f"{library}: {'; '.join(counts)}."


def run(effort: Effort) -> Iterator[Row | str]:
    """Subtract a bare interpreter of the same round from each import."""
    codes = {
        "bare": "pass",
        "import jobspan": "import jobspan",
        "import joblib": "import joblib",
        "run jobspan": FIRST_RUN.format("jobspan"),
        "run joblib": FIRST_RUN.format("joblib"),
        "futures": "import concurrent.futures.thread",
    }

    def contestant(code: str) -> Callable[[int], Reading]:
        return lambda _: cold(["-c", code])

    samples = take_turns({name: contestant(code) for name, code in codes.items()}, effort.rounds)
    net = {name: figures["cpu_ms"].minus(samples["bare"]["cpu_ms"]) for name, figures in samples.items()}
    ours = net["import jobspan"]
    yield Row("import, CPU", "ms", ours, "joblib", net["import joblib"], at_most(1 / 6))
    yield Row("import, CPU", "ms", ours, "concurrent.futures.thread", net["futures"])
    what = "import and one sequential task, CPU"
    yield Row(what, "ms", net["run jobspan"], "joblib", net["run joblib"])
    yield _note("jobspan")
    yield _note("joblib")


SCENARIO = Scenario("import", "What `import jobspan` costs and drags in.", run)
