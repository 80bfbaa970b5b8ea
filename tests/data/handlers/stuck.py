"""Functions that stand still, each at a place with a telling name."""
import asyncio
import threading
import time


async def deepest(payload):
    await asyncio.sleep(60)


async def deeper(payload):
    await deepest(payload)


async def process(payload):
    await deeper(payload)


async def gathers(payload):
    await asyncio.gather(asyncio.sleep(0), deeper(payload), deeper(payload))


async def awaits_task(payload):
    await asyncio.create_task(deeper(payload))


async def yields(payload):
    yield 1
    await deeper(payload)


async def holds_up(payload):
    turns_in_coroutine()


def turns_in_coroutine():
    while True:
        pass


def rests(depth=12):
    if depth:
        rests(depth - 1)
    time.sleep(60)


def with_threads(payload):
    """As many threads of its own, whose stacks come first."""
    for _ in range(40):
        threading.Thread(target=rests, daemon=True).start()
    in_the_function()


def in_the_function():
    time.sleep(60)


def in_one_thread_of_many(payload):
    if payload == "rest":
        return time.sleep(3)
    if payload == "threads":
        for _ in range(40):
            threading.Thread(target=rests, daemon=True).start()
        return 1
    in_the_function()
