"""Compressors of the user's, for `dump` and `load`.

Invariant: what one of them raises, or returns in the place of bytes, is said to be its own.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from jobspan.errors import JobspanError
from jobspan.file.codecs import Codec, add, names, whole


def register_compressor(name: str, compressor: Any, force: bool = False) -> None:
    """Make a compressor known to `dump` and `load`.

    Parameters
    ----------
    name : str
        For ``compress=``.
    compressor : object
        With methods ``compress(data, level)`` and ``decompress(data)``, from bytes to bytes, the level being None where
        the user gave none; or, as for joblib, ``compressor_file(file, compresslevel)`` and ``decompressor_file(file)``,
        which return file objects. Its ``extension``, if it has one, is that of the file names for which it is chosen.
    force : bool, default False
        Whether it may take the place of another of this name.

    Raises
    ------
    ValueError
        If the name is taken, or is none, or `compressor` has no such methods.

    Examples
    --------
    >>> import jobspan, codecs
    >>> class Reversed:
    ...     def compress(self, data, level):
    ...         return bytes(data)[::-1]
    ...     def decompress(self, data):
    ...         return bytes(data)[::-1]
    >>> jobspan.register_compressor("reversed", Reversed(), force=True)
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"register_compressor takes a name first, and {name!r} is none.")
    if name in names() and not force:
        raise ValueError(f"there is a compressor {name!r} already; force=True puts the new one in its place.")
    if hasattr(compressor, "compressor_file") and hasattr(compressor, "decompressor_file"):
        compress, decompress = _by_files(compressor)
    elif hasattr(compressor, "compress") and hasattr(compressor, "decompress"):
        compress, decompress = compressor.compress, compressor.decompress
    else:
        raise ValueError(
            "a compressor has methods compress(data, level) and decompress(data), or compressor_file(file, "
            f"compresslevel) and decompressor_file(file); {compressor!r} has neither."
        )
    extension = getattr(compressor, "extension", "")
    add(Codec(name, extension, range(-1_000, 1_000), _blaming(name, compress), whole(decompress)))


def _blaming(name: str, compress: Callable[[Any, int | None], Any]) -> Callable[[Any, int | None], bytes]:
    """The same function; what it raises, and what it returns that is none, is said to be this compressor's."""

    def named(data: Any, level: int | None) -> bytes:
        try:
            packed = bytes(memoryview(compress(data, level)))
        except MemoryError:
            raise
        except Exception as error:  # the user's compressor may raise anything
            raise JobspanError(
                f"nothing was dumped: the compressor {name!r}, which register_compressor was given, cannot compress "
                f"{len(data)} bytes at level {level} ({type(error).__name__}: {error})."
            ) from error
        return packed

    return named


def _by_files(compressor: Any) -> tuple[Callable[[Any, int | None], bytes], Callable[[Any], bytes]]:
    def compress(data: Any, level: int | None) -> bytes:
        target = io.BytesIO()
        with compressor.compressor_file(_Kept(target), compresslevel=level) as file:
            file.write(data)
        return target.getvalue()

    def decompress(data: Any) -> bytes:
        with compressor.decompressor_file(io.BytesIO(bytes(data))) as file:
            read: bytes = file.read()
            return read

    return compress, decompress


class _Kept(io.BufferedIOBase):
    """Writes to a buffer that outlives it: some compressors close what they write to."""

    def __init__(self, target: io.BytesIO) -> None:
        self._target = target

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._target.write(data)

    def tell(self) -> int:
        return self._target.tell()
