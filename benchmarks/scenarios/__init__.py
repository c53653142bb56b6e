"""Every scenario, in the order of the report."""

from rows import Scenario
from scenarios import (
    caching,
    checkpoint,
    cold,
    consumer,
    errors,
    faults,
    files,
    following,
    hashing,
    imports,
    parallel,
    sequential,
    sharing,
    uneven,
)

ALL: tuple[Scenario, ...] = (
    imports.SCENARIO,
    sequential.SCENARIO,
    parallel.THREADS,
    parallel.LOKY,
    parallel.MESSAGES,
    parallel.WARM,
    cold.SCENARIO,
    uneven.SCENARIO,
    consumer.SCENARIO,
    errors.SCENARIO,
    faults.SCENARIO,
    following.SCENARIO,
    checkpoint.SCENARIO,
    sharing.SCENARIO,
    hashing.SCENARIO,
    files.SCENARIO,
    caching.SCENARIO,
)
