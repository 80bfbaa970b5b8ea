"""Does what each message says, so that a client knows how its request should be counted."""
import os
import signal
import time


class Odd(Exception):
    """An exception of the function's own."""


def stream(payload):
    """Three events; what is to go wrong does so after the second."""
    for number in range(3):
        if number == 2 and payload["do"] == "stream_value":
            raise ValueError("after two events")
        if number == 2 and payload["do"] == "stream_kill":
            os.kill(os.getpid(), signal.SIGKILL)
        yield {"number": number}


def process(payload):
    do = payload["do"]
    if do.startswith("stream"):
        return stream(payload)
    if do == "big":
        return "x" * 400_000
    if do == "value":
        raise ValueError("no")
    if do == "key":
        raise KeyError("no")
    if do == "odd":
        raise Odd("no")
    if do == "memory":
        raise MemoryError("no")
    if do == "late":
        time.sleep(10)
    if do == "exit":
        os._exit(3)
    if do == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "segv":
        os.kill(os.getpid(), signal.SIGSEGV)
    return {"pad": payload.get("pad")}


async def task(payload):
    """The same on an event loop."""
    import asyncio
    if payload["do"] == "late":
        await asyncio.sleep(10)
    await asyncio.sleep(0)
    return process(payload)
