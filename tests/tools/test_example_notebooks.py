"""The notebooks of docs/examples, run in this Python: they print what the files say, as they do in JupyterLite."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools/run_notebook.py"


def run(notebook: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "core"), "JOBSPAN_KEY_FILE": str(folder / "key")}
    command = [sys.executable, TOOL, notebook]
    return subprocess.run(
        command, check=False, cwd=folder, env=environment, capture_output=True, text=True, timeout=240
    )


def write(notebook: Path, *cells: str) -> None:
    made = [{"cell_type": "code", "source": cell.splitlines(keepends=True), "outputs": []} for cell in cells]
    notebook.write_text(json.dumps({"cells": made}))


@pytest.mark.parametrize("notebook", sorted((ROOT / "docs/examples").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_prints_what_it_says(notebook: Path, tmp_path: Path) -> None:
    done = run(notebook, tmp_path)
    assert done.returncode == 0, done.stderr
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    said = ["".join("".join(each["text"]) for each in cell["outputs"]) for cell in cells]
    assert json.loads(done.stdout) == said
    assert sum(map(bool, said)) >= 3


def test_cells_are_one_program(tmp_path: Path) -> None:
    write(tmp_path / "two.ipynb", "def f():\n    return 7\n", "print(f(), __name__)\n")
    assert json.loads(run(tmp_path / "two.ipynb", tmp_path).stdout) == ["", "7 __main__\n"]


def test_an_exception_is_told_with_its_cell_and_line(tmp_path: Path) -> None:
    write(tmp_path / "bad.ipynb", "x = 0", "print(1)\n1 / x")
    done = run(tmp_path / "bad.ipynb", tmp_path)
    assert done.returncode != 0
    assert 'File "<cell 2>", line 2' in done.stderr
    assert "    1 / x\n" in done.stderr
