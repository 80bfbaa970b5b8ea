"""Prints 10 MB while it is imported, then serves."""
for _ in range(10 * 1024):
    print("x" * 1023)


def process(payload):
    """The payload itself."""
    return payload
