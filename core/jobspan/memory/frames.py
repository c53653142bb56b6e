"""What is in a pack as bytes, and back: frames with a checksum, one after the other, of which some may be broken.

Two things break frames, and are told apart. A frame is *torn* if its writer was killed, or the disk was full: its
beginning is there, so it is shorter than it says, and nothing was lost that anybody was told of. A frame is *altered*
if it was whole once, and is not as it was written.

Invariant: a frame is whole here only if all of its bytes are as they were written.
"""

from __future__ import annotations

import struct
from zlib import crc32

_MARK = b"\xf3JPK"
_HEAD = struct.Struct("<4sII16sd")  # mark, checksum of what follows, length, key, when
_SUMMED_FROM, _KEY_FROM, _KEY_TO = 8, 12, 28
HEAD_BYTES = _HEAD.size

Found = tuple[bool, int, int, bytes, float]
"""Whether a frame is whole, where it begins and ends, the key that it names, and the time."""


def frame(key: bytes, when: float, data: bytes) -> bytes:
    """A frame; without data it is a note that what has this key was used."""
    rest = _HEAD.pack(b"", 0, len(data), key, when)[_SUMMED_FROM:] + data
    return _MARK + crc32(rest).to_bytes(4, "little") + rest


def find_frames(data: bytes) -> tuple[list[Found], int]:
    """The frames in these bytes, whole and altered; and how many bytes that were, as the last may be being written."""
    found: list[Found] = []
    at, most = 0, len(data) - HEAD_BYTES
    while at <= most:
        mark, checksum, nbytes, key, when = _HEAD.unpack_from(data, at)
        stop = at + HEAD_BYTES + nbytes
        if mark == _MARK and stop <= len(data) and crc32(data[at + _SUMMED_FROM : stop]) == checksum:
            found.append((True, at, stop, key, when))
            at = stop
            continue
        end = _end_of_broken(data, at, stop)
        is_short = mark == _MARK and stop > end and not _is_of_length(data[at:end])
        if is_short and end == len(data):
            break  # it is being written, or is torn and the last
        if not is_short and end > at + HEAD_BYTES:  # notes of use are no loss
            found.append((False, at, end, key, 0.0))
        at = end
    return found, at


def _end_of_broken(data: bytes, at: int, stop: int) -> int:
    """Where the next frame begins after one that is not whole, and says that it ends at `stop`."""
    first = following = data.find(_MARK, at + 1)
    while 0 <= following < stop:
        if _is_whole(data, following):
            return following
        following = data.find(_MARK, following + 1)
    if stop == len(data) or data.startswith(_MARK, stop):
        return stop
    return len(data) if first < 0 else first


def _is_whole(data: bytes, at: int) -> bool:
    if at + HEAD_BYTES > len(data):
        return False
    _, checksum, nbytes, _, _ = _HEAD.unpack_from(data, at)
    return bool(crc32(data[at + _SUMMED_FROM : at + HEAD_BYTES + nbytes]) == checksum)


def _is_of_length(altered: bytes) -> bool:
    """Whether a frame is whole but for its length."""
    nbytes = len(altered) - HEAD_BYTES
    return nbytes >= 0 and crc32(nbytes.to_bytes(4, "little") + altered[_KEY_FROM:]) == _checksum(altered)


def is_of_key(altered: bytes, key: bytes) -> bool:
    """Whether a frame is whole but for its key, which was this one."""
    return crc32(altered[_SUMMED_FROM:_KEY_FROM] + key + altered[_KEY_TO:]) == _checksum(altered)


def _checksum(altered: bytes) -> int:
    return int.from_bytes(altered[len(_MARK) : _SUMMED_FROM], "little")
