"""The baseline: the server a competent team would write with the standard library alone.

It speaks the bare-JSON contract with the runtime's variables: ASYA_SOCKET_PATH, ASYA_PROCESS_MODULE and
ASYA_MAX_MESSAGE_SIZE. Without an argument it is one accept loop, the fastest form, in which a silent client holds up
everybody; with --threads every connection has its own thread, which nobody can hold up and which costs throughput.
"""

import importlib
import json
import os
import signal
import socket
import sys
import threading

SOCKET_PATH = os.environ.get("ASYA_SOCKET_PATH", "/tmp/sockets/app.sock")
MAX_MESSAGE_SIZE = int(os.environ.get("ASYA_MAX_MESSAGE_SIZE", "10485760"))
TIMEOUT = 30.0


def load_handler(spec):
    """`module:function`, `module` (its `process`) or `module:Class.method`; without a spec, an echo."""
    if not spec:
        return lambda payload: payload
    module_name, _, path = spec.partition(":")
    target = importlib.import_module(module_name)
    for name in (path or "process").split("."):
        target = getattr(target, name)
        if isinstance(target, type):
            target = target()
    return target


def read_message(connection):
    """The parsed message: complete when it parses or when the client has closed its sending side."""
    received = bytearray()
    while chunk := connection.recv(65536):
        received += chunk
        if len(received) > MAX_MESSAGE_SIZE:
            raise OverflowError(f"the message is larger than {MAX_MESSAGE_SIZE} bytes")
        if chunk.rstrip()[-1:] in (b"}", b"]"):  # may be the end: do not wait for the half-close
            try:
                return json.loads(received)
            except ValueError:
                continue
    return json.loads(received)


def answer(connection, handler):
    """The reply to the message on the connection."""
    try:
        payload = read_message(connection)
    except OverflowError as error:
        return {"error": "message_too_large", "message": str(error)}
    except ValueError as error:
        return {"error": "invalid_json", "message": str(error)}
    try:
        return {"status": "ok", "result": handler(payload)}
    except ValueError as error:
        return {"error": "validation_error", "message": str(error)}
    except Exception as error:
        return {"error": "processing_error", "message": str(error), "type": type(error).__name__}


def serve_connection(connection, handler):
    """One exchange; the connection is closed at its end."""
    with connection:
        connection.settimeout(TIMEOUT)
        try:
            connection.sendall(json.dumps(answer(connection, handler)).encode())
        except OSError as error:
            print(f"connection failed: {error}", file=sys.stderr)


def serve(handler, threads):
    """Accepts until the process is stopped."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(SOCKET_PATH)
        listener.listen(1024)
        while True:
            connection, _ = listener.accept()
            if threads:
                threading.Thread(target=serve_connection, args=(connection, handler), daemon=True).start()
            else:
                serve_connection(connection, handler)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sys.path.insert(0, os.getcwd())
    function = load_handler(os.environ.get("ASYA_PROCESS_MODULE"))
    try:
        serve(function, threads="--threads" in sys.argv)
    finally:
        if os.path.exists(SOCKET_PATH):
            os.unlink(SOCKET_PATH)
