"""The second actor: how long is the word?"""


def process(payload):
    if payload["word"] == "?":
        raise RuntimeError("cannot measure '?'")
    return {**payload, "length": len(payload["word"])}
