"""A function's syntax as bytes that are the same in every version of Python, for its digest.

Written by ourselves, since what `ast.dump` writes changes from version to version. A node is its name and those of its
fields that hold something, by name, so fields that newer versions add make no difference where they are not used.

Invariant: what Python would do differently is written differently. Comments, layout, docstrings, annotations, and
statements that do nothing are not written.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

_SAY_NOTHING = frozenset({"ctx", "kind", "type_comment", "type_ignores"})
_NOT_OF_ITS_OWN = frozenset({"name", "decorator_list"})


class _Values(NamedTuple):
    """Where nodes stand in a row, each of which may also be None."""

    nodes: Sequence[Any]
    in_class: bool


class _Node(NamedTuple):
    node: ast.AST
    in_class: bool = False


def write_syntax(node: Function) -> bytes:
    """The canonical text of a function or lambda.

    Its name, its decorators and the expressions of its defaults are left out: they are known by what they are, not by
    how they are written. Those of functions inside of it count.

    Parameters
    ----------
    node : ast.FunctionDef, ast.AsyncFunctionDef or ast.Lambda
        As `ast.parse` makes it.

    Returns
    -------
    bytes
        For a digest; nothing reads it back.
    """
    found: list[bytes] = []
    left: list[bytes | _Node | _Values] = list(_top(node))[::-1]
    while left:  # rather than by recursion: a sum of a thousand terms is a thousand nodes deep
        match left.pop():
            case bytes() as text:
                found.append(text)
            case _Values(nodes, in_class):
                found.append(b"[%d" % len(nodes))
                left += [b"-" if each is None else _wrap(each, in_class) for each in reversed(nodes)]
            case _Node(each, in_class):
                left += list(_parts(each, in_class))[::-1]
    return b"".join(found)


def names_outside_annotations(node: Function) -> frozenset[str]:
    """The names that a function's code and defaults use, other than those that only annotations name."""
    found: set[str] = set()
    left: list[Any] = [node]
    while left:
        each = left.pop()
        if isinstance(each, ast.Name):
            found.add(each.id)
        if isinstance(each, ast.AST):
            left += [value for name, value in ast.iter_fields(each) if name not in {"annotation", "returns"}]
        elif isinstance(each, list):
            left += each
    return frozenset(found)


def _top(node: Function) -> Iterator[bytes | _Node | _Values]:
    bare = ast.arguments(**{**dict(ast.iter_fields(node.args)), "defaults": [], "kw_defaults": []})
    fields = {name: value for name, value in ast.iter_fields(node) if name not in _NOT_OF_ITS_OWN}
    yield from _write(type(node).__name__, {**fields, "args": bare}, in_class=False)


def _parts(node: ast.AST, in_class: bool) -> Iterator[bytes | _Node | _Values]:
    fields = dict(ast.iter_fields(node))
    match node:
        case ast.Constant(value=value) | ast.MatchSingleton(value=value):
            yield b"(" + type(node).__name__.encode() + _write_constant(value) + b")"
            return
        case ast.JoinedStr(values=values):
            fields["values"] = list(_merge(values))
        case ast.FormattedValue(format_spec=ast.JoinedStr(values=values)) if not list(_merge(values)):
            del fields["format_spec"]  # f"{x:}"
        case ast.AnnAssign(target=target, value=value) if not in_class:
            if value is not None:
                yield from _write("Assign", {"targets": [target], "value": value}, in_class)
                return
            fields = {"target": target}
        case ast.ClassDef():
            in_class = True
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
            in_class = False
        case _:
            pass
    yield from _write(type(node).__name__, fields, in_class)


def _write(name: str, fields: dict[str, Any], in_class: bool) -> Iterator[bytes | _Node | _Values]:
    yield b"(" + name.encode()
    skipped = _SAY_NOTHING if in_class and name == "AnnAssign" else _SAY_NOTHING | {"annotation", "returns"}
    for field in sorted(fields):
        value = fields[field]
        if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
            value = _doing(value, in_class)
        if field in skipped or value is None or value in ([], 0):
            continue
        yield b" " + field.encode() + b" "
        yield _Values(value, in_class) if isinstance(value, list) else _wrap(value, in_class)
    yield b")"


def _wrap(value: Any, in_class: bool) -> bytes | _Node:
    """A node, or a name or number that stands in a field."""
    return _Node(value, in_class) if isinstance(value, ast.AST) else _write_constant(value)


def _doing(statements: list[ast.stmt], in_class: bool) -> list[ast.stmt]:
    """Those statements that do something; a docstring is a constant that stands for itself."""
    return [each for each in statements if not _does_nothing(each, in_class)]


def _does_nothing(statement: ast.stmt, in_class: bool) -> bool:
    match statement:
        case ast.Pass() | ast.Expr(value=ast.Constant()):
            return True
        case ast.AnnAssign(value=None, simple=1):
            return not in_class
    return False


def _merge(values: Iterable[ast.expr]) -> Iterator[ast.expr]:
    """The pieces of an f-string; versions differ in how many they cut its text into, and leave empty ones."""
    text = ""
    for each in values:
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            text += each.value
            continue
        if text:
            yield ast.Constant(text)
        text = ""
        yield each
    if text:
        yield ast.Constant(text)


def _write_constant(value: Any) -> bytes:
    """A constant with its type, so that nothing is taken for another: ``1``, ``1.0`` and ``True`` differ."""
    match value:
        case bool():
            return b"%r;" % value
        case int():
            return b"i%x;" % value
        case float():
            return b"f%s;" % value.hex().encode()
        case complex():
            return b"c%s,%s;" % (value.real.hex().encode(), value.imag.hex().encode())
        case str():
            data = value.encode("utf-8", "surrogatepass")
            return b"s%d:%s" % (len(data), data)
        case bytes():
            return b"b%d:%s" % (len(value), value)
    return b"%r;" % value  # None and Ellipsis: there are no others
