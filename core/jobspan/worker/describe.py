"""Says in a few words which call a task is, for notes on exceptions.

Invariant: never raises, whatever the arguments' ``repr`` does; used only once something has failed.
"""

from __future__ import annotations

from typing import Any

from jobspan.errors import TaskError
from jobspan.model import Batch, Task

FAR_TRACE = "traceback on the worker:\n"
"""Begins the note that brings the traceback of an exception from another process."""

CALLER = "the caller's thread"
"""What is named as the worker where there is none."""

_RUNS_TASKS = "jobspan.worker.run"
_FRAME = r'  File "(.+)", line (\d+), in '
_MAX_CHARS = 60
_MAX_ARGUMENTS = 4


def is_task(item: Any) -> bool:
    """Whether `item` is what ``delayed(f)(...)`` returns."""
    return (
        isinstance(item, tuple)
        and len(item) == 3
        and callable(item[0])
        and isinstance(item[1], tuple | list)
        and isinstance(item[2], dict)
    )


def short(value: Any) -> str:
    """``repr(value)``, shortened, and a placeholder where it raises."""
    import reprlib

    shortener = reprlib.Repr()
    shortener.maxstring = shortener.maxother = shortener.maxlong = _MAX_CHARS
    try:
        return shortener.repr(value)
    except Exception:  # noqa: BLE001  reprlib trusts the name of a type, which the user chose
        return f"<{type(value).__name__}>"


def name_of(function: Any) -> str:
    """The function's qualified name without the noise of enclosing functions."""
    name = getattr(function, "__qualname__", None) or getattr(function, "__name__", None)
    return str(name).rpartition("<locals>.")[2] if name else short(function)


def describe_task(task: Task) -> str:
    """The call as one would write it: ``"census('ast.py', depth=3)"``."""
    function, args, kwargs = task
    words = [short(value) for value in args] + [f"{name}={short(value)}" for name, value in kwargs.items()]
    if len(words) > _MAX_ARGUMENTS:
        words[_MAX_ARGUMENTS:] = ["..."]
    return f"{name_of(function)}({', '.join(words)})"


def argument_name(task: Task, position: int) -> str:
    """What the function calls its positional argument, as far as that can be known."""
    function = task[0]
    shift = 1 if hasattr(function, "__self__") else 0
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    if code is not None and position + shift < code.co_argcount:
        return repr(code.co_varnames[position + shift])
    return str(position)


def span(first: int, count: int) -> str:
    """Some tasks, in words."""
    return f"task {first}" if count == 1 else f"tasks {first} to {first + count - 1}"


def note_task(error: BaseException, index: int, task: Task, worker: str, attempt: int = 1) -> None:
    """Add to `error` which task raised it, and where."""
    which = f", attempt {attempt}" if attempt > 1 else ""
    add_note(error, f"raised by task {index}: {call_of(task)}{which}, on {worker}")


def call_of(item: Any) -> str:
    """The call of a task as one would write it, or what stands in a task's place, whatever that is."""
    try:
        return describe_task(item) if is_task(item) else short(item)
    except BaseException:  # noqa: BLE001  describing calls the arguments' own code
        return "a call that cannot be shown"


def task_error(batch: Batch, position: int, error: BaseException, worker: str) -> TaskError:
    """What stands for the result of a task that failed with `error`, which loses its frames, and what they hold."""
    far = f"jobspan: {FAR_TRACE}"
    notes = [note for note in getattr(error, "__notes__", ()) if isinstance(note, str)]
    trace = next((note.removeprefix(far) for note in notes if note.startswith(far)), None) or trace_of(error)
    error.__traceback__ = None
    return TaskError(batch.first + position, error, call_of(batch.tasks[position]), batch.attempt, worker, trace)


def trace_of(error: BaseException) -> str:
    """Where an exception was raised, and its causes, as text, without the frames of jobspan's that ran the task."""
    import traceback

    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_globals.get("__name__") == _RUNS_TASKS:
        frames = frames.tb_next
    lines = traceback.format_tb(frames)
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        lines += ["caused by:\n", *traceback.format_exception(cause)]
    return "".join(lines)


def add_lines(error: BaseException) -> None:
    """Complete the traceback from afar with the lines of source that are known here alone: those of cells."""
    far = f"jobspan: {FAR_TRACE}"
    notes = getattr(error, "__notes__", None)
    if isinstance(notes, list):
        notes[:] = [_with_lines(note) if isinstance(note, str) and note.startswith(far) else note for note in notes]


def _with_lines(trace: str) -> str:
    import re
    from linecache import getline

    told = trace.split("\n")
    lines = []
    for line, after in zip(told, [*told[1:], ""], strict=True):
        lines.append(line)
        frame = re.match(_FRAME, line)
        if frame and not after.startswith("    ") and (source := getline(frame[1], int(frame[2])).strip()):
            lines.append(f"    {source}")
    return "\n".join(lines)


def add_note(error: BaseException, text: str) -> None:
    """Add a note of ours to an exception, unless that is one which refuses notes."""
    try:
        error.add_note(f"jobspan: {text}")
    except Exception:  # noqa: BLE001  the exception's own code; it must be raised all the same
        return


def not_a_task(item: Any, index: int) -> TypeError:
    """The error for an item that is not ``delayed(f)(...)``."""
    if callable(item):
        hint = "it is a function: call delayed(function) with the arguments"
    elif isinstance(item, tuple) and len(item) == 3 and not callable(item[0]):
        hint = (
            f"delayed() was given {short(item[0])}, which cannot be called; call delayed(function) with the arguments"
        )
    else:
        hint = "write delayed(function)(arguments) instead of function(arguments)"
    return TypeError(
        f"item {index} of the input is {short(item)}, of type {type(item).__name__}, and not a task; {hint}."
    )
