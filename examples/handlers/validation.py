"""Refuse bad input: a ValueError is the sender's fault and is answered with `validation_error`.

Run from this folder:

    ASYA_SOCKET_PATH=/tmp/asya.sock ASYA_PROCESS_MODULE=validation:process python3 ../../dist/asya_runtime.py

Send {"prompt": "Hello", "max_tokens": 5000} and get
{"error": "validation_error", "message": "max_tokens must be between 1 and 4096, not 5000"}.
Any other exception is the function's fault and is answered with `processing_error`.
"""

MAX_TOKENS = 4096


def process(payload: dict) -> dict:
    """Check a generation request and fill in what was left out."""
    if not isinstance(payload, dict):
        raise ValueError(f"expected an object, not {type(payload).__name__}")

    prompt = payload.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise ValueError("prompt must be a text that is not empty")

    max_tokens = payload.get("max_tokens", 256)
    if not isinstance(max_tokens, int) or isinstance(max_tokens, bool):
        raise ValueError("max_tokens must be an integer")
    if not 1 <= max_tokens <= MAX_TOKENS:
        raise ValueError(f"max_tokens must be between 1 and {MAX_TOKENS}, not {max_tokens}")

    return {"prompt": prompt.strip(), "max_tokens": max_tokens}
