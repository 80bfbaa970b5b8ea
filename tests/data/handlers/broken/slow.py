"""Takes a second to import, then serves."""
import time

time.sleep(1)


def process(payload):
    """The payload itself."""
    return payload
