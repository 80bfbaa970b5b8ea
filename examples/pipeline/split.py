"""The first actor: one message in, a message for each word out."""


def process(payload):
    if not payload["text"]:
        raise ValueError("text is empty")
    for place, word in enumerate(payload["text"].split()):
        yield {"number": payload["number"], "place": place, "word": word}
