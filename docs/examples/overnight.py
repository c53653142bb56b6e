"""A night's work: ten thousand tasks, of which some raise, some hang, and some kill their worker.

`overnight.py [CHECKPOINT]`: kill it whenever you like, and start it again: it goes on where it was. In the morning
every good result is there, and a list of the bad ones says what became of each.
"""

import os
import sys
import time
from collections import Counter

from jobspan import Parallel, TaskError, delayed

COUNT = 10_000


def weigh(star: int) -> float:
    """One task; a few of them are trouble."""
    if star % 1000 == 17:
        raise ValueError(f"no data for star {star}")
    if star % 2500 == 33:
        time.sleep(3600)  # a server that does not answer
    if star % 3000 == 51:
        os._exit(1)  # a library that crashes
    return star**0.5


def main(checkpoint: str) -> int:
    """Do what is left to do, and return how many tasks came to nothing."""
    # Not threads, even where these are the default: the crash of one is the crash of all.
    run = Parallel(n_jobs=2, prefer="processes", errors="return", timeout="1s", checkpoint=checkpoint)
    results = run(delayed(weigh)(star) for star in range(COUNT))
    bad = [result for result in results if isinstance(result, TaskError)]
    print(f"{len(results) - len(bad)} results, their sum {sum(r for r in results if not isinstance(r, TaskError)):.3f}")
    for kind, count in Counter(type(error.error).__name__ for error in bad).most_common():
        print(f"{count} x {kind}")
    for error in bad:
        print(f"  {error}")
    return len(bad)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "overnight.ckpt")
