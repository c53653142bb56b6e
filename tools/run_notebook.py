"""Run the code cells of a notebook in this Python, without Jupyter: run_notebook.py NOTEBOOK.

Invariant: standard output gets one JSON list: for each code cell what it printed. An exception of a cell ends it all,
with a traceback that shows the cell's line.
"""

import contextlib
import io
import json
import linecache
import sys
from pathlib import Path
from types import ModuleType


def code_cells(notebook: Path) -> list[tuple[str, str]]:
    """Return the source of each code cell, and the text that the file says it prints."""
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    return [("".join(cell["source"]), stdout(cell["outputs"])) for cell in cells]


def stdout(outputs: list[dict]) -> str:
    """Return what the outputs of a cell have of standard output."""
    return "".join("".join(each["text"]) for each in outputs if each.get("name") == "stdout")


def run(notebook: Path) -> list[str]:
    """Run the cells one after the other, as one program; return what each of them printed."""
    main = sys.modules["__main__"] = ModuleType("__main__")
    printed = []
    for number, (source, _) in enumerate(code_cells(notebook), 1):
        file = f"<cell {number}>"
        linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
        with contextlib.redirect_stdout(io.StringIO()) as stream:
            exec(compile(source, file, "exec"), vars(main))
        printed.append(stream.getvalue())
    return printed


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]))))
