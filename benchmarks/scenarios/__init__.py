"""Every scenario, in the order of the report."""

from rows import Scenario
from scenarios import cold, consumer, imports, parallel, sequential, uneven

ALL: tuple[Scenario, ...] = (
    imports.SCENARIO,
    sequential.SCENARIO,
    parallel.THREADS,
    parallel.LOKY,
    parallel.WARM,
    cold.SCENARIO,
    uneven.SCENARIO,
    consumer.SCENARIO,
)
