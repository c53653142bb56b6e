"""Feeds mutated files to the reader: `fuzz.py [--inputs N] [--minutes M] [--seed S] [--guided]`.

Whatever the bytes are, ``load(file, trusted="data")`` and `inspect` have to end, with an object or with an error that
says what is wrong; in a second at most, with no more memory than a bound, and without running anything. Checksums are
switched off, since who means harm would get them right. Mutations are chosen at random; with `--guided`, by atheris, as
they reach more of the code.
"""

from __future__ import annotations

import argparse
import io
import os
import pickle
import random
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import jobspan
import kinds
from jobspan.file import contents, layout, write
from jobspan.file.codecs import find_codec
from jobspan.file.data import DataUnpickler, Trust
from test_trust import DATA, masked_arrays, mutate, records_of_objects

MEMORY_BYTES = 4 << 30
SLOW_S = 1.0
SAID_EVERY = 100_000
FOLDER = "/dev/shm" if os.path.isdir("/dev/shm") else None

outcomes: Counter[tuple[str, str]] = Counter()


def seeds() -> list[bytes]:
    """Files and pickles of all kinds of plain values and arrays."""
    found = []
    compressors = [name for name in ("zlib", "lzma", "lz4", "zstd") if _is_there(name)]
    objects = [kinds.PORTABLE[name]() for name in sorted(DATA) if not name.startswith(("long", "many"))]
    for obj in [*objects, *records_of_objects().values(), *masked_arrays().values()]:
        for compress in (0, *compressors):
            file = io.BytesIO()
            jobspan.dump([obj, bytes(1500)], file, compress=compress)
            found.append(file.getvalue())
        found += [pickle.dumps(obj, protocol) for protocol in (0, 2, 4, 5)]
    try:
        import joblib
    except ImportError:
        return found
    for name in ("floats", "objects", "records", "times", "nested"):
        for compress in (0, 3, ("bz2", 3)):
            file = io.BytesIO()
            joblib.dump(kinds.PORTABLE[name](), file, compress=compress)
            found.append(file.getvalue())
    return found


def _is_there(compressor: str) -> bool:
    try:
        find_codec(compressor)
    except jobspan.JobspanError:
        return False
    return True


class Judge:
    """Reads one input after the other, as a file, as the pickle in a file of ours, and by `inspect`.

    Parameters
    ----------
    path : str
        The file that each input is written into: after a crash, the one that was it is there.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT)  # kept: to make a file costs as much as to read it

    def __call__(self, data: bytes) -> None:
        """Raise if something comes of it that should not."""
        os.ftruncate(self._descriptor, os.pwrite(self._descriptor, data, 0))
        begun = time.process_time()  # the machine may be busy with something else
        for what, read in (("file", _as_file), ("pickle", _as_pickle), ("inspected", self._inspect)):
            try:
                read(data)
                outcomes[what, "read"] += 1
            except (jobspan.UntrustedError, jobspan.DamagedFileError) as error:
                outcomes[what, type(error).__name__] += 1
        if (seconds := time.process_time() - begun) > SLOW_S:
            raise AssertionError(f"it took {seconds:.1f} s")

    def _inspect(self, _data: bytes) -> None:
        jobspan.inspect(self._path)


def _as_file(data: bytes) -> None:
    jobspan.load(io.BytesIO(data), trusted="data")


def _as_pickle(data: bytes) -> None:
    try:
        DataUnpickler(io.BytesIO(data), Trust("data"), []).load()
    except (jobspan.JobspanError, MemoryError):
        raise
    except Exception as error:
        raise jobspan.DamagedFileError(str(error)) from error


def _at_random(judge_one: Callable[[bytes], None], inputs: int, until: float, seed: int) -> None:
    chance = random.Random(seed)
    samples: list[Any] = seeds()
    for number in range(1, inputs + 1):
        if time.monotonic() > until:
            return
        judge_one(mutate(chance, chance.choice(samples)))
        if number % SAID_EVERY == 0:
            print(f"fuzz: {number} inputs so far", flush=True)


def _guided(judge_one: Callable[[bytes], None], inputs: int, seconds: float, seed: int) -> None:
    """Does not return: libFuzzer ends the process, and tells how many inputs there were."""
    import atheris

    read = ("jobspan.file.data", "jobspan.file.named", "jobspan.arrays.checked")
    for module in (contents, layout, *map(sys.modules.get, read)):
        for name, each in list(vars(module).items()):
            if getattr(each, "__module__", None) == module.__name__ and callable(each) and not isinstance(each, type):
                setattr(module, name, atheris.instrument_func(each))
    folder = tempfile.mkdtemp()
    for number, data in enumerate(seeds()):
        Path(folder, str(number)).write_bytes(data)
    limits = [f"-runs={inputs}", f"-max_total_time={int(seconds)}", f"-seed={seed}", "-rss_limit_mb=4096"]
    atheris.Setup([sys.argv[0], folder, *limits], judge_one)
    atheris.Fuzz()


def main() -> None:
    """Feed, and tell what came of it."""
    parser = argparse.ArgumentParser(description="mutated files, to be read or refused")
    parser.add_argument("--inputs", type=int, default=10_000_000)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--guided", action="store_true", help="let atheris choose the mutations")
    options = parser.parse_args()
    for module in (contents, layout, write):
        module.crc32 = lambda data, crc=0: 0  # noqa: ARG005  checksums are switched off
    path = os.path.join(tempfile.mkdtemp(dir=FOLDER), "input")
    judge = Judge(path)
    print(f"fuzz: seed {options.seed}; the input at hand is in {path}", flush=True)
    if options.guided:
        import jobspan.arrays.checked  # noqa: F401  to be guided by

        _guided(judge, options.inputs, 60 * options.minutes, options.seed)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    _at_random(judge, options.inputs, time.monotonic() + 60 * options.minutes, options.seed)
    shutil.rmtree(os.path.dirname(path))
    total = sum(count for (what, _), count in outcomes.items() if what == "file")
    told = (f"{count} {what}: {outcome}" for (what, outcome), count in sorted(outcomes.items()))
    print(f"fuzz: {total} inputs; {', '.join(told)}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"fuzz: no crash, nothing run, none slower than {SLOW_S:g} s; {peak} MB at most")


if __name__ == "__main__":
    main()
