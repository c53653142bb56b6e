"""An entry of the cache as bytes, and back: when it was made and how, who vouches for it, and the value.

Nothing here reads or writes files. A value is in the entry itself, as a pickle, or in a file beside that `dump` wrote.

Invariant: nothing of an entry is looked at before its signature is right, which covers all but itself, and the entry's
name as well.
"""

from __future__ import annotations

import struct
from enum import Enum
from typing import Any, NamedTuple

from jobspan.memory.signing import ID_BYTES, MAC_BYTES, Signer

MAGIC = b"jobspan entry 1\n"

_SIGNED_FROM = len(MAGIC) + ID_BYTES + MAC_BYTES
_HEAD = struct.Struct("<BxxxIIQdd")
_VALUE_FROM = _SIGNED_FROM + _HEAD.size


class Fault(Enum):
    """Why an entry cannot be used."""

    DAMAGED = "it is not as it was written"
    UNKNOWN_KEY = "it is signed with a key that is not known here"


class Entry(NamedTuple):
    """What is in an entry.

    Attributes
    ----------
    written : float
        When it was made, in seconds since the epoch.
    duration : float
        How long the call took, in seconds.
    value : memoryview
        The value's pickle; or what `locate` reads, where it is in a file.
    in_file : bool
        Whether it is in a file beside.
    facts : memoryview
        What is known of the call, as JSON: see `read_facts`.
    sketches : memoryview
        Of its arguments, one after the other.
    """

    written: float
    duration: float
    value: memoryview
    in_file: bool
    facts: memoryview
    sketches: memoryview

    def read_facts(self) -> dict[str, Any]:
        """What is known of the call."""
        import json

        found: dict[str, Any] = json.loads(bytes(self.facts))
        return found

    def locate(self) -> tuple[str, bytes]:
        """The name of the file that has the value, and its seal."""
        return bytes(self.value[32:]).decode(), bytes(self.value[:32])


def encode(
    name: str,
    signer: Signer,
    written: float,
    duration: float,
    facts: bytes,
    sketches: bytes,
    value: bytes,
    *,
    in_file: bool,
) -> bytes:
    """The bytes of an entry.

    Parameters
    ----------
    name : str
        Under which it will be kept: it is good under no other.
    value : bytes
        The value's pickle; or the seal of its file, 32 bytes, and that file's name.
    """
    rest = _HEAD.pack(in_file, len(facts), len(sketches), len(value), written, duration) + value + facts + sketches
    return b"".join((MAGIC, signer.key_id, signer.sign(name.encode() + rest), rest))


def decode(name: str, data: bytes, signer: Signer) -> Entry | Fault:
    """What is in an entry, or why that cannot be said."""
    if data[: len(MAGIC)] != MAGIC or len(data) < _VALUE_FROM:
        return Fault.DAMAGED
    key_id, signature = data[len(MAGIC) :][:ID_BYTES], data[len(MAGIC) + ID_BYTES : _SIGNED_FROM]
    if not signer.verify(name.encode() + data[_SIGNED_FROM:], signature):
        return Fault.DAMAGED if key_id == signer.key_id else Fault.UNKNOWN_KEY
    return decode_unsigned(data)


def decode_unsigned(data: bytes) -> Entry | Fault:
    """What is in an entry, whoever has signed it."""
    if data[: len(MAGIC)] != MAGIC or len(data) < _VALUE_FROM:
        return Fault.DAMAGED
    in_file, facts_bytes, sketch_bytes, value_bytes, written, duration = _HEAD.unpack_from(data, _SIGNED_FROM)
    view = memoryview(data)
    facts_from = _VALUE_FROM + value_bytes
    sketches_from = facts_from + facts_bytes
    return Entry(
        written,
        duration,
        view[_VALUE_FROM:facts_from],
        bool(in_file),
        view[facts_from:sketches_from],
        view[sketches_from : sketches_from + sketch_bytes],
    )


def sign_again(name: str, data: bytes, signer: Signer) -> bytes:
    """The same entry, vouched for by another."""
    rest = data[_SIGNED_FROM:]
    return b"".join((MAGIC, signer.key_id, signer.sign(name.encode() + rest), rest))
