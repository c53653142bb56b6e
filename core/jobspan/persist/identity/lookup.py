"""What the names that a function uses lead to: its globals, what is looked up on modules, and what it imports.

Modules of the user's own are followed to what is used of them, and installed ones count by name. Globals that are plain
data become parts; other functions and classes become parts by the digest that is made of them here.

Invariant: everything that was looked up is watched, and nothing is left out without a note.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

from jobspan.errors import UnhashableError
from jobspan.persist.content import is_installed, note_installed
from jobspan.persist.culprit import name_kind
from jobspan.persist.hashing import digest
from jobspan.persist.identity.identify import ABSENT, Part
from jobspan.persist.identity.names import Import, Names
from jobspan.persist.identity.naming import full_name, home_of, main_is_main, show
from jobspan.persist.identity.simple import is_simple, names_code

_OF_A_MODULE = frozenset(
    {
        "__annotations__",
        "__builtins__",
        "__cached__",
        "__conditional_annotations__",
        "__doc__",
        "__file__",
        "__loader__",
        "__name__",
        "__package__",
        "__path__",
        "__spec__",
    }
)

Key = tuple[int, str]
"""The id of a namespace, and a name in it."""


class _Asking(NamedTuple):
    """The function whose names are looked up.

    Attributes
    ----------
    attributes : frozenset of str
        All that it looks up on anything.
    uses : dict
        What was found: code by its digest.
    """

    attributes: frozenset[str]
    uses: dict[str, Any]


class Lookup:
    """Looks up names, for all functions of a walk.

    Parameters
    ----------
    notes : set of str
        Takes what is to be said.
    assigned : set of tuple
        The globals that functions of the walk set, so that they cannot be what it depends on; more are added.

    Attributes
    ----------
    parts : dict
        The globals that are plain data.
    watched : dict
        ``(namespace.get, name, value)`` of each that was looked up.
    """

    def __init__(self, notes: set[str], assigned: set[Key]) -> None:
        self.parts: dict[Key, Part] = {}
        self.watched: dict[Key, tuple[Callable[[str, Any], Any], str, Any]] = {}
        self._notes = notes
        self._assigned = assigned

    def find_uses(self, function: Any, names: Names) -> dict[str, Any]:
        """What stands for everything that a function names."""
        asking = _Asking(names.attributes, {})
        namespace = function.__globals__
        where = home_of(function)
        self._assigned.update((id(namespace), name) for name in names.assigned)
        for chain in sorted(names.chains):
            self._follow(namespace, where, chain, asking)
        for each in sorted(names.imports):
            self._import(each, function, asking)
        return asking.uses

    def watch(self, namespace: Any, name: str) -> Any:
        """What a name is bound to, from now on watched."""
        value = namespace.get(name, ABSENT)
        self.watched[id(namespace), name] = namespace.get, name, value
        return value

    def _follow(
        self, namespace: Any, where: str, chain: tuple[str, ...], asking: _Asking, around: tuple[int, ...] = ()
    ) -> None:
        """Where a name, and attributes looked up on what it is bound to, lead."""
        name = chain[0]
        if name in _OF_A_MODULE:
            return
        where = main_is_main(where)
        if (id(namespace), name) in self._assigned:
            self._notes.add(
                f"the global {where}:{name} is not part of the key, since it is assigned while functions run."
            )
            return
        value = self.watch(namespace, name)
        label = f"{where}.{name}"
        if value is ABSENT:
            if not hasattr(builtins, name):
                asking.uses[label] = "undefined"
        elif isinstance(value, ModuleType):
            asking.uses[label] = "module", main_is_main(value.__name__)
            if is_installed(value.__name__):
                note_installed(value.__name__)
            elif chain[1:]:
                self._follow(vars(value), value.__name__, chain[1:], asking, around)
            elif id(value) not in around:
                self._follow_all(value, asking, around)
        elif names_code(value):
            asking.uses[label] = digest(value)
        elif (id(namespace), name) not in self.parts:
            self._take_data(namespace, f"{where}:{name}", name, value)

    def _follow_all(self, module: ModuleType, asking: _Asking, around: tuple[int, ...] = ()) -> None:
        """Whatever a function may look up on a module that it handles as a value."""
        for attribute in sorted(asking.attributes & vars(module).keys()):
            self._follow(vars(module), module.__name__, (attribute,), asking, (*around, id(module)))

    def _take_data(self, namespace: Any, full: str, name: str, value: Any) -> None:
        pathlib = sys.modules.get("pathlib")
        if pathlib is not None and isinstance(value, pathlib.PurePath) and value.is_absolute():
            self._notes.add(f"the global {full} is an absolute path: where it is another one, so is the key.")
        if is_simple(value):
            try:
                self.parts[id(namespace), name] = Part(full, "global", digest(value), show(value))
            except UnhashableError:  # an array of objects, of which one has no content
                pass
            else:
                return
        self._notes.add(
            f"the global {full} ({name_kind(value)}) is not part of the key; say depends=... if results depend on it."
        )

    def _import(self, wanted: Import, function: Any, asking: _Asking) -> None:
        """What a function imports where it runs."""
        package = wanted.module.partition(".")[0]
        if not wanted.level and is_installed(package):
            note_installed(package)
            return
        from importlib import import_module

        names = function.__globals__
        relative = "." * wanted.level + wanted.module
        parent = names.get("__package__") or getattr(names.get("__spec__"), "parent", None)
        try:
            module = import_module(relative, parent)
        except Exception as error:  # noqa: BLE001  a module that is imported may raise anything
            self._notes.add(
                f"{full_name(function)} imports {relative}, which is not part of the key: it cannot be imported here "
                f"({type(error).__name__}: {error})."
            )
            return
        for name in wanted.names:
            self._follow(vars(module), module.__name__, (name,), asking)
        if not wanted.names:
            parts = module.__name__.split(".")
            for end in range(1, len(parts) + 1):
                self._follow_all(sys.modules[".".join(parts[:end])], asking)
