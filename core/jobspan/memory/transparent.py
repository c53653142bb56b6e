"""What takes the place of a cached function where there is no cache, ``Memory(location=None)``.

Invariant: behaves as the function does, and has the methods of one that is cached.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jobspan.memory.results import NotMemorizedResult

if TYPE_CHECKING:
    from jobspan.memory.explain import Explanation
    from jobspan.memory.table import Table


class NotMemorizedFunc:
    """A function whose results are not kept.

    Attributes
    ----------
    func : callable
        The function.
    """

    def __init__(self, func: Callable[..., Any]) -> None:
        self.func = self.__wrapped__ = func
        self.__doc__ = func.__doc__
        self.__name__ = getattr(func, "__name__", type(func).__name__)
        self.__qualname__ = getattr(func, "__qualname__", self.__name__)
        self.__module__ = getattr(func, "__module__", type(func).__module__)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it."""
        return self.func(*args, **kwargs)

    def call_and_shelve(self, *args: Any, **kwargs: Any) -> Any:
        """Call it, and return its result in a `NotMemorizedResult`."""
        return NotMemorizedResult(self.func(*args, **kwargs))

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Call it, and return its result, and what is known of the call, which is nothing."""
        return self.func(*args, **kwargs), {}

    def check_call_in_cache(self, *args: Any, **kwargs: Any) -> bool:  # noqa: ARG002  as for one that is cached
        """False: there is no cache."""
        return False

    def clear(self, warn: bool = True) -> None:
        """Nothing is kept, so nothing is removed."""

    def put(self, value: Any, /, *args: Any, **kwargs: Any) -> None:
        """Nothing is kept."""

    def forget(self, *args: Any, **kwargs: Any) -> bool:  # noqa: ARG002  as for one that is cached
        """False: it was not there."""
        return False

    def explain(self, *args: Any, **kwargs: Any) -> Explanation:  # noqa: ARG002  as for one that is cached
        """A miss: nothing is kept."""
        from jobspan.memory.explain import Explanation

        return Explanation(self.__qualname__, False, self.__qualname__, ("location=None: there is no cache",))

    def entries(self) -> Table:
        """There are none."""
        from jobspan.memory.table import Table

        return Table()

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """As a method."""
        return self if instance is None else type(self)(self.func.__get__(instance, owner))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(func={self.func})"


class AsyncNotMemorizedFunc(NotMemorizedFunc):
    """A coroutine function whose results are not kept."""

    async def call_and_shelve(self, *args: Any, **kwargs: Any) -> Any:
        """As `NotMemorizedFunc.call_and_shelve`."""
        return NotMemorizedResult(await self.func(*args, **kwargs))

    async def call(self, *args: Any, **kwargs: Any) -> Any:
        """As `NotMemorizedFunc.call`."""
        return await self.func(*args, **kwargs), {}
