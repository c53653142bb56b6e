"""Random failures on Web Workers for some minutes, and at the end a look for what was left behind.

`node tools/pyodide_run.mjs --once tools/soak_web.py -- [--minutes M] [--seed N]`: runs in which tasks raise, take too
long and end their workers by a script, and runs whose workers are terminated from outside at random. It fails when an
index is not accounted for once, when a run takes longer than two minutes, and when workers or memory are left behind.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import time
from collections import Counter

import js
import pyodide_js
from pyodide.code import run_js
from pyodide.ffi import run_sync

from jobspan import Parallel, delayed
from jobspan.web import workers

PATIENCE_S = 120.0
GROWTH_MB = 200.0
WIDTH = 3
WAYS = ("list", "generator", "generator_unordered")

# Remembers node's worker threads, to end them as a browser does: without a word to anybody, at whatever they are.
MEET = """{
  const threads = process.getBuiltinModule("node:worker_threads");
  globalThis.met = new Set();
  threads.Worker = class extends threads.Worker {
    constructor(...all) {
      super(...all);
      setTimeout(() => this.threadId > 0 && met.add(this), 2500).unref(); // three deaths at boot end a run
      this.on("exit", () => met.delete(this));
    }
  };
}"""


def follow_script(chance: random.Random, tally: Counter[str]) -> None:
    """Run tasks that raise, take too long and end their worker as a script says."""
    from jobspan.testing import chaos  # which imports pytest

    script = chaos.draw_script(chance, 60, ["raise", "sleep", "die"], 0.06)
    tally["faults injected"] += chaos.survive(
        script,
        60,
        retries=chance.randrange(4),
        n_jobs=WIDTH,
        backend="web",
        return_as=chance.choice(WAYS),
        timeout=0.5,
        batch_size=chance.choice(["auto", 1, 7]),
        watched=chance.random() < 0.5,
    )


def nap(index: int) -> int:
    """A task that can be met at work."""
    time.sleep(0.01)
    return index * index


async def raid(chance: random.Random, tally: Counter[str]) -> None:
    """Run tasks while their workers are terminated."""

    async def end_workers() -> None:
        while True:
            await asyncio.sleep(chance.uniform(0.1, 0.6))
            met = list(js.met)
            if met:
                chance.choice(met).terminate()
                tally["workers terminated"] += 1

    raider = asyncio.create_task(end_workers())
    try:
        count = chance.randrange(100, 300)
        call = Parallel(n_jobs=WIDTH, backend="web", retries=100, batch_size=chance.choice(["auto", 1]))
        assert await call.gather(delayed(nap)(i) for i in range(count)) == [i * i for i in range(count)]
    finally:
        raider.cancel()


async def soak(seed: int, seconds: float) -> Counter[str]:
    """What was done, and how often."""
    tally: Counter[str] = Counter()
    end = time.monotonic() + seconds
    chance = random.Random(seed)
    while time.monotonic() < end:
        begun = time.monotonic()
        if chance.random() < 0.5:
            follow_script(chance, tally)
        else:
            await raid(chance, tally)
        took = time.monotonic() - begun
        assert took < PATIENCE_S, f"a run took {took:.0f} s"
        tally["runs"] += 1
    return tally


async def census() -> dict[str, float]:
    """What there is, when workers that were ended have gone."""
    await Parallel(n_jobs=WIDTH, backend="web").gather(delayed(abs)(i) for i in range(20))
    await asyncio.sleep(3)
    gc.collect()
    return {"workers": len(workers()), "threads": js.met.size, "resident MB": js.process.memoryUsage().rss / 1e6}


async def main() -> None:
    """Warm up for a tenth of the time, look, soak, look again."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print(f"soak of Web Workers: {options.minutes:g} minutes, seed {options.seed}")
    await pyodide_js.loadPackage("pytest")
    run_js(MEET)
    await soak(options.seed, max(5.0, 6 * options.minutes))
    before = await census()
    done = await soak(options.seed + 1, 54 * options.minutes)
    after = await census()
    for what, was in before.items():
        print(f"{what:16} {was:8.0f} -> {after[what]:8.0f}")
        assert after[what] - was <= (GROWTH_MB if "MB" in what else WIDTH), f"there are more {what} than before"
    print("soak of Web Workers: nothing left behind; " + ", ".join(f"{n} {what}" for what, n in done.items()))


run_sync(main())
