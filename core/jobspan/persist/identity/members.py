"""What stands for a class in a digest: its bases, its functions, its simple attributes, its fields.

What Python, `dataclasses`, `enum` or `typing` add of their own is left out: it follows from the rest, and differs from
version to version.

Invariant: the same class has the same content in every version of Python.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import cached_property, partialmethod, singledispatchmethod
from types import FunctionType, UnionType
from typing import Any

from jobspan.persist.content import ATOMS, is_installed
from jobspan.persist.identity.simple import is_simple

_ADDING = frozenset({"abc", "collections", "dataclasses", "enum", "reprlib", "typing"})
_FLAGS = ("init", "repr", "eq", "order", "unsafe_hash", "frozen")
_FIELD = ("init", "repr", "hash", "compare", "kw_only")
_GENERATED = "<string>"

Note = Callable[[str, Any], None]
"""Is told of an attribute that does not count, and its value."""


def take_members(kind: type, note: Note) -> dict[str, Any]:
    """What a class defines itself, as something that has a digest; its bases are named among it."""
    found: dict[str, Any] = {"<bases>": kind.__bases__}
    if type(kind) is not type:
        found["<metaclass>"] = type(kind)
    if annotations := _annotations(kind):
        found["<annotations>"] = list(annotations.items())
    if "__dataclass_fields__" in vars(kind):
        found["<fields>"] = _fields(kind, note)
    if (members := _enum_members(kind)) is not None:
        found["<members>"] = [(name, member.value) for name, member in members.items()]
    for name, value in _attributes(kind):
        taken = _take(value)
        if taken is not None:
            if not _is_added(kind, value):
                found[name] = taken
        elif name == "__slots__" or (members is None and _is_attribute(name, value) and is_simple(value)):
            found[name] = value
        elif members is None and _is_attribute(name, value) and not name.startswith("_"):
            note(name, value)
    return found


def _enum_members(kind: type) -> Any:
    return vars(kind).get("_member_map_")


def _attributes(kind: type) -> Iterator[tuple[str, Any]]:
    """What a class has; an enum's functions by their own names, since versions differ in how it keeps them."""
    if _enum_members(kind) is None:
        yield from vars(kind).items()
        return
    for name, value in vars(kind).items():
        function = getattr(value, "__func__", value) if name == "_generate_next_value_" else value
        yield getattr(function, "__name__", name) if isinstance(function, FunctionType) else name, function


def _take(value: Any) -> Any:
    """What stands for a function, or what wraps one; None for all else."""
    match value:
        case FunctionType() | property() | staticmethod() | classmethod() | type():
            return value
        case cached_property():
            return "cached_property", value.func
        case partialmethod():
            return "partialmethod", value.func, value.args, value.keywords
        case singledispatchmethod():
            return "singledispatchmethod", value.func, value.dispatcher
    wrapped = getattr(value, "__wrapped__", None)
    return ("wrapped", type(value), wrapped) if isinstance(wrapped, FunctionType) else None


def _is_added(kind: type, value: Any) -> bool:
    """Whether nobody has written a method, but a decorator or base has added it."""
    if isinstance(value, type):
        return _enum_members(kind) is not None  # such as the type of its members' values
    function = getattr(value, "__func__", value)
    if not isinstance(function, FunctionType):
        return False
    if function.__globals__.get("__name__") in _ADDING or function.__name__ == "__annotate__":
        return True
    makes = "__dataclass_fields__" in vars(kind) or "_field_defaults" in vars(kind)
    return makes and function.__code__.co_filename == _GENERATED


def _is_attribute(name: str, value: Any) -> bool:
    """Whether somebody gave the class an attribute: it is none of Python's own, nor the descriptor of a slot."""
    is_descriptor = hasattr(type(value), "__get__") and is_installed(type(value).__module__)
    return not is_descriptor and not (name.startswith("__") and name.endswith("__"))


def _fields(kind: Any, note: Note) -> list[Any]:
    """The fields of a dataclass, and what it was told."""
    params = kind.__dataclass_params__
    found: list[Any] = [{flag: getattr(params, flag) for flag in _FLAGS}]
    missing = sys.modules["dataclasses"].MISSING
    for name, field in kind.__dataclass_fields__.items():
        default: tuple[Any, ...] = ("default", field.default) if field.default is not missing else ()
        if field.default_factory is not missing:
            default = "made by", field.default_factory
        if default and not is_simple(default[1]):
            note(name, default[1])
            default = (default[0],)
        its_kind = field._field_type.name  # noqa: SLF001  nothing else says whether it is a ClassVar
        found.append((name, its_kind, default, {each: getattr(field, each) for each in _FIELD}))
    return found


def _annotations(kind: type) -> dict[str, str]:
    """The names that a class annotates itself, with what they are annotated with."""
    if sys.version_info >= (3, 14):
        import annotationlib

        found = annotationlib.get_annotations(kind, format=annotationlib.Format.FORWARDREF)
    else:
        found = vars(kind).get("__annotations__", {})
    return {name: _spell(value) for name, value in found.items()}


def _spell(annotation: Any) -> str:
    """An annotation as a text; `repr` differs between versions."""
    if isinstance(annotation, str):
        return annotation
    if annotation is None or annotation is type(None):
        return "None"
    arguments = getattr(annotation, "__args__", None)
    if isinstance(arguments, tuple):
        origin = getattr(annotation, "__origin__", None)
        if isinstance(annotation, UnionType) or _name_of(origin) == "typing:Union":
            return " | ".join(map(_spell, arguments))
        return f"{_spell(origin)}[{', '.join(map(_spell, arguments))}]"
    if isinstance(annotation, list | tuple):
        return f"[{', '.join(map(_spell, annotation))}]"
    return _name_of(annotation)


def _name_of(annotation: Any) -> str:
    for name in ("__forward_arg__", "__qualname__", "__name__", "_name"):
        found = getattr(annotation, name, None)
        if isinstance(found, str):
            module = getattr(annotation, "__module__", "")
            return found if module == "builtins" or name == "__forward_arg__" else f"{module}:{found}"
    return repr(annotation) if type(annotation) in ATOMS else type(annotation).__qualname__  # as in Literal[1]
