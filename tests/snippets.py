"""Functions as texts, for `write_syntax`: what all Pythons have to write alike. Imported by other Pythons as well."""

from __future__ import annotations

import ast
from hashlib import sha256

from jobspan.persist.identity.syntax import Function, write_syntax

SNIPPETS = {
    "nothing": "def f(): pass",
    "arguments": "def f(a, /, b, *rest, c, **more): return a, b, rest, c, more",
    "defaults inside": "def f():\n def g(a, /, b=1, *, c, d=2): return a + b\n return g",
    "lambda": "lambda x, *y: (x, y)",
    "lambda in lambda": "lambda: lambda x=1: x",
    "async": "async def f(x):\n async with x as y:\n  async for z in y:\n   await z\n return [i async for i in x]",
    "generator": "def f():\n x = yield\n yield from x",
    "numbers": "lambda: (0, 1, 255, 1.0, True, False, 1j, 1e308, 5e-324, 1e999, 0.1, 10**5)",
    "huge number": f"lambda: {'9' * 3000}",
    "texts": "lambda: ('a', \"b'\", '\\n', '\\x00', 'Zo\u00eb \U0001f9e1', '\\ud800', '')",
    "joined texts": "lambda: 'a' 'b' \"c\"",
    "bytes": "lambda: (b'a', b'\\xff', b'')",
    "none and dots": "lambda: (None, ..., NotImplemented)",
    "f-string": "lambda x, w: f'a{{b}}{x!r:>{w}}c{x}'",
    "f-string of pieces": "lambda x: f'a' 'b' f'{x}' 'c' f'' f'{x:a{x}b}'",
    "f-string with an empty format": "lambda x: f'{x:}{x:%Y-%m}'",
    "f-string that shows itself": "lambda x: f'{x = }{x=!s}'",
    "f-string of one text": "lambda: f'abc'",
    "f-string in another": "lambda x: f'{f\"{x:>3}\"}'",
    "f-string with names of letters": "lambda x: f'\\N{BULLET}{x}'",
    "operators": "lambda a, b: (a + b - a * b / a // b % a ** b @ a, a << b >> a & b | a ^ b, -a, +a, ~a, not a)",
    "comparisons": "lambda a, b: a < b <= a == b != a >= b > a is b is not a in b not in a",
    "logic": "lambda a, b: a and b or (a if b else not a)",
    "subscripts": "lambda a: (a[0], a[1:2], a[::3], a[..., 1], a[*a], a[1:2, 3])",
    "calls": "lambda f, a: f(a, *a, k=1, **a)",
    "containers": "lambda a: ([1, *a], {1, *a}, {1: 2, **a}, (1,), {}, [], ())",
    "comprehensions": (
        "lambda a: ([i for j in a for i in j if i if j], {i for i in a}, {i: i for i in a}, (i for i in a))"
    ),
    "walrus": "def f(a):\n while b := a(): print(b)",
    "assignments": "def f(a):\n b = c = a\n (d, *e), [g] = b\n a.x, a[0] = 1, 2\n b += 1\n del b, a[0]",
    "annotated": "def f(a):\n b: int = 1\n c: str\n a.d: int\n a.e: int = 2\n return b",
    "loops": "def f(a):\n for i, j in a:\n  continue\n else:\n  a()\n while True:\n  break",
    "ifs": "def f(a):\n if a: return 1\n elif not a: return 2\n else: return 3",
    "with": "def f(a):\n with a as b, a: pass\n with (a() as b, a() as c): return b",
    "try": (
        "def f(a):\n try: a()\n except ValueError: raise\n except (A, B) as e: raise C from e\n else: a()\n finally: a"
    ),
    "except group": "def f(a):\n try: a()\n except* ValueError as e: print(e)",
    "imports": "def f():\n import a, b.c as d\n from . import e\n from ..g import h as i, j",
    "scopes": "def f():\n global a\n b = 1\n def g():\n  nonlocal b\n  b = a\n return g",
    "assert": "def f(a): assert a, 'no'",
    "match": (
        "def f(a):\n match a:\n  case 1 | 'x' | None | True: return 1\n  case [1, *rest] if rest: return 2\n"
        "  case {'k': v, **more}: return 3\n  case C(x, y=0) as z: return 4\n  case a.b: return 5\n  case _: return 6"
    ),
    "class": (
        "def f(a):\n @a\n class C(a, metaclass=type):\n  'doc'\n  x: int\n  y: 'str' = 1\n"
        "  def m(self) -> int:\n   'doc'\n   z: int = self\n   return z\n return C"
    ),
    "decorated": "def f(a):\n @a\n @a(1)\n def g(x: int) -> str:\n  'doc'\n  return x\n return g",
    "statements that do nothing": "def f(a):\n 'doc'\n ...\n 5\n if a: pass\n else: pass\n try: a\n finally: pass",
    "type comment": "def f(a):\n x = []  # type: list[int]\n return x",
}


def parse(text: str) -> Function:
    """The first function in a text."""
    found = next(node for node in ast.walk(ast.parse(text)) if isinstance(node, Function))
    assert isinstance(found, Function)
    return found


def write(text: str) -> bytes:
    """The canonical text of the first function in a text."""
    return write_syntax(parse(text))


def digests() -> dict[str, str]:
    """Of all snippets."""
    return {name: sha256(write(text)).hexdigest()[:32] for name, text in SNIPPETS.items()}
