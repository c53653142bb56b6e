"""Prints in the caller's interpreter what tasks print in the workers.

Invariant: text arrives before the reply of the batch that printed them; where the caller redirects its streams,
they follow.
"""

from __future__ import annotations

import sys
from typing import Literal


def write(stream: Literal["stdout", "stderr"], text: str) -> None:
    """Print to ``sys.stdout`` or ``sys.stderr``."""
    print(text, end="", file=sys.stderr if stream == "stderr" else sys.stdout)
