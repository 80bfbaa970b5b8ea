"""What the chaos run's function does: as each request says, mostly nothing but to give its number back."""
import asyncio
import ctypes
import os
import signal
import time


def process(payload):
    """In the main thread, or in threads (ASYA_CONCURRENCY)."""
    if payload["events"]:
        return stream(payload)
    act(payload)
    return result(payload)


async def task(payload):
    """The same on an event loop."""
    if payload["events"]:
        return stream_of_tasks(payload)
    await act_in_task(payload)
    return result(payload)


def stream(payload):
    for index in range(payload["events"]):
        if index == payload["at"]:
            act(payload)
        yield event(payload, index)


async def stream_of_tasks(payload):
    for index in range(payload["events"]):
        if index == payload["at"]:
            await act_in_task(payload)
        yield event(payload, index)


def result(payload):
    if payload["fill"]:
        return {"number": payload["number"], "fill": "x" * payload["fill"]}
    return {"number": payload["number"]}


def event(payload, index):
    return {"number": payload["number"], "event": index, "worker": os.getpid()}


def act(payload):
    if payload["do"] == "nap":
        time.sleep(seconds(payload))
    elif payload["do"] != "echo":
        DEEDS[payload["do"]](payload)


async def act_in_task(payload):
    if payload["do"] == "nap":
        await asyncio.sleep(seconds(payload))
    else:
        act(payload)


def seconds(payload):
    return payload["number"] % 7 / 1000


def leave(payload):
    os._exit(payload["number"] % 200)


def crash(_):
    ctypes.string_at(0)


def kill(payload):
    os.kill(os.getpid(), [signal.SIGKILL, signal.SIGABRT, signal.SIGBUS, signal.SIGTERM][payload["number"] % 4])
    time.sleep(1)


def hang(_):
    while True:
        pass


def hang_stubbornly(_):
    while True:
        try:
            while True:
                pass
        except BaseException:  # as code does that nobody should write
            pass


def stop(_):
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(60)


def exhaust(_):
    kept = []
    while True:
        kept.append(bytearray(16 << 20))


def close(_):
    os.closerange(3, 4096)


def fork_twice(_):
    os.fork()


DEEDS = {"leave": leave, "crash": crash, "kill": kill, "hang": hang, "stubborn": hang_stubbornly, "stop": stop,
         "exhaust": exhaust, "close": close, "fork": fork_twice}
