"""Packages with compiled parts in workers, and arrays on their way there and back."""

import base64
import os
from pathlib import Path

import pytest
from pytest_pyodide import run_in_pyodide

WHEELS = os.environ.get("PYODIDE_WHEELS")

pytestmark = [
    pytest.mark.skipif(not WHEELS, reason="npm has no numpy for Pyodide: set PYODIDE_WHEELS to a folder of it"),
    pytest.mark.parametrize("isolated", [False, True], indirect=True, scope="module"),
]


@pytest.fixture
def selenium_numpy(selenium):
    """An interpreter that has numpy, as a wheel that was unpacked: Pyodide's own distribution knows nothing of it."""
    selenium.load_package(["jobspan", "pytest"])
    (wheel,) = Path(WHEELS).glob("numpy-*.whl")
    packed = base64.b64encode(wheel.read_bytes()).decode()
    selenium.run(f"import base64\nhas_numpy = globals().get('has_numpy')\nnumpy_wheel = base64.b64decode('{packed}')")
    selenium.run_js(
        """
        if (!pyodide.globals.get("has_numpy")) {
            pyodide.unpackArchive(pyodide.globals.get("numpy_wheel").toJs(), "wheel");
            pyodide.globals.set("has_numpy", true);
        }
        """
    )
    return selenium


@run_in_pyodide(packages=["jobspan"])
async def test_arrays_go_there_and_back_with_their_types_orders_and_values(selenium_numpy):
    import numpy as np

    from jobspan import Parallel, delayed

    def double(array):
        array += array  # a task's own copy
        return array, array.flags.f_contiguous, array.dtype.str

    call = Parallel(n_jobs=2, backend="web", batch_size=1)
    arrays = [
        np.arange(12.0).reshape(3, 4),
        np.asfortranarray(np.arange(12, dtype=">i2").reshape(3, 4)),
        np.arange(3_000_000, dtype=np.float32),  # beyond a mailbox
        np.zeros((0, 3), dtype=complex),
        np.arange(100)[::7],
    ]
    rows = await call.gather(delayed(double)(array.copy(order="K")) for array in arrays)
    for array, (doubled, is_fortran, kind) in zip(arrays, rows, strict=True):
        assert np.array_equal(doubled, 2 * array)
        assert doubled.flags.writeable
        assert is_fortran == array.flags.f_contiguous or array.ndim == 1
        assert kind == array.dtype.str


@run_in_pyodide(packages=["jobspan"])
async def test_an_array_that_many_tasks_read_goes_to_each_worker_once(selenium_numpy):
    import numpy as np

    from jobspan import Parallel, delayed
    from jobspan.backends.web import WebBackend
    from jobspan.web.worker import Worker

    sent = []
    send, teach = Worker.send, Worker.teach

    def count_send(worker, ticket, payload, buffers, tasks=1):
        sent.append(payload.length + sum(buffer.length for buffer in buffers))
        send(worker, ticket, payload, buffers, tasks)

    def count_teach(worker, messages, outdated):
        sent.append(sum(map(len, messages.values())))
        teach(worker, messages, outdated)

    data = np.random.default_rng(1).random(1_000_000)

    def part(array, i):
        return float(array[i::16].sum())

    Worker.send, Worker.teach = count_send, count_teach
    try:
        backend = WebBackend()
        rows = await Parallel(n_jobs=2, backend=backend, batch_size=1).gather(delayed(part)(data, i) for i in range(16))
        backend.shutdown()
    finally:
        Worker.send, Worker.teach = send, teach
    assert np.allclose(rows, [data[i::16].sum() for i in range(16)])
    assert sum(sent) < 4 * data.nbytes  # once to each of two workers, and once before it was known to come again


@run_in_pyodide(packages=["jobspan"])
async def test_numbers_are_drawn_anew_by_each_worker(selenium_numpy):
    import time

    from jobspan import Parallel, delayed
    from jobspan.backends.web import WebBackend

    def draw():
        import numpy as np

        time.sleep(0.3)
        return float(np.random.random())  # the old, global generator is seeded by the operating system

    backend = WebBackend()
    rows = await Parallel(n_jobs=2, backend=backend, batch_size=1).gather(delayed(draw)() for _ in range(4))
    backend.shutdown()
    assert len(set(rows)) == 4
