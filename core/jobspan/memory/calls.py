"""From the arguments of a call to the key of its entry.

Invariant: calls have the same key exactly if they are of the same code, with equal arguments, but for those that do
not count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from marshal import dumps
from typing import Any

from jobspan.errors import UnhashableError
from jobspan.memory.arguments import Binder
from jobspan.memory.code import Code
from jobspan.persist.content import ATOMS, Coerce
from jobspan.persist.hashing import digest_text, write_text

_SCHEME = b"jobspan call 1\n"
_COERCE = Coerce(mmap=True)
_MARSHAL = 2  # a format without references, as `hashing` uses it
_PLAIN = b"plain"  # before arguments that are all atoms; no other text begins so
_MANY, _SHORT = 256, 1 << 10  # so many calls are remembered, of arguments of at most so many bytes


class Call:
    """A call whose result is to be found, or made.

    Attributes
    ----------
    values : sequence
        The arguments that count, in the order of `Calls.names`.
    code : bytes
        The digest of the function's code.
    place : tuple of bytes
        The code's digest, and what tells the call from all others of the same code.
    """

    __slots__ = ("_head", "_key", "_texts", "code", "place", "values")

    def __init__(
        self, head: Any, code: bytes, values: Sequence[Any], body: bytes, texts: Sequence[bytes] | None
    ) -> None:
        self.values = values
        self.code = code
        self.place = code, body
        self._head = head
        self._texts = texts
        self._key = ""

    @property
    def key(self) -> str:
        """Of its entry."""
        if not self._key:
            found = self._head.copy()
            found.update(self.place[1])
            self._key = found.hexdigest()[:32]
        return self._key

    def digests(self) -> list[bytes]:
        """The digest of each argument, 8 bytes."""
        texts = self._texts or [write_text(value, _COERCE) for value in self.values]
        return [digest_text(text)[:8] for text in texts]


class Calls:
    """Makes keys for the calls of a function.

    Parameters
    ----------
    function : callable
        The function.
    code : Code
        What identifies it.
    ignore : sequence of str
        Parameters that do not count.
    round : mapping from str to int
        To how many decimals to round numbers in a parameter.
    tol : mapping from str to float
        To multiples of what to round them.

    Raises
    ------
    ValueError
        If there is no such parameter.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        code: Code,
        ignore: Sequence[str] = (),
        round: Mapping[str, int] | None = None,  # noqa: A002  as users say it
        tol: Mapping[str, float] | None = None,
    ) -> None:
        self._function = function
        self.code = code
        self._ignore = tuple(ignore)
        self._round = dict(round or {})
        self._tol = dict(tol or {})
        self._binder: Binder | None = None
        self._made: dict[bytes, Call] = {}  # by arguments that are all atoms, as they were given
        if self._ignore or self._round or self._tol:
            self._check()

    def _check(self) -> None:
        known = self._bound().names
        for what, said in (("ignore", self._ignore), ("round", self._round), ("tol", self._tol)):
            for name in said:
                if name not in known:
                    raise ValueError(
                        f"{what}= names {name!r}, which is no parameter of "
                        f"{getattr(self._function, '__qualname__', self._function)!s}; there are {', '.join(known)}."
                    )
        for name, step in self._tol.items():
            if not step > 0:
                raise ValueError(f"tol={{{name!r}: {step!r}}} is no positive number.")

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in self.__dict__.items() if name != "_head"}
        return {**state, "_binder": None, "_made": {}}

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that count; those with stars are ``"*"`` and ``"**"``."""
        return tuple(name for name in self._bound().names if name not in self._ignore)

    def _bound(self) -> Binder:
        if self._binder is None:
            self._prepare()
        assert self._binder is not None, "it was just made"
        return self._binder

    def _prepare(self) -> None:
        """Look at the function, as it is now."""
        self._binder = binder = Binder(self._function)
        counting = [place for place, name in enumerate(binder.names) if name not in self._ignore]
        self._places = counting if self._ignore else None
        self._changes = [
            (place, self._round.get(name), self._tol.get(name))
            for place, name in enumerate(binder.names[place] for place in counting)
            if name in self._round or name in self._tol
        ]
        self._made_for = b""

    def _begin(self, digest: bytes) -> None:
        """Hash once what all keys have in common."""
        self._prepare()
        self._made = {}
        self._made_for = digest
        said = repr((self.names, sorted(self._round.items()), sorted(self._tol.items())))
        self._head = sha256(_SCHEME + digest + said.encode())

    def make(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """The call with these arguments.

        Raises
        ------
        TypeError
            If the function does not take them.
        UnhashableError
            If one of them has no content to go by.
        """
        digest = self.code.digest()
        if self._binder is None or self._made_for != digest:
            self._begin(digest)
        made, atoms = self._made, ATOMS
        if not atoms.issuperset(map(type, args)) or (kwargs and not atoms.issuperset(map(type, kwargs.values()))):
            return self._make(digest, args, kwargs)
        given = dumps((args, kwargs) if kwargs else args, _MARSHAL)
        call = made.get(given)
        if call is None:
            call = self._make(digest, args, kwargs)
            if len(given) <= _SHORT:
                if len(made) >= _MANY:
                    made.clear()
                made[given] = call
        return call

    def _make(self, digest: bytes, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """The call, which was not made before in this way, or has arguments that may be changed in place."""
        assert self._binder is not None, "it was just made"
        values = self._binder.bind(args, kwargs)
        if self._places is not None:
            values = [values[place] for place in self._places]
        if self._changes:
            from jobspan.persist.sketches.quantize import quantize

            values = list(values)
            for place, decimals, tol in self._changes:
                values[place] = quantize(values[place], decimals, tol)
        if ATOMS.issuperset(map(type, values)):
            return Call(self._head, digest, values, _PLAIN + dumps(tuple(values), _MARSHAL), None)
        try:
            texts = [write_text(value, _COERCE) for value in values]
        except UnhashableError as error:
            raise self._explain(values, error) from error
        return Call(self._head, digest, values, b"".join(texts), texts)

    def _explain(self, values: Sequence[Any], error: UnhashableError) -> UnhashableError:
        for name, value in zip(self.names, values, strict=True):
            try:
                write_text(value, _COERCE)
            except UnhashableError as again:
                return UnhashableError(
                    f"the call cannot be cached: its argument {name!r} has no digest. {again} If it does not change "
                    f"the result, ignore=[{name!r}] leaves it out."
                )
        return error
