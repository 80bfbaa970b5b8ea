"""A client of the runtime: one message over a connection of its own, in each of the three protocols."""
import re
import socket
import struct

ROUTES = {"framed": b'{"actors":["call"],"current":0}', "http": b'{"prev":[],"curr":"call","next":[]}'}
# Categories to exit codes of `call`; what the other protocols call msg_parsing_error is a message that was refused.
CODES = {"validation_error": 10, "processing_error": 11, "out_of_memory": 12, "message_too_large": 13, "empty_message": 13,
         "invalid_encoding": 13, "invalid_json": 13, "msg_parsing_error": 13, "connection_error": 14, "server_error": 15}


class NoReply(Exception):
    """The connection ended, or the time was up, before a whole reply had come."""


def connect(path, timeout=None):
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    try:
        connection.connect(path)
    except OSError as error:
        connection.close()
        error.filename = path
        raise
    return connection


def wrap(payload, protocol):
    """The message around a payload, for the protocols that have one."""
    return b'{"route":' + ROUTES[protocol] + b',"payload":' + payload + b"}"


def exchange(connection, protocol, message, show_event=None, fields=b""):
    """Sends one message. The reply's JSON text; of a stream None, after each event was given to `show_event`. `fields` are
    lines of HTTP's head."""
    try:
        if protocol == "http":
            head = b"POST /invoke HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
            message = head + fields + b"Content-Length: %d\r\n\r\n" % len(message) + message
        elif protocol == "framed":
            message = struct.pack(">I", len(message)) + message
        try:
            connection.sendall(message)
            if protocol == "raw":
                connection.shutdown(socket.SHUT_WR)
        except BrokenPipeError:
            pass  # refused before all of it was sent: the reply says why
        with connection.makefile("rb") as reply:
            return {"raw": read_raw, "framed": read_framed, "http": read_http}[protocol](reply, show_event)
    except socket.timeout:
        raise NoReply("no reply in time") from None
    except ConnectionError as error:
        raise NoReply("the connection broke: %s" % error.strerror) from None


def exactly(reply, size):
    data = reply.read(size)
    if len(data) < size:
        raise NoReply("the connection ended before a whole reply had come")
    return data


def read_raw(reply, _):
    return reply.read() or exactly(reply, 1)


def read_framed(reply, _):
    return exactly(reply, struct.unpack(">I", exactly(reply, 4))[0])


def read_http(reply, show_event):
    """A body by its length, or a stream of events in chunks."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = reply.readline(1 << 16)
        if not line:
            raise NoReply("the connection ended before a whole reply had come")
        head += line
    length = re.search(rb"\ncontent-length: *(\d+)", head, re.IGNORECASE)
    if length is not None or head[9:12] == b"204":
        return exactly(reply, int(length.group(1)) if length else 0)
    left = b""
    while True:
        size = int(reply.readline() or exactly(reply, 1), 16)
        left += exactly(reply, size + 2)[:-2]
        events = left.split(b"\n\n")
        left = events.pop()
        for event in events:
            show_event(event)
        if size == 0:
            return None


def events_of(stream):
    """(name, data) of the events in these bytes."""
    return re.findall(rb"event: (\w+)\ndata: ([^\n]*)", stream)
