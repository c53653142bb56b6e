"""The part of a key that does not depend on the arguments: which function it is, as far as that is to count.

Invariant: the digest is that of the function as it is now; what was rebound since it was made makes it anew.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

from jobspan.errors import UnhashableError
from jobspan.persist.hashing import digest
from jobspan.persist.identity.identify import Identity, identify

_making = threading.RLock()  # one for all: functions that use each other ask for each other's identities
_OF_THE_INSTANCE = ("captured", "defaults")  # what makes two functions of the same code different


class Code:
    """What identifies a function in keys.

    Parameters
    ----------
    function : callable
        The function.
    depends : sequence
        More that the results depend on: functions, classes, or any values; ``"versions"`` stands for the versions of
        the installed packages that the function uses.
    version : object, optional
        Counts instead of the code.
    ignore_code : bool, default False
        Only the function's name counts, with what it captures and its defaults.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        depends: Sequence[Any] = (),
        version: Any = None,
        *,
        ignore_code: bool = False,
    ) -> None:
        self._function = function
        self._depends = tuple(depends)
        self._version = version
        self._ignore_code = ignore_code
        self._identity: Identity | None = None
        self._digest = b""

    def __getstate__(self) -> dict[str, Any]:
        self.digest()  # here are the sources, and the far side may have none
        return self.__dict__

    @property
    def identity(self) -> Identity:
        """The function's identity, whether or not its code counts."""
        self.digest()
        assert self._identity is not None, "the digest is made of it"
        return self._identity

    def digest(self) -> bytes:
        """16 bytes."""
        if self._identity is None or not self._identity.is_current():
            with _making:  # once for all threads: what is captured may change in place meanwhile
                if self._identity is None or not self._identity.is_current():
                    identity = identify(self._function)
                    self._digest = self._make_digest(identity)
                    self._identity = identity
        return self._digest

    def has_changed_in_place(self) -> bool:
        """Whether a list, a dict or the like that the function uses is not as it was when the digest was made.

        That does not count: many functions fill such themselves, to remember something.
        """
        return self.identity.is_current() and identify(self._function, anew=True).digest != self.identity.digest

    def _make_digest(self, identity: Identity) -> bytes:
        if self._version is None and not self._ignore_code and not self._depends:
            return identity.digest
        found = sha256(b"jobspan function\n" + identity.name.encode())
        if self._version is None and not self._ignore_code:
            found.update(identity.digest)
        else:
            found.update(b"version" + digest(self._version))
            for part in identity.parts:
                if part.kind in _OF_THE_INSTANCE:
                    found.update(part.digest)
        for each in self._depends:
            found.update(self._digest_of(each, identity))
        return found.digest()[:16]

    def _digest_of(self, dependency: Any, identity: Identity) -> bytes:
        if dependency == "versions":
            return digest(("versions", identity.packages))
        try:
            return identify(dependency).digest if callable(dependency) else digest(dependency)
        except UnhashableError as error:
            raise UnhashableError(f"depends={dependency!r}: {error}") from error
