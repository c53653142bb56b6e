"""Runs the scenarios and writes `results.md`: `run.py [names…] [--quick] [--rounds N] [--output FILE]`.

Only a complete run replaces the page: with names or `--quick` the tables go to the terminal alone, unless
`--output` says where.
"""

import argparse
import sys
import time
from pathlib import Path

from machine import facts, load
from measure import HERE, ContestantFailedError
from report import markdown, table
from rows import Effort, Findings, Scenario
from scenarios import ALL

ROUNDS, QUICK_ROUNDS = 15, 4


def _options(arguments: list[str]) -> argparse.Namespace:
    names = [scenario.name for scenario in ALL]
    parser = argparse.ArgumentParser(description="jobspan beside its peers, in one run, as ratios.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"scenarios to run (all): {', '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--rounds", type=int, help=f"repetitions of each contestant ({ROUNDS}, quick {QUICK_ROUNDS})")
    parser.add_argument("--output", type=Path, help="where to write the page")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(names))
    if unknown:
        parser.error(f"no scenario is called {', '.join(unknown)}; there are {', '.join(names)}")
    if options.rounds is not None and options.rounds < 1:
        parser.error(f"--rounds must be 1 or more, not {options.rounds}")
    return options


def main(arguments: list[str]) -> int:
    """Return 1 if a contestant failed; a limit that is not reached is a finding, not a failure."""
    options = _options(arguments)
    effort = Effort(options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS))
    told = facts() | {"rounds": str(effort.rounds), "load average at the start": load()}
    found: dict[Scenario, Findings] = {}
    failures: dict[str, str] = {}
    for scenario in ALL:
        if options.names and scenario.name not in options.names:
            continue
        found[scenario] = Findings()
        sys.stdout.write(f"\n{scenario.name}: {scenario.about}\n")
        sys.stdout.flush()
        start = time.perf_counter()
        try:
            for row_or_note in scenario.run(effort):
                found[scenario].add(row_or_note)
        except ContestantFailedError as failure:
            failures[scenario.name] = str(failure).strip().splitlines()[-1]
            sys.stderr.write(f"{scenario.name} failed: {failure}\n")
        lines = [
            table(found[scenario].rows),
            *found[scenario].notes,
            f"[{time.perf_counter() - start:.0f} s]",
        ]
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
    told["load average at the end"] = load()
    complete = not options.names and not options.quick
    target = options.output or (HERE / "results.md" if complete else None)
    if target is not None:
        target.write_text(markdown(told, found, failures, HERE / "browser.json"), encoding="utf-8")
        sys.stdout.write(f"\nwritten: {target}\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
