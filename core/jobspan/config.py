"""Settings from the surroundings, and how they meet the arguments of a call.

Invariant: precedence is settled here and nowhere else: argument, then ``parallel_config``, then default. The
settings live in a `ContextVar`, so they follow into threads, and never leak between them.
"""

from __future__ import annotations

from contextvars import ContextVar
from types import TracebackType
from typing import Any, NamedTuple

from jobspan import registry


class Default:
    """Marks a parameter that was not given, and knows what it then means."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"default({self.value!r})"


N_JOBS = Default(None)
BACKEND = Default(None)
VERBOSE = Default(0)
TEMP_FOLDER = Default(None)
MAX_NBYTES = Default("1M")
MMAP_MODE = Default("r")
PREFER = Default(None)
REQUIRE = Default(None)


class Config(NamedTuple):
    """What `parallel_config` has set; `Default` where it has not."""

    backend: Any = BACKEND
    n_jobs: Any = N_JOBS


CONFIG: ContextVar[Config] = ContextVar("jobspan_config", default=Config())  # noqa: B039  a tuple


def require_effective(given: dict[str, tuple[Any, ...]], extra: dict[str, Any]) -> None:
    """Refuse parameters of joblib that do nothing yet, unless they have joblib's default value, or say what is done.

    Parameters
    ----------
    given : dict
        Parameter name to (value given, values accepted...).
    extra : dict
        Parameters for the backend.
    """
    for name, (value, *accepted) in given.items():
        meant = value.value if isinstance(value, Default) else value
        if meant not in accepted:
            raise NotImplementedError(f"{name}={value!r} has no effect in this version of jobspan; leave it out.")
    for name, value in extra.items():
        raise NotImplementedError(
            f"{name}={value!r} is no parameter of jobspan's; parameters for backends have no effect in this version."
        )


def check_backend(backend: Any) -> None:
    """Raise at once for a backend that does not exist or is none."""
    if backend is None or isinstance(backend, Default):
        return
    if isinstance(backend, str):
        if registry.canonical(backend) not in registry.names():
            registry.find(backend)  # raises, and lists the names there are
    elif not (hasattr(backend, "open") and hasattr(backend, "traits")) and not hasattr(backend, "submit"):
        raise TypeError(
            f"backend={backend!r} is no backend: give a name ({', '.join(registry.names())}), a "
            f"concurrent.futures.Executor, or an object with the protocol of jobspan.backends.base.Backend."
        )


class parallel_config:  # noqa: N801  joblib's name
    """Set the defaults of every `Parallel` call, from here on or inside a ``with`` block.

    Parameters
    ----------
    backend : str, Executor or Backend, optional
        ``"auto"``, ``"sequential"``, ``"threads"``, ``"loky"``, ``"web"``, or what was registered.
    n_jobs : int, optional
        As for `Parallel`.
    verbose, temp_folder, max_nbytes, mmap_mode, prefer, require, inner_max_num_threads
        joblib's parameters; only their default values are accepted so far.
    **backend_params
        Parameters for the backend; none are accepted so far.

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
        inner_max_num_threads: int | None = None,
        **backend_params: Any,
    ) -> None:
        require_effective(
            {
                "verbose": (verbose, 0),
                "temp_folder": (temp_folder, None),
                "max_nbytes": (max_nbytes, "1M", None),
                "mmap_mode": (mmap_mode, "r", None),
                "prefer": (prefer, None),
                "require": (require, None),
                "inner_max_num_threads": (inner_max_num_threads, None),
            },
            backend_params,
        )
        check_backend(backend)
        self._before = CONFIG.get()
        self.config = Config(
            self._before.backend if backend is BACKEND else backend,
            self._before.n_jobs if n_jobs is N_JOBS else n_jobs,
        )
        CONFIG.set(self.config)

    def __enter__(self) -> dict[str, Any]:
        """The settings in force."""
        return self.config._asdict()

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
