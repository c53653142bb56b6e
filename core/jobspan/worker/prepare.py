"""What a worker does before its tasks, and does not take back: its initializer, and its number of library threads.

Invariant: an initializer that has returned runs no second time in the same worker; one that failed is tried again by
the next call.
"""

from __future__ import annotations

import sys
from _thread import allocate_lock
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from jobspan import host
from jobspan.errors import InitializerError
from jobspan.worker.context import PLACE, Place
from jobspan.worker.describe import describe_task, name_of

if TYPE_CHECKING:
    from jobspan.worker.script import Spaces

Initializer: TypeAlias = tuple[Callable[..., Any], tuple[Any, ...]]

LIMITED_ELSEWHERE = 0
"""As a number of threads: the user's environment says how many, and that stands."""

_LIBRARIES = ("numpy", "scipy", "sklearn", "torch")  # each may bring thread pools of its own

_ran: dict[bytes, Spaces] = {}
_running = allocate_lock()
_limited: tuple[int | None, int, int] | None = None


def pack_initializer(initializer: Initializer) -> bytes:
    """Pickle it, or raise the `UnpicklableError` that says why it cannot be."""
    from jobspan.persist.pickling import dumps, explain
    from jobspan.worker.script import set_initializer

    try:
        return dumps(initializer, function_setter=set_initializer)
    except Exception as error:
        function, arguments = initializer
        parts = [(f"argument {i} of the initializer", value) for i, value in enumerate(arguments)]
        raise explain([(f"the initializer {name_of(function)}", function), *parts], error) from error


@contextmanager
def initialized(packed: bytes | None, place: Place) -> Iterator[None]:
    """Run a pickled initializer, unless this worker has; what it left in its script's globals is found inside.

    Raises
    ------
    InitializerError
        If it fails, or cannot be unpickled here.
    """
    if packed is None:
        yield
        return
    from jobspan.worker.script import within

    if packed not in _ran:
        with _running:
            if packed not in _ran:
                _ran[packed] = _run(packed, place)
    with within(_ran[packed]):
        yield


def _run(packed: bytes, place: Place) -> Spaces:
    """Run it, and return the globals of what came with it."""
    from jobspan.persist.pickling import loads
    from jobspan.worker.script import within

    spaces: Spaces = {}
    try:
        with within(spaces):
            initializer = loads(packed)
    except Exception as error:
        raise InitializerError(
            f"the initializer cannot be unpickled on a worker ({type(error).__name__}: {error}); is the same code "
            f"there?"
        ) from error
    try:
        initialize(initializer, place)
    except InitializerError as failed:
        if not _can_travel(failed.__cause__):
            failed.__cause__, failed.__suppress_context__ = None, False  # still told of in the traceback
        raise
    return spaces


def _can_travel(error: BaseException | None) -> bool:
    from jobspan.persist.pickling import dumps, loads

    try:
        return type(loads(dumps(error))) is type(error)
    except Exception:  # noqa: BLE001  unpickling runs the exception's own code
        return False


def initialize(initializer: Initializer, place: Place) -> None:
    """Call it, where tasks of this place will run.

    Raises
    ------
    InitializerError
        From what it raised.
    """
    function, arguments = initializer
    token = PLACE.set(place)
    try:
        function(*arguments)
    except (Exception, SystemExit) as error:
        raise InitializerError(
            f"the initializer {describe_task((function, arguments, {}))} failed, so its worker runs no task: "
            f"{type(error).__name__}: {error}"
        ) from error
    finally:
        PLACE.reset(token)


def limit_threads(threads: int | None, width: int) -> None:
    """Let numerical libraries that are loaded here use so many threads; by default this worker's share of the CPUs.

    Fresh processes are started with variables that say the same. This is for those that were not, or have been forked
    from a process where the libraries were loaded before.
    """
    global _limited  # noqa: PLW0603  of the process, as the limits are
    loaded = sum(name in sys.modules for name in _LIBRARIES)
    if not loaded or threads == LIMITED_ELSEWHERE or _limited == (threads, width, loaded):
        return
    _limited = threads, width, loaded
    try:
        import threadpoolctl  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        return
    threadpoolctl.threadpool_limits(threads or max(1, host.cpu_count() // width))
