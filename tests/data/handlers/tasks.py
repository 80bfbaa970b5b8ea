"""Coroutine functions that wait, start tasks of their own, and keep clients bound to the loop."""
import asyncio
import os
import pathlib
import textwrap
import threading
import time

KEPT = {}
started = []


def note(text):
    """Leaves a line where the test finds it."""
    with open(pathlib.Path(os.environ["TMPDIR"], "noted"), "a") as file:
        file.write(text + "\n")


async def nap(payload):
    """Sleeps for so many seconds."""
    await asyncio.sleep(payload)
    return payload


async def overlap(payload):
    """How many of us run at the same time, at most, until the event or for two seconds."""
    KEPT["now"] = KEPT.get("now", 0) + 1
    KEPT["most"] = max(KEPT.get("most", 0), KEPT["now"])
    try:
        await asyncio.sleep(payload)
    finally:
        KEPT["now"] -= 1
    return KEPT["most"]


async def _tick():
    while True:
        KEPT["ticks"] = KEPT.get("ticks", 0) + 1
        await asyncio.sleep(0.001)


async def background(payload):
    """A task that outlives its request; how often it has run."""
    if "task" not in KEPT:
        KEPT["task"] = asyncio.ensure_future(_tick())
    return [KEPT.get("ticks", 0), KEPT["task"].done()]


async def same_loop(payload):
    """A lock and a queue made by the first request are used by all others: they are bound to its loop."""
    loop = asyncio.get_event_loop()
    KEPT.setdefault("loop", loop)
    lock = KEPT.setdefault("lock", asyncio.Lock())
    queue = KEPT.setdefault("queue", asyncio.Queue())
    async with lock:
        await queue.put(payload)
        return [await queue.get(), KEPT["loop"] is loop, type(loop).__module__.split(".")[0],
                threading.current_thread() is threading.main_thread()]


async def current(payload):
    """What asyncio's own tools see."""
    task = asyncio.current_task()
    before = [task is not None, task in asyncio.all_tasks()]
    if payload == "wait":
        await asyncio.sleep(0)
    return before + [asyncio.current_task() is task]


async def timed(payload):
    """asyncio.wait_for works as anywhere."""
    try:
        return await asyncio.wait_for(asyncio.sleep(payload, "slept"), 0.05)
    except asyncio.TimeoutError:
        return "timed out"


async def run(code):
    """The payload is the body of a coroutine function."""
    scope = {"KEPT": KEPT, "asyncio": asyncio, "note": note, "time": time}
    exec("async def body():\n" + textwrap.indent(code, "    "), scope)
    return await scope["body"]()


def sometimes(payload):
    """A plain function that only now and then returns a coroutine."""
    return nap(payload["nap"]) if "nap" in payload else "plain"
