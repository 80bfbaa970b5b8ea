"""Handlers with a set-up and a tear-down: each leaves a line for every step of its life."""
import asyncio
import atexit
import os
import pathlib


def note(text):
    with open(pathlib.Path(os.environ["TMPDIR"], "noted"), "a") as file:
        file.write(text + "\n")


def plain(payload):
    note("call")
    return payload


def _setup():
    note("setup")


plain.setup = _setup


async def task(payload):
    note("call")
    return id(asyncio.get_event_loop())


async def _async_setup():
    await asyncio.sleep(0)
    note("setup")


task.setup = _async_setup


def failing(payload):
    return payload


def _failing_setup():
    raise RuntimeError("no database")


failing.setup = _failing_setup


class Closing:
    def __init__(self):
        note("init")

    def method(self, payload):
        note("call")
        return payload

    def close(self):
        note("close")


class Managed:
    def __enter__(self):
        note("enter")
        return self

    def __exit__(self, *exception):
        assert exception == (None, None, None)
        note("exit")

    def close(self):
        note("never called: it is a context manager")

    def method(self, payload):
        note("call")
        return payload


class AsyncManaged:
    """Its connection is bound to the loop of the requests."""

    async def __aenter__(self):
        self.loop = asyncio.get_event_loop()
        note("enter")
        return self

    async def __aexit__(self, *exception):
        await asyncio.sleep(0)
        assert asyncio.get_event_loop() is self.loop
        note("exit")

    async def method(self, payload):
        assert asyncio.get_event_loop() is self.loop
        note("call")
        return payload


class AsyncClosing:
    async def method(self, payload):
        note("call")
        return payload

    async def close(self):
        await asyncio.sleep(0)
        note("close")


class Instance:
    def __call__(self, payload):
        note("call")
        return payload

    def close(self):
        note("close")


instance = Instance()


class FailingClose:
    def method(self, payload):
        note("call")
        return payload

    def close(self):
        raise RuntimeError("cannot close")


class AtExit:
    def __init__(self):
        atexit.register(note, "atexit")

    def method(self, payload):
        note("call")
        return payload

    def close(self):
        note("close")
