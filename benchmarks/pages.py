"""How soon the pages of the demo can be used, taken by `pages_run.py` and left in `benchmarks/pages.json`, as Markdown.

The fastest of the repetitions counts: a boot uses all CPUs, and whatever else the machine does makes it slower.

The file is an object with these keys:

    where    str    browser and version
    pyodide  str    version of Pyodide
    date     str    when
    asked    float  the asked most of a page with a program over a page that boots Pyodide and nothing else, e.g. 1.3
    bare     list   seconds until that page has booted, one per repetition
    pages    object by the page's name: list of seconds until it can be used, in turns with the bare page
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def section(path: Path) -> list[str]:
    """Return the lines of the report's section; without the file, the line that says so."""
    if not path.exists():
        return [f"Not measured (`benchmarks/{path.name}` is not there)."]
    told: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    bare = min(told["bare"])
    lines = [
        f"Pages of the demo until they can be used, {told['where']}, Pyodide {told['pyodide']}, {told['date']}.",
        "",
        f"| page | seconds | over the bare boot of Pyodide | asked: ≤ {told['asked']} |",
        "|---|---|---|---|",
        f"| (bare boot) | {bare:.2f} | 1.00 | |",
    ]
    for name, seconds in told["pages"].items():
        ratio = min(seconds) / bare
        verdict = "yes" if ratio <= told["asked"] else "**no**"
        lines.append(f"| {name} | {min(seconds):.2f} | {ratio:.2f} | {verdict} |")
    return lines
