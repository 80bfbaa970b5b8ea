"""Where a call is that has run too long, for the line in the log: its own thread or await chain, which the stacks of all
threads, written by faulthandler, show last or not at all. Run once, when the first call does.
"""
import os
import sys

FRAMES = 24
ALL_SIZE = 32000  # bytes: beside the threads' stacks in the same pipe
SIZE = 2000  # bytes; the rest of the line is for the stacks of all threads


def line_of(frame):
    return '  File "%s", line %d in %s' % (frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)


def calls_of(frame):
    """The most recent call first."""
    lines = []
    while frame is not None and len(lines) < FRAMES:
        lines.append(line_of(frame))
        frame = frame.f_back
    return lines


def awaits_of(task, tasks=0):
    """The most recent await first; through tasks that it waits for, the first of those it has gathered."""
    lines, awaited = [], getattr(task, "_coro", None)
    while awaited is not None and len(lines) < FRAMES:
        kind = next((kind for kind in ("cr", "gi", "ag") if hasattr(awaited, kind + "_frame")), None)
        if kind is None:
            break
        frame = getattr(awaited, kind + "_frame")
        if frame is not None and frame.f_code.co_filename != "asya_runtime loop":
            lines.insert(0, line_of(frame))
        generator = frame.f_locals.get("generator") if frame is not None and kind == "cr" else None
        if hasattr(generator, "ag_frame"):  # the runtime's own loop over an asynchronous generator
            awaited = generator
        else:
            awaited = getattr(awaited, {"cr": "cr_await", "gi": "gi_yieldfrom", "ag": "ag_await"}[kind])
    future = getattr(task, "_fut_waiter", None)
    for inner in getattr(future, "_children", None) or [future]:
        if hasattr(inner, "_coro") and not inner.done() and tasks < FRAMES:
            return awaits_of(inner, tasks + 1) + lines
    return lines


def report(descriptor, task, thread, frame):
    """`frame` is what the thread runs, where that is this one; `task` the task that waits, or None."""
    asyncio = sys.modules.get("asyncio")
    if task is not None and asyncio.current_task(task.get_loop()) is not task:
        what, lines = "The request's task, most recent await first", awaits_of(task)
    else:
        threads = sys._current_frames()
        if frame is not None and len(threads) == 1:
            return  # there is no other stack to be taken for it
        what, lines = "The request's thread, most recent call first", calls_of(frame or threads.get(thread))
    text = "\f%s:\n%s\n" % (what, "\n".join(lines))
    os.write(descriptor, text.encode("ascii", "backslashreplace")[:SIZE])


def loops():
    """The event loops that run, in whatever thread: each has run_forever() among the calls of its own."""
    found = []
    for frame in sys._current_frames().values():
        while frame is not None:
            loop = frame.f_locals.get("self") if frame.f_code.co_name == "run_forever" else None
            if hasattr(loop, "call_soon") and loop not in found:
                found.append(loop)
            frame = frame.f_back
    return found


def report_tasks(descriptor):
    """All tasks of all loops, for POST /stacks."""
    asyncio, text = sys.modules.get("asyncio"), ""
    for loop in loops() if asyncio is not None else ():
        for task in asyncio.all_tasks(loop):
            name = task.get_name() if hasattr(task, "get_name") else "of " + type(task).__name__
            text += "Task %s, most recent await first:\n%s\n" % (name, "\n".join(awaits_of(task)))
            if len(text) > ALL_SIZE:
                break
    os.write(descriptor, text.encode("ascii", "backslashreplace")[:ALL_SIZE])
