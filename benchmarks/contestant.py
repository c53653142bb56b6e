"""The far side of `measure.Warm`: one workload, one repetition per line on standard input.

Standard output carries nothing but readings, so whatever a workload prints goes to standard error.
"""

import importlib
import json
import os
import sys


def main() -> None:
    """Build the workload named on the command line and serve repetitions until the input ends."""
    workload, options = sys.argv[1:]
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    module, _, function = workload.partition(":")
    repeat = getattr(importlib.import_module(f"workloads.{module}"), function)(**json.loads(options))
    for line in sys.stdin:
        answers.write(json.dumps(repeat(int(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
