"""A stream of tokens, as a language model gives them: a generator.

    ASYA_PROCESS_MODULE=tokens:generate python3 asya_runtime.py

Send {"prompt": "the function", "max_tokens": 5}. Over HTTP each token goes upstream the moment it is there, to whoever
waits for it ("FLY"), and the whole text goes on to the next actor; over bare JSON the reply is a list with the whole text.

The model is a small one: which word follows which two, learnt from the manual of Python's statements that comes with it.
"""

import collections
import pydoc_data.topics
import random


def learn(texts):
    """word, word -> the words that have followed them."""
    following = collections.defaultdict(list)
    for text in texts:
        words = text.split()
        for first, second, third in zip(words, words[1:], words[2:]):
            following[first, second].append(third)
    return dict(following)


MODEL = learn(pydoc_data.topics.topics.values())


def generate(payload: dict):
    """Continue the prompt's last two words, one word at a time."""
    words = payload["prompt"].split()
    if len(words) < 2:
        raise ValueError("the prompt must have at least two words")
    choose = random.Random(payload.get("seed", 0)).choice
    tokens = []
    for _ in range(payload.get("max_tokens", 20)):
        candidates = MODEL.get(tuple(words[-2:]))
        if candidates is None:
            break
        word = choose(candidates)
        words.append(word)
        tokens.append(word)
        yield "FLY", {"token": word}
    yield {"text": " ".join(words), "tokens": len(tokens)}
