"""One message in, one message out.

Run from this folder:

    ASYA_SOCKET_PATH=/tmp/asya.sock ASYA_PROCESS_MODULE=single_response:process python3 ../../dist/asya_runtime.py

Send {"text": "What a lovely day"} and get {"text": "What a lovely day", "words": 4, "label": "positive"}.
"""

POSITIVE = {"good", "great", "happy", "love", "lovely", "nice"}
NEGATIVE = {"awful", "bad", "hate", "sad", "terrible"}


def process(payload: dict) -> dict:
    """Label a text as positive, negative or neutral; everything else in the message is passed on."""
    words = payload["text"].lower().split()
    score = sum(word in POSITIVE for word in words) - sum(word in NEGATIVE for word in words)
    label = "positive" if score > 0 else "negative" if score < 0 else "neutral"
    return {**payload, "words": len(words), "label": label}
