"""The payload is the body of a generator: a test's table shows the very code the handler runs."""
import asyncio
import os
import pathlib
import textwrap
import time

KEPT = {}


def note(number):
    """Leaves a number where the test finds it."""
    place = pathlib.Path(os.environ["TMPDIR"], "noted")
    temporary = place.with_suffix(".new")
    temporary.write_text(str(number))
    temporary.rename(place)


def wait_for(path, number):
    """Until the test has written the number there."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if int(pathlib.Path(path).read_text() or -1) >= number:
                return
        except OSError:
            pass
        time.sleep(0.001)
    raise RuntimeError("the client never had event %d" % number)


SCOPE = {"KEPT": KEPT, "NOTE": note, "WAIT_FOR": wait_for, "sleep": time.sleep, "asleep": asyncio.sleep}


def run(code):
    scope = dict(SCOPE)
    exec("def body():\n" + textwrap.indent(code, "    "), scope)
    return scope["body"]()


async def run_async(code):
    scope = dict(SCOPE)
    exec("async def body():\n" + textwrap.indent(code, "    "), scope)
    return scope["body"]()
