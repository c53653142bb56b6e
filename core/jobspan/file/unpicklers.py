"""Unpicklers in Python, where what the pickle builds has to be looked at on the way.

`pickle._Unpickler` is the one of the standard library that is written in Python, which pickle itself uses where its
faster one cannot be imported.

Invariant: nested pickles are read by the same rules as the one they are in.
"""

from __future__ import annotations

import pickle
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

Finder = Callable[[str, str], Any]
"""Answers with what a pickle calls by the names of a module and of something in it, or raises."""


_Base: Any = pickle._Unpickler  # noqa: SLF001  see above


class BuildingUnpickler(_Base):  # type: ignore[misc]  # typeshed knows none of its attributes
    """Lets something else take the place of an object that was given its state.

    Parameters
    ----------
    file : file object
        The pickle.
    buffers : iterable
        Its buffers, as for `pickle.Unpickler`.
    find : callable
        Answers for names.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(_Base.dispatch)

    def __init__(self, file: Any, find: Finder, buffers: Iterable[Any] | None = None) -> None:
        super().__init__(file, buffers=buffers)
        self.file = file
        self.find = find

    def find_class(self, module: str, name: str) -> Any:
        """What the pickle calls by these names; those of Python 2 mean what they have become."""
        if self.proto < 3:
            module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        return self.find(module, name)

    def build(self, obj: Any, state: Any) -> Any:
        """Give an object its state, and return it, or what takes its place."""
        self.stack.append(state)
        super().load_build()
        return obj

    def load_build(self) -> None:
        """What the opcode for a state does."""
        state, obj = self.stack.pop(), self.stack[-1]
        built = self.build(obj, state)
        if built is not obj:
            self.stack[-1] = built
            self.memo.update({key: built for key, known in self.memo.items() if known is obj})

    dispatch[pickle.BUILD[0]] = load_build


def find_anything(module: str, name: str) -> Any:
    """What these names mean here, whatever it is."""
    import sys

    __import__(module)
    found = sys.modules[module]
    for part in name.split("."):
        found = getattr(found, part)
    return found
