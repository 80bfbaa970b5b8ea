"""Streams and plain answers from one generator function."""
import os


def count(payload):
    """A payload with "echo" comes back as it is; one with "count" becomes a stream, after which the worker may die."""
    if "echo" in payload:
        return payload
    return numbers(payload["count"], payload.get("die", False))


def numbers(count, die):
    for number in range(count):
        yield {"n": number}
    if die:
        os.kill(os.getpid(), 9)
