"""The baseline: the server a competent team would write with the standard library alone.

It has the runtime's variables: ASYA_SOCKET_PATH, ASYA_PROCESS_MODULE and ASYA_MAX_MESSAGE_SIZE, and speaks one protocol:

  raw      bare JSON: one accept loop, the fastest form, in which a silent client holds up everybody
  framed   the same with a length before each message, which carries a route
  http     http.server behind a Unix socket: POST /invoke, one request a connection, one at a time

With --threads every connection has its own thread, which nobody can hold up and which costs throughput.
"""

import argparse
import http.server
import importlib
import json
import os
import signal
import socket
import socketserver
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


# -- bare JSON ----------------------------------------------------------------------------------------------------------


def read_raw(connection):
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


def answer_raw(connection, handler):
    """The reply to the message on the connection."""
    try:
        payload = read_raw(connection)
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


def serve_raw(connection, handler):
    """One exchange."""
    connection.sendall(json.dumps(answer_raw(connection, handler)).encode())


# -- length prefix ------------------------------------------------------------------------------------------------------


def read_exactly(connection, size):
    """So many bytes."""
    received = bytearray()
    while len(received) < size:
        chunk = connection.recv(size - len(received))
        if not chunk:
            raise ConnectionError(f"the connection ended after {len(received)} of {size} bytes")
        received += chunk
    return bytes(received)


def error_details(code, error):
    """An error as the framed protocol and HTTP say it."""
    return {"error": code, "details": {"message": str(error), "type": type(error).__name__, "traceback": ""}}


def answer_framed(message, handler):
    """The items of the reply: one for each element of a list, none for None."""
    try:
        envelope = json.loads(message)
        route = dict(envelope["route"])
        route["current"] = route.get("current", 0) + 1
        payload = envelope["payload"]
    except (ValueError, KeyError, TypeError) as error:
        return [error_details("msg_parsing_error", error)]
    try:
        result = handler(payload)
    except Exception as error:
        return [error_details("processing_error", error)]
    results = [] if result is None else result if isinstance(result, list) else [result]
    return [{"payload": item, "route": route} for item in results]


def serve_framed(connection, handler):
    """One exchange."""
    size = int.from_bytes(read_exactly(connection, 4), "big")
    if size > MAX_MESSAGE_SIZE:
        reply = [error_details("msg_parsing_error", OverflowError(f"{size} bytes"))]
    else:
        reply = answer_framed(read_exactly(connection, size), handler)
    data = json.dumps(reply).encode()
    connection.sendall(len(data).to_bytes(4, "big") + data)


# -- HTTP ---------------------------------------------------------------------------------------------------------------


def answer_http(message, handler):
    """(status, body) of the reply."""
    try:
        envelope = json.loads(message)
        route = envelope["route"]
        advanced = {"prev": route["prev"] + [route["curr"]], "curr": (route["next"] or [""])[0], "next": route["next"][1:]}
        payload = envelope["payload"]
    except (ValueError, KeyError, TypeError) as error:
        return 400, error_details("msg_parsing_error", error)
    try:
        result = handler(payload)
    except Exception as error:
        return 500, error_details("processing_error", error)
    return 200, {"frames": [{"payload": result, "route": advanced}]}


def make_http_handler(handler):
    """The request handler of http.server for this function."""

    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = TIMEOUT

        def reply(self, status, body):
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self):
            size = int(self.headers.get("Content-Length", 0))
            if self.path != "/invoke":
                self.reply(404, {"error": "not_found"})
            elif size > MAX_MESSAGE_SIZE:
                self.reply(413, error_details("msg_parsing_error", OverflowError(f"{size} bytes")))
            else:
                self.reply(*answer_http(self.rfile.read(size), handler))

        def do_GET(self):
            found = self.path == "/healthz"
            self.reply(200 if found else 404, {"status": "ready"} if found else {"error": "not_found"})

        def address_string(self):
            return "unix"  # a Unix socket's peer has no address

        def log_message(self, *_):
            pass  # a line a request would be measured as well

    return Handler


class HttpServer(socketserver.UnixStreamServer):
    """One request at a time."""

    request_queue_size = 1024


class ThreadingHttpServer(socketserver.ThreadingMixIn, HttpServer):
    """A thread per connection."""

    daemon_threads = True


# -- serving ------------------------------------------------------------------------------------------------------------


def serve_connection(connection, handler, exchange):
    """One exchange; the connection is closed at its end."""
    with connection:
        connection.settimeout(TIMEOUT)
        try:
            exchange(connection, handler)
        except OSError as error:
            print(f"connection failed: {error}", file=sys.stderr)


def serve_sockets(handler, exchange, threads):
    """Accepts until the process is stopped."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(SOCKET_PATH)
        listener.listen(1024)
        while True:
            connection, _ = listener.accept()
            if threads:
                arguments = (connection, handler, exchange)
                threading.Thread(target=serve_connection, args=arguments, daemon=True).start()
            else:
                serve_connection(connection, handler, exchange)


def main():
    """Serves until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--protocol", choices=["raw", "framed", "http"], default="raw")
    parser.add_argument("--threads", action="store_true", help="a thread per connection")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sys.path.insert(0, os.getcwd())
    function = load_handler(os.environ.get("ASYA_PROCESS_MODULE"))
    try:
        if arguments.protocol == "http":
            server = ThreadingHttpServer if arguments.threads else HttpServer
            server(SOCKET_PATH, make_http_handler(function)).serve_forever()
        else:
            exchange = serve_raw if arguments.protocol == "raw" else serve_framed
            serve_sockets(function, exchange, arguments.threads)
    finally:
        if os.path.exists(SOCKET_PATH):
            os.unlink(SOCKET_PATH)


if __name__ == "__main__":
    main()
