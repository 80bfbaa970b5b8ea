"""Streams and plain answers from one generator function."""
import os


def count(payload):
    """A payload with "echo" comes back as it is; one with "count" becomes a stream, whose last event may be as long as
    "last" says, and after which the worker may die."""
    if "echo" in payload:
        return payload
    return numbers(payload["count"], payload.get("last", 0), payload.get("die", False))


def numbers(count, last, die):
    for number in range(count):
        yield {"n": "x" * last} if last and number == count - 1 else {"n": number}
    if die:
        os.kill(os.getpid(), 9)
