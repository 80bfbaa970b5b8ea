"""Plain answers: what came in, or what Python made of it."""
import time

calls = 0


def echo(payload):
    """The payload itself."""
    return payload


def described(payload):
    """The payload as Python spells it: exact for numbers, signs of zero, infinities and lone surrogates."""
    return [type(payload).__name__, repr(payload)]


def kind(payload):
    """Only the payload's type: cheap for long ones."""
    return type(payload).__name__


def count(payload):
    """Counts its calls; "report" asks for the number without counting."""
    global calls
    if payload != "report":
        calls += 1
    return calls


def nap(payload):
    """Sleeps for so many seconds, then answers with the number."""
    time.sleep(payload)
    return payload


async def soon(payload):
    """A coroutine function."""
    import asyncio
    await asyncio.sleep(0)
    return payload
