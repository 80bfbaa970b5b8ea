"""A client of the control socket and of its twin on TCP: HTTP by the standard library."""
import collections
import http.client
import json
import socket
import time

from . import client, protocols


class Answer(collections.namedtuple("Answer", "status headers text seconds")):
    """One reply, and how long it took from before the connect to the last byte."""

    @property
    def json(self):
        return client.strict_loads(self.text.encode())


def connection(where, timeout=client.PATIENCE):
    """`where`: the path of a Unix socket, or a port of this machine."""
    if isinstance(where, int):
        return http.client.HTTPConnection("127.0.0.1", where, timeout=timeout)
    return protocols.HttpConnection(str(where), timeout)


def ask(where, path, method="GET", body=None, headers=None, timeout=client.PATIENCE, over=None):
    """One request and its reply; over a connection that is kept, if there is one."""
    body = json.dumps(body) if isinstance(body, dict) else body
    started = time.monotonic()
    http_connection = over or connection(where, timeout)
    try:
        http_connection.request(method, path, body=body, headers=headers or {})
        reply = http_connection.getresponse()
        text = reply.read().decode("utf-8", "strict")
        return Answer(reply.status, dict(reply.getheaders()), text, time.monotonic() - started)
    finally:
        if over is None:
            http_connection.close()


def free_port():
    """A port of this machine that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
