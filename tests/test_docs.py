"""Every example in a docstring or in the README runs and shows what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import jobspan
from jobspan import host

ROOT = Path(__file__).parents[1]
NAMES = [info.name for info in pkgutil.walk_packages(jobspan.__path__, "jobspan.")]


def load(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        pytest.skip(f"needs {error.name}, which is not here")


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_of_a_module_run(name: str) -> None:
    assert doctest.testmod(load(name)).failed == 0


def test_there_are_examples() -> None:
    attempted = sum(doctest.testmod(load(name)).attempted for name in ["jobspan.parallel", "jobspan.units"])
    assert attempted > 10


@pytest.mark.parametrize("name", sorted(set(jobspan.__all__) - {"__version__"}))
def test_every_public_name_is_documented(name: str) -> None:
    assert getattr(jobspan, name).__doc__


@pytest.mark.skipif(not host.has_processes(), reason="starts an interpreter; there are no processes here")
def test_the_example_of_the_readme_runs_as_a_script() -> None:
    found = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert found is not None
    done = subprocess.run([sys.executable, "-c", found[1]], capture_output=True, text=True, check=True)
    assert done.stdout == "[0, 1, 4, 9, 16, 25, 36, 49, 64, 81]\n"
    assert done.stderr == ""
