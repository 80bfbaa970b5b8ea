"""The function of the example: it knows nothing of the runtime, the sidecar or Kubernetes."""


def process(payload: dict) -> dict:
    """Count the words of a text."""
    text = payload.get("text")
    if not isinstance(text, str):
        raise ValueError("text must be a string")
    return {**payload, "words": len(text.split())}
