"""Log records of tasks reach the caller's handlers, as if they had been logged there.

Invariant: each handler sees a record once: the caller's in the caller's process, and in the worker only those that the
caller has not got. What is set in a worker is taken back.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias

from jobspan.persist.pickling import dumps, is_picklable, loads

Signature: TypeAlias = tuple[str, str, str]

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_UNTOUCHED = [(logging.root.name, logging.WARNING)]


class Logs(NamedTuple):
    """How `logging` is set up in the caller's process.

    Attributes
    ----------
    levels : tuple of (str, int)
        The loggers that have a level, the root logger among them.
    handlers : frozenset of (str, str, str)
        Of each handler its logger, its class and where it writes to.
    disabled : int
        What `logging.disable` was given.
    """

    levels: tuple[tuple[str, int], ...]
    handlers: frozenset[Signature]
    disabled: int


def survey() -> Logs | None:
    """How `logging` is set up here; None where nobody has done anything about it."""
    root, manager = logging.root, logging.root.manager
    levels = [(root.name, root.level)]
    handlers = [_signature(root, handler) for handler in root.handlers]
    for logger in list(manager.loggerDict.values()):  # there may be hundreds, and this is done at each call
        if isinstance(logger, logging.PlaceHolder):
            continue
        if logger.level:
            levels.append((logger.name, logger.level))
        if logger.handlers:
            handlers += [
                _signature(logger, each) for each in logger.handlers if not isinstance(each, logging.NullHandler)
            ]
    if levels == _UNTOUCHED and not handlers and not manager.disable:
        return None
    return Logs(tuple(levels), frozenset(handlers), manager.disable)


def _signature(logger: logging.Logger, handler: logging.Handler) -> Signature:
    """What tells whether a handler in a worker does what one of the caller's does."""
    stream = getattr(handler, "stream", None)
    if stream is None:
        target = getattr(handler, "baseFilename", "")  # a file that is opened with the first record
    elif stream is sys.stdout:
        target = "<stdout>"
    elif stream is sys.stderr:
        target = "<stderr>"
    else:
        target = getattr(stream, "name", "")
    return logger.name, type(handler).__qualname__, str(target)


_logs: Logs | None = None
_deliver: Callable[[bytes], bool] | None = None
_before: list[tuple[logging.Logger, int]] = []
_disabled_before: int | None = None
_call_handlers = logging.Logger.callHandlers


def follow(logs: Logs | None, deliver: Callable[[bytes], bool]) -> None:
    """Set up `logging` in this worker as the caller has it, and `deliver` the records there; None takes that back.

    Not by a handler: with one on the root logger, a task's own `logging.basicConfig` would do nothing, and records of
    loggers that do not propagate would not be heard.
    """
    global _logs, _deliver, _disabled_before  # noqa: PLW0603  there is one logging in a process
    if logs == _logs:
        return
    _logs = None  # an interrupt on the way leaves it so, and the next run begins anew
    logging.Logger.callHandlers = _call_handlers  # type: ignore[method-assign]
    while _before:
        logger, level = _before.pop()
        logger.setLevel(level)
    if _disabled_before is not None:
        logging.disable(_disabled_before)
        _disabled_before = None
    if logs is None:
        return
    for name, level in logs.levels:
        logger = logging.getLogger(name)
        _before.append((logger, logger.level))
        logger.setLevel(level)
    _disabled_before = logging.root.manager.disable
    logging.disable(logs.disabled)
    logging.Logger.callHandlers = _forward  # type: ignore[method-assign,assignment]  # a function, bound like one
    _logs, _deliver = logs, deliver


def _forward(logger: logging.Logger, record: logging.LogRecord) -> None:
    logs = _logs
    own = [] if logs is None else list(_handlers(logger, logs.handlers))
    if logs is None or any(map(_carries, own)) or not _send(record):
        _call_handlers(logger, record)
        return
    for handler in own:
        if record.levelno >= handler.level:
            handler.handle(record)


def _handlers(logger: logging.Logger | None, known: frozenset[Signature]) -> Iterator[logging.Handler]:
    """The handlers that would get a logger's records, except those that the caller has too."""
    while logger is not None:
        yield from (handler for handler in logger.handlers if _signature(logger, handler) not in known)
        logger = logger.parent if logger.propagate else None


def _carries(handler: logging.Handler) -> bool:
    """Whether the user has arranged for records to go elsewhere: sent by us too, they would be there twice."""
    module = sys.modules.get("logging.handlers")
    return module is not None and isinstance(handler, module.QueueHandler)


def _send(record: logging.LogRecord) -> bool:
    try:
        packed = pack(record)
    except Exception:  # noqa: BLE001  a message that does not fit its arguments; a handler reports it in logging's way
        return False
    return _deliver is not None and _deliver(packed)


def pack(record: logging.LogRecord) -> bytes:
    """A record as bytes: the message merged, the exception as text, and of the extra attributes what can be pickled."""
    fields: dict[str, Any] = dict(record.__dict__)
    extras = {name: fields.pop(name) for name in fields.keys() - _PLAIN}
    fields.update(msg=record.getMessage(), args=None, exc_info=None)
    if record.exc_info and not record.exc_text:
        fields["exc_text"] = logging.Formatter().formatException(record.exc_info)
    try:
        beside = dumps(extras)
    except Exception:  # noqa: BLE001  a reducer may raise anything
        beside = dumps({name: value if is_picklable(value) else repr(value) for name, value in extras.items()})
    return dumps((fields, beside))


def handle(packed: bytes) -> None:
    """Log a record of a worker's here."""
    fields, beside = loads(packed)
    with suppress(Exception):  # what the worker can import, this process perhaps cannot; the record says enough without
        fields.update(loads(beside))
    record = logging.makeLogRecord(fields)
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)
