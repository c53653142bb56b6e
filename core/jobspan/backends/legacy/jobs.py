"""The jobs of joblib-style backends: how they are started, what they can be asked, what is heard of them.

Invariant: goes by what an object can do, never by its class: there are futures, `multiprocessing` results, and objects
that have nothing but ``get``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from jobspan.errors import WorkerLost


class Called(NamedTuple):
    """The callback was called, with this."""

    out: Any


class Ended(NamedTuple):
    """The job says that it is over."""


class Retrieved(NamedTuple):
    """A thread has waited for the job, and this is what it returned."""

    value: Any


class Raised(NamedTuple):
    """Starting the job or waiting for it raised this."""

    error: BaseException


News: TypeAlias = Called | Ended | Retrieved | Raised


def find_submit(instance: Any) -> Callable[..., Any]:
    """``submit``, or ``apply_async`` where a backend has only that: joblib's name for it before 1.5.

    `ParallelBackendBase` has both; its ``submit`` only warns and calls the other.
    """
    owner = next((kind for kind in type(instance).__mro__ if "submit" in vars(kind)), None)
    if hasattr(instance, "apply_async") and (owner is None or owner.__name__ == "ParallelBackendBase"):
        found: Callable[..., Any] = instance.apply_async
    else:
        found = instance.submit
    return found


def retrieve(instance: Any, job: Any) -> Any:
    """What the job returned, waiting for it if need be."""
    if hasattr(instance, "retrieve_result"):  # from joblib 1.4 on
        return instance.retrieve_result(job)
    return job.get()


def asker_of(job: Any) -> Callable[[], Any] | None:
    """The method of a job that says whether it is over, if it has one."""
    methods = (getattr(job, name, None) for name in ("ready", "done"))
    return next(filter(callable, methods), None)


def is_over(job: Any) -> bool:
    """Whether a job says that it is over."""
    ask = asker_of(job)
    return ask is not None and bool(ask())


def failure_of(job: Any) -> BaseException | None:
    """What a job that is over says went wrong."""
    if callable(getattr(job, "cancelled", None)) and job.cancelled():
        return WorkerLost("the backend cancelled a batch of tasks")
    if callable(getattr(job, "exception", None)):
        error: BaseException | None = job.exception()
        return error
    if callable(getattr(job, "successful", None)) and not job.successful():
        try:
            job.get()
        except Exception as error:  # noqa: BLE001  that is the question
            return error
    return None


def wait_for(instance: Any, job: Any, report: Callable[[News], object]) -> None:
    """Wait in a thread for a job that has nothing but ``get``."""

    def wait() -> None:
        try:
            value = retrieve(instance, job)
        except BaseException as error:  # noqa: BLE001  whatever it is, the caller must not wait for ever
            report(Raised(error))
        else:
            report(Retrieved(value))

    threading.Thread(target=wait, name="jobspan-legacy", daemon=True).start()
