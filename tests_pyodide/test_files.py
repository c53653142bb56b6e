"""Files and digests are the same here and there: what one side writes, the other reads."""

import importlib
import io
from pathlib import Path

import pytest
from pytest_pyodide import run_in_pyodide

import jobspan

TESTS = Path(__file__).resolve().parent.parent / "tests"
with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(TESTS)
    kinds = importlib.import_module("kinds")

NAMES = [name for name in kinds.PLAIN if name != "memoryview" and not name.startswith("long")]


def write(names: list[str]) -> dict[str, bytes]:
    files = {}
    for name in names:
        file = io.BytesIO()
        jobspan.dump(kinds.PLAIN[name](), file, compress="zlib")
        files[name] = file.getvalue()
    return files


@run_in_pyodide(packages=["jobspan"])
def exchange(selenium, source, files):
    import importlib
    import io
    import sys
    import tempfile
    from pathlib import Path

    import jobspan

    folder = tempfile.mkdtemp()  # a file, since functions and classes are known by their source
    (Path(folder) / "kinds.py").write_text(source)
    sys.path.insert(0, folder)
    kinds = importlib.import_module("kinds")
    digests, written = {}, {}
    for name, data in files.items():
        digests[name] = jobspan.hash(jobspan.load(io.BytesIO(data)))
        file = io.BytesIO()
        jobspan.dump(kinds.PLAIN[name](), file, compress="gzip")
        written[name] = file.getvalue()
    return digests, written


def test_files_and_digests_go_into_pyodide_and_come_back(selenium):
    digests, written = exchange(selenium, (TESTS / "kinds.py").read_text(encoding="utf-8"), write(NAMES))
    here = {name: jobspan.hash(kinds.PLAIN[name]()) for name in NAMES}
    assert digests == here
    assert {name: jobspan.hash(jobspan.load(io.BytesIO(data))) for name, data in written.items()} == here
