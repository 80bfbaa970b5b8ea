"""Prints while it is imported, while it runs, and at its end."""
import atexit
import os
import subprocess
import sys

print("imported")
os.write(2, b"loaded\n")
atexit.register(print, "at exit")


def process(payload):
    """Its own id in each way there is; a payload of 0 prints nothing."""
    name = payload["name"]
    for _ in range(payload.get("times", 1)):
        print("print", name)
        sys.stderr.write("write %s\n" % name)
        os.write(1, b"descriptor %s\n" % name.encode())
    if payload.get("child"):
        subprocess.run(["/bin/sh", "-c", "echo child %s; echo child %s >&2" % (name, name)], check=True)
    return name


def silent(payload):
    return payload


def one_line(payload):
    print("a line that a function prints")
    return payload


def stream(payload):
    for i in range(3):
        print("step", i)
        yield i


async def task(payload):
    import asyncio

    for i in range(payload["times"]):
        print("task", payload["name"])
        await asyncio.sleep(0)
    return payload["name"]
