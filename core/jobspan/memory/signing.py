"""Who vouches for an entry: a key that only the user has.

Unpickling runs code, so what is in a cache is unpickled only if it was signed with a key that is known here. The user's
own key is made at its first use and lies in the user's configuration folder, in a browser beside the cache.

Invariant: the user's own key is never in a cache, nor in a pickle, nor in a message.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from functools import cache
from hashlib import sha256
from hmac import compare_digest
from hmac import digest as hmac_digest
from typing import Any

from jobspan import host
from jobspan.errors import say_once

MAC_BYTES = 32
ID_BYTES = 8
_KEY_BYTES = 32


class Signer:
    """Signs, and recognises what it has signed.

    Parameters
    ----------
    key : bytes
        The key.
    shared : bytes or str, optional
        What it was made of, if a user gave that: it travels in pickles, and the user's own key does not.

    Attributes
    ----------
    key_id : bytes
        Tells keys apart, and nothing else of them.
    """

    def __init__(self, key: bytes, shared: bytes | str | None = None) -> None:
        self._key = key
        self._shared = shared
        self.key_id = sha256(b"jobspan key id\n" + key).digest()[:ID_BYTES]

    def __reduce__(self) -> Any:
        return signer_for, (self._shared,)

    def sign(self, data: bytes) -> bytes:
        """The signature of these bytes."""
        return hmac_digest(self._key, data, "sha256")

    def verify(self, data: bytes, signature: bytes) -> bool:
        """Whether this is the signature of these bytes."""
        return compare_digest(hmac_digest(self._key, data, "sha256"), signature)


def signer_for(key: bytes | str | None) -> Signer:
    """Signs with this key, for caches that several share; by default with the user's own.

    Raises
    ------
    ValueError
        If it is too short to be a secret.
    """
    if key is None:
        return _own_signer()
    secret = key.encode() if isinstance(key, str) else bytes(key)
    if len(secret) < 16:
        raise ValueError(
            "Memory(key=...) is a secret that all who share the cache have: at least 16 bytes, for example of "
            "secrets.token_hex(32)."
        )
    return Signer(sha256(b"jobspan shared key\n" + secret).digest(), key)


def key_path() -> str:
    """Where the user's own key lies."""
    if said := os.environ.get("JOBSPAN_KEY_FILE"):
        return said
    if os.name == "nt":
        folder = os.environ.get("APPDATA") or os.path.expanduser("~")
    elif sys.platform == "darwin":
        folder = os.path.expanduser("~/Library/Application Support")
    else:
        folder = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return os.path.join(folder, "jobspan", "cache.key")


@cache
def _own_signer() -> Signer:
    path = key_path()
    try:
        return Signer(_kept_by_the_browser(path) if host.in_pyodide() else _read_or_make(path))
    except OSError as error:
        say_once(
            f"the key that signs cached results cannot be kept at {path} ({error}), so another process will compute "
            f"again what this one caches. Set JOBSPAN_KEY_FILE to a file that can be written, or give Memory(key=...)."
        )
        return Signer(os.urandom(_KEY_BYTES))


def _kept_by_the_browser(path: str) -> bytes:
    """The key of a page, which lies with its caches: who can read one can read the other."""
    from jobspan.memory.stores import is_fleeting

    if not is_fleeting(os.path.dirname(path)):
        return _read_or_make(path)
    from jobspan.memory.browser import OpfsStore

    store = OpfsStore("keys")
    key = store.read("cache.key") or _read_or_make(path)
    store.write("cache.key", key)
    return key


def _read_or_make(path: str) -> bytes:
    for _ in range(2):
        with suppress(FileNotFoundError), open(path, "rb") as file:
            if hasattr(os, "getuid") and not host.in_pyodide() and os.fstat(file.fileno()).st_mode & 0o077:
                os.chmod(path, 0o600)
            key = file.read()
            if len(key) == _KEY_BYTES:
                return key
            raise OSError(f"it is no key: it has {len(key)} bytes; remove it")
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        beside = f"{path}.{os.urandom(4).hex()}"
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, os.urandom(_KEY_BYTES))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        with suppress(FileExistsError):
            _give_name(beside, path)
    raise OSError("it comes and goes")


def _give_name(beside: str, path: str) -> None:
    """Rename a file, unless there is one already: of two processes that make a key, one keeps its own."""
    try:
        os.link(beside, path)
    except (AttributeError, NotImplementedError, PermissionError):  # systems without links
        if os.path.exists(path):
            raise FileExistsError from None
        os.replace(beside, path)
        return
    finally:
        with suppress(OSError):
            os.unlink(beside)
