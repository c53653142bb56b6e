"""Sparse arrays and matrices of scipy.

Invariant: one is its kind, its shape and its entries as they are stored; what it remembers about them is left out.
"""

from __future__ import annotations

from typing import Any

from scipy import sparse

from jobspan.persist.content import Coerce, Content, Take

_PARTS = {
    "bsr": ("data", "indices", "indptr"),
    "coo": ("data", "coords"),
    "csc": ("data", "indices", "indptr"),
    "csr": ("data", "indices", "indptr"),
    "dia": ("data", "offsets"),
    "lil": ("data", "rows"),
}


def find(kind: type) -> Take | None:
    """What takes apart objects of this type; None if it is left to pickle."""
    return _take_sparse if issubclass(kind, sparse.sparray | sparse.spmatrix) else None


def _take_sparse(array: Any, _: Coerce) -> Content:
    head = "sparse", type(array).__name__, array.shape, array.dtype
    if array.format == "dok":
        return *head, dict(array.items())
    return *head, [_part(array, name) for name in _PARTS[array.format]]


def _part(array: Any, name: str) -> Any:
    if name == "coords" and not hasattr(array, "coords"):  # before scipy 1.13
        return array.row, array.col
    return getattr(array, name)
