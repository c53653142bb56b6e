"""Trivial tasks on two threads and two processes: time per task, and of a call of two."""

from collections.abc import Iterator

from rows import Effort, Row, Scenario, at_most, faster
from scenarios.turns import Workload, both, side_by_side

N_JOBS = 2
TASKS = 20_000
MANY_TASKS = 100_000
# A task takes joblib's threads 30 to 60 µs; the 10 ms it sleeps in a call stay below a tenth of the sum.
JOBLIB_THREAD_TASKS = 4_000
MESSAGES_SENT = 1_000


def _parallel(library: str, backend: str, n: int, *, hoisted: bool) -> Workload:
    options = {"library": library, "backend": backend, "n_jobs": N_JOBS, "n": n, "hoisted": hoisted}
    return "trivial:parallel", options


def _against_joblib(effort: Effort, backend: str, joblib_tasks: int, asked: float) -> Iterator[Row]:
    figures = side_by_side(
        {
            "jobspan": _parallel("jobspan", backend, TASKS, hoisted=False),
            "joblib": _parallel("joblib", backend, joblib_tasks, hoisted=False),
        },
        effort.rounds,
    )
    ours, joblib = figures["jobspan"], figures["joblib"]
    what = f"{backend}, {TASKS} trivial tasks `delayed(f)(i)`, per task"
    yield Row(what, "µs", ours["wall_us"], "joblib", joblib["wall_us"], faster(asked))
    yield Row(f"{what}, CPU of the process tree", "µs", ours["tree_us"], "joblib", joblib["tree_us"])


def _against_peers(effort: Effort, backend: str, peers: dict[str, str], n: int, limit: str) -> Iterator[Row]:
    workloads: dict[str, Workload] = {"jobspan": _parallel("jobspan", backend, n, hoisted=True)}
    workloads |= {name: (function, {"n_jobs": N_JOBS, "n": n}) for name, function in peers.items()}
    figures = side_by_side(workloads, effort.rounds)
    ours = figures["jobspan"]
    what = f"{backend}, {n} trivial tasks, hoisted, per task"
    for name in peers:
        asked = at_most(1.5) if name == limit and n == TASKS else None
        yield Row(what, "µs", ours["wall_us"], name, figures[name]["wall_us"], asked)
    yield Row(f"{what}, CPU of the process tree", "µs", ours["tree_us"], limit, figures[limit]["tree_us"])


def run_threads(effort: Effort) -> Iterator[Row]:
    """Compare with joblib's threads, and with `ThreadPool.map` over the same tuples."""
    yield from _against_joblib(effort, "threads", JOBLIB_THREAD_TASKS, asked=50.0)
    peers = {"ThreadPool.map": "trivial:thread_pool_map"}
    for n in (TASKS, MANY_TASKS):
        yield from _against_peers(effort, "threads", peers, n, "ThreadPool.map")


def run_loky(effort: Effort) -> Iterator[Row]:
    """Compare with joblib's loky, with `multiprocessing.Pool.map` and with loky's own `map` in chunks."""
    yield from _against_joblib(effort, "loky", TASKS, asked=3.0)
    peers = {
        "multiprocessing.Pool.map": "trivial:process_pool_map",
        "loky `map` in chunks": "trivial:bare_loky_map",
    }
    for n in (TASKS, MANY_TASKS):
        yield from _against_peers(effort, "loky", peers, n, "multiprocessing.Pool.map")


def run_messages(effort: Effort) -> Iterator[Row]:
    """Send each task on its own."""
    options = {"n_jobs": N_JOBS, "n": MESSAGES_SENT}
    one_by_one: Workload = ("trivial:bare_loky_map", {**options, "chunk": 1})
    workloads = both("trivial:messages", backend="loky", **options) | {"loky": one_by_one}
    figures = side_by_side(workloads, effort.few_rounds)
    ours, what = figures["jobspan"]["wall_us"], "loky, batch_size=1, per message"
    yield Row(what, "µs", ours, "joblib", figures["joblib"]["wall_us"], faster(2.5))
    yield Row(what, "µs", ours, "bare loky, chunksize=1", figures["loky"]["wall_us"], at_most(1.3))
    tree = {name: figures[name]["tree_us"] for name in figures}
    yield Row(f"{what}, CPU of the process tree", "µs", tree["jobspan"], "joblib", tree["joblib"])


def run_warm(effort: Effort) -> Iterator[Row]:
    """Make calls of two tasks while the workers of the call before are still there."""
    call = {"n_jobs": N_JOBS, "tasks": 2}
    for backend, peer, function, asked in (
        ("threads", "ThreadPoolExecutor, kept open", "trivial:thread_executor_calls", None),
        ("loky", "bare loky", "trivial:bare_loky_calls", at_most(1.4)),
    ):
        workloads = both("trivial:calls", backend=backend, n=20, **call) | {peer: (function, {"n": 20, **call})}
        figures = side_by_side(workloads, effort.rounds)
        ours = figures["jobspan"]["wall_us"]
        what = f"{backend}, warm call of two tasks"
        yield Row(what, "µs", ours, "joblib", figures["joblib"]["wall_us"], faster(15.0))
        yield Row(what, "µs", ours, peer, figures[peer]["wall_us"], asked)


THREADS = Scenario("threads", "What a trivial task costs on two threads, with default settings.", run_threads)
LOKY = Scenario("loky", "What a trivial task costs on two loky processes, with default settings.", run_loky)
MESSAGES = Scenario("messages", "What one message to a loky process and back costs.", run_messages)
WARM = Scenario("warm", "What a call of two tasks costs when the workers are already there.", run_warm)
