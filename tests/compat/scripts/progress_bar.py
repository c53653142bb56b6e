"""Progress bars: around the results, and by a subclass that is told of each finished task."""

import joblib
from joblib import Parallel, delayed


class Bar:
    """Stands for the bars of the packages that people install."""

    def __init__(self, iterable=(), total=None):
        self.iterable, self.total, self.n, self.history = iterable, total, 0, []

    def __iter__(self):
        for item in self.iterable:
            self.update()
            print(f"{self.n}/{self.total}")
            yield item

    def update(self, n=1):
        self.n += n

    def refresh(self):
        self.history.append(self.n)


class ProgressParallel(joblib.Parallel):
    def __init__(self, *args, total=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.total = total

    def __call__(self, *args, **kwargs):
        self.bar = Bar(total=self.total)
        return joblib.Parallel.__call__(self, *args, **kwargs)

    def print_progress(self):
        self.bar.total = self.total or self.n_dispatched_tasks
        self.bar.n = self.n_completed_tasks
        self.bar.refresh()


def cube(x):
    return x**3


if __name__ == "__main__":
    for kind in ("generator", "generator_unordered"):
        results = Parallel(n_jobs=2, return_as=kind)(delayed(cube)(i) for i in range(4))
        print(sorted(Bar(results, total=4)))

    for options in ({"n_jobs": 1}, {"n_jobs": 2}, {"n_jobs": 2, "backend": "threading"}):
        for total in (None, 12):
            parallel = ProgressParallel(total=total, **options)
            print(parallel(delayed(cube)(i) for i in range(12)) == [i**3 for i in range(12)])
            print(parallel.bar.n, parallel.bar.total, parallel.bar.history == sorted(parallel.bar.history))
            print(parallel.n_completed_tasks, parallel.n_dispatched_tasks, parallel.n_jobs)

    counted = Parallel(n_jobs=2, batch_size=1)
    seen = []
    counted.print_progress = lambda: seen.append(counted.n_completed_tasks)
    print(counted(delayed(cube)(i) for i in range(5)), max(seen))
