"""The Python side of the page: runs the program in the editor, and tells what went wrong in its own lines.

Invariant: of jobspan only the public names are used; one program runs at a time.
"""

import asyncio
import linecache
import re
import sys
import traceback
import warnings
from collections.abc import Sized
from time import monotonic, sleep

from js import Object
from pyodide.code import eval_code_async
from pyodide.ffi import to_js

from jobspan import FallbackWarning, Parallel, WorkerBootError, delayed, parallel_config

# Drawing takes time from the workers where they have no CPU to spare: at most this share of a CPU.
DRAWING_SHARE = 0.04
NAP_S = 0.02

running: set[asyncio.Task] = set()


async def run(source, name, workers, hooks, inputs):
    """Run a program and return what became of it, as a JavaScript object.

    Parameters
    ----------
    source, name : str
        The program, and what tracebacks call it.
    workers : int
        How many it may use.
    hooks : JsProxy
        ``awake(n)``, ``begin(where)``, ``event(kind, index, worker, start, end, attempt, total, error)``,
        ``draw(values)``, ``notice(text)``; ``drawsEach``: whether every call of ``draw`` counts, or only the latest;
        ``tasks(names)`` or nothing: told of the program's list ``tasks`` before the first of them begins.
    inputs : JsProxy
        An object whose keys are names that the program finds, with their values.
    """
    # As lines of a file, so that tracebacks can quote them.
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    warnings.showwarning = _warning_hook(hooks)
    task = asyncio.ensure_future(_run(source, name, workers, hooks, inputs.to_py()))
    running.add(task)
    try:
        await task
        outcome = {"state": "finished"}
    except asyncio.CancelledError:
        outcome = {"state": "stopped"}
    except BaseException as error:  # noqa: BLE001  whatever a program raises is its result
        text = _explain(error, name, source)
        lines = [int(number) for number in re.findall(rf'File "{re.escape(name)}", line (\d+)', text)]
        outcome = {"state": "failed", "text": text, "line": lines[-1] if lines else None}
    finally:
        running.discard(task)
    return to_js(outcome, dict_converter=Object.fromEntries)


def stop():
    """End the program that runs, and with it the tasks of its workers."""
    for task in running:
        task.cancel()


async def _run(source, name, workers, hooks, inputs):
    backend = "web"
    try:
        await _wake_workers(workers, hooks)
    except (ValueError, WorkerBootError) as error:
        backend = "sequential"
        hooks.notice(f"No web workers: {error}")
    hooks.begin(backend)
    variables = {"__name__": "__main__", "workers": workers, **inputs}
    variables["show"] = _event_hook(hooks, variables)
    variables["draw"], flush = _draw_hook(hooks)
    with parallel_config(backend=backend):
        await eval_code_async(source, variables, filename=name, return_mode="none")
    flush()


async def _wake_workers(wanted, hooks):
    """Give the workers short naps until all have been heard of, so that no run is timed with their start."""
    heard = set()

    def hear(event):
        if event.worker not in heard:
            heard.add(event.worker)
            hooks.awake(len(heard))

    def naps():
        while len(heard) < wanted:
            yield delayed(sleep)(NAP_S)

    hooks.awake(0)
    await Parallel(n_jobs=wanted, backend="web", batch_size=1, on_event=hear).gather(naps())


def _event_hook(hooks, variables):
    told = hooks.tasks is None

    def show(event):
        nonlocal told
        tasks = variables.get("tasks")
        total = len(tasks) if isinstance(tasks, Sized) else None
        if not told and total is not None:
            hooks.tasks(to_js([_describe(task) for task in tasks]))
            told = True
        error = None if event.error is None else str(event.error)
        hooks.event(event.kind, event.index, event.worker, event.start, event.end, event.attempt, total, error)

    return show


def _describe(task):
    """Write a task as its call."""
    function, arguments, keywords = task
    parts = [*map(repr, arguments), *(f"{name}={value!r}" for name, value in keywords.items())]
    return f"{function.__name__}({', '.join(parts)})"


def _draw_hook(hooks):
    waiting = []
    next_at = 0.0

    def draw(*values):
        nonlocal next_at
        waiting[:] = values
        begin = monotonic()
        if hooks.drawsEach or begin >= next_at:
            flush()
            end = monotonic()
            next_at = end + (end - begin) / DRAWING_SHARE

    def flush():
        if waiting:
            hooks.draw(to_js(waiting, dict_converter=Object.fromEntries))
            waiting.clear()

    return draw, flush


def _warning_hook(hooks):
    def show_warning(message, category, filename, lineno, file=None, line=None):  # noqa: ARG001  Python's signature
        if issubclass(category, FallbackWarning):
            hooks.notice(str(message))
        else:
            sys.stderr.write(warnings.formatwarning(message, category, filename, lineno, line))

    return show_warning


def _explain(error, name, source):
    """Format an exception with the frames of the program alone, each with its line."""
    report = traceback.TracebackException.from_exception(error)
    waiting = [report]
    while waiting:
        part = waiting.pop()
        part.stack = traceback.StackSummary.from_list(frame for frame in part.stack if frame.filename == name)
        waiting += [cause for cause in (part.__cause__, part.__context__) if cause is not None]
    return _quote("".join(report.format()), name, source.splitlines())


def _quote(text, name, lines):
    """Add the program's lines where a worker, which does not have its text, could only give their numbers."""
    quoted = []
    report = text.splitlines()
    for line, following in zip(report, [*report[1:], ""], strict=True):
        quoted.append(line)
        place = re.fullmatch(rf'( *)File "{re.escape(name)}", line (\d+), in .*', line)
        if place and not following.startswith(f"{place[1]}  ") and int(place[2]) <= len(lines):
            quoted.append(f"{place[1]}  {lines[int(place[2]) - 1].strip()}")
    return "\n".join(quoted)
