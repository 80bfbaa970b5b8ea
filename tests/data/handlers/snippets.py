"""The payload is the body of a function: a test's table shows the very code the handler runs."""
import textwrap

KEPT = {}  # what one snippet leaves for the next


def run(code):
    """Runs the body and returns what it returns."""
    scope = {"KEPT": KEPT}
    exec("def body():\n" + textwrap.indent(code, "    "), scope)
    return scope["body"]()


async def run_async(code):
    """The same for a body that awaits."""
    scope = {"KEPT": KEPT}
    exec("async def body():\n" + textwrap.indent(code, "    "), scope)
    return await scope["body"]()


def run_whole(message):
    """The same for a function that gets whole messages; its code sees `message`."""
    scope = {"KEPT": KEPT, "message": message}
    exec("def body():\n" + textwrap.indent(message["payload"], "    "), scope)
    return scope["body"]()
