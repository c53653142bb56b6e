"""Which store a location means.

Invariant: nothing is written before something is kept.
"""

from __future__ import annotations

import os
from typing import Any

from jobspan import host
from jobspan.memory.folder import FolderStore
from jobspan.memory.store import Store

FOLDER = "jobspan"
"""The folder below a location that is the cache's own."""

_IN_MEMORY = "/tmp/jobspan"  # noqa: S108  of a page, where nobody else is
_backends: dict[str, Any] = {}


def register_store_backend(backend_name: str, backend: Any) -> None:
    """Make a kind of store known by a name, for ``Memory(location, backend=name)``.

    Parameters
    ----------
    backend_name : str
        The name.
    backend : type
        A class derived from `StoreBackendBase`, whose objects are made without arguments, and then configured.

    Raises
    ------
    ValueError
        If `backend_name` is no text, or `backend` is not of that shape.

    Examples
    --------
    >>> import jobspan
    >>> jobspan.register_store_backend("nowhere", int)
    Traceback (most recent call last):
    ValueError: Store backend should inherit StoreBackendBase or have its methods; <class 'int'> has no _open_item.
    """
    if not isinstance(backend_name, str):
        raise ValueError(f"Store backend name should be a string, {backend_name!r} given.")  # noqa: TRY004  as joblib does
    for method in ("_open_item", "_item_exists", "_move_item", "create_location", "clear_location", "configure"):
        if not hasattr(backend, method):
            raise ValueError(
                f"Store backend should inherit StoreBackendBase or have its methods; {backend!r} has no {method}."
            )
    _backends[backend_name] = backend


def open_store(location: Any, backend: str, options: dict[str, Any], *, group: bool, local: Any) -> Store | None:
    """The store at a location; None where that is None.

    Parameters
    ----------
    location : str, path-like, Store, StoreBackendBase or None
        A folder, a URL, or a store itself.
    backend : str
        ``"local"``, or what was registered.
    options : dict
        For the backend, or for the file system of a URL.
    group : bool
        Whether the folder's group is trusted.
    local : str, path-like or None
        A folder in which to keep what was read from elsewhere.

    Raises
    ------
    TypeError
        If it is none of these, or there is no such backend.
    """
    if location is None:
        return None
    if hasattr(location, "read") and hasattr(location, "append"):
        store: Store = location
        return store
    if hasattr(location, "_open_item"):
        return _legacy(location)
    if not isinstance(location, str | os.PathLike):
        raise TypeError(
            f"Memory takes a folder, a URL, a store, or None, which means no cache; {location!r} is none of these."
        )
    where = os.path.expanduser(os.fspath(location))
    if backend != "local":
        if backend not in _backends:
            known = ", ".join(sorted(["local", *_backends]))
            raise TypeError(
                f"Unknown location {where} or backend {backend}: known are {known}; see register_store_backend."
            )
        made = _backends[backend]()
        made.configure(os.path.join(where, FOLDER), verbose=0, backend_options=options)
        return _legacy(made)
    if "://" in where:
        from jobspan.memory.remote import LayeredStore, RemoteStore

        far = RemoteStore(f"{where.rstrip('/')}/{FOLDER}", options)
        return far if local is None else LayeredStore(_open_folder(os.fspath(local), group=group), far)
    if is_on_drive(where):
        near = _open_folder(_IN_MEMORY + os.path.abspath(where), group=group)
    else:
        near = _open_folder(where, group=group)
        if not is_fleeting(where):
            return near
    from jobspan.memory.browser import OpfsStore
    from jobspan.memory.remote import LayeredStore

    return LayeredStore(near, OpfsStore(os.path.join(os.path.abspath(where), FOLDER)))


def is_on_drive(where: str) -> bool:
    """Whether a folder would be on JupyterLite's drive, which is slow, and knows no files that grow."""
    if not host.in_pyodide():
        return False
    from jobspan.web import mirror

    return mirror.is_on_drive(os.path.join(where, FOLDER))


def is_fleeting(where: str) -> bool:
    """Whether a folder would be gone with its page, and the browser can keep a copy."""
    if not host.in_pyodide():
        return False
    from jobspan.web import mirror

    os.makedirs(where, exist_ok=True)  # else nobody knows where it would be
    return mirror.is_fleeting(os.path.join(where, FOLDER))


def _open_folder(where: str, *, group: bool) -> FolderStore:
    return FolderStore(os.path.join(where, FOLDER), group=group)


def _legacy(backend: Any) -> Store:
    from jobspan.memory.legacy import LegacyStore

    return LegacyStore(backend)
