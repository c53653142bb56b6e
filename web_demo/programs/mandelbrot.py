"""Draw the Mandelbrot set, tile by tile, as workers finish them."""

from array import array

from jobspan import Parallel, delayed

WIDTH, HEIGHT, TILE = 480, 320, 40
LIMIT = 800  # after so many steps a point belongs to the set


def count_steps(c):
    """Count steps of z = z*z + c until z runs away; 0: never."""
    z = 0
    for step in range(LIMIT):
        if abs(z) > 2:
            return step
        z = z * z + c
    return 0


def render(left, top):
    """Compute one square tile of the picture."""
    steps = array("H")
    for y in range(top, top + TILE):
        for x in range(left, left + TILE):
            real = 3.3 * x / WIDTH - 2.2
            imag = 2.2 * y / HEIGHT - 1.1
            steps.append(count_steps(complex(real, imag)))
    return left, top, TILE, steps


# From the page: the number of workers, show (draws the timeline)
# and draw (draws the result).
pool = Parallel(
    n_jobs=workers,
    return_as="generator_unordered",  # each as soon as it is there
    on_event=show,
)
rows, columns = range(0, HEIGHT, TILE), range(0, WIDTH, TILE)
tasks = [delayed(render)(x, y) for y in rows for x in columns]

async for tile in pool.stream(tasks):
    draw(tile, WIDTH, HEIGHT)
