"""The next function is no Python."""


def process(payload)
    return payload
