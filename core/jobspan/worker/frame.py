"""What the tasks of a run find around them: captured where `Parallel` is called, established where they run.

Invariant: what was established for a batch is taken back after it, however the batch ends; an initializer alone leaves
what it did, once in each worker.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from jobspan.model import Warned
from jobspan.worker.carry import Provided, ask
from jobspan.worker.context import PLACE, Place
from jobspan.worker.prepare import Initializer, initialized, pack_initializer

if TYPE_CHECKING:
    from jobspan.worker.relay import Relay


class Frame(NamedTuple):
    """The surroundings of one run.

    Attributes
    ----------
    place : Place
        Where the tasks stand.
    initializer : (callable, tuple), optional
        What each worker calls before its first task, with these arguments.
    provided : tuple
        What providers said, for workers that share the caller's memory.
    surroundings : bytes, optional
        All that goes along to other workers, packed.
    relay : Relay, optional
        What of the tasks' output goes to the caller's process; None where it goes there anyway.
    """

    place: Place = Place(1, 1)
    initializer: Initializer | None = None
    provided: Provided = ()
    surroundings: bytes | None = None
    relay: Relay | None = None

    def within(self, width: int) -> Frame:
        """The same for a session of `width` workers."""
        return self._replace(place=Place(self.place.level, self.place.width * width))

    def packed(self) -> bytes:
        """For `unpack`, on a worker that shares no memory with the caller.

        Raises
        ------
        UnpicklableError
            Naming what of the initializer cannot be sent.
        """
        from jobspan.persist.pickling import dumps

        initializer = None if self.initializer is None else pack_initializer(self.initializer)
        return dumps((self.place.level, self.place.width, initializer, self.surroundings, self.relay))


class Arrived(NamedTuple):
    """A frame on a worker."""

    place: Place
    initializer: bytes | None
    surroundings: bytes | None
    relay: Relay | None


def capture(
    *, inline: bool, copied: bool = False, threads: int | None = None, initializer: Initializer | None = None
) -> Frame:
    """What is around the caller now.

    Parameters
    ----------
    inline : bool
        The tasks run in the caller's own thread, at its level.
    copied : bool
        They run on workers that share no memory with it.
    threads : int, optional
        What numerical libraries may use there, if the user gave a number.
    initializer : (callable, tuple), optional
        What each worker calls first.

    Raises
    ------
    UnpicklableError
        Naming what of the surroundings cannot be sent.
    """
    level, width, _ = PLACE.get()
    if inline:
        return Frame(Place(level, width), initializer)
    level += 1
    if not copied:
        return Frame(Place(level, width), initializer, ask())
    from jobspan.worker.surroundings import pack  # imports pickle

    return Frame(Place(level, width), initializer, surroundings=pack(level, threads))


_last: tuple[bytes, Any] = b"", None


def unpack(data: bytes) -> Arrived:
    """What `Frame.packed` has packed, which is the same for all batches of a run."""
    global _last  # noqa: PLW0603  one per worker; a lost race only loads it again
    known, found = _last
    if known != data:
        from jobspan.persist.pickling import loads

        level, width, *rest = loads(data)
        found = Arrived(Place(level, width), *rest)
        _last = data, found
    arrived: Arrived = found
    return arrived


@contextmanager
def established(frame: Arrived, warned: list[Warned]) -> Iterator[None]:
    """Make a worker that shares no memory with the caller look as `frame` says, and list what is warned of.

    Raises
    ------
    InitializerError
        If the initializer failed here.
    """
    from jobspan.worker.relay import flush, reopen_streams, switch  # which the caller's side does without

    reopen_streams()
    switch(frame.relay)
    try:
        if frame.surroundings is None:
            with initialized(frame.initializer, frame.place):
                yield
        else:
            from jobspan.worker.surroundings import surrounded

            with surrounded(frame.surroundings, frame.place, frame.initializer, warned):
                yield
    finally:
        flush()
