"""Files of `dump`'s that are known by a seal: a digest of all of them but the memory of their buffers.

Who keeps the seal can tell whether a file is the one that was written, before anything of it is unpickled, without
reading its buffers; those have checksums, which the seal covers.

Invariant: what is unpickled has the seal.
"""

from __future__ import annotations

import io
import os
from hashlib import sha256
from typing import Any

from jobspan.file.contents import Contents, Descriptor, How, Memory
from jobspan.file.layout import ALIGNMENT, CHANGED, HEADER_BYTES, Header, Index, damaged
from jobspan.file.plan import Plan
from jobspan.file.write import File, Stream, choose_codec, write_plan

SEAL_BYTES = 32


def write_sealed(plan: Plan, path: str | None, compress: Any) -> tuple[bytes, bytes]:
    """Write a new file, which is not made safe against the end of the machine.

    Parameters
    ----------
    plan : Plan
        What goes into it.
    path : str or None
        Where to; a file that is there is not touched. None: into memory.
    compress : int, bool, str or (str, int)
        As for `dump`.

    Returns
    -------
    seal : bytes
        The seal.
    data : bytes
        The file, if it was written into memory.
    """
    codec = choose_codec(compress, "")
    if path is None:
        memory = io.BytesIO()
        index = write_plan(plan, codec, ALIGNMENT, Stream(memory))
        return _seal(index, plan.pickle), memory.getvalue()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        index = write_plan(plan, codec, ALIGNMENT, File(descriptor))
    except BaseException:
        os.close(descriptor)
        os.unlink(path)
        raise
    os.close(descriptor)
    return _seal(index, plan.pickle), b""


def load_sealed(source: str | bytes, seal: bytes, how: How) -> Any:
    """The object in a file, if that has the seal.

    Parameters
    ----------
    source : str or bytes
        The file's path, or the file itself.
    seal : bytes
        What `write_sealed` returned.
    how : How
        Whether to map the buffers, and what is trusted.

    Raises
    ------
    DamagedFileError
        If it is another file, or damaged.
    FileNotFoundError
        If there is none.
    """
    if isinstance(source, bytes):
        return _load(Memory(memoryview(source)), "the cached value", len(source), seal, how._replace(mmap_mode=None))
    with open(source, "rb", buffering=0) as file:
        return _load(Descriptor(file.fileno(), source), source, os.fstat(file.fileno()).st_size, seal, how)


def check_sealed(source: str | bytes, seal: bytes) -> None:
    """Read all of a file, and raise what `load_sealed` would raise of it; nothing is unpickled."""
    if isinstance(source, bytes):
        contents = _open(Memory(memoryview(source)), "the cached value", len(source), seal)[0]
        contents.read_buffers()
        return
    with open(source, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        _open(Descriptor(file.fileno(), source), source, size, seal)[0].read_buffers()


def _load(source: Descriptor | Memory, name: str, size: int, seal: bytes, how: How) -> Any:
    contents, index = _open(source, name, size, seal)
    if how.mmap_mode is None or index.codec is not None:
        return contents.load(contents.read_buffers(), how)
    return contents.load(contents.map_buffers(how.mmap_mode), how)


def _open(source: Descriptor | Memory, name: str, size: int, seal: bytes) -> tuple[Contents, Index]:
    """What is in a file, if that has the seal."""
    header = Header.decode(bytes(source.read(0, min(size, HEADER_BYTES))), name)
    if size != header.total:
        damaged(name, f"it has {size} bytes, and {header.total} were written")
    text = bytes(source.read(header.index_start, header.index_bytes))
    index = Index.decode(text, header, name)
    contents = Contents(index, source, name, has_changed=bool(header.flags & CHANGED))
    if _seal(text, contents.read_segment(0)) != seal:
        damaged(name, "it is another file than was written")
    return contents, index


def _seal(index: bytes, pickle: Any) -> bytes:
    found = sha256(index)
    found.update(pickle)
    return found.digest()
