"""`load`: the object in a file; its buffers are read, or mapped.

Invariant: what is unpickled is what was written, by its checksums; except for buffers that are mapped, which nobody has
read yet.
"""

from __future__ import annotations

import io
import os
from typing import Any

from jobspan.errors import say_once
from jobspan.file.contents import Contents, Descriptor, How, Memory
from jobspan.file.joblibs import load_joblibs
from jobspan.file.layout import CHANGED, HEADER_BYTES, MAGIC, Header, Index, damaged

_BUFFER_BYTES = 1 << 20


def load(
    filename: Any, mmap_mode: str | None = None, ensure_native_byte_order: Any = "auto", *, trusted: Any = None
) -> Any:
    """Read the object that `dump`, or joblib from its version 0.10 on, has written into a file.

    A pickle can run any code: load only files that you trust, or say what you trust in them. `jobspan.inspect` tells
    what is in a file, and runs nothing of it.

    Parameters
    ----------
    filename : str, path-like or file object
        Where from; also a URL that `fsspec` knows. A file object is read from where it stands, and stands behind the
        object afterwards.
    mmap_mode : {None, "r", "r+", "w+", "c"}, optional
        Map the file, rather than read its buffers: for reading, for writing (``"w+"`` does the same, as in joblib), or
        copy-on-write. Arrays are then `numpy.memmap`; what is read of them comes from the file when it is looked at.
    ensure_native_byte_order : bool or "auto"
        Whether arrays of the other byte order are turned round; ``"auto"``: unless they are mapped.
    trusted : "data" or list of types, functions and modules, optional
        ``"data"`` loads plain values and arrays, and refuses everything else by its name; in a list stands what is to
        be trusted besides. Such files are read several times slower. By default everything is trusted.

    Returns
    -------
    object
        What was dumped. Arrays that shared memory share it again.

    Raises
    ------
    DamagedFileError
        If the file is truncated, or is not as it was written; the message says where.
    UntrustedError
        If the file names something that is not trusted; nothing of it was run.
    FileNotFoundError
        If there is no such file.
    ValueError
        If `mmap_mode` or `trusted` is none of these.

    Examples
    --------
    >>> import jobspan, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "numbers.job")
    >>> _ = jobspan.dump(list(range(5)), path, compress="gzip")
    >>> jobspan.load(path)
    [0, 1, 2, 3, 4]
    """
    if mmap_mode not in (None, "r", "r+", "w+", "c"):
        raise ValueError(f"mmap_mode={mmap_mode!r} is none of None, 'r', 'r+', 'w+' and 'c'.")
    if ensure_native_byte_order == "auto":
        ensure_native_byte_order = mmap_mode is None
    elif ensure_native_byte_order and mmap_mode is not None:
        raise ValueError(
            "arrays that are mapped cannot be turned round: ensure_native_byte_order goes with mmap_mode=None."
        )
    how = How(mmap_mode, bool(ensure_native_byte_order), _trust(trusted))
    if isinstance(filename, io.TextIOBase):
        raise ValueError(f"{filename!r} is a file of text; open it with mode 'rb'.")  # noqa: TRY004  as for what is no file at all
    if hasattr(filename, "read"):
        return _load_stream(filename, how)
    if not isinstance(filename, str | bytes | os.PathLike):
        raise ValueError(f"load takes a file's name, or a file object; {filename!r} is neither.")  # noqa: TRY004  as `dump` does
    path = os.fsdecode(filename)
    if "://" in path:
        from jobspan.file.remote import open_url

        with open_url(path, "rb") as file:
            return _load_stream(file, how)
    with open(path, "rb", buffering=0) as file:
        return _load_file(file, path, how._replace(mmap_mode="r+") if mmap_mode == "w+" else how)


def _trust(trusted: Any) -> Any:
    if trusted is None:
        return None
    from jobspan.file.data import Trust

    return Trust(trusted)


def _load_file(file: Any, path: str, how: How) -> Any:
    mmap_mode = how.mmap_mode
    head = file.read(HEADER_BYTES)
    if not head:
        damaged(path, "it is empty")
    if not head.startswith(MAGIC):
        file.seek(0)
        with io.BufferedReader(file, _BUFFER_BYTES) as buffered:
            return load_joblibs(buffered, path, how.trust, mmap_mode=mmap_mode, native=how.native)
    header, source, index = _read_index(file, head, path)
    if mmap_mode is not None and index.codec is not None:
        say_once(f"{path} is compressed, so it cannot be mapped: mmap_mode={mmap_mode!r} is ignored, and it is read.")
        mmap_mode = None
    contents = Contents(index, source, path, has_changed=bool(header.flags & CHANGED))
    if mmap_mode is None:
        return contents.load(contents.read_buffers(), how)
    if mmap_mode == "r+":
        _note_change(path, header)
    return contents.load(contents.map_buffers(mmap_mode), how)


def _read_index(file: Any, head: bytes, path: str) -> tuple[Header, Descriptor, Index]:
    header = Header.decode(head, path)
    size = os.fstat(file.fileno()).st_size
    if size != header.total:
        more = "; if other objects follow, a file object reads one after the other" if size > header.total else ""
        damaged(path, f"it has {size} bytes, and {header.total} were written{more}")
    source = Descriptor(file.fileno(), path)
    return header, source, Index.decode(source.read(header.index_start, header.index_bytes), header, path)


def read_facts(path: str) -> dict[str, Any]:
    """What a file that `dump` has written tells of itself; nothing is unpickled.

    Raises
    ------
    DamagedFileError
        If it is damaged, or no such file.
    """
    with open(path, "rb", buffering=0) as file:
        head = file.read(HEADER_BYTES)
        if not head.startswith(MAGIC):
            damaged(path, "it does not begin as a file of jobspan's")
        return _read_index(file, head, path)[2].facts


def _note_change(path: str, header: Header) -> None:
    """Before a file is mapped for writing: its checksums will not hold any more."""
    with open(path, "r+b", buffering=0) as file:
        file.write(header._replace(flags=header.flags | CHANGED).encode())


def _load_stream(file: Any, how: How) -> Any:
    name = str(getattr(file, "name", "the file object"))
    if how.mmap_mode is not None:
        say_once(f"a file object cannot be mapped: mmap_mode={how.mmap_mode!r} is ignored; give load the file's name.")
    head = _read_exactly(file, HEADER_BYTES)
    if not head.startswith(MAGIC):
        return load_joblibs(io.BufferedReader(_Again(head, file)), name, how.trust, native=how.native)
    header = Header.decode(head, name)
    data = memoryview(head + _read_exactly(file, header.total - HEADER_BYTES))
    if data.nbytes != header.total:
        damaged(name, f"it ends after {data.nbytes} bytes, and {header.total} were written")
    source = Memory(data)
    index = Index.decode(bytes(source.read(header.index_start, header.index_bytes)), header, name)
    contents = Contents(index, source, name, has_changed=bool(header.flags & CHANGED))
    return contents.load(contents.read_buffers(), how)


def _read_exactly(file: Any, nbytes: int) -> bytes:
    """So many bytes, or as many as there are: some files give fewer at a time."""
    parts = []
    while nbytes and (part := file.read(min(nbytes, 1 << 30))):
        parts.append(part)
        nbytes -= len(part)
    return b"".join(parts)


class _Again(io.RawIOBase):
    """A file object of which the beginning has been read already."""

    def __init__(self, head: bytes, file: Any) -> None:
        self._head = head
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        part = self._head[: len(target)] or self._file.read(len(target))
        self._head = self._head[len(target) :]
        target[: len(part)] = part
        return len(part)
