"""What of the caller's interpreter a worker needs in order to run the caller's functions.

Invariant: only looks. A survey is cheap enough to be made at every call; files are read when a worker needs them.
"""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple, TypeAlias

from jobspan.errors import say_once

MAX_PROJECT_BYTES = 20_000_000
"""Modules of the working directory and of the caller's own folders on ``sys.path``, all together."""

Stamp: TypeAlias = tuple[int, ...]

_PASSED_OVER = frozenset({"__pycache__", "node_modules"})


class Survey(NamedTuple):
    """What is installed and importable, with stamps that tell when it changes.

    Attributes
    ----------
    folder : str
        The working directory.
    path : tuple of str
        ``sys.path``.
    installed : dict
        What lies in site-packages, whole: path to stamp.
    project : dict
        Files of modules and packages in the other folders of ``sys.path``: path to stamp.
    """

    folder: str
    path: tuple[str, ...]
    installed: dict[str, Stamp]
    project: dict[str, Stamp]

    def is_extended_by(self, new: Survey) -> bool:
        """Whether what was there then is still there, unchanged, so that adding the rest is enough."""
        return all(new.installed.get(path) == stamp for path, stamp in self.installed.items()) and all(
            new.project.get(path, stamp) == stamp for path, stamp in self.project.items()
        )

    def files(self, known: Survey | None = None) -> list[str]:
        """The files that `known` does not have."""
        there: set[str] = set() if known is None else {*known.installed, *known.project}
        installed = (path for path in self.installed if path not in there)
        return [*_expand(installed), *(path for path in self.project if path not in there)]


def survey() -> Survey:
    """Look at ``sys.path`` and the working directory."""
    folder = os.getcwd()
    own = _standard_library()
    installed: dict[str, Stamp] = {}
    project: dict[str, Stamp] = {}
    for entry in sys.path:
        place = os.path.join(folder, entry)
        if place in own:
            continue
        if os.path.basename(place) in ("site-packages", "dist-packages"):
            installed.update(_survey_installed(place))
        elif os.path.isdir(place):
            _survey_project(place.rstrip("/") or "/", project)
        elif os.path.isfile(place):
            project[place] = _stamp(os.stat(place))
    return Survey(folder, tuple(sys.path), installed, project)


@cache
def _standard_library() -> frozenset[str]:
    """The entries of ``sys.path`` that every interpreter has."""
    places = [os.path.dirname(os.__file__)]
    for kind in ("stdlib", "platstdlib"):
        folder = sysconfig.get_path(kind)
        places += [folder, os.path.join(folder, "lib-dynload")]
    return frozenset(places)


def _survey_installed(place: str) -> Iterator[tuple[str, Stamp]]:
    for entry in _entries(place):
        # The stamp of a package's folder tells nothing: it changes when a cache is written into it.
        plain = entry.is_dir() and not entry.name.endswith(".dist-info")
        yield entry.path, () if plain else _stamp(entry.stat())


def _survey_project(place: str, found: dict[str, Stamp]) -> None:
    """Add the modules and packages in a folder, single modules first, as far as there is room."""
    room = MAX_PROJECT_BYTES - sum(stamp[1] for stamp in found.values())
    too_large = []
    for entry in sorted(_entries(place), key=lambda entry: (entry.is_dir(), entry.name)):
        if not _is_importable(entry):
            continue
        stamps = _stamps(entry.path, room) if entry.is_dir() else {entry.path: _stamp(entry.stat())}
        size = sum(stamp[1] for stamp in stamps.values())
        if size > room:
            too_large.append(entry.name)
        else:
            room -= size
            found.update(stamps)
    if too_large:
        say_once(
            f"workers will not find {', '.join(too_large)} of {place}: modules and packages that are not installed are "
            f"copied to workers up to {MAX_PROJECT_BYTES // 1_000_000} MB in all. Keep data out of packages, or "
            f"install the package."
        )


def _is_importable(entry: os.DirEntry[str]) -> bool:
    name, dot, suffix = entry.name.partition(".")
    if not name.isidentifier() or name in _PASSED_OVER:
        return False
    if entry.is_dir():
        return not dot and any(inner.name.endswith(".py") for inner in _entries(entry.path))
    return suffix == "py" or suffix.endswith("so")


def _stamps(folder: str, most_bytes: int) -> dict[str, Stamp]:
    """Stamps of all files below a folder; stops when they are too many bytes."""
    stamps = {}
    for path in _expand([folder]):
        stamps[path] = _stamp(os.stat(path))
        most_bytes -= stamps[path][1]
        if most_bytes < 0:
            break
    return stamps


def _expand(paths: Iterable[str]) -> Iterator[str]:
    """The files among `paths` and below the folders among them."""
    for path in paths:
        if os.path.isdir(path):
            yield from _below(path)
        elif os.path.isfile(path):  # not a link to nowhere
            yield path


def _below(folder: str) -> Iterator[str]:
    for entry in sorted(_entries(folder), key=lambda entry: entry.name):
        if entry.is_dir():
            if entry.name not in _PASSED_OVER:
                yield from _below(entry.path)
        elif entry.is_file():
            yield entry.path


def _entries(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not entry.name.startswith(".")]


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_mtime_ns, status.st_size


def compiled_packages(new: Survey) -> list[str]:
    """Normalized names of the installed distributions that have shared libraries."""
    names = []
    for path in new.installed:
        listing = os.path.join(path, "RECORD")
        if path.endswith(".dist-info") and os.path.isfile(listing):
            with open(listing, encoding="utf-8") as record:
                if any(re.search(r"\.so(\.[\d.]+)?,", line) for line in record):
                    names.append(_normalize(os.path.basename(path).partition("-")[0]))
    return names


def from_distribution(names: Iterable[str], loaded: dict[str, str]) -> list[str]:
    """Those of the packages that Pyodide loaded from its own distribution, and can load again by name."""
    own = {_normalize(name): name for name, channel in loaded.items() if channel == "default channel"}
    return [own[name] for name in names if name in own]


def _normalize(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
