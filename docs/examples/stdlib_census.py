"""Count what Python's standard library is made of: a few seconds of work, one task for each module.

The same script, unchanged, runs natively, in Pyodide under node and in a browser, with the same output.
"""

import ast
import hashlib
import io
import json
import os
import tokenize
import zipfile
from collections import Counter
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from jobspan import Parallel, delayed

CHOICES = (ast.If, ast.IfExp, ast.BoolOp, ast.ExceptHandler, ast.match_case)
LOOPS = (ast.For, ast.While, ast.comprehension)
# Load and Store say nothing. Constants depend on the Python: 3.12 cuts the text of f-strings as 3.11 did not.
NOT_COUNTED = (ast.expr_context, ast.Constant)


def stdlib_modules():
    """Find the sources: the wheel `stdlib_sources`, alike on every Python, else the interpreter's own."""
    if find_spec("stdlib_sources"):
        return sorted(files("stdlib_sources").rglob("*.py.txt"))
    folder = Path(os.__file__).parent
    root = folder if folder.is_dir() else zipfile.Path(folder)  # in Pyodide a zip file
    left_out = {"site-packages", "test", "tests"}
    inside = {path: str(path).removeprefix(str(root)).split(os.sep) for path in root.rglob("*.py")}
    return sorted((path for path, parts in inside.items() if left_out.isdisjoint(parts)), key=str)


def census(path):
    """Parse one module and count what it holds."""
    source = path.read_bytes()
    nodes = [node for node in ast.walk(ast.parse(source)) if not isinstance(node, NOT_COUNTED)]
    tokens = tokenize.tokenize(io.BytesIO(source).readline)
    return {
        "lines": source.count(b"\n"),
        "comments": sum(token.type == tokenize.COMMENT for token in tokens),
        "names": len({node.id for node in nodes if isinstance(node, ast.Name)}),
        "complexity": 1 + sum(isinstance(node, CHOICES + LOOPS) for node in nodes),
        "kinds": dict(sorted(Counter(type(node).__name__ for node in nodes).items())),
    }


def main():
    """Print a summary, with a digest of everything counted."""
    modules = stdlib_modules()
    rows = Parallel(n_jobs=-1)(delayed(census)(path) for path in modules)

    root = os.path.commonpath([str(path) for path in modules])
    table = {os.path.relpath(str(path), root): row for path, row in zip(modules, rows, strict=True)}
    kinds = sum((Counter(row["kinds"]) for row in rows), Counter())
    print(
        f"{len(rows)} modules, {sum(row['lines'] for row in rows):,} lines, "
        f"{sum(row['comments'] for row in rows):,} comments, {kinds.total():,} nodes"
    )
    print("most frequent:", ", ".join(f"{kind} {count:,}" for kind, count in kinds.most_common(5)))
    print("most complex:")
    for name, row in sorted(table.items(), key=lambda item: -item[1]["complexity"])[:10]:
        print(f"  {row['complexity']:5} {name.removesuffix('.txt')}")
    print("sha256 of all rows:", hashlib.sha256(json.dumps(table).encode()).hexdigest())


if __name__ == "__main__":
    main()
