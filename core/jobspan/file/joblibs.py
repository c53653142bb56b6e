"""Files that joblib has written, from its version 0.10 on, and plain pickles; joblib need not be installed.

In them, an array's bytes stand in the middle of the pickle, behind a small object that tells of the array; all of it
may be compressed, by one stream.

Invariant: nothing of joblib is imported, and an array takes the place of the object that tells of it.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from jobspan.errors import DamagedFileError, JobspanError, say_once
from jobspan.file.codecs import LZMA_MEMORY
from jobspan.file.layout import damaged
from jobspan.file.unpicklers import BuildingUnpickler, find_anything

if TYPE_CHECKING:
    from jobspan.file.data import Trust

_Base: Any = object  # what it is mixed into has the methods
_ALIGNMENT = 16
_MODULES = ("joblib.numpy_pickle", "sklearn.externals.joblib.numpy_pickle")
_OLD = ("NDArrayWrapper", "ZNDArrayWrapper")
_BUFFER_BYTES = 1 << 20


class ArrayRecord:
    """Tells of an array: its attributes are those of joblib's ``NumpyArrayWrapper``."""

    subclass: Any
    shape: tuple[int, ...]
    order: Literal["C", "F"]
    dtype: Any
    allow_mmap: bool
    numpy_array_alignment_bytes: int | None = None  # joblib before 1.2 did not align

    def __init__(self) -> None:
        """Raise: pickles of joblib's make one without calling it, and give it its state."""
        raise UnpicklingError("nothing tells of the array")


def load_joblibs(
    file: Any, name: str, trust: Trust | None = None, *, mmap_mode: str | None = None, native: bool = True
) -> Any:
    """Read an object from where the file stands.

    Parameters
    ----------
    file : file object
        The file.
    name : str
        Its path, or what it is called in messages.
    trust : Trust, optional
        What the pickle may name; by default anything.
    mmap_mode : str, optional
        How to map arrays; where that is given, `name` is a path.
    native : bool
        Whether arrays of the other byte order are turned round.

    Raises
    ------
    DamagedFileError
        If it is no pickle, or ends too early.
    """
    head = file.peek(6)[:6]
    make = next((make for prefix, make in _STREAMS.items() if head.startswith(prefix)), None)
    if make is not None:
        if mmap_mode is not None:
            say_once(f"{name} is compressed, so it cannot be mapped: mmap_mode={mmap_mode!r} is ignored.")
        file, mmap_mode = io.BufferedReader(_Unpacked(file, make(), name), _BUFFER_BYTES), None
    careful = _Careful(file)
    reading = _Reading(name, mmap_mode, native)
    try:
        obj = _read(careful, trust, reading)
        if make is not None:
            file.read(1)  # what stands behind the pickle tells whether all of it is as it was
    except (JobspanError, MemoryError):
        raise
    except EOFError:
        damaged(name, "it ends before its pickle does")
    except Exception as error:  # raised by the bytes, or by the code that they name: the next line tells them apart
        if trust is None and not isinstance(error, _NO_PICKLE):
            raise
        raise DamagedFileError(
            f"{name} is neither a file of jobspan's nor a pickle, or it is damaged ({type(error).__name__}: {error})."
        ) from error
    return obj


# What the bytes of something else raise; other errors are those of the code that a pickle names.
_NO_PICKLE = (UnpicklingError, struct.error, ValueError, LookupError, TypeError, OverflowError)


class _Reading(NamedTuple):
    """What is read: the file's name, how to map arrays, and whether they are turned round."""

    name: str
    mmap_mode: str | None
    native: bool


def _read(file: Any, trust: Trust | None, reading: _Reading) -> Any:
    """What stands in the file from here on."""
    if trust is None:
        reader: Any = _JoblibUnpickler(file, find_anything)
    else:
        reader = _find_data_unpickler()(file, trust)
    reader.reading = reading
    return reader.load()


@cache  # to make a class takes as long as to read a small file
def _find_data_unpickler() -> Any:
    """The class for files that are not trusted; its module is imported only where there are some."""
    from jobspan.file.data import DataUnpickler

    return type("DataJoblibUnpickler", (_ReadsArrays, DataUnpickler), {})


class _ReadsArrays(_Base):  # type: ignore[misc]  # see above
    """Puts arrays in the places of the objects that tell of them."""

    reading: _Reading
    trust: Trust | None = None

    def find_class(self, module: str, name: str) -> Any:
        if module in _MODULES:
            if name == "NumpyArrayWrapper":
                return ArrayRecord if self.trust is None else self._stand_in(module, name)
            if name in _OLD:
                raise DamagedFileError(
                    f"{self.reading.name} was written by a joblib before 0.10; load it with joblib, and dump it."
                )
        return super().find_class(module, name)

    def _stand_in(self, module: str, name: str) -> Any:
        from jobspan.file.named import StandIn

        return self._named.setdefault((module, name), StandIn(f"{module}.{name}", ArrayRecord, needs_state=True))

    def build(self, obj: Any, state: Any) -> Any:
        if type(obj) is not ArrayRecord:
            return super().build(obj, state)
        from jobspan.arrays.rebuild import as_native, as_subclass

        if self.trust is not None:
            from jobspan.arrays.checked import check_record

            state = check_record(state)
        vars(obj).update(state)
        array = self._read(obj)
        return as_subclass(as_native(array) if self.reading.native else array, obj.subclass)

    def _read(self, record: ArrayRecord) -> Any:
        from jobspan.arrays.rebuild import count_bytes, from_bytes, map_part

        if record.dtype.hasobject:
            return _read(self.file, self.trust, self.reading._replace(mmap_mode=None))
        if record.numpy_array_alignment_bytes is not None:
            self._read_exactly(self._read_exactly(1)[0])
        nbytes = count_bytes(record.dtype, record.shape)
        if self.reading.mmap_mode is None or not record.allow_mmap or not nbytes:
            return from_bytes(self._read_exactly(nbytes), record.dtype, record.shape, record.order)
        start = self.file.position()
        if start % _ALIGNMENT:
            say_once(
                f"arrays in {self.reading.name} do not begin at multiples of {_ALIGNMENT} bytes, as joblib before 1.2 "
                f"wrote them: some libraries cannot use them as they are mapped. Load the file and dump it again."
            )
        self.file.seek(nbytes, io.SEEK_CUR)
        return map_part(self.reading.name, self.reading.mmap_mode, start, record.dtype, record.shape, record.order)

    def _read_exactly(self, nbytes: int) -> Any:
        data = self.file.collect(nbytes)
        if len(data) != nbytes:
            damaged(self.reading.name, f"it ends after {len(data)} of the {nbytes} bytes of an array")
        return data


class _JoblibUnpickler(_ReadsArrays, BuildingUnpickler):
    """For files that are trusted."""


class _Careful:
    """A file that takes memory only for bytes that are there, however many it is asked for."""

    def __init__(self, file: Any) -> None:
        self.seek = file.seek
        self.position = file.tell
        self._file = file
        self._consumed = 0

    def tell(self) -> int:
        """How many bytes were read."""
        return self._consumed

    def readline(self) -> Any:
        data = self._file.readline()
        self._consumed += len(data)
        return data

    def _read(self, nbytes: int) -> Any:
        data = self._file.read(nbytes)
        self._consumed += len(data)
        return data

    def read(self, nbytes: int) -> Any:
        return self._read(nbytes) if nbytes < _BUFFER_BYTES else bytes(self.collect(nbytes))

    def collect(self, nbytes: int) -> bytearray:
        """As many bytes, in memory that can be written to."""
        data = bytearray()
        while len(data) < nbytes and (part := self._read(min(nbytes - len(data), 16 * _BUFFER_BYTES))):
            data += part
        return data

    def readinto(self, target: Any) -> int:
        data = self.read(len(target))
        target[: len(data)] = data
        return len(data)


class _Unpacked(io.RawIOBase):
    """What a compressed stream holds."""

    def __init__(self, file: Any, machine: Any, name: str) -> None:
        self._file = file
        self._machine = machine
        self._name = name
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        while not self._machine.eof:
            packed = self._rest or (
                self._file.read(_BUFFER_BYTES) if getattr(self._machine, "needs_input", True) else b""
            )
            try:
                data = self._machine.decompress(packed, len(target))
            except Exception as error:  # noqa: BLE001  each compressor has its own
                damaged(self._name, f"it cannot be decompressed ({error})")
            self._rest = getattr(self._machine, "unconsumed_tail", b"")
            if data:
                target[: len(data)] = data
                return len(data)
            if not packed and not self._machine.eof and getattr(self._machine, "needs_input", True):
                damaged(self._name, "it ends in the middle of what is compressed")
        return 0


def _by(module: str, name: str, **options: Any) -> Callable[[], Any]:
    def make() -> Any:
        try:
            return getattr(import_module(module), name)(**options)
        except ImportError:
            raise JobspanError(
                f"the file is compressed in a way that takes {module} to read, which is not here."
            ) from None

    return make


_STREAMS: dict[bytes, Callable[[], Any]] = {
    b"\x78": zlib.decompressobj,
    b"\x1f\x8b": lambda: zlib.decompressobj(16 + zlib.MAX_WBITS),
    b"BZ": _by("bz2", "BZ2Decompressor"),
    b"\xfd7zXZ": _by("lzma", "LZMADecompressor", memlimit=LZMA_MEMORY),
    b"\x5d\x00": _by("lzma", "LZMADecompressor", memlimit=LZMA_MEMORY),
    b"\x04\x22\x4d\x18": _by("lz4.frame", "LZ4FrameDecompressor"),
}
"""What a stream begins with, and what decompresses it."""
