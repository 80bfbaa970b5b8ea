"""One function of every shape. Each answers {"got": payload}; those that give several frames answer payload["count"]
of {"number": i}."""
import asyncio
import functools
import threading


def answer(payload):
    return {"got": payload}


def plain(payload):
    return answer(payload)


class Instance:
    """A callable instance."""

    def __call__(self, payload):
        return answer(payload)


class AsyncInstance:
    """One whose call is a coroutine function."""

    async def __call__(self, payload):
        await asyncio.sleep(0)
        return answer(payload)


class Counter:
    """A class with state, instantiated by the runtime."""

    def __init__(self):
        self.calls = 0

    def method(self, payload):
        self.calls += 1
        return {"got": payload, "calls": self.calls}

    async def async_method(self, payload):
        self.calls += 1
        await asyncio.sleep(0)
        return answer(payload)

    def generator_method(self, payload):
        yield from generator(payload)

    @staticmethod
    def static(payload):
        return answer(payload)

    @classmethod
    def for_class(cls, payload):
        assert issubclass(cls, Counter)
        return answer(payload)


instance = Instance()
async_instance = AsyncInstance()


def with_option(option, payload):
    assert option == "on"
    return answer(payload)


partial = functools.partial(with_option, "on")


async def coroutine(payload):
    await asyncio.sleep(0)
    return answer(payload)


async def immediate(payload):
    """Never waits."""
    return answer(payload)


async def _with_option(option, payload):
    assert option == "on"
    await asyncio.sleep(0)
    return answer(payload)


async_partial = functools.partial(_with_option, "on")


def returns_coroutine(payload):
    """A plain wrapper around a coroutine function, as decorators make them."""
    return coroutine(payload)


class Awaitable:
    """Neither a coroutine nor a future."""

    def __init__(self, payload):
        self.payload = payload

    def __await__(self):
        return coroutine(self.payload).__await__()


def returns_awaitable(payload):
    return Awaitable(payload)


def generator(payload):
    for number in range(payload["count"]):
        yield {"number": number}


async def async_generator(payload):
    for number in range(payload["count"]):
        await asyncio.sleep(0)
        yield {"number": number}


def returns_generator(payload):
    return generator(payload)


def returns_async_generator(payload):
    return async_generator(payload)


async def coroutine_of_generator(payload):
    return generator(payload)


async def coroutine_of_async_generator(payload):
    return async_generator(payload)


def thread_name(payload):
    """Where am I run?"""
    thread = threading.current_thread()
    return {"name": thread.name, "main": thread is threading.main_thread(), "known": thread in threading.enumerate()}
