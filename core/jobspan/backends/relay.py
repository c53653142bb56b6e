"""Whether the output of worker processes has to be brought here, and for how long.

Text goes to the ``sys.stdout`` and ``sys.stderr`` that were in force where `Parallel` was called, unless that is what
the workers print to anyway; log records go to the loggers of their names.

Invariant: decided anew for each run; after `detach`, all that a worker sent before its last reply has been written.
"""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import Any

from jobspan.errors import say_once
from jobspan.worker.frame import Frame

PREFIX_VARIABLE = "JOBSPAN_PREFIX_OUTPUT"
"""An environment variable: ``1`` puts the worker before each line, any other text is put there itself."""

_STANDARD_PREFIX = "[process {pid}] "


def attach(frame: Frame) -> Frame:
    """The frame for a run on processes of this machine, told what to send here of their output, if anything."""
    prefix = find_prefix()
    stdout = sys.stdout is not None and (prefix != "" or not _is_inherited(sys.stdout, 1))
    stderr = sys.stderr is not None and (prefix != "" or not _is_inherited(sys.stderr, 2))
    logs = None
    if "logging" in sys.modules:
        from jobspan.worker.logs import survey

        logs = survey()
    if not stdout and not stderr and logs is None:
        return frame
    try:
        from jobspan.backends.hub import open_route  # imports sockets

        relay = open_route()
    except OSError as error:
        say_once(
            f"what worker processes print and log cannot be brought here, as no local socket can be opened "
            f"({error}); it goes wherever the processes themselves print to."
        )
        return frame
    return frame._replace(relay=relay._replace(stdout=stdout, stderr=stderr, prefix=prefix, logs=logs))


def find_prefix() -> str:
    """What the environment says that lines should begin with."""
    if PREFIX_VARIABLE not in os.environ:  # asked so first, since a miss of `get` costs much more
        return ""
    text = os.environ[PREFIX_VARIABLE]
    return {"0": "", "1": _STANDARD_PREFIX}.get(text, text)


def _is_inherited(stream: Any, descriptor: int) -> bool:
    """Whether processes that this one starts print to the same place anyway."""
    try:
        return type(stream) is TextIOWrapper and stream.fileno() == descriptor
    except (OSError, ValueError):  # it has no descriptor, or is closed
        return False


def listen(frame: Frame) -> None:
    """Read from now on; called once workers have been started, as forking a process that has threads is a hazard."""
    if frame.relay is not None:
        from jobspan.backends.hub import find_hub

        if (hub := find_hub()) is not None:
            hub.start()


def detach(frame: Frame) -> None:
    """Write what is still on its way, and forget the run."""
    if frame.relay is not None:
        from jobspan.backends.hub import find_hub

        if (hub := find_hub()) is not None:
            hub.close_route(frame.relay.route)
