"""``python -m jobspan``.

Invariant: the same as the command ``jobspan``.
"""

import sys

from jobspan.cli import main

sys.exit(main())
