"""What a function's code is in a digest: its syntax, or its bytecode where there is no source.

Invariant: a code object is looked at once; a digest of bytecode is never that of another version of Python.
"""

from __future__ import annotations

from hashlib import sha256
from types import CodeType
from typing import Any, NamedTuple

from jobspan.persist.hashing import SIZE, digest
from jobspan.persist.identity.identify import make_room
from jobspan.persist.identity.names import Names, find_names
from jobspan.persist.identity.naming import home_of, is_of_installed
from jobspan.persist.identity.source import find_source
from jobspan.persist.identity.syntax import names_outside_annotations, write_syntax

_MANY = 1024


class Code(NamedTuple):
    """What is known of a code object.

    Attributes
    ----------
    code : code object
        Which it is.
    digest : bytes
        16 bytes.
    text : str
        Its source; empty where there is none.
    names : Names
        What it looks up.
    portable : bool
        Whether other versions of Python find the same.
    """

    code: CodeType
    digest: bytes
    text: str
    names: Names
    portable: bool


_known: dict[int, Code] = {}  # with the code object, so that its id remains its own


def code_of(function: Any) -> Code:
    """What is known of a function's code."""
    key = id(function.__code__)
    known = _known.get(key)
    if known is None:
        make_room(_known, _MANY)
        known = _known[key] = _read(function)
    return known


def _read(function: Any) -> Code:
    if is_of_installed(function):
        code = function.__code__
        name = digest(("installed", home_of(function), code.co_qualname))
        return Code(code, name, "", find_names(code), portable=True)
    return read_code(function)


def read_code(function: Any) -> Code:
    """The same, of installed code as well, which is known by its name elsewhere."""
    code = function.__code__
    names = find_names(code)
    source = find_source(code, function.__globals__)
    if source is None:
        return Code(code, digest(code), "", names, portable=False)
    named = names_outside_annotations(source.node)
    names = names._replace(chains=frozenset(chain for chain in names.chains if chain[0] in named))
    return Code(code, sha256(write_syntax(source.node)).digest()[:SIZE], source.text, names, portable=True)
