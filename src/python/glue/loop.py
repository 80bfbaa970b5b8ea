"""What asyncio is asked to do in a worker. Run once, when the first coroutine appears.

The runtime puts these names here before: finish, fail, take, complete and when_room (what becomes of a request),
rest (calls that wait for the loop to stand still) and arm (the server's timer), ready and rang (a turn of the server: its
descriptor is readable, or a deadline has come), descriptor, request_variable (where a task keeps its request), and the two answers of take, WAIT and STOP.
"""
import asyncio
import sys
import warnings

__name__ = "asya_runtime.loop"  # what asyncio looks for in its caller, on 3.12


def _current():
    """What the user's module has made its futures, locks and clients for, before there was a coroutine; or a new loop,
    which the user's policy decides."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # from 3.12 on it is deprecated that this makes one where there is none
            current = asyncio.get_event_loop()
        if not current.is_closed() and not current.is_running():  # it may run in a thread of the user's
            return current
    except RuntimeError:
        pass
    current = asyncio.new_event_loop()
    asyncio.set_event_loop(current)
    return current


loop = _current()
_enter = request_variable.set
CancelledError = asyncio.CancelledError
_over = False


async def _answer(request, awaitable):
    """A request whose function gave a coroutine."""
    _enter(request)
    try:
        result = await awaitable
    except BaseException as error:
        fail(request, error)
        return
    generator = finish(request, result)
    if generator is not None:
        await _drive(request, generator)


async def _drive(request, generator):
    """A request whose function gave an asynchronous generator."""
    _enter(request)
    try:
        step = generator.asend(None)
        while True:
            try:
                item = await step
            except StopAsyncIteration:
                break
            try:
                value = take(request, item)
                if value is WAIT:
                    await _room(request)
                    value = None
            except BaseException as error:  # of a command, or a cancellation while it waits: the generator's to see
                step = generator.athrow(error)
                continue
            if value is STOP:
                await generator.aclose()
                break
            step = generator.asend(value)
    except BaseException as error:
        fail(request, error)
    else:
        complete(request)


async def _room(request):
    """Until the client has taken what was sent to it."""
    future = loop.create_future()
    when_room(request, future)
    await future


if sys.version_info >= (3, 12):

    def _start(coroutine):
        # a function that never waits is through before this returns
        if loop.get_task_factory() is None:
            return asyncio.Task(coroutine, loop=loop, eager_start=True)
        return loop.create_task(coroutine)

else:

    def _start(coroutine):
        return loop.create_task(coroutine)


def answer(request, awaitable):
    return _start(_answer(request, awaitable))


def drive(request, generator):
    return _start(_drive(request, generator))


def wake(future):
    """The client of a waiting request has taken its events."""
    if not future.done():
        future.set_result(None)


def cancel(task):
    """From a signal handler, maybe in the middle of the loop's own code. False if the task is what holds up the loop."""
    if task is None or asyncio.current_task(loop) is task:
        return False
    loop.call_soon_threadsafe(task.cancel)
    return True


def call_after(seconds, function):
    return loop.call_later(seconds, function)


def stop():
    global _over
    _over = True
    loop.stop()


def pause():
    """A plain function is to be called, outside of the running loop: run() does so."""
    loop.stop()


def unwatch():
    """The function runs the loop itself: what the server has to say waits for its end."""
    loop.remove_reader(descriptor)


def run():
    """Until stop(). What a callback or a task of the user's raises does not end the worker."""
    global loop
    loop.add_reader(descriptor, ready)
    while not _over:
        try:
            loop.run_forever()
        except BaseException as error:
            loop.call_exception_handler({"message": "raised out of the event loop", "exception": error})
        asyncio.set_event_loop(loop)  # asyncio.run() in a function leaves none
        watched = rest()
        closed = loop.is_closed()  # by a function that thought it its own
        if closed:
            loop = _current()
        if closed or not watched:
            loop.add_reader(descriptor, ready)
        arm(closed)
    loop.remove_reader(descriptor)


def settle(awaitable):
    """Set-up and tear-down that are coroutines."""

    async def waiting():
        return await awaitable

    return loop.run_until_complete(waiting())


def close():
    """As asyncio.run() ends: tasks of the user's that still run are cancelled."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    if hasattr(loop, "shutdown_default_executor"):
        loop.run_until_complete(loop.shutdown_default_executor())
    asyncio.set_event_loop(None)
    loop.close()
