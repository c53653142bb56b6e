"""Functions and modules made from texts, as a notebook makes them: their source is known, and in no file."""

from __future__ import annotations

import itertools
import linecache
import sys
import textwrap
import warnings
from types import ModuleType
from typing import Any

_count = itertools.count()


def define(text: str, module: str = "__main__", file: str = "", namespace: dict[str, Any] | None = None) -> Any:
    """What running a cell of a notebook defines, as attributes."""
    text = textwrap.dedent(text)
    file = file or f"<cell {next(_count)}>"
    linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file
    names = {"__name__": module} if namespace is None else namespace
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what the compiler thinks of a text
        exec(compile(text, file, "exec", dont_inherit=True), names)
    made = ModuleType(module)
    vars(made).update(names)
    return made


def make_module(name: str, text: str) -> ModuleType:
    """A module of the user's own, which can be imported from now on."""
    module = ModuleType(name)
    module.__spec__ = None
    sys.modules[name] = module
    define(text, namespace=vars(module))
    return module
