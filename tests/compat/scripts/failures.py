"""When tasks fail: the exception as it was raised, on every backend; time limits; and going on afterwards."""

import time
from multiprocessing import TimeoutError  # noqa: A004  what joblib raises

from joblib import Parallel, delayed


class BadRecord(ValueError):
    def __init__(self, line):
        super().__init__(line)
        self.line = line


def parse(line):
    if line == "bad":
        raise BadRecord(line)
    return int(line)


def broken_input():
    yield delayed(parse)("1")
    raise OSError("the disk is gone")


def attempt(label, call, tells=True):
    try:
        print(label, call())
    except Exception as error:
        print(label, type(error).__name__, error if tells else "")


OPTIONS = [{"n_jobs": 1}, {"n_jobs": 2}, {"n_jobs": 2, "prefer": "threads"}]

if __name__ == "__main__":
    for options in OPTIONS:
        run = Parallel(**options)
        attempt("not a number", lambda run=run: run(delayed(parse)(line) for line in ("1", "two", "3")))
        attempt("a missing key", lambda run=run: run([delayed({}.__getitem__)("key")]))
        attempt("too many", lambda run=run: run([delayed(parse)("1", "2")]))
        attempt("the input", lambda run=run: run(broken_input()))
        attempt("no tasks", lambda run=run: run([parse("1")]), tells=False)
        attempt("fine again", lambda run=run: run(delayed(parse)(line) for line in ("1", "3")))
        try:
            run(delayed(parse)(line) for line in ("1", "bad", "3"))
        except BadRecord as error:
            print(error.line, error.args, isinstance(error, ValueError))
        results = Parallel(return_as="generator", **options)(delayed(parse)(line) for line in ("bad", "1"))
        attempt("as a generator", lambda results=results: next(results))

    for options in OPTIONS[1:]:
        patient = Parallel(timeout=60, **options)
        print(patient(delayed(pow)(i, 2) for i in range(5)))
        try:
            Parallel(timeout=0.5, **options)(delayed(time.sleep)(seconds) for seconds in (0, 3))
        except TimeoutError:
            print("too slow")
        print(patient(delayed(pow)(i, 2) for i in range(3)))
