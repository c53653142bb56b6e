"""Scripts as users of joblib write them print the same on jobspan, once their import is changed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

from jobspan import Parallel, delayed, host

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.py"))
IMPORT = re.compile(r"^(\s*)(?:from joblib(?=[ .])|import joblib$)", re.MULTILINE)

pytestmark = [
    pytest.mark.skipif(not (find_spec("joblib") and find_spec("numpy")), reason="the scripts need joblib and numpy"),
    pytest.mark.skipif(not host.has_processes(), reason="starts interpreters and their worker processes"),
    pytest.mark.skipif(not host.is_gil_enabled(), reason="the default is threads here, and joblib's is processes"),
]


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


def run(script: Path) -> Outcome:
    # a fresh interpreter, with nothing set that changes how many workers there are or what they inherit
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("JOB", "LOKY", "PYTHONW"))}
    done = subprocess.run(
        [sys.executable, script], cwd=script.parent, env=clean, capture_output=True, text=True, timeout=100, check=False
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def with_import_changed(source: str) -> str:
    def change(found: re.Match[str]) -> str:
        words = "import jobspan as joblib" if found[0].endswith("import joblib") else "from jobspan"
        return found[1] + words

    return IMPORT.sub(change, source)


def test_there_are_twenty_of_them_and_all_use_joblib() -> None:
    assert len(SCRIPTS) == 20
    assert [path.name for path in SCRIPTS if not IMPORT.search(path.read_text(encoding="utf-8"))] == []


def test_the_import_is_all_that_is_changed() -> None:
    before = "import joblib\n  from joblib import delayed\nfrom joblib.parallel import Parallel\njoblib.f()"
    after = "import jobspan as joblib\n  from jobspan import delayed\nfrom jobspan.parallel import Parallel\njoblib.f()"
    assert with_import_changed(before) == after


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_joblib_script_runs_by_changing_its_import(script: Path, tmp_path: Path) -> None:
    source = script.read_text(encoding="utf-8")
    copies = []
    for package, text in (("joblib", source), ("jobspan", with_import_changed(source))):
        copy = tmp_path / package / script.name
        copy.parent.mkdir()
        copy.write_text(text, encoding="utf-8")
        copies.append(copy)
    theirs, ours = Parallel(n_jobs=2, backend="threads")(delayed(run)(copy) for copy in copies)
    assert ours.out == theirs.out, ours.err
    assert ours.code == theirs.code
    if not theirs.err:
        assert ours.err == ""
