"""Count what the standard library is made of: a task per module."""

import ast
import io
import tokenize
from collections import Counter
from importlib.resources import files

from jobspan import Parallel, delayed

CHOICES = (ast.If, ast.IfExp, ast.BoolOp, ast.ExceptHandler, ast.match_case)
LOOPS = (ast.For, ast.While, ast.comprehension)
NOT_COUNTED = (ast.expr_context, ast.Constant)


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


root = files("stdlib_sources")  # the sources, as data
modules = sorted(root.rglob("*.py.txt"))

# From the page: the number of workers, show (draws the timeline)
# and draw (draws the result).
pool = Parallel(
    n_jobs=workers,
    return_as="generator",  # in the order of the tasks
    on_event=show,
)
tasks = [delayed(census)(path) for path in modules]

rows, kinds = {}, Counter()
async for row in pool.stream(tasks):
    name = modules[len(rows)].relative_to(root)
    kinds.update(row.pop("kinds"))
    rows[str(name).removesuffix(".txt")] = row
    draw(rows, kinds)
