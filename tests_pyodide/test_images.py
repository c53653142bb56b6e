"""Workers that begin with a memory image, workers that are started early, and workers that are ended."""

import pytest
from pytest_pyodide import run_in_pyodide

in_both = pytest.mark.parametrize("isolated", [False, True], indirect=True, scope="module")


@in_both
@run_in_pyodide(packages=["jobspan"])
def test_workers_share_an_image_and_nothing_of_its_maker(selenium):
    import os

    from jobspan import Parallel, delayed
    from jobspan.backends.web import WebBackend

    def look(seconds):
        import os
        import random
        import time

        import js

        time.sleep(seconds)
        random_numbers = random.random(), os.urandom(8)
        return random_numbers, os.environ.get("CALLER"), js.eval("typeof setTimeout"), hash("jobspan")

    seen = []
    for number in range(2):  # the second pool makes no image
        os.environ["CALLER"] = str(number)
        backend = WebBackend()
        for row in Parallel(n_jobs=2, backend=backend, batch_size=1)(delayed(look)(0.3) for _ in range(2)):
            seen.append(row)
            assert row[1:3] == (str(number), "function")
        backend.shutdown()
    del os.environ["CALLER"]
    assert len({row[0][0] for row in seen}) == len({row[0][1] for row in seen}) == 4
    # What tells that they are of one image: strings hash alike, which they do not in interpreters that booted alone.
    assert len({row[3] for row in seen}) == 1


@in_both
@run_in_pyodide(packages=["jobspan"])
def test_modules_of_the_caller_are_no_part_of_an_image(selenium):
    import sys
    from pathlib import Path

    from jobspan import Parallel, delayed
    from jobspan.backends.web import WebBackend

    folder = Path("shadows")
    folder.mkdir()
    (folder / "colorsys.py").write_text("mine = True")
    (folder / "bisect.py").write_text("mine = True")  # which modules of the image import
    sys.path.insert(0, str(folder.resolve()))

    def look():
        import bisect
        import colorsys

        return hasattr(colorsys, "mine"), hasattr(bisect, "mine")

    try:
        backend = WebBackend()
        assert Parallel(n_jobs=1, backend=backend)([delayed(look)()]) == [(True, False)]
        backend.shutdown()
    finally:
        sys.path.pop(0)


@in_both
@run_in_pyodide(packages=["jobspan", "pytest"])
def test_where_no_image_can_be_made_workers_boot_by_themselves_and_it_is_said(selenium):
    import pytest

    from jobspan import FallbackWarning, Parallel, delayed
    from jobspan.backends.web import WebBackend
    from jobspan.web import images, link

    broken = link.worker_script().replace("mother.makeMemorySnapshot()", "mother.makeNothing()")
    known = dict(images._found)
    patch = pytest.MonkeyPatch()
    patch.setattr("jobspan.web.worker.worker_script", lambda: broken)
    images._found.clear()
    patch.setattr(images, "_name", lambda index_url: "")
    try:
        backend = WebBackend()
        with pytest.warns(FallbackWarning, match="boots Python by itself.*makeNothing"):
            assert Parallel(n_jobs=2, backend=backend)(delayed(abs)(-i) for i in range(4)) == [0, 1, 2, 3]
        backend.shutdown()
    finally:
        patch.undo()
        images._found.clear()
        images._found.update(known)


@run_in_pyodide(packages=["jobspan", "pytest"])
async def test_an_image_is_kept_for_the_next_visit_and_a_wrong_one_is_not_used(selenium):
    import asyncio
    import os
    import time

    import js
    import pytest

    from jobspan import FallbackWarning, Parallel, delayed, host
    from jobspan.backends.web import WebBackend
    from jobspan.web import images
    from jobspan.web.pool import Pool

    if host.in_node():
        pytest.skip("node has no storage of a browser")

    async def kept():
        names = folder.keys()
        return [name async for name in names]

    async def look():
        backend = WebBackend()
        (found,) = await Parallel(n_jobs=1, backend=backend).gather([delayed(hash)("jobspan")])
        backend.shutdown()
        return found

    root = await js.navigator.storage.getDirectory()
    name = images._name(Pool().index_url)
    assert len(name) == 64
    images._found.clear()
    own = await root.getDirectoryHandle("jobspan", create=True)
    folder = await own.getDirectoryHandle("images", create=True)
    for entry in await kept():
        await folder.removeEntry(entry)
    os.environ["TOKEN"] = "a secret of the page " + str(time.time())
    first = await look()
    for _ in range(100):  # it is written while the workers go on
        if await kept() == [name]:
            break
        await asyncio.sleep(0.1)
    file = await (await folder.getFileHandle(name)).getFile()
    assert file.size > 10_000_000
    kept_bytes = (await file.arrayBuffer()).to_bytes()
    assert b"jobspan.web.serve" in kept_bytes
    assert os.environ.pop("TOKEN").encode() not in kept_bytes
    images._found.clear()  # as after a reload
    assert await look() == first
    # Of another build, or torn by who knows what.
    stream = await (await folder.getFileHandle(name)).createWritable()
    await stream.write("this is no image")
    await stream.close()
    images._found.clear()
    with pytest.warns(FallbackWarning, match="memory images do not work"):
        assert await look() != first
    assert await kept() == []
    images._found.clear()


@in_both
@run_in_pyodide(packages=["jobspan", "pytest"])
async def test_workers_are_warmed_once(selenium):
    import pytest

    from jobspan import Parallel, delayed, web
    from jobspan.web.pool import shared_pool

    shared_pool().shutdown()
    warming = web.warm(2)
    assert [worker.state for worker in web.workers()] == ["booting", "booting"]
    call = Parallel(n_jobs=2, backend="web")
    assert await call.gather(delayed(abs)(-i) for i in range(4)) == [0, 1, 2, 3]
    assert await warming == await web.warm(2) == 2
    one, other = web.workers()
    assert one.state == other.state == "idle"
    assert one.tasks + other.tasks == 4
    assert 20 << 20 < one.memory_bytes < 100 << 20
    with pytest.raises(ValueError, match="n_jobs=0"):
        web.warm(0)


@run_in_pyodide(packages=["jobspan"])
async def test_a_call_starts_no_more_workers_than_it_has_batches(selenium):
    from jobspan import Parallel, delayed
    from jobspan.backends.web import WebBackend

    backend = WebBackend()
    call = Parallel(n_jobs=8, backend=backend)
    assert await call.gather([delayed(abs)(-1)]) == [1]
    assert backend.pool.size == 1
    assert await call.gather(delayed(abs)(-i) for i in range(3)) == [0, 1, 2]
    assert backend.pool.size <= 3
    backend.shutdown()


@run_in_pyodide(packages=["jobspan", "pytest"])
async def test_workers_end_when_they_are_idle_used_up_or_too_large(selenium):
    import asyncio

    from jobspan import Parallel, delayed
    from jobspan.backends.web import WebBackend

    def fill(megabytes):
        return len(bytearray(megabytes << 20))

    backend = WebBackend()
    idle = Parallel(n_jobs=1, backend=backend, idle_worker_timeout=0.3)
    assert await idle.gather([delayed(abs)(-1)]) == [1]
    assert backend.pool.size == 1
    await asyncio.sleep(1)
    assert backend.pool.size == 0

    events = []
    used = Parallel(n_jobs=1, backend=backend, max_tasks_per_worker=2, batch_size=1, on_event=events.append)
    assert await used.gather(delayed(abs)(-i) for i in range(5)) == [0, 1, 2, 3, 4]
    names = {event.worker for event in events if event.kind == "done"}
    assert len(names) == 3

    small = Parallel(n_jobs=1, backend=backend, max_worker_rss="100M", batch_size=1, on_event=events.append)
    events.clear()
    await small.gather(delayed(fill)(size) for size in (1, 200, 1, 1, 1))
    assert len({event.worker for event in events}) == 2  # it keeps what it was sent before it had grown
    kept = WebBackend()
    await Parallel(n_jobs=1, backend=kept).gather([delayed(fill)(600)])
    assert kept.pool.size == 0  # nothing gives so much memory back but its end
    backend.shutdown()
