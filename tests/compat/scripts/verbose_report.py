"""What verbose= says, and where: the report's shape with times, counts and names of backends left out."""

import io
import re
from contextlib import redirect_stderr, redirect_stdout

from joblib import Parallel, delayed, parallel_config

LINE = re.compile(r"\[Parallel\(n_jobs=(\d+)\)\]: Done\s+(\d+)( tasks|\s+out of\s+(\d+))\s+\| elapsed:\s+[\d.]+(s|min)")


def report(tasks, **options):
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        results = Parallel(**options)(tasks)
    assert results == [0, 1, 2, 3, 4, 5, 6, 7]
    return out.getvalue(), err.getvalue()


def shape(text):
    """The first line, how many tell of progress, and the last."""
    lines = text.splitlines()
    head = [re.sub(r"backend \w+", "backend ...", line) for line in lines if "Using backend" in line]
    progress = [line for line in lines if LINE.match(line)]
    last = re.sub(r"elapsed:.*s ", "elapsed: ... ", lines[-1]) if lines else None
    return head, len(progress) > 1, last


def tasks():
    return [delayed(abs)(-i) for i in range(8)]


print(report(tasks(), n_jobs=2), report(tasks(), n_jobs=1))
for n_jobs in (1, 2):
    for prefer in ("threads", "processes"):
        out, err = report(tasks(), n_jobs=n_jobs, prefer=prefer, verbose=20)
        print(out == "", shape(err))
    out, err = report(iter(tasks()), n_jobs=n_jobs, verbose=60)
    print(err == "", shape(out))

with parallel_config(verbose=15, backend="threading"):
    out, err = report(tasks(), n_jobs=2)
    print(out == "", shape(err))
    print(report(tasks(), n_jobs=2, verbose=0))

chatty = [report(tasks(), n_jobs=1, verbose=verbose)[1].count("\n") for verbose in (1, 5, 10, 11)]
print(chatty == sorted(chatty), chatty[0] < chatty[-1], chatty[-1] >= 8)
