"""What `verbose` prints of calls, in joblib's form.

Invariant: prints to ``sys.stdout``, one call in one piece.
"""

from __future__ import annotations

from typing import Any

from jobspan.memory.telling import tell

_WIDTH = 80


def show_call(function: Any, args: Any, kwargs: Any) -> None:
    """Say that a function is called."""
    name = _name(function)
    words = [tell(value) for value in args] + [f"{key}={tell(value)}" for key, value in kwargs.items()]
    call = f"{name}({', '.join(words)})"
    print(f"{'_' * _WIDTH}\n[Memory] Calling {getattr(function, '__module__', None)}.{name}...\n{call}")  # noqa: T201


def show_duration(function: Any, seconds: float, what: str = "") -> None:
    """Say how long it took."""
    text = f"{_name(function)} {what}- {seconds:.1f}s, {seconds / 60:.1f}min"
    print(text.rjust(_WIDTH, "_"))  # noqa: T201


def _name(function: Any) -> str:
    return getattr(function, "__name__", None) or type(function).__name__
