"""Memory images that workers begin with instead of booting: under which name they are kept, and what is in them.

Booting Pyodide and importing jobspan takes seconds, copying the memory of a worker that has done both a tenth of that.
The first worker of a pool leaves its memory to the others, and where the browser has storage, to the next visit.

Invariant: an image holds Python, jobspan and cloudpickle, nothing of the user's; its name is a digest of these.
"""

from __future__ import annotations

import os
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from typing import Any

from jobspan.web.link import evaluate, worker_script

PACKAGES = ("jobspan", "cloudpickle")
"""What every worker imports."""


_found: dict[str, Any] = {}


def find(index_url: str) -> Any:
    """What `images.js` makes for the packages as they are now, one for all pools."""
    name = _name(index_url)
    found = _found.get(name) if name else None
    if found is None:
        found = _found[name] = evaluate("images.js")(name)
    return found


def home() -> list[str]:
    """The folders from which the packages are imported."""
    places = []
    for package in PACKAGES:
        spec = find_spec(package)
        origin = None if spec is None else spec.origin
        assert origin is not None  # jobspan runs, and depends on cloudpickle
        places.append(os.path.dirname(os.path.dirname(origin)))
    return list(dict.fromkeys(places))


def _name(index_url: str) -> str:
    """A digest of all that an image holds; empty where that is not known, since nothing says what was installed."""
    import pyodide_js

    digest = sha256(f"{pyodide_js.version}\0{index_url}\0{worker_script()}".encode())
    for package in PACKAGES:
        try:
            record = distribution(package).read_text("RECORD")  # which holds a digest of each file
        except PackageNotFoundError:
            record = None
        if not record:
            return ""
        digest.update(record.encode())
    return digest.hexdigest()
