"""The walk from a function to everything of the user's own that it uses, which makes its identity.

Everything that is met becomes a part once, whatever the way to it, so functions may call each other in circles. A part
names what it uses, and does not hold it; only where names do not tell apart, as those of lambdas and of functions
inside functions, does it hold a digest of what the other has of its own.

Invariant: digests depend on what is reached, never on what was identified before; the walk runs no code of the user's
but the imports that his function would run.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from types import FunctionType
from typing import Any, NamedTuple
from weakref import ref

from jobspan.errors import UnhashableError
from jobspan.persist.content import is_found_by_name, is_identified, is_installed
from jobspan.persist.culprit import name_kind
from jobspan.persist.hashing import digest
from jobspan.persist.identity.code import Code, code_of, read_code
from jobspan.persist.identity.identify import ABSENT, Identity, Met, Part, Watch, read_cell, walking
from jobspan.persist.identity.lookup import Key, Lookup
from jobspan.persist.identity.members import take_members
from jobspan.persist.identity.naming import full_name, home_of, is_of_installed, name_of, show
from jobspan.persist.identity.simple import is_simple
from jobspan.persist.pickling import travels_by_value

_SCHEME = 1
_NOTHING = digest(None)
_PYTHON = f"Python {sys.version_info.major}.{sys.version_info.minor}"


class _Own(NamedTuple):
    """What a function or class has of its own."""

    code: bytes
    text: str = ""
    defaults: bytes = _NOTHING
    captured: tuple[Part, ...] = ()

    @property
    def digest(self) -> bytes:
        return digest((self.code, self.defaults, [(name, content) for name, _, content, _ in self.captured]))


def walk_from(function: Any) -> Identity:
    """The identity of a callable."""
    assigned: set[Key] = set()
    while True:
        before = len(assigned)
        walk = Walk(function, assigned)
        token = walking.set(walk)
        try:
            identity = walk.run()
        finally:
            walking.reset(token)
        if len(assigned) == before:
            return identity
        # Some function was seen to set a global, which those that were met earlier may have looked up: go again.


class Walk:
    """One walk.

    Parameters
    ----------
    top : callable
        Where it begins.
    assigned : set of tuple
        As for `Lookup`.

    Attributes
    ----------
    is_asking : bool
        Whether an object is just being asked for its own identity.
    """

    def __init__(self, top: Any, assigned: set[Key]) -> None:
        self.is_asking = False
        self._top = top
        self._parts: set[Part] = set()
        self._notes: set[str] = set()
        self._modules: set[str] = set()
        self._portable = True
        self._lookup = Lookup(self._notes, assigned)
        self._cells: list[tuple[Any, Any]] = []
        self._functions: list[tuple[Any, Any, Any, Any]] = []
        self._met: dict[int, Any] = {}
        self._left: list[Any] = []
        self._owns: dict[int, _Own] = {}
        self._under_way: set[int] = set()

    def run(self) -> Identity:
        """Go everywhere."""
        if is_identified(type(self._top)):
            asked = self._ask(self._top)
            if isinstance(asked, Identity):
                return asked
            self._top = asked
        top = self._top
        if _is_own(top):
            name = name_of(top)
            self.refer(top)
            own = self._own(top).digest
        else:
            name, own = self._take_other(top)
        while self._left:
            each = self._left.pop()
            if isinstance(each, type):
                self._take_class(each)
            else:
                self._take_function(each)
        return self._finish(name, own)

    def _finish(self, name: str, own: bytes) -> Identity:
        parts = self._parts.union(self._lookup.parts.values())
        found = digest(("identity", _SCHEME, name, own, sorted((part.name, part.digest) for part in parts)))
        whose = _hold(self._top)
        return Identity(
            name,
            found,
            tuple(sorted(parts, key=lambda part: (part.kind, part.name, part.digest))),
            self._portable,
            tuple(sorted(self._notes)),
            tuple(sorted(self._modules)),
            function=whose,
            watch=Watch(tuple(self._lookup.watched.values()), tuple(self._cells), tuple(self._functions)),
        )

    def _take_other(self, top: Any) -> tuple[str, bytes]:
        """What is neither a function nor a class of the user's own: a name, or the content of an object."""
        try:
            own = digest(top)
        except UnhashableError as error:
            raise UnhashableError(
                f"{name_kind(top)} cannot be identified: it has no code, no name to import it by, and its content "
                f"cannot be hashed ({error}). Wrap it in a function, def call(...), or say what stands for it: "
                f"jobspan.register_hash({type(top).__name__}, function)."
            ) from error
        named = top
        while isinstance(named, partial):
            named = named.func
        has_name = hasattr(named, "__qualname__") or hasattr(named, "__name__")
        name = name_of(named if has_name else type(named))
        text = ""
        if (
            isinstance(named, FunctionType) and home_of(named).partition(".")[0] not in sys.stdlib_module_names
        ):  # its own code counts, if nothing that it uses there
            code = read_code(named)
            own, text = digest((own, code.digest)), code.text
            self._portable &= code.portable
            self.note_installed(home_of(named))
        self._parts.add(Part(name, "function", own, text))
        return name, own

    # What stands for what is met

    def refer(self, obj: Any) -> tuple[Any, ...]:
        """What stands for a function or class of the user's own, or an object that says what it is."""
        if is_identified(type(obj)):
            asked = self._ask(obj)
            return self._take_identity(asked) if isinstance(asked, Identity) else (digest(asked),)
        if id(obj) not in self._met:
            self._met[id(obj)] = obj
            self._left.append(obj)
        name = full_name(obj)
        return (name, self._own(obj).digest) if "<" in name else (name,)

    def note_installed(self, module: str) -> None:
        """Something of an installed module was met."""
        package = module.partition(".")[0]
        if package and package not in sys.stdlib_module_names and package != "jobspan":
            self._modules.add(package)

    def _ask(self, obj: Any) -> Any:
        """The function that an object stands for; its identity where that came from elsewhere."""
        self.is_asking = True
        try:
            asked = obj.__jobspan_identity__()
        except Met as met:
            return met.function
        finally:
            self.is_asking = False
        if isinstance(asked, Identity) and asked.function is not None:
            return asked.function
        return asked

    def _take_identity(self, identity: Identity) -> tuple[Any, ...]:
        text = next((part.text for part in identity.parts if part.kind == "function"), "")
        self._parts.add(Part(identity.name, "helper", identity.digest, text))
        self._notes.update(identity.notes)
        self._modules.update(identity.modules)
        self._portable &= identity.portable
        return identity.name, identity.digest

    # What functions and classes have of their own

    def _own(self, obj: Any) -> _Own:
        key = id(obj)
        found = self._owns.get(key)
        if found is not None:
            return found
        if key in self._under_way:  # it captures itself
            return _Own(b"" if isinstance(obj, type) else self._code(obj).digest)
        self._under_way.add(key)
        found = self._owns[key] = self._own_of_class(obj) if isinstance(obj, type) else self._own_of_function(obj)
        self._under_way.discard(key)
        return found

    def _own_of_function(self, function: Any) -> _Own:
        code = self._code(function)
        defaults = _NOTHING
        if function.__defaults__ or function.__kwdefaults__:
            defaults = self._digest((function.__defaults__, function.__kwdefaults__), function, "has defaults that")
        captured = []
        cells = () if _registry_of(function) else function.__closure__ or ()
        for name, cell in sorted(zip(function.__code__.co_freevars, cells, strict=False)):
            value = read_cell(cell)
            self._cells.append((cell, value))
            if value is ABSENT:
                captured.append(Part(name, "captured", _NOTHING, "unbound"))
            elif is_of_installed(function) and not is_simple(value):
                self._notes.add(f"{full_name(function)} captures {name} ({name_kind(value)}), which does not count.")
            else:
                content = self._digest(value, function, f"captures {name}, which")
                captured.append(Part(name, "captured", content, show(value)))
        return _Own(code.digest, code.text, defaults, tuple(captured))

    def _digest(self, value: Any, function: Any, what: str) -> bytes:
        try:
            return digest(value)
        except UnhashableError as error:
            raise UnhashableError(
                f"{full_name(function)} {what} cannot be hashed: {error} Or hand it over as an argument, or make "
                f"it inside of the function."
            ) from error

    def _code(self, function: Any) -> Code:
        code = code_of(function)
        if not code.portable:
            self._portable = False
            self._notes.add(
                f"no source was found that compiles to the code of {full_name(function)}, so it is known by the "
                f"bytecode of {_PYTHON}: in another version of Python it is another function."
            )
        return code

    def _own_of_class(self, kind: Any) -> _Own:
        def note(name: str, value: Any) -> None:
            self._notes.add(
                f"the attribute {full_name(kind)}.{name} ({name_kind(value)}) is not part of the key; say depends=... "
                f"if results depend on it."
            )

        members = take_members(kind, note)
        content = digest(("class", full_name(kind), members))
        return _Own(content, "\n".join(f"{name}: {show(value)}" for name, value in members.items()))

    # What becomes a part

    def _take_function(self, function: Any) -> None:
        own = self._own(function)
        if function is not self._top:
            state = function.__code__, function.__defaults__, function.__kwdefaults__
            self._functions.append((function, *state))
        if is_of_installed(function):
            self.note_installed(home_of(function))
            uses = {full_name(kind): digest(each) for kind, each in _registry_of(function).items()}
        else:
            uses = self._lookup.find_uses(function, self._code(function).names)
        name = full_name(function)
        if function is not self._top:
            self._parts.add(Part(name, "helper", digest((own.digest, uses)), own.text))
            return
        self._parts.add(Part(name, "function", digest((own.code, uses)), own.text))
        self._parts.update(own.captured)
        held = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
        if held:
            self._parts.add(Part("defaults", "defaults", own.defaults, ", ".join(map(show, held))))

    def _take_class(self, kind: Any) -> None:
        own = self._own(kind)
        space = vars(kind)
        for name, value in space.items():
            if isinstance(value, FunctionType) or not name.startswith("__"):
                self._lookup.watch(space, name)
        self._parts.add(Part(full_name(kind), "class", own.digest, own.text))


def _is_own(top: Any) -> bool:
    """Whether it is a function or class of the user's own, or one that nobody could import."""
    if isinstance(top, type):
        return not is_installed(top.__module__) or travels_by_value(top)
    return isinstance(top, FunctionType) and not is_found_by_name(top)


def _registry_of(function: Any) -> Mapping[type, Any]:
    """The functions that `functools.singledispatch` chooses from; what it captures beside them is how it remembers."""
    registry = getattr(function, "registry", None) if is_of_installed(function) else None
    return registry if isinstance(registry, Mapping) else {}


def _hold(top: Any) -> Any:
    try:
        return ref(top)
    except TypeError:  # of some types of C there are no weak references
        return None
