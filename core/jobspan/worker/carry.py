"""What of the caller's context goes along with tasks: context variables by name, and whatever a provider knows of.

Invariant: nothing is carried that was not registered, or set; what cannot be pickled is refused where the call is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, Token, copy_context
from typing import Any, NamedTuple, TypeAlias

from jobspan.worker.describe import add_note

Carried: TypeAlias = tuple[tuple[str, bytes], ...]
"""What was registered, by name, pickled with its value."""

_NOTHING: Any = object()
_MAIN = "__main__"


class Variable(NamedTuple):
    """A context variable and, unless all of it does, what tasks at a level of nesting see of its value."""

    variable: ContextVar[Any]
    seen: Callable[[Any, int], Any] | None = None


class Provider(NamedTuple):
    """How something is read where a call is made, and set where tasks run."""

    get: Callable[[], Any]
    set: Callable[[Any], object]


Provided: TypeAlias = tuple[tuple[str, Provider, Any], ...]

_variables: dict[str, Variable] = {}
_providers: dict[str, Provider] = {}
_stand_ins: dict[str, ContextVar[Any]] = {}  # for variables of a script, on workers that do not have the script


def register_context(
    name: str,
    get: Callable[[], Any] | None = None,
    set: Callable[[Any], object] | None = None,  # noqa: A002  the pair is get and set
) -> None:
    """Let something go along with the tasks of every later call, to workers that share no memory with the caller.

    Threads see all of the caller's context variables without this. Of a provider they, too, need to be told, where what
    it sets is a setting of each thread.

    Parameters
    ----------
    name : str
        Of a `contextvars.ContextVar`, where it can be found: ``"package.module:variable"``. With `get` and `set`
        anything that tells it from others.
    get : callable, optional
        Called without arguments in the caller, at each call of a `Parallel`. What it returns is pickled.
    set : callable, optional
        Called with that on the worker, before the tasks. After them it is called with what `get` returned there before.

    Raises
    ------
    ValueError
        If the module or the variable is not there.
    TypeError
        If it is no `ContextVar`, or `get` and `set` are not both callable.

    Examples
    --------
    >>> import decimal
    >>> from jobspan import register_context
    >>> register_context("decimal", decimal.getcontext, decimal.setcontext)
    """
    if not isinstance(name, str):
        raise TypeError(f"name={name!r} is no text; write register_context('package.module:variable').")
    if get is None and set is None:
        _variables[name] = Variable(_find(name))
    elif callable(get) and callable(set):
        _providers[name] = Provider(get, set)
    else:
        raise TypeError(
            f"register_context({name!r}, {get!r}, {set!r}) needs two functions: one that returns a value in the "
            f"caller, and one that takes it on the worker."
        )
    _teach_pickle()


def bring(name: str, variable: ContextVar[Any], seen: Callable[[Any, int], Any]) -> None:
    """Register a variable of jobspan's own; `seen` takes its value and a level, and returns None for *nothing*."""
    _variables[name] = Variable(variable, seen)


def _find(name: str) -> ContextVar[Any]:
    from importlib import import_module

    module, _, path = name.partition(":")
    if not module or not path:
        raise ValueError(
            f"{name!r} does not say where a context variable is: write 'package.module:variable', or give the "
            f"functions get and set."
        )
    try:
        found: Any = import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"{name!r} cannot be found ({error}); a variable to be registered is a global of a module that can be "
            f"imported, or of the script itself ('__main__:variable')."
        ) from error
    if not isinstance(found, ContextVar):
        raise TypeError(f"{name!r} is a {type(found).__name__} and no contextvars.ContextVar; give get and set for it.")
    return found


# Pickling variables by name


def _teach_pickle() -> None:
    import copyreg

    copyreg.pickle(ContextVar, _reduce)


def _reduce(variable: ContextVar[Any]) -> tuple[Callable[..., ContextVar[Any]], tuple[Any, ...]]:
    name = next((name for name, entry in _variables.items() if entry.variable is variable), None)
    if name is None:
        raise TypeError(f"cannot pickle the ContextVar {variable.name!r}, which is not registered")
    return _load_variable, (name, *_default_of(variable)) if name.startswith(_MAIN) else (name,)


def _default_of(variable: ContextVar[Any]) -> tuple[Any, ...]:
    """The default if there is one: what the variable says in an empty context."""
    try:
        return (Context().run(variable.get),)
    except LookupError:
        return ()


def _load_variable(name: str, *default: Any) -> ContextVar[Any]:
    """The variable of this name on this side, which goes along with calls made here, too."""
    entry = _variables.get(name)
    if entry is None:
        _teach_pickle()
        try:
            variable = _find(name)
        except ValueError:
            if not name.startswith(_MAIN):
                raise
            variable = _stand_ins.setdefault(name, _make(name, *default))
        entry = _variables.setdefault(name, Variable(variable))  # jobspan's own are registered by their import
    return entry.variable


def _make(name: str, *default: Any) -> ContextVar[Any]:
    name = name.partition(":")[2]
    return ContextVar(name, default=default[0]) if default else ContextVar(name)


# In the caller


def collect_variables(level: int) -> Carried:
    """The variables that are set, for tasks at this level of nesting."""
    context = copy_context()
    found = []
    for name, (variable, seen) in tuple(_variables.items()):
        value = context.get(variable, _NOTHING)
        if seen is not None and value is not _NOTHING:
            value = seen(value, level)
            if value is None:
                continue
        if value is not _NOTHING:
            _teach_pickle()
            found.append((name, _dump((variable, value), f"the context variable {name!r}", value)))
    return tuple(found)


def collect_providers() -> Carried:
    """What the providers say, for workers that share no memory with the caller."""
    return tuple((name, _dump((provider, value), f"provider {name!r}", value)) for name, provider, value in ask())


def ask() -> Provided:
    """What the providers say."""
    found = []
    for name, provider in tuple(_providers.items()):
        with _blamed(name, "get"):
            found.append((name, provider, provider.get()))
    return tuple(found)


def _dump(both: tuple[Any, Any], label: str, value: Any) -> bytes:
    from jobspan.persist.pickling import dumps, explain

    try:
        return dumps(both)
    except Exception as error:
        parts = [(f"the value of {label}", value)]
        if isinstance(both[0], Provider):
            parts += [(f"{function} of {label}", getattr(both[0], function)) for function in Provider._fields]
        else:
            parts.append((f"the default of {label}", both[0]))
        raise explain(parts, error) from error


# Where tasks run


@contextmanager
def variables_set(carried: Carried) -> Iterator[None]:
    """Set them in the present context, and bring back what was there before."""
    from jobspan.persist.pickling import loads

    before: list[tuple[ContextVar[Any], Token[Any]]] = []
    try:
        for _, data in carried:
            variable, value = loads(data)
            before.append((variable, variable.set(value)))
        yield
    finally:
        for variable, token in reversed(before):
            variable.reset(token)


@contextmanager
def providers_set(carried: Carried) -> Iterator[None]:
    """Set what was sent; calls made meanwhile ask these providers too."""
    from jobspan.persist.pickling import loads

    found = tuple((name, *loads(data)) for name, data in carried)
    own = {name: _providers.get(name) for name, _, _ in found}
    _providers.update((name, provider) for name, provider, _ in found)
    try:
        with provided(found):
            yield
    finally:
        for name, provider in own.items():
            if provider is None:
                _providers.pop(name, None)
            else:
                _providers[name] = provider


@contextmanager
def provided(values: Provided, *, only_if_other: bool = False) -> Iterator[None]:
    """Set what providers said, and after it what was there before.

    Parameters
    ----------
    only_if_other : bool
        Leave alone what is the same here already, as settings of a whole process are in each of its threads.
    """
    before: list[tuple[str, Provider, Any]] = []
    try:
        for name, provider, value in values:
            with _blamed(name, "get"):
                own = provider.get()
            if not (only_if_other and _is_same(own, value)):
                with _blamed(name, "set"):
                    provider.set(value)
                before.append((name, provider, own))
        yield
    finally:
        for name, provider, own in reversed(before):
            with _blamed(name, "set"):
                provider.set(own)


@contextmanager
def _blamed(name: str, function: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        add_note(error, f"raised by the function {function!r} that register_context({name!r}, ...) was given")
        raise


def _is_same(own: Any, value: Any) -> bool:
    try:
        return own is value or bool(own == value)
    except Exception:  # noqa: BLE001  an array does not say yes or no
        return False
