"""The caller is itself in a worker, as JupyterLite's kernel is: its workers are nested."""

import pytest
from pytest_pyodide import run_in_pyodide

pytestmark = pytest.mark.parametrize("isolated", [False, True], indirect=True, scope="module")


@run_in_pyodide(packages=["jobspan", "pytest"])
def test_blocks_and_streams(selenium_worker):
    import contextlib
    import io

    import js

    from jobspan import Parallel, delayed

    assert not hasattr(js, "document")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        Parallel(n_jobs=2)(delayed(print)(i) for i in range(3))
    assert sorted(out.getvalue().split()) == ["0", "1", "2"]
    results = Parallel(n_jobs=2, return_as="generator")(delayed(pow)(i, 2) for i in range(300))
    assert list(results) == [i * i for i in range(300)]


@run_in_pyodide(packages=["jobspan", "pytest"])
async def test_awaits(selenium_worker):
    from jobspan import Parallel, delayed

    assert await Parallel(n_jobs=2).gather(delayed(abs)(i) for i in range(9)) == list(range(9))


@run_in_pyodide(packages=["jobspan", "pytest"])
def test_a_worker_that_leaves_is_a_lost_worker(selenium_worker):
    import pytest

    from jobspan import Parallel, delayed
    from jobspan.errors import WorkerLost

    def leave():
        import js

        js.self.close()

    with pytest.raises(WorkerLost, match="a task closed it"):
        Parallel(n_jobs=1, backend="web")([delayed(leave)()])
    assert Parallel(n_jobs=1, backend="web")([delayed(abs)(-1)]) == [1]
