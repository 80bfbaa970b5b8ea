"""One message in, several messages out: a returned list becomes one message per element.

Run from this folder:

    ASYA_SOCKET_PATH=/tmp/asya.sock ASYA_PROCESS_MODULE=fan_out:process python3 ../../dist/asya_runtime.py

Send {"id": "doc-1", "text": "First sentence. Second one."} and get a list of two objects, one for each sentence.
"""

import re


def process(payload: dict) -> list:
    """Split a document into sentences for the next actor, which works on one at a time."""
    sentences = re.split(r"(?<=[.!?])\s+", payload["text"].strip())
    return [
        {"id": payload["id"], "part": number, "parts": len(sentences), "text": sentence}
        for number, sentence in enumerate(sentences, start=1)
    ]
