"""The native tests that need no process, in a page of Chromium; `make test-in-pyodide` runs them in node."""

import base64
import io
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SUITE = ["conftest.py", "contract/test_contract.py", "test_parallel.py"]

RUN = """
import base64, io, os, sys, zipfile
import pytest
zipfile.ZipFile(io.BytesIO(base64.b64decode({archive!r}))).extractall("/suite")
os.chdir("/suite")
output = sys.stdout = io.StringIO()
status = int(pytest.main(["-q", "-p", "no:cacheprovider", "-W", "error", "-k", "web", "tests"]))
sys.stdout = sys.__stdout__
[status, output.getvalue()]
"""


@pytest.mark.driver_timeout(400)
@pytest.mark.parametrize("isolated", [False, True], indirect=True, scope="module")
def test_contract_and_behaviour_hold_in_a_page(selenium):
    if selenium.browser == "node":
        pytest.skip("make test-in-pyodide runs it")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as folder:
        for name in SUITE:
            folder.write(ROOT / "tests" / name, f"tests/{name}")
    selenium.load_package(["jobspan", "pytest", "hypothesis"])
    status, output = selenium.run_async(RUN.format(archive=base64.b64encode(archive.getvalue()).decode()))
    assert status == 0, output
    assert "passed" in output
