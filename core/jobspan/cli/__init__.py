"""The command ``jobspan``, also as ``python -m jobspan``: looks into what jobspan leaves behind.

Invariant: nothing that is in a file is run, unless results are asked for.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from jobspan import __version__
from jobspan.cli import caches, checkpoints
from jobspan.errors import JobspanError


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; 1 if that was not possible."""
    parser = argparse.ArgumentParser(prog="jobspan", description="Looks into what jobspan leaves behind.")
    parser.add_argument("--version", action="version", version=f"jobspan {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    checkpoints.add_commands(commands)
    caches.add_commands(commands)
    options = parser.parse_args(arguments)
    try:
        code: int = options.run(options)
    except (JobspanError, OSError, ValueError, KeyError) as error:
        text = error.args[0] if isinstance(error, KeyError) else error
        sys.stderr.write(f"jobspan: {text}\n")
        return 1
    return code
