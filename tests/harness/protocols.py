"""Clients of the two older protocols: a length prefix, and HTTP over the Unix socket (docs/protocol.md)."""
import http.client
import socket
import struct

from . import client


def framed_bytes(path, data, timeout=client.PATIENCE):
    """One exchange with a length prefix each way; the bytes of the reply, whose prefix must say its length."""
    with client.Connection(path, timeout) as connection:
        connection.send(struct.pack(">I", len(data)) + data)
        reply = connection.receive_all()
    assert len(reply) >= 4, "no reply: %r" % reply
    (length,) = struct.unpack(">I", reply[:4])
    assert length == len(reply) - 4, "the prefix says %d, %d bytes came" % (length, len(reply) - 4)
    return reply[4:]


def framed(path, message, **options):
    """The parsed reply to one framed message: always an array."""
    reply = client.strict_loads(framed_bytes(path, client.encode(message), **options))
    assert isinstance(reply, list), reply
    return reply


class HttpConnection(http.client.HTTPConnection):
    """http.client over a Unix socket."""

    def __init__(self, path, timeout=client.PATIENCE):
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def invoke(path, message, headers=None, timeout=client.PATIENCE):
    """POST /invoke; (status, parsed body or None)."""
    connection = HttpConnection(path, timeout)
    try:
        connection.request("POST", "/invoke", client.encode(message),
                           {"Content-Type": "application/json", **(headers or {})})
        response = connection.getresponse()
        body = response.read()
        assert response.getheader("Content-Type") == "application/json" or not body
        return response.status, client.strict_loads(body) if body else None
    finally:
        connection.close()


class Stream:
    """POST /invoke whose answer is a stream of events; iterate over (name, parsed data)."""

    def __init__(self, path, message, timeout=client.PATIENCE):
        self.connection = HttpConnection(path, timeout)
        self.connection.request("POST", "/invoke", client.encode(message), {"Content-Type": "application/json"})
        self.response = self.connection.getresponse()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __iter__(self):
        return self

    def __next__(self):
        name = self.response.readline()
        if not name:
            raise StopIteration
        data, end = self.response.readline(), self.response.readline()
        assert name.startswith(b"event: ") and data.startswith(b"data: ") and end == b"\n", (name, data, end)
        return name[7:-1].decode(), client.strict_loads(data[6:-1])

    def close(self):
        """Without reading to the end: to the server the client is gone."""
        self.response.close()
        self.connection.close()


def raw_invoke(path, message, version="1.1", timeout=client.PATIENCE):
    """All bytes the server sends for one POST /invoke."""
    body = client.encode(message)
    head = "POST /invoke HTTP/%s\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" \
           "Connection: close\r\n\r\n" % (version, len(body))
    with client.Connection(path, timeout) as connection:
        connection.send(head.encode() + body)
        return connection.receive_all()


def hops(payload, **members):
    """A message of the HTTP protocol."""
    return {"id": "m-1", "route": {"prev": ["x"], "curr": "a", "next": ["b", "c"]}, "payload": payload, **members}


def actors(payload, **members):
    """A message of v0.1."""
    return {"route": {"actors": ["a", "b"], "current": 0}, "payload": payload, **members}


def steps(payload, **members):
    """A message of the versions before."""
    return {"route": {"steps": ["a", "b"], "current": 0}, "payload": payload, **members}


__all__ = ["HttpConnection", "Stream", "actors", "framed", "framed_bytes", "hops", "invoke", "raw_invoke", "steps"]
