"""A search that is taken up again: a short round trip through 60 towns, by simulated annealing.

`resume.py [FOLDER]`: stop or kill it whenever you like, and start it again: it goes on from where it was, and finds
what it would have found without.
"""

import math
import random
import sys

from jobspan.memory.steps import Steps

ROUNDS = 200
TRIES = 500


def make_towns(count: int) -> list[complex]:
    """Towns in a square, the same each time."""
    chance = random.Random(1)  # noqa: S311  nothing is secret here
    return [complex(chance.random(), chance.random()) for _ in range(count)]


def find_length(trip: list[complex]) -> float:
    """How long a round trip is."""
    return sum(abs(town - trip[place - 1]) for place, town in enumerate(trip))


def improve(trip: list[complex], heat: float, chance: random.Random) -> list[complex]:
    """Turn random parts of the trip round, where that makes it shorter, or now and then not much longer."""
    for _ in range(TRIES):
        first, last = sorted(chance.sample(range(len(trip)), 2))
        other = trip[:first] + trip[first:last][::-1] + trip[last:]
        longer = find_length(other) - find_length(trip)
        if longer < 0 or chance.random() < math.exp(-longer / heat):
            trip = other
    return trip


def search(folder: str) -> float:
    """Do the rounds that are left to do, and return how long the trip is."""
    steps = Steps(folder, "trip", every="1s", of=(ROUNDS, TRIES))
    chance = random.Random(2)  # noqa: S311  likewise
    for step, state in steps.range(ROUNDS, trip=make_towns(60), chance=chance):
        state.trip = improve(state.trip, 0.3 * 0.98**step, state.chance)
        if step % 50 == 0:
            print(f"round {step}: {find_length(state.trip):.4f}", flush=True)
    return find_length(steps.state.trip)


if __name__ == "__main__":
    print(f"the trip is {search(sys.argv[1] if len(sys.argv) > 1 else 'checkpoints'):.4f} long")
