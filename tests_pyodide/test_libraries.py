"""Libraries that take an executor, on Web Workers."""

import base64
import importlib.util
import io
import zipfile
from pathlib import Path

import pytest
from pytest_pyodide import run_in_pyodide

# Dask needs yaml, of which there is no wheel without compiled code; its Python part is enough.
DASK = ["dask", "yaml", "toolz", "tlz", "partd", "locket", "fsspec", "click"]


@run_in_pyodide(packages=["jobspan", "tqdm"])
def test_tqdm_draws_a_bar_for_a_map_on_web_workers(selenium):
    import io

    from tqdm import tqdm

    from jobspan.bridge.tqdm import web_map
    from jobspan.web import WebWorkerExecutor

    def square(x):
        from tqdm import tqdm

        return x * x, list(tqdm([x], disable=True))

    output = io.StringIO()
    assert web_map(square, range(7), max_workers=1, file=output) == [(x * x, [x]) for x in range(7)]
    assert "7/7" in output.getvalue()
    output = io.StringIO()
    with WebWorkerExecutor(1) as pool:
        assert list(tqdm(pool.map(abs, range(5)), total=5, file=output)) == list(range(5))
    assert "5/5" in output.getvalue()


@pytest.fixture
def selenium_dask(selenium):
    """An interpreter with the Dask of the one that runs the tests."""
    if selenium.browser != "node":
        pytest.skip("one of the two is enough")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in DASK:
            found = importlib.util.find_spec(name)
            if found is None:
                pytest.skip(f"{name} is not installed")
            folder = Path(found.origin).parent
            for path in folder.rglob("*.py"):
                if "tests" not in path.parts:
                    packed.write(path, path.relative_to(folder.parent))
            for path in folder.rglob("*.yaml"):
                packed.write(path, path.relative_to(folder.parent))
    selenium.load_package(["jobspan", "packaging", "pytest"])
    selenium.run(
        f"""
import base64, io, sysconfig, zipfile

data = base64.b64decode("{base64.b64encode(archive.getvalue()).decode()}")
zipfile.ZipFile(io.BytesIO(data)).extractall(sysconfig.get_path("purelib"))
"""
    )
    return selenium


@run_in_pyodide(packages=["jobspan"])
def test_dask_computes_on_web_workers(selenium_dask):
    import dask
    import dask.bag
    import pytest

    import jobspan.bridge.dask
    from jobspan.web import WebWorkerExecutor

    assert dask.local.Queue is jobspan.bridge.dask.TurningQueue

    def where(_=None):
        from jobspan.worker.context import PLACE

        return PLACE.get().level

    def fail():
        raise OSError("no")

    with WebWorkerExecutor(2) as pool:
        chain = dask.delayed(pow)(dask.delayed(abs)(-3), dask.delayed(abs)(2))
        assert chain.compute(scheduler=pool) == 9
        assert chain.compute() == 9  # synchronous, as Dask has it here
        assert dask.compute(*[dask.delayed(where)(n) for n in range(5)], scheduler=pool) == (1,) * 5
        with dask.config.set(scheduler=pool):
            squares = dask.bag.from_sequence(range(100), npartitions=4).map(lambda x: x * x)
            assert squares.sum().compute() == sum(n * n for n in range(100))
        with pytest.raises(OSError, match="no"):
            dask.delayed(fail)().compute(scheduler=pool)


@run_in_pyodide(packages=["jobspan"])
def test_dask_says_what_to_do_where_nothing_can_wait(selenium_dask):
    import dask
    import pyodide_js

    import jobspan.bridge.dask

    assert jobspan.bridge.dask
    pyodide_js.globals["total"] = dask.delayed(abs)(-3)
    told = pyodide_js.runPython("""
from jobspan import CannotBlock
from jobspan.web import WebWorkerExecutor

pool = WebWorkerExecutor(1)  # none of its workers can start before this is over
try:
    total.compute(scheduler=pool)
except CannotBlock as error:
    told = str(error)
pool.terminate_workers()
told
""")
    assert "scheduler='synchronous'" in told
