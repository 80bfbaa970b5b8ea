"""Functions that tell what asya_runtime.context() tells them."""
import asyncio
import threading
import time

import asya_runtime

KEPT = []


def describe(who):
    context = asya_runtime.context()
    return {"who": who, "id": context.id, "parent_id": context.parent_id, "headers": context.headers,
            "route": context.route, "traceparent": context.traceparent, "deadline": context.deadline,
            "cancelled": context.cancelled}


def plain(who):
    return describe(who)


async def coroutine(who):
    before = describe(who)
    await asyncio.sleep(0.001)
    assert describe(who) == before
    return before


async def nested(who):
    return await asyncio.ensure_future(coroutine(who))


def generator(who):
    yield describe(who)


async def async_generator(who):
    await asyncio.sleep(0)
    yield describe(who)


def keep(who):
    """The context of the request before."""
    KEPT.append(asya_runtime.context())
    return True if len(KEPT) == 1 else [KEPT[0].id, KEPT[0].headers, KEPT[0].cancelled]


OUTSIDE = asya_runtime.context()


def elsewhere(who):
    """While the module is imported, and in a thread of the function's own."""
    found = []
    thread = threading.Thread(target=lambda: found.append(asya_runtime.context()))
    thread.start()
    thread.join()
    return [OUTSIDE, *found]


def ask(who):
    if who == "told":
        return KEPT[-1]
    context = asya_runtime.context()
    try:
        while True:
            time.sleep(0.005)
    finally:
        KEPT.append(context.cancelled)
