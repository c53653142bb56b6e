"""Files: one large array, many small ones, compressed ones; all in memory, so that no disk is measured."""

import atexit
import importlib
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

Repeat = Callable[[int], dict[str, float]]
IN_A_ROW, MAPPINGS = 3, 20


def _large(nbytes: int) -> Any:
    import numpy as np

    return np.random.default_rng(5).random(nbytes // 8)


def _small(count: int) -> Any:
    import numpy as np

    return {f"key{number}": np.arange(20.0) + number for number in range(count)}


def _compressible(nbytes: int) -> Any:
    import numpy as np

    return np.random.default_rng(5).integers(0, 50, nbytes // 8)


MAKE: dict[str, Callable[[int], Any]] = {"large": _large, "small": _small, "compressible": _compressible}


class _Numpy:
    """`numpy.save` and `numpy.load` by the others' names."""

    @staticmethod
    def dump(obj: Any, path: str, compress: Any = 0) -> None:
        import numpy as np

        assert not compress, "it cannot"
        np.save(path, obj)

    @staticmethod
    def load(path: str, mmap_mode: str | None = None) -> Any:
        import numpy as np

        return np.load(path, mmap_mode)


def files(library: str, what: str, size: int, compress: Any = 0) -> Repeat:
    """Return the times to dump and to load, `dump_ms` and `load_ms`, and to map a large array, `map_ms`.

    Each is the median of a few in a row, every time of a new file: what comes after a pause, when the other contestants
    had their turn, says more of the machine's sleep than of the work.
    """
    module: Any = _Numpy if library == "numpy" else importlib.import_module(library)
    obj = MAKE[what](size)
    compress = tuple(compress) if isinstance(compress, list) else compress
    folder = tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)

    def once(number: int) -> tuple[float, float, float]:
        path = os.path.join(folder, f"{number}.npy")
        begun = time.perf_counter()
        module.dump(obj, path, compress=compress)
        dumped = time.perf_counter()
        found = module.load(path)
        loaded = time.perf_counter()
        if len(found) != len(obj):
            raise AssertionError("what was loaded is not what was dumped")
        del found
        mapping = time.perf_counter()
        for _ in range(MAPPINGS if what == "large" else 0):
            module.load(path, mmap_mode="r")
        mapped = (time.perf_counter() - mapping) / MAPPINGS
        os.remove(path)
        return dumped - begun, loaded - dumped, mapped

    def repeat(_: int) -> dict[str, float]:
        times = zip(*(once(number) for number in range(IN_A_ROW)), strict=True)
        return {
            name: statistics.median(each) * 1e3
            for name, each in zip(("dump_ms", "load_ms", "map_ms"), times, strict=True)
        }

    return repeat


def aligned(library: str, arrays: int) -> Repeat:
    """Return how many of so many arrays do not begin at a multiple of 64 bytes when they are mapped."""
    import numpy as np

    module = importlib.import_module(library)
    chance = np.random.default_rng(5)
    obj = [chance.random(int(size)) for size in chance.integers(128, 5_000, arrays)]

    def repeat(_: int) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "object")
            module.dump(obj, path)
            found = module.load(path, mmap_mode="r")
            mapped = [array for array in found if isinstance(array, np.memmap)]
            return {
                "unaligned": sum(array.ctypes.data % 64 != 0 for array in mapped),
                "not_mapped": arrays - len(mapped),
            }

    return repeat
