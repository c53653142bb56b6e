"""Compressors, by name: each compresses a piece of a file on its own.

Invariant: `Codec.decompress` fills the memory that it is given, or raises; it takes little more than that.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

from jobspan.errors import JobspanError

LZMA_MEMORY = 1 << 28
"""Bytes that lzma may take to decompress: what a file says may be anything; its highest level needs a quarter."""

_STEP = 96 << 10  # bytes that stay in the processor's cache; from 128 kB on, memory is often had anew from the system


class Codec(NamedTuple):
    """A compressor.

    Attributes
    ----------
    name : str
        By which `dump` knows it, and files name it.
    extension : str
        That of file names for which it is chosen; empty: of none.
    levels : range
        The levels it takes.
    compress : callable
        Takes the bytes and the level, None for its own default, and returns the compressed ones.
    decompress : callable
        Takes compressed bytes, and the memory that they fill when they are decompressed.
    """

    name: str
    extension: str
    levels: range
    compress: Callable[[Any, int | None], bytes]
    decompress: Callable[[Any, memoryview], None]


class CorruptError(Exception):
    """Compressed bytes are not what they should be."""


def find_codec(name: str) -> Codec:
    """The compressor of this name.

    Raises
    ------
    ValueError
        If there is none.
    JobspanError
        If its package is not installed.
    """
    made = _made.get(name)
    if made is None:
        if name not in _MAKERS:
            raise ValueError(
                f"compress={name!r} is no compressor that is known; there are {', '.join(names())}, and those that "
                f"jobspan.register_compressor adds."
            )
        made = _made[name] = _MAKERS[name]()
    return made


def names() -> list[str]:
    """The compressors there are."""
    return sorted({*_MAKERS, *_made})


def codec_for(filename: str) -> str | None:
    """The compressor that a file's name asks for by its extension."""
    for name, extension in [*((codec.name, codec.extension) for codec in _made.values()), *_EXTENSIONS.items()]:
        if extension and filename.endswith(extension):
            return name
    return None


def add(codec: Codec) -> None:
    """Make another one known."""
    _made[codec.name] = codec


def _limited(make: Callable[[], Any], feed: int = _STEP) -> Callable[[Any, memoryview], None]:
    """How to decompress by an object of `zlib`'s, `bz2`'s or `lzma`'s kind, and by those made like them.

    It is given `feed` bytes at a time: most of them copy what they do not use.
    """

    def decompress(data: Any, target: memoryview) -> None:
        machine = make()
        packed, filled = memoryview(data), 0
        rest: Any = b""
        while not machine.eof:
            if not rest and getattr(machine, "needs_input", True):
                rest, packed = packed[:feed], packed[feed:]
            part = machine.decompress(rest, min(_STEP, target.nbytes - filled + 1))
            if not part and not rest and not packed and not machine.eof:
                raise CorruptError("it does not end where it should")
            rest = getattr(machine, "unconsumed_tail", b"")  # others keep it themselves
            if filled + len(part) > target.nbytes:
                raise CorruptError(f"it is more than the {target.nbytes} bytes that it should be")
            target[filled : filled + len(part)] = part
            filled += len(part)
        if filled < target.nbytes:
            raise CorruptError(f"it is {filled} bytes, rather than {target.nbytes}")

    return decompress


def whole(decompress: Callable[[Any], Any]) -> Callable[[Any, memoryview], None]:
    """How to decompress by a function that returns all at once."""

    def into(data: Any, target: memoryview) -> None:
        unpacked = decompress(data)
        if len(unpacked) != target.nbytes:
            raise CorruptError(f"it is {len(unpacked)} bytes, rather than {target.nbytes}")
        target[:] = unpacked

    return into


def _zlib(name: str, extension: str, wbits: int) -> Codec:
    def compress(data: Any, level: int | None) -> bytes:
        return zlib.compress(data, 3 if level is None else level, wbits)

    return Codec(name, extension, range(10), compress, _limited(lambda: zlib.decompressobj(wbits)))


def _bz2() -> Codec:
    bz2 = _import("bz2", "bz2")

    def compress(data: Any, level: int | None) -> bytes:
        packed: bytes = bz2.compress(data, level or 9)
        return packed

    return Codec("bz2", ".bz2", range(1, 10), compress, _limited(bz2.BZ2Decompressor))


def _lzma(name: str, extension: str, form: str) -> Codec:
    lzma = _import(name, "lzma")
    format_ = getattr(lzma, form)

    def compress(data: Any, level: int | None) -> bytes:
        packed: bytes = lzma.compress(data, format_, preset=level)
        return packed

    return Codec(name, extension, range(10), compress, _limited(lambda: lzma.LZMADecompressor(format_, LZMA_MEMORY)))


def _lz4() -> Codec:
    frame = _import("lz4", "lz4.frame")

    def compress(data: Any, level: int | None) -> bytes:
        packed: bytes = frame.compress(data, compression_level=level or 0)
        return packed

    class Machine:
        """In the shape of `zlib`'s. What it works with is used again: its memory is not at hand, see `_STEP`."""

        def __init__(self) -> None:
            self._context = contexts.pop() if contexts else frame.create_decompression_context()
            self.eof = False
            self.unconsumed_tail = memoryview(b"")

        def decompress(self, data: Any, most: int) -> Any:
            part, used, self.eof = frame.decompress_chunk(self._context, data, max_length=most)
            self.unconsumed_tail = data[used:]
            if self.eof:
                frame.reset_decompression_context(self._context)
                contexts.append(self._context)
            return part

    contexts: list[Any] = []
    return Codec("lz4", ".lz4", range(17), compress, _limited(Machine, feed=1 << 30))


def _zstd() -> Codec:
    try:
        zstd = _import("zstd", "compression.zstd", "backports.zstd")
    except JobspanError:
        return _zstandard()

    def compress(data: Any, level: int | None) -> bytes:
        packed: bytes = zstd.compress(data, level)
        return packed

    return Codec("zstd", ".zst", range(-22, 23), compress, _limited(zstd.ZstdDecompressor))


def _zstandard() -> Codec:
    zstandard = _import("zstd", "zstandard")

    def compress(data: Any, level: int | None) -> bytes:
        packed: bytes = zstandard.ZstdCompressor(3 if level is None else level).compress(data)
        return packed

    def decompress(data: Any, target: memoryview) -> None:
        if zstandard.frame_content_size(data) != target.nbytes:  # it allocates what is said there
            raise CorruptError("it says that it has another size")
        whole(zstandard.ZstdDecompressor().decompress)(data, target)

    return Codec("zstd", ".zst", range(-22, 23), compress, decompress)


def _import(name: str, *modules: str) -> Any:
    for module in modules:
        try:
            return import_module(module)
        except ImportError:
            continue
    packages = {"lz4": "pip install lz4.", "zstd": "pip install backports.zstd."}
    what = packages.get(name, f"this Python was built without {modules[0]}.")
    raise JobspanError(f"compress={name!r} needs what is not installed here: {what}")


_MAKERS: dict[str, Callable[[], Codec]] = {
    "zlib": lambda: _zlib("zlib", ".z", zlib.MAX_WBITS),
    "gzip": lambda: _zlib("gzip", ".gz", 16 + zlib.MAX_WBITS),
    "bz2": _bz2,
    "lzma": lambda: _lzma("lzma", ".lzma", "FORMAT_ALONE"),
    "xz": lambda: _lzma("xz", ".xz", "FORMAT_XZ"),
    "lz4": _lz4,
    "zstd": _zstd,
}
_EXTENSIONS = {
    "zlib": ".z",
    "gzip": ".gz",
    "bz2": ".bz2",
    "lzma": ".lzma",
    "xz": ".xz",
    "lz4": ".lz4",
    "zstd": ".zst",
}
_made: dict[str, Codec] = {}
