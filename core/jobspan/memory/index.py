"""A short record of every entry of a function, in one file that only grows: to find the call that is closest to one.

The file is a help, not the truth: entries say for themselves what they are, a record may be missing, and one of an
entry that is gone does no harm. `rebuild` makes it anew.

Invariant: a record is written in one piece, so that those of several processes never mix.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple

from jobspan.memory.store import Store

_MARK = b"\xf7jse"
_HEAD = struct.Struct("<4sHH16sdfQ")  # mark, tags, reserved, key, when it was written, duration, bytes
_KEY_AT = 8  # in a record
_TAG = 12  # 4 bytes of the code's digest, and 8 of the arguments'
_MOST_ARGUMENTS = 16
_TRIES = 64


class Record(NamedTuple):
    """What the index knows of an entry.

    Attributes
    ----------
    key : str
        The entry's.
    written : float
        When it was made, in seconds since the epoch.
    duration : float
        Seconds that the call took.
    nbytes : int
        Bytes of the entry, with its value.
    tags : bytes
        Stand for its code and arguments: see `make_tags`.
    """

    key: str
    written: float
    duration: float
    nbytes: int
    tags: bytes

    def encode(self) -> bytes:
        """The bytes."""
        head = (_MARK, len(self.tags) // _TAG, 0, bytes.fromhex(self.key), self.written, self.duration, self.nbytes)
        return _HEAD.pack(*head) + self.tags


def make_tags(code: bytes, digests: Sequence[bytes]) -> bytes:
    """What two calls have in common if they differ in one thing only.

    The first tag is that of all arguments, with whatever code; each of the others is that of the code with all
    arguments but one.

    Parameters
    ----------
    code : bytes
        The digest of the function's identity.
    digests : sequence of bytes
        Those of the arguments, in their order.
    """
    tags = [_tag(bytes(4), digests)]
    if len(digests) <= _MOST_ARGUMENTS:
        tags += [_tag(code, [*digests[:place], b"?", *digests[place + 1 :]]) for place in range(len(digests))]
    return b"".join(tags)


def _tag(code: bytes, digests: Sequence[bytes]) -> bytes:
    return code[:4] + sha256(b"".join(digests)).digest()[: _TAG - 4]


class Index:
    """The records of a function's entries.

    Parameters
    ----------
    store : Store
        Where they are.
    folder : str
        The function's in it.
    """

    def __init__(self, store: Store, folder: str) -> None:
        self._store = store
        self._name = f"{folder}/index"

    def add(self, record: Record) -> None:
        """Write down an entry."""
        self._store.append(self._name, record.encode())

    def read(self) -> bytes:
        """All records."""
        return self._store.read(self._name) or b""

    def rebuild(self, records: Iterable[Record]) -> None:
        """Make it anew."""
        data = b"".join(record.encode() for record in records)
        if data:
            self._store.write(self._name, data)
        else:
            self._store.remove([self._name])


def find_closest(data: bytes, tags: bytes) -> Iterator[Record]:
    """The records that share a tag with these: of the same arguments, then of all but one; newest first in each."""
    for start in range(0, len(tags), _TAG):
        tag = tags[start : start + _TAG]
        end = len(data)
        for _ in range(_TRIES):
            end = data.rfind(tag, 0, end)
            if end < 0:
                break
            record = _around(data, end)
            if record is not None:
                yield record


def find_newest(data: bytes) -> Iterator[Record]:
    """All records, from the last on."""
    end = len(data)
    while (end := data.rfind(_MARK, 0, end)) >= 0:
        record = _decode(data, end)
        if record is not None:
            yield record


def _around(data: bytes, place: int) -> Record | None:
    """The record that has one of its tags there."""
    start = place
    for _ in range(3):  # a digest may look like a mark
        start = data.rfind(_MARK, 0, start)
        if start < 0:
            return None
        record = _decode(data, start)
        if record is not None:
            ahead = place - start - _HEAD.size
            if 0 <= ahead < len(record.tags) and ahead % _TAG == 0:
                return record
    return None


def _decode(data: bytes, start: int) -> Record | None:
    if start + _HEAD.size > len(data):
        return None
    _, count, _, key, written, duration, nbytes = _HEAD.unpack_from(data, start)
    tags = data[start + _HEAD.size : start + _HEAD.size + count * _TAG]
    if len(tags) < count * _TAG or count > _MOST_ARGUMENTS + 1:
        return None
    return Record(key.hex(), written, duration, nbytes, tags)


def find_key(data: bytes, key: str) -> Record | None:
    """The newest record of the entry with this key."""
    wanted = bytes.fromhex(key)
    place = data.rfind(wanted)
    return None if place < 0 else _decode(data, place - _KEY_AT)
