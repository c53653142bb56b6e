"""The names that a function's code uses, with those of the functions inside of it, read off its bytecode.

`dis` would do it as well, at ten times the cost.

Invariant: what the code looks up among its globals is here, and so is what it imports.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from opcode import opmap
from types import CodeType
from typing import Any, NamedTuple

_EXTENDED = opmap["EXTENDED_ARG"]
_CACHE = opmap["CACHE"]
_CONST = opmap["LOAD_CONST"]
_SMALL_INT = opmap.get("LOAD_SMALL_INT", -1)  # from 3.14 on
_IMPORT = opmap["IMPORT_NAME"]
_NAME_OPS = {opmap[name] for name in ("LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS") if name in opmap}
_GLOBAL = opmap["LOAD_GLOBAL"]
_ATTRS = {opmap[name] for name in ("LOAD_ATTR", "LOAD_METHOD") if name in opmap}
_ATTR_SHIFT = 0 if sys.version_info < (3, 12) else 1  # the lowest bit says whether it is called
_STORES = {opmap[name] for name in ("STORE_GLOBAL", "DELETE_GLOBAL")}


class Import(NamedTuple):
    """An import inside of a function.

    Attributes
    ----------
    level : int
        How many dots there are before the name.
    module : str
        What is imported.
    names : tuple of str
        What is imported from it; empty for a plain ``import``.
    """

    level: int
    module: str
    names: tuple[str, ...]


class Names(NamedTuple):
    """What a function names.

    Attributes
    ----------
    chains : frozenset of tuple
        The names looked up among the globals, each with the attributes that are looked up on it at once: of
        ``os.path.join(a)`` it is ``("os", "path", "join")``.
    attributes : frozenset of str
        All attributes, whatever they are looked up on.
    imports : frozenset of Import
        What is imported where the function runs.
    assigned : frozenset of str
        The globals that the function sets.
    """

    chains: frozenset[tuple[str, ...]]
    attributes: frozenset[str]
    imports: frozenset[Import]
    assigned: frozenset[str]


def find_names(code: CodeType) -> Names:
    """What a function's code names."""
    chains: set[tuple[str, ...]] = set()
    attributes: set[str] = set()
    imports: set[Import] = set()
    assigned: set[str] = set()
    for each in _all(code):
        names, consts = each.co_names, each.co_consts
        chain: tuple[str, ...] = ()
        before: tuple[Any, Any] = 0, None  # what the last two instructions have put there, if constants
        for op, argument in _instructions(each.co_code):
            if op in _ATTRS:
                attribute = names[argument >> _ATTR_SHIFT]
                attributes.add(attribute)
                chain = (*chain, attribute) if chain else ()
                continue
            if chain:
                chains.add(chain)
                chain = ()
            if op == _GLOBAL:
                chain = (names[argument >> 1],)
            elif op in _NAME_OPS:
                chain = (names[argument],)
            elif op == _CONST:
                before = before[1], consts[argument]
            elif op == _SMALL_INT:
                before = before[1], argument
            elif op == _IMPORT:
                level, wanted = before
                imports.add(Import(level, names[argument], wanted or ()))
            elif op in _STORES:
                assigned.add(names[argument])
    return Names(frozenset(chains), frozenset(attributes), frozenset(imports), frozenset(assigned))


def _all(code: CodeType) -> Iterator[CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _all(const)


def _instructions(data: bytes) -> Iterator[tuple[int, int]]:
    """The instructions of a code object with their arguments, without the gaps that the interpreter uses."""
    extended = 0
    for op, argument in zip(data[::2], data[1::2], strict=True):
        if op == _EXTENDED:
            extended = (extended | argument) << 8
        elif op != _CACHE:
            yield op, extended | argument
            extended = 0
