"""What can be called in a task: lambdas, closures, classes of the script, methods, partials, wrapped objects."""

import pickle
from collections import namedtuple
from dataclasses import dataclass
from functools import partial, wraps
from operator import itemgetter

from joblib import Parallel, delayed, wrap_non_picklable_objects

Point = namedtuple("Point", "x y")  # noqa: PYI024  as scripts have it


def logged(function):
    @wraps(function)
    def wrapper(*args, **kwargs):
        return function.__name__, function(*args, **kwargs)

    return wrapper


@logged
def scaled(x, *, factor):
    return x * factor


@dataclass
class Polynomial:
    coefficients: tuple = ()

    def __call__(self, x):
        return sum(c * x**i for i, c in enumerate(reversed(self.coefficients)))

    def shifted(self, by):
        return Polynomial((*self.coefficients[:-1], self.coefficients[-1] + by))

    @classmethod
    def constant(cls, value):
        return cls((value,))


@delayed
@wrap_non_picklable_objects
def twice(x):
    return 2 * x


run = Parallel(n_jobs=2)
square = Polynomial((1, 0, 0))
offset = 100
print(run(delayed(lambda x: x + offset)(i) for i in range(4)))
print(run(delayed(square)(i) for i in range(4)), run([delayed(square.shifted)(7)]))
print(run([delayed(Polynomial.constant)(3), delayed(Polynomial)((1, 2))]) == [Polynomial((3,)), Polynomial((1, 2))])
print(run([delayed("a-b".split)("-"), delayed(Point)(x=1, y=2)]))
print(run(delayed(partial(pow, 2))(i) for i in range(5)), run([delayed(partial(int, base=2))("101")]))
print(run(delayed(f)("cab") for f in (sorted, itemgetter(1), str.upper, len, list)))
print(run(delayed(scaled)(i, factor=3) for i in range(2)), run([delayed(dict)(a=1), delayed(dict)(), delayed(int)()]))
print(run(twice(i) for i in range(3)))
wrapped, Wrapped = wrap_non_picklable_objects(lambda x: x - offset), wrap_non_picklable_objects(Polynomial)
print(run(delayed(wrapped)(i) for i in range(2)), pickle.loads(pickle.dumps(wrapped))(offset))
print(Wrapped.__name__, Wrapped((1, 1)).coefficients, run([delayed(getattr)(Wrapped((4,)), "coefficients")]))
