"""The caller's side in JavaScript, `link.js`, and the files that travel with the package.

Invariant: read through the loader, so that it works from a zip file too.
"""

from __future__ import annotations

from functools import cache
from pkgutil import get_data
from typing import Any

import pyodide_js
from pyodide.code import run_js
from pyodide.ffi import JsException

from jobspan.errors import WorkerBootError


@cache
def link() -> Any:
    """The object that `link.js` makes."""
    return evaluate("link.js")(pyodide_js.FS, evaluate("mailbox.js"))


def evaluate(name: str) -> Any:
    """The value of a file of JavaScript."""
    try:
        return run_js(source(name))
    except JsException as error:
        if error.name != "EvalError":
            raise
        raise WorkerBootError(
            "no worker can start: this page's Content-Security-Policy keeps jobspan's JavaScript from being run. "
            "Its script-src needs 'unsafe-eval', and its worker-src blob:."
        ) from None


@cache
def worker_script() -> str:
    """The script of a worker: with what both sides have."""
    return f"const mailbox = {source('mailbox.js')};\n{source('worker.mjs')}"


@cache
def source(name: str) -> str:
    """The text of a file of this package."""
    data = get_data("jobspan.web", name)
    assert data is not None  # the package's own
    return data.decode()
