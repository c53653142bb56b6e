"""Reads pickles of plain values and arrays, and refuses all others by name: no code of anybody's is run.

A pickle is a program. What it may call here are functions of `jobspan.file.named`, which look at what they are given,
and a few types of the standard library that do nothing but hold a value; what it may change are objects that those have
made.

Invariant: whatever the bytes are, what is run is only what `find_safe` knows, or what the user trusts; the memory that
is taken is in proportion to the bytes that are there; and what is returned holds none of the stand-ins.
"""

from __future__ import annotations

import pickle
import sys
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from types import FunctionType, ModuleType
from typing import Any, ClassVar

from jobspan.errors import UntrustedError
from jobspan.file.named import StandIn, check_keys, find_safe, refuse_as_value
from jobspan.file.unpicklers import BuildingUnpickler, find_anything

_SIZED = frozenset({bytes, bytearray, str, list, tuple, dict, set, frozenset, deque, OrderedDict})
_FREE_BYTES, _SHARE = 1 << 24, 16  # calls may be given so much, and so many times the bytes that were read


class Trust:
    """What may be named by a pickle.

    Parameters
    ----------
    trusted : "data", or iterable of types, functions and modules
        What may be named beside plain values and arrays. A module stands for all that is in it, and in those below it.

    Raises
    ------
    ValueError
        If it is something else.
    """

    def __init__(self, trusted: Any) -> None:
        more: list[Any] = []
        if trusted != "data":
            if isinstance(trusted, str | bytes) or not isinstance(trusted, Iterable):
                raise ValueError(f"trusted={trusted!r} is neither 'data' nor a list of types, functions and modules.")
            more = list(trusted)
            for each in more:
                if not isinstance(each, ModuleType) and not (
                    hasattr(each, "__module__") and hasattr(each, "__qualname__")
                ):
                    raise ValueError(f"trusted= lists types, functions and modules themselves, and {each!r} is none.")
        self._modules = tuple(each.__name__ for each in more if isinstance(each, ModuleType))
        self._names = {(each.__module__, each.__qualname__) for each in more if not isinstance(each, ModuleType)}

    def covers(self, module: str, name: str) -> bool:
        """Whether the user has said so."""
        inside = any(module == trusted or module.startswith(trusted + ".") for trusted in self._modules)
        return (inside and "." not in name) or (module, name) in self._names

    def find(self, module: str, name: str) -> Any:
        """What the pickle calls by these names, if it may."""
        if self.covers(module, name):
            found = find_anything(module, name)
            is_its_own = getattr(found, "__module__", module) == module and not isinstance(found, ModuleType)
            if is_its_own or (module, name) in self._names:
                return found  # what a module has imported from elsewhere is no part of it
        safe = find_safe(module, name)
        if safe is None:
            raise UntrustedError(
                f"the file names {module}.{name}, which is not trusted: only plain values and arrays are, and what "
                f"trusted= lists, types or whole modules. jobspan.inspect tells of all that it names; if you trust the "
                f"file, load it without trusted=."
            )
        return safe

    def hold(self, name: str) -> None:
        """Raise the error for a function or class that the object holds, rather than what it returned."""
        raise refuse_as_value(name)

    def may_build(self, obj: Any) -> bool:
        """Whether an object may be given its state by its own code."""
        return self.covers(type(obj).__module__, type(obj).__qualname__)

    def may_be_key(self, obj: Any) -> bool:
        """Whether an object, a function or a class, is known to be harmless where its hash is asked for."""
        is_named = isinstance(obj, type | FunctionType)
        return self.may_build(obj) or (is_named and self.covers(obj.__module__, obj.__qualname__))


class DataUnpickler(BuildingUnpickler):
    """Reads the pickle of a file that is not trusted.

    Parameters
    ----------
    file : file object
        The pickle; what it says of its length must be true.
    trust : Trust
        What it may name.
    buffers : iterable
        Its buffers.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(BuildingUnpickler.dispatch)

    def __init__(self, file: Any, trust: Trust, buffers: Iterable[Any] | None = None) -> None:
        super().__init__(file, trust.find, buffers)
        self.trust = trust
        self._consumed: Callable[[], int] = file.tell
        self._spent = 0
        self._named: dict[tuple[str, str], StandIn] = {}
        self._begun: dict[int, tuple[str, Any]] = {}  # objects that are nothing yet, by their ids

    def load(self) -> Any:
        """Read the pickle; what it names may be called, and must not be part of what it makes."""
        made = super().load()
        self.stack.clear()
        self.metastack.clear()
        self.memo.clear()
        unfit = [*((each.name, each) for each in self._named.values()), *self._begun.values()]
        watched = [(name, weakref.ref(each)) for name, each in unfit]
        unfit.clear()
        self._named.clear()
        self._begun.clear()
        for name, alive in watched:
            if alive() is not None:  # it is in the object, or in a cycle that the pickle has made and dropped
                self.trust.hold(name)
        return made

    def find_class(self, module: str, name: str) -> Any:
        """What the pickle calls by these names, once for each."""
        found = self._named.get((module, name)) or super().find_class(module, name)
        if type(found) is StandIn:
            self._named[module, name] = found
        return found

    def build(self, obj: Any, state: Any) -> Any:
        """Give an object its state, if that is safe."""
        self._spend(state)
        self._begun.pop(id(obj), None)
        numpy = sys.modules.get("numpy")
        if numpy is not None and isinstance(obj, numpy.ndarray | numpy.dtype):
            from jobspan.arrays.checked import set_state

            return set_state(obj, state, self._spend_bytes)
        if type(obj).__module__ == "uuid" and isinstance(state, dict) and isinstance(state.get("int"), int):
            return type(obj)(int=state["int"] & ((1 << 128) - 1))
        if self.trust.may_build(obj):
            return super().build(obj, state)
        raise UntrustedError(f"the file sets the state of a {type(obj).__name__}, which is no plain value.")

    def load_bytearray8(self) -> None:
        """Read a bytearray; memory for it is taken only where its bytes are there."""
        nbytes = int.from_bytes(self.read(8), "little")
        data = self.read(nbytes) if nbytes <= sys.maxsize else b""
        if len(data) != nbytes:
            raise EOFError
        self.append(bytearray(data))

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8

    def get_extension(self, code: int) -> None:
        """Refuse what is named by a number."""
        raise UntrustedError(f"the file names something by its number in copyreg, {code}.")

    def load_reduce(self) -> None:
        """Call something, when what it is given is no more than its share."""
        self._spend(self.stack[-1])
        super().load_reduce()

    def _instantiate(self, kind: Any, arguments: Any) -> None:
        """Call something, as protocols before 2 do."""
        self._spend(tuple(arguments))
        super()._instantiate(kind, arguments)

    def load_newobj(self) -> None:
        """Make an object of a class, without calling it."""
        self._spend(self.stack[-1])
        stand_in = self.stack[-2]
        if type(stand_in) is not StandIn:
            super().load_newobj()
            return
        if not isinstance(stand_in.means, type):
            raise ValueError("no class")  # noqa: TRY004  of what the file says
        self.stack[-2] = stand_in.means
        super().load_newobj()
        if stand_in.needs_state:
            made = self.stack[-1]
            self._begun[id(made)] = stand_in.name, made

    def load_readonly_buffer(self) -> None:
        """Make a buffer of the file's read-only, and nothing else."""
        if type(self.stack[-1]) not in (bytearray, memoryview):
            raise ValueError("no buffer")
        super().load_readonly_buffer()

    def load_setitem(self) -> None:
        """Put a pair into a dict, when its key is known to be harmless."""
        self._check_target(self.stack[-3], dict, OrderedDict)
        self._check_keys(self.stack[-2:-1])
        super().load_setitem()

    def load_setitems(self) -> None:
        """Put pairs into a dict, when their keys are known to be harmless."""
        self._check_target(self.metastack[-1][-1], dict, OrderedDict)
        self._check_keys(self.stack[::2])
        super().load_setitems()

    def load_dict(self) -> None:
        """Make a dict of pairs, when their keys are known to be harmless."""
        self._check_keys(self.stack[::2])
        super().load_dict()

    def load_append(self) -> None:
        """Put an item into a list."""
        self._check_target(self.stack[-2], list, deque)
        super().load_append()

    def load_appends(self) -> None:
        """Put items into a list."""
        self._check_target(self.metastack[-1][-1], list, deque)
        super().load_appends()

    def load_additems(self) -> None:
        """Put elements into a set, when they are known to be harmless."""
        self._check_target(self.metastack[-1][-1], set)
        self._check_keys(self.stack)
        super().load_additems()

    def load_frozenset(self) -> None:
        """Make a frozenset, when its elements are known to be harmless."""
        self._check_keys(self.stack)
        super().load_frozenset()

    def _check_target(self, obj: Any, *kinds: type) -> None:
        """Raise unless what is to be changed is such an object, or one that may change itself."""
        if type(obj) not in kinds and not self.trust.may_build(obj):
            raise UntrustedError(f"the file changes a {type(obj).__name__}, which is no plain value.")

    def _check_keys(self, keys: Iterable[Any]) -> None:
        check_keys(keys, self.trust.may_be_key)

    def _spend(self, arguments: Any) -> None:
        """Raise if calls were given more, over and over again, than stands in the file."""
        if type(arguments) is tuple:
            self._spend_bytes(sum(len(each) for each in arguments if type(each) in _SIZED))

    def _spend_bytes(self, nbytes: int) -> None:
        self._spent += nbytes
        if self._spent > _FREE_BYTES + _SHARE * self._consumed():
            raise ValueError("it would take much more memory than it has bytes")

    for _opcode, _method in (
        (pickle.REDUCE, load_reduce),
        (pickle.NEWOBJ, load_newobj),
        (pickle.READONLY_BUFFER, load_readonly_buffer),
        (pickle.SETITEM, load_setitem),
        (pickle.SETITEMS, load_setitems),
        (pickle.DICT, load_dict),
        (pickle.APPEND, load_append),
        (pickle.APPENDS, load_appends),
        (pickle.ADDITEMS, load_additems),
        (pickle.FROZENSET, load_frozenset),
    ):
        dispatch[_opcode[0]] = _method
    del _opcode, _method
