"""Arguments of a `Parallel` and the surroundings become checked settings.

Invariant: precedence is settled here and nowhere else: argument, then ``parallel_config``, then default. Nothing that
is wrong by itself passes: what it says, why it is wrong, and what to write, before any work starts.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from jobspan import config, registry, units
from jobspan.backends.legacy import traits
from jobspan.config import Config, Default
from jobspan.model import Staff, Transfer

_RETURN_AS = ("list", "generator", "generator_unordered")
_PREFER = ("processes", "threads", None)
_REQUIRE = ("sharedmem", None)
_MMAP_MODES = ("c", "r", "r+", "w+", None)
_SHARED = ("sequential", "threads")
_ERRORS = ("raise", "return", "skip", "group")
PRE_DISPATCH = "2 * n_jobs"
BACKOFF = "100ms"


class Settings(NamedTuple):
    """The arguments of a `Parallel`, checked, with the surroundings mixed in.

    `hint` says which kind ``"auto"`` should choose; `params` are parameters for a registered backend's factory.
    """

    n_jobs: int | None
    backend: Any = "auto"
    return_as: str = "list"
    pre_dispatch: Any = None
    batch_size: int | None = None
    verbose: int = 0
    timeout_s: float | None = None
    deadline_s: float | None = None
    checkpoint: Any = None
    seed: int | None = None
    errors: Any = "raise"
    retries: int = 0
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    backoff: tuple[float, float] = (0.1, 30.0)
    hint: str | None = None
    transfer: Transfer = Transfer()
    staff: Staff = Staff()
    initializer: tuple[Any, tuple[Any, ...]] | None = None
    params: tuple[tuple[str, Any], ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether this is one task after the other into a list, whatever the machine, with nobody watching."""
        return (
            self.return_as == "list"
            and not self.verbose
            and self.timeout_s is None
            and self.deadline_s is None
            and self.seed is None
            and self.errors == "raise"
            and not self.retries
            and self.initializer is None
            and (self.backend == "sequential" or self.is_alone)
        )

    @property
    def is_alone(self) -> bool:
        """Whether one task runs at a time, and a worker for it would be of no use."""
        return self.n_jobs in (None, 1) and isinstance(self.backend, str) and registry.is_idle_alone(self.backend)


def check(
    *,
    n_jobs: Any = config.N_JOBS,
    backend: Any = config.BACKEND,
    return_as: str = "list",
    verbose: Any = config.VERBOSE,
    timeout: Any = None,
    pre_dispatch: Any = PRE_DISPATCH,
    batch_size: Any = "auto",
    temp_folder: Any = config.TEMP_FOLDER,
    max_nbytes: Any = config.MAX_NBYTES,
    mmap_mode: Any = config.MMAP_MODE,
    prefer: Any = config.PREFER,
    require: Any = config.REQUIRE,
    deadline: Any = None,
    checkpoint: Any = None,
    seed: Any = None,
    errors: Any = "raise",
    retries: Any = 0,
    retry_on: Any = Exception,
    backoff: Any = BACKOFF,
    params: dict[str, Any],
    surroundings: Config,
) -> Settings:
    """Settle the arguments of `Parallel` against what `parallel_config` says."""
    _one_of("return_as", return_as, _RETURN_AS)
    if not callable(errors):
        _one_of("errors", errors, _ERRORS, " or a function of a TaskError")
    prefer = _one_of("prefer", _value(prefer, surroundings.prefer), _PREFER)
    require = _one_of("require", _value(require, surroundings.require), _REQUIRE)
    mmap_mode = _one_of("mmap_mode", _value(mmap_mode, surroundings.mmap_mode), _MMAP_MODES)
    if prefer == "processes" and require == "sharedmem":
        raise ValueError("prefer='processes' and require='sharedmem' contradict each other: leave one of them out.")
    config.check_backend(backend)
    if _is_given(backend):
        if require == "sharedmem" and not _shares_memory(backend):
            raise ValueError(
                f"backend={backend!r} does not share the caller's memory with its tasks, as require='sharedmem' wants; "
                f"leave one of them out, or give backend='threads'."
            )
    else:
        params = {**dict(surroundings.params), **params}
    number = n_jobs if _is_given(n_jobs) else _value(surroundings.n_jobs)
    chosen = backend if _is_given(backend) else _value(surroundings.backend)
    hint = require or prefer
    if chosen is None:
        chosen = registry.default_name()
    elif require == "sharedmem" and not _shares_memory(chosen):
        chosen = "auto"
    if pre_dispatch in (PRE_DISPATCH, "2*n_jobs"):
        pre_dispatch = None
    else:
        units.parse_window(pre_dispatch, 1)
    staff, initializer, rest = _staff(params)
    if rest and isinstance(chosen, str) and not registry.is_registered(chosen):
        raise TypeError(_unknown(next(iter(rest)), chosen))
    return Settings(
        n_jobs=units.parse_n_jobs(number),
        backend=chosen,
        return_as=return_as,
        pre_dispatch=pre_dispatch,
        batch_size=units.parse_batch_size(batch_size),
        verbose=_verbosity(_value(verbose, surroundings.verbose)),
        timeout_s=units.parse_seconds(timeout, "timeout"),
        deadline_s=units.parse_seconds(deadline, "deadline"),
        checkpoint=_checkpoint(checkpoint),
        seed=units.parse_seed(seed),
        errors=errors,
        retries=units.parse_count(retries or None, "retries") or 0,
        retry_on=units.parse_exceptions(retry_on, "retry_on"),
        backoff=units.parse_backoff(backoff),
        hint=hint,
        transfer=Transfer(
            max_nbytes=units.parse_nbytes(_value(max_nbytes, surroundings.max_nbytes), "max_nbytes"),
            mmap_mode=mmap_mode,
            temp_folder=_folder(_value(temp_folder, surroundings.temp_folder)),
        ),
        staff=staff,
        initializer=initializer,
        params=tuple(rest.items()),
    )


def _unknown(name: str, backend: str) -> str:
    from difflib import get_close_matches

    for_workers = ("initializer", "initargs", *Staff._fields)
    meant = get_close_matches(name, [*check.__annotations__, *for_workers], 1)
    hint = f"did you mean {meant[0]}?" if meant else f"for the workers there are {', '.join(for_workers)}."
    return f"{name!r} is no parameter of Parallel, nor of backend={backend!r}; {hint}"


def _is_given(value: Any) -> bool:
    return value is not None and not isinstance(value, Default)


def _value(given: Any, configured: Any = None) -> Any:
    """The argument, or where it was left out what the surroundings say, or the default."""
    value = configured if isinstance(given, Default) and configured is not None else given
    return value.value if isinstance(value, Default) else value


def _one_of(name: str, value: Any, accepted: tuple[Any, ...], more: str = "") -> Any:
    if value not in accepted:
        raise ValueError(f"{name}={value!r} is none of {', '.join(map(repr, accepted))}{more}.")
    return value


def _shares_memory(backend: Any) -> bool:
    if isinstance(backend, str):
        return registry.canonical(backend) in (*_SHARED, "auto")
    if config.is_context(backend):
        return False
    if hasattr(backend, "traits"):
        return bool(backend.traits.memory == "shared")
    if traits.is_legacy(backend):
        return traits.memory_of(backend) == "shared"
    from jobspan.backends.executors import memory_of

    return memory_of(backend) == "shared"


def _verbosity(value: Any) -> int:
    try:
        return max(0, int(value or 0))
    except (TypeError, ValueError):
        raise ValueError(
            f"verbose={value!r} is not a whole number; 0 says nothing, more than 10 tells of every batch."
        ) from None


def _folder(value: Any) -> str | None:
    if value is None:
        return None
    path = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(path, str):
        raise TypeError(f"temp_folder={value!r} is no path; give text, a pathlib.Path, or None.")
    return path


def _checkpoint(value: Any) -> Any:
    if value is None or isinstance(value, str | os.PathLike):
        return value
    if hasattr(value, "journal_path"):  # a Memory
        return value.journal_path()
    from jobspan.drive.checkpoint import Checkpoint  # imports pickle

    if not isinstance(value, Checkpoint):
        raise TypeError(f"checkpoint={value!r} is no path; give text, a pathlib.Path, a Checkpoint, or a Memory.")
    value.check()
    return value


def _staff(params: dict[str, Any]) -> tuple[Staff, tuple[Any, tuple[Any, ...]] | None, dict[str, Any]]:
    """What is wanted of the workers, what each runs first, and the parameters that are neither."""
    rest = dict(params)
    if (recycled := rest.pop("maxtasksperchild", None)) is not None:  # multiprocessing's name
        rest.setdefault("max_tasks_per_worker", recycled)
    staff = Staff(
        idle_worker_timeout=units.parse_seconds(rest.pop("idle_worker_timeout", None), "idle_worker_timeout"),
        max_tasks_per_worker=units.parse_count(rest.pop("max_tasks_per_worker", None), "max_tasks_per_worker"),
        max_worker_rss=units.parse_nbytes(rest.pop("max_worker_rss", None), "max_worker_rss"),
        inner_max_num_threads=units.parse_count(rest.pop("inner_max_num_threads", None), "inner_max_num_threads"),
    )
    function, given = rest.pop("initializer", None), rest.pop("initargs", ())
    if not isinstance(given, tuple | list):
        raise TypeError(f"initargs={given!r} is no tuple of arguments; write initargs=({given!r},).")
    arguments = tuple(given)
    if function is not None and not callable(function):
        raise TypeError(f"initializer={function!r} cannot be called; give a function, and its arguments as initargs.")
    return staff, None if function is None else (function, arguments), rest
