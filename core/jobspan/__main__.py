"""``python -m jobspan``.

Invariant: the same as the command ``jobspan``.
"""

import sys

from jobspan.cli import main

if __name__ == "__main__":
    sys.exit(main())
