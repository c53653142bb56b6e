"""Settings from the surroundings: `parallel_config`.

Invariant: the settings live in one `ContextVar`, so they follow into threads and to workers, and never leak between
them. How they meet the arguments of a call is the business of `jobspan.settings` alone.
"""

from __future__ import annotations

from contextvars import ContextVar
from types import TracebackType
from typing import Any, NamedTuple

from jobspan import registry
from jobspan.backends.legacy.traits import is_legacy
from jobspan.worker.carry import bring
from jobspan.worker.context import PLACE


def is_context(backend: Any) -> bool:
    """Whether it is a context of `multiprocessing`, or the module itself: what starts its processes."""
    return hasattr(backend, "Pool") and hasattr(backend, "Lock")


class Default:
    """Marks a parameter that was not given, and knows what it then means."""

    __slots__ = ("name", "value")

    def __init__(self, name: str, value: Any) -> None:
        self.name = name
        self.value = value

    def __repr__(self) -> str:
        return f"default({self.value!r})"

    def __reduce__(self) -> str:
        return self.name


N_JOBS = Default("N_JOBS", None)
BACKEND = Default("BACKEND", None)
VERBOSE = Default("VERBOSE", 0)
TEMP_FOLDER = Default("TEMP_FOLDER", None)
MAX_NBYTES = Default("MAX_NBYTES", "1M")
MMAP_MODE = Default("MMAP_MODE", "c")
PREFER = Default("PREFER", None)
REQUIRE = Default("REQUIRE", None)
PROGRESS = Default("PROGRESS", None)


class Config(NamedTuple):
    """What `parallel_config` has set; `Default` where it has not.

    `params` are the parameters for `backend`. `level` is the nesting level where `backend` and `n_jobs` were set: code
    inside a task does not inherit those two, or widths would multiply; nor `progress`, which is shown outside.
    """

    backend: Any = BACKEND
    n_jobs: Any = N_JOBS
    verbose: Any = VERBOSE
    temp_folder: Any = TEMP_FOLDER
    max_nbytes: Any = MAX_NBYTES
    mmap_mode: Any = MMAP_MODE
    prefer: Any = PREFER
    require: Any = REQUIRE
    progress: Any = PROGRESS
    params: tuple[tuple[str, Any], ...] = ()
    level: int = 0

    def inherited(self, level: int) -> Config:
        """What of it holds for code at this nesting level."""
        if level == self.level:
            return self
        return self._replace(backend=BACKEND, n_jobs=N_JOBS, progress=PROGRESS, params=(), level=level)


CONFIG: ContextVar[Config] = ContextVar("jobspan_config", default=Config())  # noqa: B039  a tuple


def _seen(config: Config, level: int) -> Config | None:
    """What of it code at this nesting level sees; None if that is nothing."""
    found = config.inherited(level)
    return None if found._replace(level=0) == Config() else found


bring("jobspan.config:CONFIG", CONFIG, _seen)


def check_backend(backend: Any) -> None:
    """Raise at once for a backend that does not exist or is none."""
    if backend is None or isinstance(backend, Default) or is_context(backend):
        return
    if isinstance(backend, str):
        if registry.canonical(backend) not in registry.names():
            registry.find(backend)  # raises, and lists the names there are
    elif not (hasattr(backend, "open") and hasattr(backend, "traits")) and (
        isinstance(backend, type) or not (hasattr(backend, "submit") or is_legacy(backend))
    ):
        raise TypeError(
            f"backend={backend!r} is no backend: give a name ({', '.join(registry.names())}), a "
            f"concurrent.futures.Executor, a backend in joblib's shape, or an object with the protocol of "
            f"jobspan.backends.base.Backend."
        )


class parallel_config:  # noqa: N801  joblib's name
    """Set the defaults of every `Parallel` call, from here on or inside a ``with`` block.

    Parameters
    ----------
    backend : str, Executor or Backend, optional
        ``"auto"``, ``"sequential"``, ``"threads"``, ``"loky"``, ``"multiprocessing"``, ``"web"``,
        or what was registered.
    n_jobs : int, optional
        Tasks at the same time.
    verbose, temp_folder, max_nbytes, mmap_mode, prefer, require, progress
        As for `Parallel`.
    inner_max_num_threads : int, optional
        Threads that BLAS and OpenMP libraries may use inside a worker; by default its share of the CPUs.
    **backend_params
        As for `Parallel`; they hold for the backend that is set here.

    Notes
    -----
    Code inside tasks sees these settings too, except `backend`, its parameters, `n_jobs` and `progress`.

    Examples
    --------
    >>> from jobspan import Parallel, delayed, parallel_config
    >>> with parallel_config(n_jobs=2):
    ...     Parallel()(delayed(abs)(i) for i in (-1, -2))
    [1, 2]
    """

    def __init__(
        self,
        backend: Any = BACKEND,
        *,
        n_jobs: Any = N_JOBS,
        verbose: Any = VERBOSE,
        temp_folder: Any = TEMP_FOLDER,
        max_nbytes: Any = MAX_NBYTES,
        mmap_mode: Any = MMAP_MODE,
        prefer: Any = PREFER,
        require: Any = REQUIRE,
        progress: Any = PROGRESS,
        inner_max_num_threads: int | None = None,
        **backend_params: Any,
    ) -> None:
        check_backend(backend)
        self._before = CONFIG.get()
        level = PLACE.get().level
        given = {
            "backend": backend,
            "n_jobs": n_jobs,
            "verbose": verbose,
            "temp_folder": temp_folder,
            "max_nbytes": max_nbytes,
            "mmap_mode": mmap_mode,
            "prefer": prefer,
            "require": require,
            "progress": progress,
        }
        changes = {name: value for name, value in given.items() if not isinstance(value, Default)}
        if backend_params and not isinstance(backend, str):
            raise ValueError(
                f"{next(iter(backend_params))!r} is a parameter for a backend that is named, as in "
                f"parallel_config('loky', ...); an object as backend is made with its parameters already."
            )
        if backend_params and registry.is_registered(backend):  # made once, for the whole block
            changes["backend"] = registry.make(backend, tuple(backend_params.items()))
            backend_params = {}
        if inner_max_num_threads is not None:
            backend_params["inner_max_num_threads"] = inner_max_num_threads
        if backend_params or "backend" in changes:
            changes["params"] = tuple(backend_params.items())
        self.config = self._before.inherited(level)._replace(**changes)
        CONFIG.set(self.config)

    def __enter__(self) -> Any:
        """The settings in force, by name: joblib's, and others where they are set."""
        hidden = ("params", "level", *(["progress"] if self.config.progress is PROGRESS else []))
        return {name: value for name, value in self.config._asdict().items() if name not in hidden}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unregister()

    def unregister(self) -> None:
        """Bring back what was set before."""
        CONFIG.set(self._before)


class parallel_backend(parallel_config):  # noqa: N801  joblib's name
    """joblib's older `parallel_config`: `backend` is required, and ``n_jobs`` is -1 unless given.

    Examples
    --------
    >>> from jobspan import Parallel, delayed, parallel_backend
    >>> with parallel_backend("auto", n_jobs=2):
    ...     Parallel()(delayed(abs)(i) for i in (-1, -2))
    [1, 2]
    """

    def __init__(
        self, backend: Any, n_jobs: Any = -1, inner_max_num_threads: int | None = None, **backend_params: Any
    ) -> None:
        super().__init__(backend, n_jobs=n_jobs, inner_max_num_threads=inner_max_num_threads, **backend_params)

    def __enter__(self) -> tuple[Any, Any]:
        """The backend and the number of jobs, as they were given."""
        return self.config.backend, self.config.n_jobs
