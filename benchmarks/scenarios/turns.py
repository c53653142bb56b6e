"""Warm contestants side by side: opens one process for each, lets them take turns, ends them all."""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from measure import Sample, Warm, take_turns

Workload = tuple[str, Mapping[str, Any]]
"""`("module:function", options)`, where the module is one of `workloads`."""


def side_by_side(workloads: Mapping[str, Workload], rounds: int) -> dict[str, dict[str, Sample]]:
    """Return contestant -> figure -> sample."""
    with ExitStack() as stack:
        contestants = {
            name: stack.enter_context(Warm(function, **options)).ask for name, (function, options) in workloads.items()
        }
        return take_turns(contestants, rounds)


def both(function: str, **options: object) -> dict[str, Workload]:
    """Return the same workload for jobspan and for joblib."""
    return {name: (function, {"library": name, **options}) for name in ("jobspan", "joblib")}
