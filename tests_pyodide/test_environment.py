"""What workers find of the caller's interpreter: installed packages, modules of the working directory."""

import pytest
from pytest_pyodide import run_in_pyodide

pytestmark = pytest.mark.parametrize("isolated", [False, True], indirect=True, scope="module")


@run_in_pyodide(packages=["jobspan", "pytest"])
def test_modules_of_the_working_directory_are_there(selenium):
    import importlib
    import os
    import sys
    from pathlib import Path

    from jobspan import Parallel, delayed
    from jobspan.backends.web import WebBackend

    backend = WebBackend()
    before = os.getcwd()
    folder = Path("/tmp/project")
    (folder / "jobspan_tools/inner").mkdir(parents=True)
    (folder / "jobspan_tools/__init__.py").write_text("")
    (folder / "jobspan_tools/inner/deep.py").write_text(
        "from pathlib import Path\ndef read(): return (Path(__file__).parent / 'table.txt').read_text()\n"
    )
    (folder / "jobspan_tools/inner/table.txt").write_text("a table")
    (folder / "jobspan_numbers.py").write_text("def triple(x): return 3 * x\n")
    (folder / "large.bin").write_bytes(bytes(1000))
    os.chdir(folder)
    try:
        assert sys.path[0] == ""
        importlib.invalidate_caches()
        import jobspan_numbers
        import jobspan_tools.inner.deep

        call = Parallel(n_jobs=2, backend=backend)
        assert call(delayed(jobspan_numbers.triple)(i) for i in range(4)) == [0, 3, 6, 9]
        assert call([delayed(jobspan_tools.inner.deep.read)()]) == ["a table"]
        assert call([delayed(os.listdir)(), delayed(os.getcwd)()]) == [
            ["jobspan_numbers.py", "jobspan_tools"], "/tmp/project",
        ]  # fmt: skip

        # A module that comes later is added to the warm workers ...
        (folder / "jobspan_late.py").write_text("def double(x): return 2 * x\n")
        importlib.invalidate_caches()
        import jobspan_late

        born = backend.pool._born
        assert call(delayed(jobspan_late.double)(i) for i in range(4)) == [0, 2, 4, 6]
        assert backend.pool._born == born
        # ... one that changes is taken up by new ones.
        (folder / "jobspan_late.py").write_text("def double(x): return [x, x]\n")
        importlib.reload(jobspan_late)
        assert call(delayed(jobspan_late.double)(i) for i in range(4)) == [[i, i] for i in range(4)]
        assert backend.pool.size == 2
    finally:
        os.chdir(before)
        backend.shutdown()


@run_in_pyodide(packages=["jobspan", "pytest"])
def test_what_is_too_large_is_left_out_and_said(selenium):
    import sys
    from pathlib import Path

    import pytest

    from jobspan import Parallel, delayed
    from jobspan.backends.web import WebBackend
    from jobspan.errors import FallbackWarning

    folder = Path("/tmp/large")
    (folder / "jobspan_huge").mkdir(parents=True)
    (folder / "jobspan_huge/__init__.py").write_text("")
    (folder / "jobspan_huge/data.bin").write_bytes(bytes(21_000_000))
    (folder / "jobspan_small.py").write_text("def triple(x): return 3 * x\n")
    sys.path.append(str(folder))
    backend = WebBackend()
    try:
        import jobspan_small

        with pytest.warns(FallbackWarning, match="will not find jobspan_huge of /tmp/large"):
            results = Parallel(n_jobs=1, backend=backend)([delayed(jobspan_small.triple)(1)])
        assert results == [3]
        with pytest.raises(ModuleNotFoundError, match="jobspan_huge"):
            Parallel(n_jobs=1, backend=backend)([delayed(__import__)("jobspan_huge")])
    finally:
        sys.path.remove(str(folder))
        (folder / "jobspan_huge/data.bin").unlink()
        backend.shutdown()


@run_in_pyodide(packages=["jobspan", "micropip"])
async def test_packages_installed_later_are_there(selenium):
    import importlib
    import zipfile

    import micropip

    from jobspan import Parallel, delayed
    from jobspan.backends.web import WebBackend

    def wheel(version):
        name = f"/tmp/jobspan_probe-{version}-py3-none-any.whl"
        info = f"jobspan_probe-{version}.dist-info"
        with zipfile.ZipFile(name, "w") as archive:
            archive.writestr("jobspan_probe/__init__.py", f"def version(i): return {version!r}, i\n")
            archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: jobspan-probe\nVersion: {version}\n")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")
        return f"emfs:{name}"

    backend = WebBackend()
    call = Parallel(n_jobs=2, backend=backend)
    assert await call.gather(delayed(abs)(i) for i in range(2)) == [0, 1]
    await micropip.install(wheel("1.0"))
    import jobspan_probe

    assert await call.gather(delayed(jobspan_probe.version)(i) for i in range(2)) == [("1.0", 0), ("1.0", 1)]
    assert backend.pool._born == 2  # added to the warm ones

    def listed():
        from importlib.metadata import version

        import micropip
        from pyodide_js import loadedPackages

        return version("jobspan-probe"), "jobspan-probe" in micropip.list(), "cloudpickle" in loadedPackages.to_py()

    assert await call.gather([delayed(listed)()]) == [("1.0", True, True)]
    micropip.uninstall("jobspan-probe")
    await micropip.install(wheel("2.0"))
    importlib.reload(jobspan_probe)
    assert await call.gather(delayed(jobspan_probe.version)(i) for i in range(2)) == [("2.0", 0), ("2.0", 1)]
    assert backend.pool.size == 2
    backend.shutdown()


@run_in_pyodide(packages=["jobspan", "pytest"])
def test_environment_variables_are_there(selenium):
    import os

    from jobspan import Parallel, delayed
    from jobspan.backends.web import WebBackend

    os.environ["JOBSPAN_PROBE"] = "there"
    backend = WebBackend()
    try:
        assert Parallel(n_jobs=1, backend=backend)([delayed(os.getenv)("JOBSPAN_PROBE")]) == ["there"]
    finally:
        del os.environ["JOBSPAN_PROBE"]
        backend.shutdown()
