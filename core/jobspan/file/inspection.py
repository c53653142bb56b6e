"""What is in a file, told without running anything of it.

Invariant: whatever a pickle calls answers with something that does nothing; no code of the file's, nor of any package
that it names, is run or imported.
"""

from __future__ import annotations

import io
import os
from typing import Any, NamedTuple, Self

from jobspan.errors import JobspanError
from jobspan.file.contents import Contents, Descriptor
from jobspan.file.data import DataUnpickler, Trust
from jobspan.file.joblibs import load_joblibs
from jobspan.file.layout import HEADER_BYTES, MAGIC, Header, Index, damaged
from jobspan.file.named import StandIn, find_safe, makes_arrays


class Inspection(NamedTuple):
    """What `inspect` has found.

    Attributes
    ----------
    format : str
        ``"jobspan"``, or ``"pickle"``, of which joblib's are one kind.
    nbytes : int
        Bytes of the file.
    codec : str or None
        How it is compressed, as far as that is told in it.
    globals : tuple of str
        What its pickle names: functions and classes that `load` would import, and could call.
    is_data : bool
        Whether these are all plain values and arrays, so that ``load(path, trusted="data")`` loads it.
    pickle_nbytes : int
        Bytes of the pickle, decompressed; 0 where that is not told.
    buffers : tuple of int
        Bytes of each buffer beside the pickle.
    facts : dict
        What else the file tells of itself: by what it was written.
    """

    format: str
    nbytes: int
    codec: str | None
    globals: tuple[str, ...]
    is_data: bool
    pickle_nbytes: int
    buffers: tuple[int, ...]
    facts: dict[str, Any]

    def __str__(self) -> str:
        lines = [
            f"{self.format}, {self.nbytes} bytes, {self.codec or 'not compressed'}",
            f"pickle: {self.pickle_nbytes} bytes; buffers: {len(self.buffers)}, of {sum(self.buffers)} bytes",
            f"plain values and arrays only: {'yes' if self.is_data else 'no'}",
            "names:",
            *(f"  {name}" for name in self.globals),
        ]
        return "\n".join(lines)


def inspect(filename: str | os.PathLike[str]) -> Inspection:
    """Tell what is in a file that `dump`, joblib or pickle has written; nothing of it is run.

    Parameters
    ----------
    filename : str or path-like
        The file.

    Returns
    -------
    Inspection
        What it names, its buffers, sizes and compressor.

    Raises
    ------
    DamagedFileError
        If it is damaged, or no such file.

    Examples
    --------
    >>> import jobspan, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "call.job")
    >>> _ = jobspan.dump([os.getcwd, {1, 2}], path)
    >>> found = jobspan.inspect(path)
    >>> found.globals, found.is_data
    (('posix.getcwd',), False)
    """
    path = os.fspath(filename)
    names = _Names()
    with open(path, "rb", buffering=0) as file:
        nbytes = os.fstat(file.fileno()).st_size
        head = file.read(HEADER_BYTES)
        if not head.startswith(MAGIC):
            file.seek(0)
            with io.BufferedReader(file) as buffered:
                load_joblibs(buffered, path, names)
            return Inspection("pickle", nbytes, None, names.listed(), names.are_data, 0, (), {})
        header = Header.decode(head, path)
        if nbytes != header.total:
            damaged(path, f"it has {nbytes} bytes, and {header.total} were written")
        source = Descriptor(file.fileno(), path)
        index = Index.decode(bytes(source.read(header.index_start, header.index_bytes)), header, path)
        text = Contents(index, source, path).read_segment(0)
    buffers = tuple(nbytes for _, _, nbytes in index.list_buffers())
    unpickler: Any = DataUnpickler(io.BytesIO(text), names, [b""] * len(buffers))
    unpickler.find = names.find_nothing
    try:
        unpickler.load()
    except (JobspanError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  a pickle that nobody has written can raise anything
        damaged(path, f"its pickle cannot be followed ({type(error).__name__}: {error})")
    return Inspection(
        "jobspan", nbytes, index.codec, names.listed(), names.are_data, len(text), buffers, dict(index.facts)
    )


class _Names(Trust):
    """Takes note of what is named, and trusts nothing."""

    def __init__(self) -> None:
        super().__init__("data")
        self._found: set[str] = set()
        self.are_data = True

    def listed(self) -> tuple[str, ...]:
        """What was named, in order."""
        return tuple(sorted(self._found))

    def find(self, module: str, name: str) -> Any:
        """What does for arrays in the middle of a pickle what it must, and nothing for all else."""
        if module.partition(".")[0] == "numpy" and (safe := find_safe(module, name)) is not None:
            self._found.add(safe.name)
            return safe
        return self.find_nothing(module, name)

    def find_nothing(self, module: str, name: str) -> Any:
        """What does nothing."""
        safe = find_safe(module, name)
        self._found.add(f"{module}.{name}")
        if safe is None:
            self.are_data = False
            return _Nothing
        if type(safe) is StandIn:
            safe.means = _no_array if makes_arrays(module, name) else _Nothing
        return safe

    def hold(self, name: str) -> None:  # noqa: ARG002  it was taken note of
        """What is no value, and is held as one, is refused by `load`."""
        self.are_data = False

    def may_build(self, obj: Any) -> bool:
        """Only what does nothing with its state."""
        return isinstance(obj, _Nothing)

    def may_be_key(self, obj: Any) -> bool:
        """That a function or class is one shows in the end."""
        return isinstance(obj, _Nothing | StandIn)


class _Nothing:
    """Stands for an object of any class, and for what a call of any function returns; keeps what it was given."""

    def __new__(cls, *arguments: Any, **named: Any) -> Self:
        made = object.__new__(cls)
        made._kept = [arguments, named]
        return made

    def __init__(self, *_arguments: Any, **_named: Any) -> None:
        """Take anything."""

    _kept: list[Any]

    def __call__(self, *arguments: Any, **named: Any) -> _Nothing:
        self._kept += [arguments, named]
        return self

    def __setstate__(self, state: Any) -> None:
        """Take anything."""
        self._kept.append(state)

    def __setitem__(self, key: Any, value: Any) -> None:
        """Take anything."""
        self._kept += [key, value]

    def append(self, item: Any) -> None:
        """Take anything."""
        self._kept.append(item)

    def extend(self, items: Any) -> None:
        """Take anything."""
        self._kept += items

    def add(self, item: Any) -> None:
        """Take anything."""
        self._kept.append(item)


def _no_array(*arguments: Any) -> _Nothing:
    """Stands for an array: classes say what kind it is, and are no part of it."""
    return _Nothing(*(each for each in arguments if type(each) is not StandIn))
