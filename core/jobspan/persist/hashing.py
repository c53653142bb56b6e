"""A digest of any object by its content: the same in every process, on every machine, in every browser.

An object is written down as a text that tells it from all others, and that is hashed. Plain values and short rows of
them stand in the text as they are, in `marshal`'s second format, which has no references and has not changed since
Python 2.5; everything else stands there by its own digest. See ``docs/hash.md``.

Invariant: different content has different texts, and equal content has the same one, however its parts are shared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from hashlib import sha256
from marshal import dumps
from operator import itemgetter
from types import BuiltinFunctionType, FunctionType
from typing import Any, TypeAlias

from jobspan.errors import UnhashableError
from jobspan.persist.chunks import CHUNK, Data
from jobspan.persist.content import ATOMS, Coerce, take_for
from jobspan.persist.culprit import find_culprit, name_kind

SCHEME = 1
"""Which way digests are made; those of different schemes are never equal."""

SIZE = 16
"""Bytes of a digest."""

_START = b"jobspan hash %d\n" % SCHEME
_MARSHAL = 2
_SHORT = 32  # rows of more, and more bytes, are hashed on their own
_ROWS = 1 << 12  # of a long row, so many elements are written down at a time
_WORTH_KEEPING = 16  # objects of fewer parts are taken apart again where they are met again
_NO_PAIRS = b"D" + dumps([], _MARSHAL)
_NAMED = type, FunctionType, BuiltinFunctionType  # what many objects share
_STR, _INT = frozenset({str}), frozenset({int})
_NO_COERCION = Coerce()
_ROW_TAGS: dict[type, bytes] = {list: b"L", tuple: b"U"}  # none of the tags is one of marshal's
_SHORT_TAGS: dict[type, bytes] = {list: b"M", tuple: b"R"}

Hasher: TypeAlias = Any  # hashlib names no type for its objects


def hash(  # noqa: A001  joblib's name
    obj: Any, hash_name: str | None = None, coerce_mmap: bool = False, *, coerce_order: bool = False
) -> str:
    """A digest of an object by its content, for use as a key.

    Equal content has the same digest: in every process, whatever the salt of Python's own `hash`, on machines of 32 and
    of 64 bits, in a browser, whether its parts are shared or copies, in whatever order dicts and sets were filled.
    Types count: ``1``, ``1.0`` and ``True`` differ. Functions and classes of installed packages are known by their
    names, the user's own by their code and by what that uses of theirs.

    Parameters
    ----------
    obj : object
        Anything that can be pickled, or whose type `register_hash` knows.
    hash_name : str, optional
        An algorithm of `hashlib`, such as ``"sha1"``, for a digest of that length: the ordinary one is hashed with it
        once more. By default a digest of 128 bits, taken from SHA-256.
    coerce_mmap : bool, default False
        Make no difference between a `numpy.memmap` and an array in memory.
    coerce_order : bool, default False
        Make no difference between an array in C and one in Fortran order.

    Returns
    -------
    str
        Hexadecimal, 32 characters by default.

    Raises
    ------
    UnhashableError
        If something in the object has no content to go by, such as a lock or a generator. The message says where it is.
    ValueError
        If there is no such algorithm.

    Examples
    --------
    >>> import jobspan
    >>> jobspan.hash({"a": [1, 2], "b": None})
    'a39a7082275349b5aa47d1b5b4c35658'
    >>> jobspan.hash({1, 2}) == jobspan.hash({2, 1}), jobspan.hash(1) == jobspan.hash(1.0)
    (True, False)
    """
    coerce = Coerce(coerce_mmap, coerce_order) if coerce_mmap or coerce_order else _NO_COERCION
    found = digest(obj, coerce)
    if hash_name is None:
        return found.hex()
    try:
        again = hashlib.new(hash_name, usedforsecurity=False)
    except (ValueError, TypeError):
        raise ValueError(
            f"hash_name={hash_name!r} is no algorithm of hashlib; there are "
            f"{', '.join(sorted(hashlib.algorithms_guaranteed))}."
        ) from None
    again.update(found)
    length: Any = (16,) if again.name.startswith("shake") else ()
    return again.hexdigest(*length)


def digest(obj: Any, coerce: Coerce = _NO_COERCION) -> bytes:
    """16 bytes that stand for the content of `obj`.

    Raises
    ------
    UnhashableError
        If something in it has no content to go by.
    """
    return digest_text(write_text(obj, coerce))


def digest_text(text: bytes) -> bytes:
    """The digest of an object that has this text."""
    return sha256(_START + text).digest()[:SIZE]


def write_text(obj: Any, coerce: Coerce = _NO_COERCION) -> bytes:
    """What an object is written down as: short for what has few parts, else with digests of its parts in it.

    Raises
    ------
    UnhashableError
        If something in it has no content to go by.
    """
    text = _write_plain(obj)
    if text is None:
        try:
            text = _write(obj, coerce)
        except RecursionError:
            raise UnhashableError(
                f"{name_kind(obj)} is nested too deeply to be hashed, deeper than Python's functions may call each "
                f"other (sys.setrecursionlimit). jobspan.register_hash can say what stands for it."
            ) from None
        except UnhashableError:
            raise
        except Exception as error:  # users' code may raise anything; it is the cause of what is raised here
            raise _explain(obj, coerce, error) from error
    return text


def _write(obj: Any, coerce: Coerce) -> bytes:
    try:
        return Writer(coerce).write(obj)
    except _ContainsItself:
        return b"cyclic" + _NumberingWriter(coerce).write(obj)


def _explain(obj: Any, coerce: Coerce, error: Exception) -> UnhashableError:
    def raised_by(part: Any) -> Exception | None:
        try:
            _write(part, coerce)
        except Exception as raised:  # noqa: BLE001  users' code may raise anything
            return raised
        return None

    path, culprit, _ = find_culprit(obj, "the object", lambda part: raised_by(part) is None)
    reason = raised_by(culprit) or error
    return UnhashableError(
        f"{path} cannot be hashed by its content: it is {name_kind(culprit)} ({type(reason).__name__}: {reason}). "
        f"Leave it out, or say what stands for it: jobspan.register_hash({type(culprit).__name__}, function)."
    )


def _write_plain(obj: Any) -> bytes | None:
    """The text of what `_write_flat` knows, or of a short row or dict of that; None for all others."""
    text = _write_flat(obj)
    if text is not None:
        return text
    kind = type(obj)
    if kind is dict:
        if len(obj) > _SHORT or not _can_be_sorted(obj):
            return None
        keys = sorted(obj)
        head, values = b"G" + dumps(keys, _MARSHAL), [obj[key] for key in keys]
    elif (kind is list or kind is tuple) and len(obj) <= _SHORT:
        head, values = b"%s%d:" % (_SHORT_TAGS[kind], len(obj)), obj
    else:
        return None
    texts = [head]
    for value in values:
        text = _write_flat(value)
        if text is None:
            return None
        texts.append(text)
    return b"".join(texts)


def _write_flat(obj: Any) -> bytes | None:
    """The text of a plain value, or of a short row or dict of what is flat; None for all others."""
    kind = type(obj)
    if kind in ATOMS:
        return None if kind is str and len(obj) > CHUNK else dumps(obj, _MARSHAL)
    if kind is bytes:
        return dumps(obj, _MARSHAL) if len(obj) <= _SHORT else None
    if kind is dict:
        if not obj:
            return _NO_PAIRS
        if len(obj) <= _SHORT and _are_flat(obj.values()) and _can_be_sorted(obj):
            keys = sorted(obj)
            return b"D" + dumps(keys + [obj[key] for key in keys], _MARSHAL)
    elif (kind is list or kind is tuple) and len(obj) <= _SHORT and _are_flat(obj):
        return dumps(obj, _MARSHAL)
    return None


def _are_flat(values: Iterable[Any]) -> bool:
    """Whether all are plain values, or short lists and tuples of plain values: `marshal` takes them all at once."""
    for value in values:
        kind = type(value)
        if kind not in ATOMS and not (
            (kind is list or kind is tuple) and len(value) <= _SHORT and ATOMS.issuperset(map(type, value))
        ):
            return False
    return True


def _can_be_sorted(keys: Iterable[Any]) -> bool:
    return _STR.issuperset(map(type, keys)) or _INT.issuperset(map(type, keys))


class _ContainsItself(Exception):
    """The object is part of itself."""


class Writer:
    """Writes down one object.

    Parameters
    ----------
    coerce : Coerce
        What does not count.
    """

    def __init__(self, coerce: Coerce) -> None:
        self._coerce = coerce
        self._under_way: set[int] = set()
        self._kept: dict[int, tuple[Any, bytes]] = {}  # with the object, so that its id remains its own
        self._parts = 0

    def write(self, obj: Any) -> bytes:
        """The text of an object."""
        text = _write_plain(obj)
        if text is not None:
            return text
        kind = type(obj)
        if kind is list or kind is tuple:
            return self._enter(obj, self._feed_row)
        if kind is dict:
            return self._enter(obj, self._feed_dict)
        if kind is set or kind is frozenset:
            return self._enter(obj, self._feed_set)
        if kind is str:
            return self._enter(obj, self._feed_long_text)
        if kind is bytes and len(obj) <= CHUNK:
            return b"#" + sha256(b"B%d:%s" % (len(obj), obj)).digest()[:SIZE]
        return self._enter(obj, self._feed_object)

    def _enter(self, obj: Any, feed: Callable[[Hasher, Any], None]) -> bytes:
        """The text of what is hashed on its own, once if it has many parts."""
        key = id(obj)
        kept = self._kept.get(key)
        if kept is not None:
            return kept[1]
        if key in self._under_way:
            raise _ContainsItself
        self._under_way.add(key)
        before = self._parts
        text = _hashed(feed, obj)
        self._under_way.discard(key)
        if self._parts - before >= _WORTH_KEEPING or isinstance(obj, _NAMED):
            self._kept[key] = obj, text
        return text

    def _feed_row(self, found: Hasher, row: Any) -> None:
        self._parts += len(row)
        found.update(_ROW_TAGS[type(row)])
        self._feed_items(found, row)

    def _feed_items(self, found: Hasher, row: Any, unsorted: Iterable[Any] | None = None) -> None:
        """The elements of a list or tuple; their types are looked at as they lie in memory, which is much faster."""
        kinds = row if unsorted is None else unsorted
        parts = (row[start : start + _ROWS] for start in range(0, len(row), _ROWS))
        if _STR.issuperset(map(type, kinds)):
            found.update(b"X%d:" % len(row))
            for part in parts:
                found.update(dumps(list(map(len, part)), _MARSHAL))
                found.update("".join(part).encode("utf-8", "surrogatepass"))
        elif ATOMS.issuperset(map(type, kinds)) or _are_flat(kinds):
            found.update(b"P%d:" % len(row))
            for part in parts:
                found.update(dumps(part, _MARSHAL))
        else:
            found.update(b"Q%d:" % len(row))
            for part in parts:
                found.update(b"".join(map(self.write, part)))

    def _feed_dict(self, found: Hasher, pairs: dict[Any, Any]) -> None:
        self._parts += len(pairs)
        if _can_be_sorted(pairs):
            keys = sorted(pairs)
            values: Any = itemgetter(*keys)(pairs) if len(keys) > 1 else list(pairs.values())
            found.update(b"E")
            self._feed_items(found, keys, pairs)
            self._feed_items(found, list(values), pairs.values())
        else:
            found.update(b"F%d:" % len(pairs))
            self._feed_unsorted(found, pairs)

    def _feed_unsorted(self, found: Hasher, pairs: dict[Any, Any]) -> None:
        """A dict whose keys have no order of their own: that of their texts."""
        write = self.write
        for key, value in sorted((write(key), write(value)) for key, value in pairs.items()):
            found.update(key + value)

    def _feed_set(self, found: Hasher, elements: Any) -> None:
        self._parts += len(elements)
        found.update(b"S" if type(elements) is set else b"Z")
        if _can_be_sorted(elements):
            self._feed_items(found, sorted(elements), elements)
        else:
            found.update(b"F%d:" % len(elements))
            found.update(b"".join(self._sort(elements)))

    def _sort(self, elements: Iterable[Any]) -> list[bytes]:
        """The texts of what has no order, in theirs."""
        return sorted(map(self.write, elements))

    def _feed_long_text(self, found: Hasher, text: str) -> None:
        found.update(b"T%d:" % len(text))
        for start in range(0, len(text), CHUNK):
            found.update(text[start : start + CHUNK].encode("utf-8", "surrogatepass"))

    def _feed_object(self, found: Hasher, obj: Any) -> None:
        content = obj if isinstance(obj, Data) else take_for(type(obj))(obj, self._coerce)
        if not isinstance(content, Data):
            self._parts += len(content)
            found.update(b"O%d:%s" % (len(content), b"".join(map(self.write, content))))
        elif content.nbytes <= CHUNK:
            found.update(b"B%d:" % content.nbytes)
            for part in content.read(0, content.nbytes // content.itemsize):
                found.update(part)
        else:
            found.update(b"C%d,%d:" % (content.nbytes, content.itemsize))
            found.update(content.digests)


class _NumberingWriter(Writer):
    """For what contains itself: an object that was met before is its number there, so shared parts count as shared."""

    def __init__(self, coerce: Coerce) -> None:
        super().__init__(coerce)
        self._numbers: dict[int, tuple[Any, int]] = {}

    def _enter(self, obj: Any, feed: Callable[[Hasher, Any], None]) -> bytes:
        known = self._numbers.get(id(obj))
        if known is not None:
            return b"^%d:" % known[1]
        self._numbers[id(obj)] = obj, len(self._numbers)
        return _hashed(feed, obj)

    def _feed_unsorted(self, found: Hasher, pairs: dict[Any, Any]) -> None:
        texts = self._sort(pairs)
        values = dict(zip(map(self._write_alone, pairs), pairs.values(), strict=True))
        for text in texts:
            found.update(text + self.write(values[text]))

    def _sort(self, elements: Iterable[Any]) -> list[bytes]:
        texts = sorted(map(self._write_alone, elements))
        if len(set(texts)) < len(texts):
            raise TypeError("it contains itself, and a set or dict in it has keys of the same content")
        return texts

    def _write_alone(self, key: Any) -> bytes:
        try:
            return Writer(self._coerce).write(key)
        except _ContainsItself:
            raise TypeError("a set in it, or the keys of a dict, contain themselves, and so have no order") from None


def _hashed(feed: Callable[[Hasher, Any], None], obj: Any) -> bytes:
    found = sha256()
    feed(found, obj)
    return b"#" + found.digest()[:SIZE]
