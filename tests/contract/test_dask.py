"""A real Dask cluster on this machine, used through the executor that its client gives."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import pytest

from jobspan import Parallel, delayed, host
from jobspan.settings import Settings
from jobspan.settle import find_backend
from jobspan.testing import BackendContract

if not host.has_processes():
    pytest.skip("there are no processes here", allow_module_level=True)
distributed = pytest.importorskip("distributed", reason="needs jobspan[dask]")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two workers, each a process with one thread, that hear only this machine."""
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
        worker_dashboard_address=None,
        local_directory=str(tmp_path_factory.mktemp("dask")),
        silence_logs="CRITICAL",
    ) as made:
        yield made


@pytest.fixture(scope="module")
def client(cluster: Any) -> Iterator[Any]:
    with distributed.Client(cluster, set_as_default=False) as made:
        yield made


@pytest.fixture(scope="module")
def executor(client: Any) -> Executor:
    made: Executor = client.get_executor(pure=False)
    return made


class TestDask(BackendContract):
    @pytest.fixture
    def backend(self, executor: Executor) -> Any:
        return find_backend(Settings(2, executor))


def test_results_come_in_the_order_of_the_input(executor: Executor) -> None:
    assert Parallel(2, executor)(delayed(pow)(i, 2) for i in range(100)) == [i * i for i in range(100)]


def test_the_work_is_done_by_the_cluster(executor: Executor, client: Any) -> None:
    found = set(Parallel(2, executor)(delayed(os.getpid)() for _ in range(20)))
    assert found <= set(client.run(os.getpid).values())


def test_closures_travel(executor: Executor) -> None:
    offset = 10

    def add(x: int) -> int:
        return x + offset

    assert Parallel(2, executor)(delayed(add)(i) for i in range(3)) == [10, 11, 12]


def test_a_tasks_exception_is_raised_as_itself_with_a_note(executor: Executor) -> None:
    with pytest.raises(ValueError, match="invalid literal") as caught:
        Parallel(2, executor)(delayed(int)(text) for text in ("1", "2", "three"))
    assert any("task 2" in note for note in caught.value.__notes__)


def test_the_cluster_goes_on_after_an_error(executor: Executor) -> None:
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            Parallel(2, executor)(delayed(divmod)(1, i % 3) for i in range(30))
    assert Parallel(2, executor)([delayed(abs)(-1)]) == [1]


def test_a_generator_hands_out_each_result_while_others_are_still_made(executor: Executor, tmp_path: Path) -> None:
    go_on = tmp_path / "go on"

    def wait() -> str:
        import time

        while not go_on.exists():
            time.sleep(0.01)
        return "went on"

    results = Parallel(2, executor, return_as="generator")([delayed(abs)(-1), delayed(wait)()])
    assert next(results) == 1
    go_on.touch()
    assert list(results) == ["went on"]


def test_tasks_survive_the_death_of_a_worker(executor: Executor, tmp_path: Path) -> None:
    killed = tmp_path / "killed"

    def die_once() -> str:
        import os

        try:
            os.close(os.open(killed, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return "alive"
        os._exit(1)

    tasks = [delayed(die_once)(), *(delayed(abs)(-i) for i in range(10))]
    assert Parallel(2, executor)(tasks) == ["alive", *range(10)]
    assert killed.exists()
