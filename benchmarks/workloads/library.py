"""The two libraries under one name: both have joblib's API, only the name of the threads differs."""

import importlib
from typing import Any

BACKENDS = {("joblib", "threads"): "threading"}


def load(library: str, backend: str | None = None) -> tuple[Any, str | None]:
    """Return the library and its own name of the backend."""
    name = backend if backend is None else BACKENDS.get((library, backend), backend)
    return importlib.import_module(library), name
