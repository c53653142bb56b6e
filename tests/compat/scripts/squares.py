"""The first lines that everyone writes: a loop, a function with two results, keywords, an empty input."""

from math import modf, sqrt

from joblib import Parallel, delayed


def area(width, height=2):
    return width * height


print(Parallel(n_jobs=2)(delayed(sqrt)(i**2) for i in range(10)))
print(Parallel(n_jobs=1)(delayed(sqrt)(i**2) for i in range(10)))

fractions, wholes = zip(*Parallel(n_jobs=2)(delayed(modf)(i / 2) for i in range(7)), strict=True)
print(fractions)
print(wholes)

print(Parallel(n_jobs=2)(delayed(area)(width, height=height) for width in range(3) for height in range(3)))
print(Parallel(n_jobs=-1)(delayed(area)(7) for _ in range(1)))
print(Parallel(n_jobs=2)([]), Parallel()([]), Parallel(n_jobs=2)(delayed(area)(i) for i in ()))

tasks = [delayed(area)(i) for i in range(5)]
parallel = Parallel(n_jobs=2)
print(parallel(tasks), parallel(tuple(tasks)), parallel(iter(tasks)))
print(tasks[3] == (area, (3,), {}), delayed(area).__name__)

squares = Parallel(n_jobs=2)(delayed(pow)(i, 2) for i in range(3000))
print(type(squares).__name__, len(squares), squares == [i * i for i in range(3000)])

lookup = dict(zip("abc", Parallel(n_jobs=2)(delayed(str.upper)(letter) for letter in "abc"), strict=True))
print(lookup)
