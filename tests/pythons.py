"""Other Pythons of this machine, which run the library from where it is, and the tests' modules."""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path

import pytest

import jobspan

HERE = Path(__file__).parent
VERSIONS = ["3.11", "3.12", "3.13", "3.14"]


@functools.cache
def _all() -> dict[str, str]:
    script = HERE.parent / "tools" / "find_python.sh"
    found = subprocess.run([script, "--all"], capture_output=True, text=True, check=False).stdout.split()
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"

    def version(path: str) -> str:
        return subprocess.run([path, "-c", ask], capture_output=True, text=True, check=True).stdout.strip()

    return {version(path): path for path in found}


def find_python(version: str) -> str:
    """The path of the Python of this version; skips the test where there is none."""
    if version not in _all():
        pytest.skip(f"there is no Python {version} on this machine")
    return _all()[version]


def run_python(python: str, script: str, *arguments: str, **environment: str) -> str:
    """What a script prints."""
    library = str(Path(jobspan.__file__).parents[1])
    done = subprocess.run(
        [python, "-c", script, *arguments],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([library, str(HERE)]),
            "PYTHONDONTWRITEBYTECODE": "1",
            **environment,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout
