"""Functions that tell what asya_runtime.context() tells them."""
import asyncio
import concurrent.futures
import contextvars
import logging
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


# -- threads that the function starts ---------------------------------------------------------------------------------------

EXECUTOR = concurrent.futures.ThreadPoolExecutor(4)
copy_context = contextvars.copy_context  # as `from contextvars import copy_context` at the top of a module
BACKGROUND = None


async def to_thread(function, *arguments):
    """asyncio.to_thread, which CPython has from 3.9 on."""
    return await asyncio.get_event_loop().run_in_executor(None, copy_context().run, function, *arguments)


to_thread = getattr(asyncio, "to_thread", to_thread)


def in_a_thread(who):
    found = []
    thread = threading.Thread(target=copy_context().run, args=(lambda: found.append(describe(who)),))
    thread.start()
    thread.join()
    return found[0]


def in_an_executor(who):
    return EXECUTOR.submit(contextvars.copy_context().run, describe, who).result()


def in_a_thread_of_a_thread(who):
    return EXECUTOR.submit(copy_context().run, in_a_thread, who).result()


async def by_to_thread(who):
    return await to_thread(describe, who)


def in_a_loop_of_its_own(who):
    return asyncio.run(by_to_thread(who))


def on_a_loop_in_the_background(who):
    global BACKGROUND
    if BACKGROUND is None:
        BACKGROUND = asyncio.new_event_loop()
        threading.Thread(target=BACKGROUND.run_forever, daemon=True).start()
    return asyncio.run_coroutine_threadsafe(coroutine(who), BACKGROUND).result()


def generator_in_a_thread(who):
    yield in_a_thread(who)


def late(who):
    """Keeps a copy of the first request's context, and looks from it in the second."""
    KEPT.append(contextvars.copy_context())
    if len(KEPT) == 1:
        return asya_runtime.context().ended
    kept = KEPT[0]
    answer = EXECUTOR.submit(kept.run, describe, "late").result()
    return {**answer, "ended": kept.run(asya_runtime.context).ended, "own": asya_runtime.context().id}


def bystander(who):
    """A thread that is given nothing, many times: of the second and the others nothing is said."""
    return [EXECUTOR.submit(asya_runtime.context).result() for _ in range(3)]


def told_in_a_thread(who):
    """Waits for a thread that looks whether its request is cancelled."""
    if who == "told":
        return KEPT.pop().result(10)

    def watch():
        context = asya_runtime.context()
        limit = time.monotonic() + 10
        while not context.cancelled and time.monotonic() < limit:
            time.sleep(0.005)
        return [context.cancelled, context.deadline is not None]

    KEPT.append(EXECUTOR.submit(copy_context().run, watch))
    while True:
        time.sleep(0.005)


def logs_in_a_thread(who):
    log = logging.getLogger("thread")
    EXECUTOR.submit(copy_context().run, log.info, "with its request").result()
    EXECUTOR.submit(log.info, "without").result()
    return who


def lengths(who):
    """A copy of the context has no more than the function itself has put into it, and what asya_runtime needs."""
    return [len(copy_context()), len(copy_context()), copy_context.__name__, type(copy_context).__name__]
