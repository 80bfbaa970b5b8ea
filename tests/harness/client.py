"""A client of the bare-JSON contract that trusts nothing: every reply is checked for its documented shape."""
import json
import os
import socket
import struct

CODES = {
    "validation_error", "processing_error", "message_too_large", "empty_message", "invalid_encoding", "invalid_json",
    "connection_error", "server_error", "out_of_memory",
}
MESSAGE_CAP = 8 * 1024
PATIENCE = 20.0  # seconds a test waits for anything before it calls it lost

# Errors whose text the runtime writes alone: it must not tell where it lives or how it is built.
OWN_WORDS = CODES - {"validation_error", "processing_error", "out_of_memory"}
SECRETS = ("/proc", "/tmp", "asya_runtime.py", "pid ", "fd ", ".lock")


class ReplyError(AssertionError):
    """What came back is not one well-formed reply."""


def _no_constant(name):
    raise ValueError("%s is not JSON" % name)


def strict_loads(data):
    """RFC 8259 in strict UTF-8: no NaN, no Infinity, no BOM."""
    return json.loads(data.decode("utf-8", "strict"), parse_constant=_no_constant)


def encode(message):
    """Bytes are sent as they are, anything else as JSON."""
    return bytes(message) if isinstance(message, (bytes, bytearray)) else json.dumps(message).encode()


def check_reply(data):
    """The parsed reply, after checking everything the contract promises of every reply."""
    if not data:
        raise ReplyError("the connection was closed without a reply")
    try:
        reply = strict_loads(data)
    except (UnicodeDecodeError, ValueError) as error:
        raise ReplyError("the reply is not JSON (%s): %r" % (error, data[:300])) from None
    if not isinstance(reply, dict):
        raise ReplyError("the reply is not an object: %r" % data[:300])
    if "error" not in reply:
        if set(reply) != {"status", "result"} or reply["status"] != "ok":
            raise ReplyError("neither a success nor an error: %r" % data[:300])
        return reply
    code, text = reply["error"], reply.get("message")
    expected = {"error", "message", "type"} if code == "processing_error" else {"error", "message"}
    if set(reply) != expected or code not in CODES:
        raise ReplyError("an error with wrong members or code: %r" % data[:300])
    if not isinstance(text, str) or len(text.encode("utf-8", "surrogatepass")) > MESSAGE_CAP:
        raise ReplyError("the message is no string of at most 8 KiB: %r" % data[:300])
    if not isinstance(reply.get("type", ""), str) or reply.get("type", "x") == "":
        raise ReplyError("the type names no class: %r" % data[:300])
    if code in OWN_WORDS and (not text or any(word in text for word in SECRETS)):
        raise ReplyError("the message is empty or tells about the inside: %r" % data[:300])
    return reply


class Connection:
    """One connection to the runtime, closed with the `with` block."""

    def __init__(self, path, timeout=PATIENCE):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        try:
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def peer_pid(self):
        """Who listens, or has listened if he is dead; 0 if he is in another PID namespace."""
        return struct.unpack("3i", self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]

    def send(self, data):
        """All bytes, or the error of the operating system."""
        self.socket.sendall(data)

    def send_chunks(self, data, size):
        """All bytes in writes of `size`, giving the server the processor after each of the first 5,000: where others want it,
        too, each time may cost a slice of theirs."""
        for number, start in enumerate(range(0, len(data), size)):
            self.socket.sendall(data[start:start + size])
            if number < 5000:
                os.sched_yield()

    def half_close(self):
        """No more bytes will come; the reply is still awaited."""
        self.socket.shutdown(socket.SHUT_WR)

    def receive(self, size):
        """Some bytes of the reply, b"" at its end."""
        return self.socket.recv(size)

    def receive_all(self):
        """Everything until the server closes. A reset instead of a clean end is an error, also where the client went on
        sending after the end of its message."""
        parts = []
        while True:
            try:
                part = self.socket.recv(1 << 18)
            except socket.timeout:
                raise ReplyError("no end of the reply in time, got %r" % b"".join(parts)[:300]) from None
            except ConnectionResetError:
                raise ReplyError("connection reset after %r" % b"".join(parts)[:300]) from None
            if not part:
                return b"".join(parts)
            parts.append(part)

    def reply(self):
        """The one checked reply, and the end of the connection after it."""
        return check_reply(self.receive_all())

    def close(self):
        self.socket.close()


def call(path, message, half_close=True, chunk=None, timeout=PATIENCE):
    """One exchange: send, half-close unless told not to, return the checked reply."""
    data = encode(message)
    with Connection(path, timeout) as connection:
        try:
            if chunk:
                connection.send_chunks(data, chunk)
            elif data:
                connection.send(data)
            if half_close:
                connection.half_close()
        except (BrokenPipeError, ConnectionResetError):
            pass  # answered before the end: the reply must be there all the same
        except OSError as error:
            if error.errno != 107:  # ENOTCONN: answered and closed before the half-close
                raise
        return connection.reply()


def calls_together(path, messages):
    """The checked replies to messages that are sent at the same time, each on its own connection, in order."""
    connections = []
    try:
        for message in messages:
            connections.append(Connection(path))
            connections[-1].send(encode(message) + b" ")  # a bare number ends with white space
        return [connection.reply() for connection in connections]
    finally:
        for connection in connections:
            connection.close()
