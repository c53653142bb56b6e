"""joblib's `Logger` and `PrintTime`: messages of an object, and how long things took.

Invariant: nothing here takes part in running tasks; the two are kept for code that was written against joblib.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from jobspan.errors import say_once

_KEPT = 9  # older log files beside the present one
_FILE = "joblib.log"


class Logger:
    """Base class of objects that log messages about themselves.

    Parameters
    ----------
    depth : int
        Levels of nested objects that `format` shows.
    name : str, optional
        The logger of the `logging` module to use; ``"joblib"`` by default, as code that listens to it expects.

    Examples
    --------
    >>> class Solver(Logger):
    ...     def __repr__(self):
    ...         return "Solver"
    >>> Solver(depth=1).format({"a": [1]})
    "{'a': [...]}"
    """

    depth = 3  # for subclasses that do not call the constructor
    _name = "joblib"

    def __init__(self, depth: int = 3, name: str | None = None) -> None:
        self.depth = depth
        self._name = name or "joblib"

    def warn(self, msg: object) -> None:
        """Log a warning."""
        self._log("WARNING", msg)

    def info(self, msg: object) -> None:
        """Log a message."""
        self._log("INFO", msg)

    def debug(self, msg: object) -> None:
        """Log what only matters when looking for an error."""
        self._log("DEBUG", msg)

    def _log(self, level: str, msg: object) -> None:
        import logging

        logging.getLogger(self._name).log(getattr(logging, level), "[%s]: %s", self, msg)

    def format(self, obj: Any, indent: int = 0) -> str:
        """The object as text over several lines, arrays in short.

        Parameters
        ----------
        obj : object
            What to show.
        indent : int
            Columns by which nested lines are indented.
        """
        import pprint

        if "numpy" not in sys.modules:
            return pprint.pformat(obj, depth=self.depth, indent=indent)
        with sys.modules["numpy"].printoptions(precision=6, threshold=64, edgeitems=1):
            return pprint.pformat(obj, depth=self.depth, indent=indent)


class PrintTime:
    """Prints messages on stderr with the time since the one before.

    Parameters
    ----------
    logfile : str, optional
        A file that gets the messages too, begun anew; what it held before is kept as ``logfile.1``, that as
        ``logfile.2``, and so on up to 9.
    logdir : str, optional
        Instead, a folder for a file ``joblib.log``.

    Examples
    --------
    >>> import contextlib, sys
    >>> timed = PrintTime()
    >>> with contextlib.redirect_stderr(sys.stdout):
    ...     timed("loaded")  # doctest: +ELLIPSIS
    loaded: 0...s, 0.0min
    """

    def __init__(
        self, logfile: str | os.PathLike[str] | None = None, logdir: str | os.PathLike[str] | None = None
    ) -> None:
        if logfile is not None and logdir is not None:
            raise ValueError(
                f"logfile={logfile!r} and logdir={logdir!r} say twice where to log; leave one of them out."
            )
        if logdir is not None:
            logfile = os.path.join(logdir, _FILE)
        self.logfile = None if logfile is None else os.fspath(logfile)
        self.start_time = self.last_time = time.time()
        if self.logfile is not None:
            self._begin(self.logfile)

    def __call__(self, msg: str = "", total: bool = False) -> None:
        """Print `msg` and the time since the last call, or since this object was made.

        Parameters
        ----------
        msg : str
            Text before the time.
        total : bool
            Whether to count from the beginning.
        """
        now = time.time()
        if total:
            seconds = now - self.start_time
            line = f"{msg}: {seconds:.2f}s, {seconds / 60:.1f} min"
        else:
            seconds = now - self.last_time
            line = f"{msg}: {seconds:.1f}s, {seconds / 60:.1f}min"
        print(line, file=sys.stderr)  # noqa: T201  what it is for
        if self.logfile is not None:
            self._write(self.logfile, "a", f"{line}\n")
        self.last_time = time.time()

    def _begin(self, path: str) -> None:
        try:
            os.makedirs(os.path.dirname(path) or os.curdir, exist_ok=True)
            if os.path.exists(path):
                _rotate(path)
        except OSError as error:
            _say_unwritten(path, error)
        self._write(path, "w", f"\nLogging joblib python script\n\n---{time.ctime(self.start_time)}---\n")

    def _write(self, path: str, mode: str, text: str) -> None:
        try:
            with open(path, mode, encoding="utf-8") as file:
                file.write(text)
        except OSError as error:  # timing is not worth failing what is timed
            _say_unwritten(path, error)


def _rotate(path: str) -> None:
    """Make room for a new log; the present file is copied, so that who follows it does not lose it."""
    import shutil

    for number in range(_KEPT - 1, 0, -1):
        if os.path.exists(f"{path}.{number}"):
            os.replace(f"{path}.{number}", f"{path}.{number + 1}")
    shutil.copy(path, f"{path}.1")


def _say_unwritten(path: str, error: OSError) -> None:
    say_once(f"{path} cannot be written ({error}), so times are only printed. Give PrintTime another logfile.")
