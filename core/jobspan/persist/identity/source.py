"""Finds the source of a function: the node of its syntax, by its code.

The text is what `linecache` has, of files, of notebooks' cells, and of what an importer can tell. It is compiled again,
and only a code object that equals the function's own vouches for it: a file that was edited, or rewritten when it was
imported, never gives the source of something else.

Invariant: the node that is found compiles to the code that was asked for, if need be some lines further up or down.
"""

from __future__ import annotations
import __future__

import ast
import linecache
import warnings
from _thread import allocate_lock
from collections.abc import Iterator
from types import CodeType
from typing import Any, NamedTuple

from jobspan.persist.identity.syntax import Function, write_syntax

_MANY = 32
_DEFS = (ast.FunctionDef, ast.AsyncFunctionDef)
_NESTED = 0x10  # inspect.CO_NESTED, which would have to be imported
_FUTURE = 0
for _name in __future__.all_feature_names:
    _FUTURE |= getattr(__future__, _name).compiler_flag


class Source(NamedTuple):
    """Where a function is written.

    Attributes
    ----------
    node : ast.FunctionDef, ast.AsyncFunctionDef or ast.Lambda
        Its syntax.
    text : str
        As it is written, comments included, and moved to the left.
    """

    node: Function
    text: str


def find_source(code: CodeType, names: dict[str, Any]) -> Source | None:
    """The source of a function; None where there is none that compiles to its code.

    Parameters
    ----------
    code : code object
        The function's ``__code__``.
    names : dict
        Its ``__globals__``, whose importer may know the source.
    """
    file = code.co_filename
    lines = linecache.getlines(file, names)
    found = _find_in(lines, code)
    if found is None and lines:
        linecache.checkcache(file)  # it is what the file held when somebody else asked for it
        again = linecache.getlines(file, names)
        found = None if again == lines else _find_in(again, code)
    return found


def _find_in(lines: list[str], code: CodeType) -> Source | None:
    parsed = _parse("".join(lines), code.co_flags & _FUTURE) if lines else None
    node = None if parsed is None else parsed.find(code)
    return None if node is None else Source(node, _cut(lines, node))


def _cut(lines: list[str], node: Function) -> str:
    """The text of a node; columns count bytes."""
    assert node.end_lineno is not None, "what is parsed has positions"
    cut = [line.encode() for line in lines[node.lineno - 1 : node.end_lineno]]
    cut[-1] = cut[-1][: node.end_col_offset]
    cut[0] = cut[0][node.col_offset :]
    margin = node.col_offset if isinstance(node, _DEFS) else 0
    rest = [line[margin:] if not line[:margin].strip() else line for line in cut[1:]]
    return b"".join([cut[0], *rest]).decode()


_NOT_COMPILED = SyntaxError, ValueError, RecursionError, MemoryError
"""What `compile` raises: ValueError is a null byte's, the last two are what too much nesting raises."""

_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")


class _Parsed:
    """A source text, and what it compiles to.

    Parameters
    ----------
    tree : ast.Module
        Its syntax.
    text : str
        The text.
    future : int
        What is to be imported from ``__future__``, as flags of `compile`.
    """

    def __init__(self, tree: ast.Module, text: str, future: int) -> None:
        self._tree = tree
        self._text = text
        self._future = future
        self._nodes: dict[tuple[str, int], list[Function]] = {}
        self._around: dict[int, ast.stmt] = {}  # by the id of a definition, the statement of the module that has it
        for top in tree.body:
            for node in (top, *_statements(top)):
                if isinstance(node, _DEFS):
                    first = node.decorator_list[0] if node.decorator_list else node
                    self._nodes.setdefault((node.name, first.lineno), []).append(node)
                    self._around[id(node)] = top
        self._has_lambdas = False
        self._inside: dict[int, list[CodeType]] = {}  # what statements of the module compile to
        self._codes: dict[str, list[CodeType]] | None = None

    def find(self, code: CodeType) -> Function | None:
        """The node that `code` was compiled from, or would be if its file had other lines above."""
        nodes = self._nodes.get((code.co_name, code.co_firstlineno), ())
        if len(nodes) == 1 and code in self._compile_around(nodes[0]):
            return nodes[0]
        if self._codes is None:
            self._codes = self._compile_all()
        alike = self._codes.get(code.co_name, ())
        for same in alike:
            if same == code:
                return self._node_of(same)
        for moved in alike:
            if moved.co_qualname == code.co_qualname and _move(code, moved.co_firstlineno) == moved:
                return self._node_of(moved)
        return None

    def _compile_around(self, node: Function) -> list[CodeType]:
        """The functions in the statement of the module that has this definition; none if it cannot stand alone."""
        top = self._around.get(id(node))
        if top is None:  # a lambda's, which may be one of several in its line
            return []
        found = self._inside.get(id(top))
        if found is None:
            try:
                alone = ast.Module([*_imports(self._tree), top], [])  # what is imported is called by other instructions
                found = list(_inside(_compile(alone, "exec", self._future)))
            except _NOT_COMPILED:
                found = []
            self._inside[id(top)] = found
        return found

    def _compile_all(self) -> dict[str, list[CodeType]]:
        """All functions by their names; none if the text cannot be compiled."""
        codes: dict[str, list[CodeType]] = {}
        for flags in (self._future, self._future | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT):  # a notebook's cell may await
            try:
                module = _compile(self._text, "exec", flags)
            except _NOT_COMPILED:
                continue
            for code in _inside(module):
                codes.setdefault(code.co_name, []).append(code)
            break
        return codes

    def _find_lambdas(self) -> None:
        """They may be anywhere, so this takes long, and is only done when one is asked for."""
        self._has_lambdas = True
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Lambda):
                self._nodes.setdefault(("<lambda>", node.lineno), []).append(node)

    def _node_of(self, code: CodeType) -> Function | None:
        if code.co_name == "<lambda>" and not self._has_lambdas:
            self._find_lambdas()
        nodes = self._nodes.get((code.co_name, code.co_firstlineno), [])
        if len(nodes) > 1:
            nodes = [node for node in nodes if _is_compiled_to(node, code)] or _innermost(nodes, code)
        if len(nodes) > 1 and len(set(map(write_syntax, nodes))) > 1:
            return None  # with -X no_debug_ranges there are no columns
        return nodes[0] if nodes else None


def _statements(node: Any) -> Iterator[ast.stmt]:
    """All statements below a node; functions are defined in no other place."""
    for name in _BLOCKS:
        for each in getattr(node, name, ()):
            if isinstance(each, ast.stmt):
                yield each
            yield from _statements(each)


def _imports(node: Any) -> Iterator[ast.stmt]:
    """What a module imports itself, rather than functions or classes in it."""
    for name in _BLOCKS:
        for each in getattr(node, name, ()):
            if isinstance(each, ast.Import | ast.ImportFrom):
                yield each
            elif not isinstance(each, (*_DEFS, ast.ClassDef)):
                yield from _imports(each)


def _inside(code: CodeType) -> Iterator[CodeType]:
    """The code objects inside of one."""
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield const
            yield from _inside(const)


def _move(code: CodeType, line: int) -> CodeType:
    """The code as it would be if it began in another line."""
    by = line - code.co_firstlineno
    consts = tuple(
        _move(each, each.co_firstlineno + by) if isinstance(each, CodeType) else each for each in code.co_consts
    )
    return code.replace(co_firstlineno=line, co_consts=consts)


def _is_compiled_to(node: Function, code: CodeType) -> bool:
    """Whether a lambda gives this code even without what is around it: it captures nothing then."""
    if not isinstance(node, ast.Lambda):
        return False
    args = {**dict(ast.iter_fields(node.args)), "defaults": [], "kw_defaults": [None] * len(node.args.kwonlyargs)}
    alone = ast.copy_location(ast.Lambda(ast.arguments(**args), node.body), node)
    compiled = _compile(ast.Expression(alone), "eval", code.co_flags & _FUTURE)
    return _unnest(code) in map(_unnest, compiled.co_consts)


def _unnest(code: Any) -> Any:
    """The code as if no function were around it."""
    return code.replace(co_flags=code.co_flags & ~_NESTED) if isinstance(code, CodeType) else code


def _innermost(nodes: list[Function], code: CodeType) -> list[Function]:
    """Of several lambdas of a line, that whose body holds all that the code does; the others if it says not where."""
    places = [
        ((line, column), (end_line, end_column))
        for line, end_line, column, end_column in code.co_positions()
        if line is not None and end_line is not None and column is not None and end_column
    ]
    if not places:
        return nodes
    first, last = min(begin for begin, _ in places), max(end for _, end in places)
    around = [node for node in nodes if _span(node)[0] <= first and last <= _span(node)[1]]
    return [max(around, key=lambda node: _span(node)[0])] if around else []


def _span(node: Function) -> tuple[tuple[int, int], tuple[int, int]]:
    body = node.body if isinstance(node.body, list) else [node.body]
    return (body[0].lineno, body[0].col_offset), (body[-1].end_lineno or 0, body[-1].end_col_offset or 0)


_parsed: dict[tuple[str, int], _Parsed | None] = {}
_parsing = allocate_lock()
_compiling = allocate_lock()


def _parse(text: str, future: int) -> _Parsed | None:
    """A source text, parsed once; None if it is not Python, and so not what the function was made of."""
    key = text, future
    with _parsing:
        if key in _parsed:
            return _parsed[key]
        while len(_parsed) >= _MANY:
            del _parsed[next(iter(_parsed))]
        parsed = _parsed[key] = _parse_anew(text, future)
        return parsed


def _parse_anew(text: str, future: int) -> _Parsed | None:
    try:
        return _Parsed(_compile(text, "exec", future | ast.PyCF_ONLY_AST), text, future)
    except _NOT_COMPILED:
        return None


def _compile(what: str | ast.AST, mode: str, flags: int) -> Any:
    with _compiling, warnings.catch_warnings():  # which is for one thread at a time
        warnings.simplefilter("ignore")  # what there is to say was said when it was first compiled
        return compile(what, "", mode, flags, dont_inherit=True)  # type: ignore[arg-type]
