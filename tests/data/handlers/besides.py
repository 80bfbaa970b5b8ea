"""Plain functions in a worker that has an event loop: one their set-up has run on, or one for what they return."""
import asyncio
import time

made = {}


class Client:
    async def __aenter__(self):
        made["loop"] = asyncio.get_running_loop()
        made["turns"] = 0
        made["task"] = asyncio.ensure_future(self.turn())
        return self

    async def __aexit__(self, *_):
        made["task"].cancel()

    async def turn(self):
        while True:
            await asyncio.sleep(0.01)
            made["turns"] += 1

    def process(self, payload):
        return run(payload)

    def steps(self, payload):
        yield run(payload)
        yield run(payload)


async def nothing(payload):
    await asyncio.sleep(0.001)
    return payload


def run(payload):
    if payload == "turns":
        return made["turns"]
    if payload == "its loop":
        return made["loop"].run_until_complete(nothing("done"))
    if payload == "get_event_loop":
        loop = asyncio.get_event_loop()
        return [loop is made["loop"], loop.run_until_complete(nothing("done"))]
    if payload == "running":
        try:
            return repr(asyncio.get_running_loop())
        except RuntimeError:
            return None
    if payload == "close":
        made["loop"].close()
        return "closed"
    if payload == "sleep":
        time.sleep(60)
    return asyncio.run(nothing(payload))


def sometimes(payload):
    """Returns a coroutine for every other message."""
    made["count"] = made.get("count", 0) + 1
    return nothing(payload) if made["count"] % 2 else asyncio.run(nothing(payload))
