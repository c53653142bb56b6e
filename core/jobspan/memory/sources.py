"""What a function was when its results were computed: kept once for each version of it, for explanations.

Invariant: nothing here decides whether a result is used; it only tells why one is not.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from jobspan.memory.store import Store
from jobspan.persist.identity.identify import Identity

_SHOWN_LINES = 40


class Version(NamedTuple):
    """A function at some time.

    Attributes
    ----------
    parts : dict
        The digest and the text of each part of it, by kind and name.
    python : str
        The Python that it ran on.
    packages : dict
        The versions of the installed packages that it used.
    is_portable : bool
        Whether other versions of Python see the same code in it.
    """

    parts: dict[tuple[str, str], tuple[str, str]]
    python: str
    packages: dict[str, str]
    is_portable: bool


def version_of(identity: Identity) -> Version:
    """The function as it is now."""
    parts = {(part.kind, part.name): (part.digest.hex(), part.text) for part in identity.parts}
    python = "{}.{}.{}".format(*sys.version_info)
    return Version(parts, python, identity.packages, identity.portable)


def write_version(store: Store, folder: str, code: str, identity: Identity) -> None:
    """Keep it, unless that was done."""
    if read_version(store, folder, code) is not None:
        return
    import json

    version = version_of(identity)
    parts = [[*names, *digest_and_text] for names, digest_and_text in version.parts.items()]
    known = {"parts": parts, "python": version.python, "packages": version.packages, "portable": version.is_portable}
    store.write(_name(folder, code), json.dumps(known).encode())


def read_version(store: Store, folder: str, code: str) -> Version | None:
    """The function as it was; None if nobody knows."""
    data = store.read(_name(folder, code))
    if data is None:
        return None
    import json

    try:
        known: dict[str, Any] = json.loads(data)
        parts = {(kind, name): (digest, text) for kind, name, digest, text in known["parts"]}
        return Version(parts, known["python"], known["packages"], known["portable"])
    except (ValueError, KeyError, TypeError):  # it was torn, or altered
        return None


def _name(folder: str, code: str) -> str:
    return f"{folder}/code/{code}"


def count_changes(old: Version, new: Version) -> int:
    """How many parts are different."""
    unknown = ("", "")
    return sum(
        old.parts.get(names, unknown)[0] != new.parts.get(names, unknown)[0] for names in {*old.parts, *new.parts}
    )


def tell_changes(old: Version, new: Version) -> Iterator[str]:
    """What is different, a line each, and the difference of the source below it."""
    for names in sorted({*old.parts, *new.parts}):
        kind, name = names
        before, after = old.parts.get(names), new.parts.get(names)
        if before is None or after is None:
            yield f"{_what(kind, name)} {'is new' if before is None else 'is not used any more'}"
        elif before[0] != after[0]:
            yield f"{_what(kind, name)} has changed"
            yield from _tell_difference(before[1], after[1])
    if old.python != new.python and not (old.is_portable and new.is_portable):
        yield f"it has no source, and ran on Python {old.python}; this is {new.python}"
    for package in sorted({*old.packages, *new.packages}):
        versions = [version.packages.get(package) for version in (old, new)]
        if None not in versions and versions[0] != versions[1]:
            yield f"{package} was {versions[0]}, and is {versions[1]} now; that counts with depends='versions' only"


def _what(kind: str, name: str) -> str:
    words = {"function": f"{name} itself", "captured": f"the captured variable {name}", "defaults": "a default value"}
    return words.get(kind, f"{kind} {name}")


def _tell_difference(before: str, after: str) -> Iterator[str]:
    from difflib import unified_diff

    if "\n" not in before + after:
        if before and after and before != after:
            yield f"    {before} -> {after}"
        return
    lines = list(unified_diff(before.splitlines(), after.splitlines(), "before", "now", n=1, lineterm=""))[2:]
    for line in lines[:_SHOWN_LINES]:
        yield f"    {line}"
    if len(lines) > _SHOWN_LINES:
        yield f"    ... and {len(lines) - _SHOWN_LINES} more lines"
