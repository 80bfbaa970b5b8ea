"""How the sidecars of Asya's releases read what a runtime answers, as far as it matters here: each raises NotUnderstood
where the real one gives the message up with an error."""
import json
import socket
import struct

from . import client
from .protocols import HttpConnection


class NotUnderstood(Exception):
    """The sidecar reports that it cannot read the reply."""


def _exactly(connection, size):
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise NotUnderstood("the reply ends after %d of %d bytes" % (len(data), size))
        data += part
    return data


def v0_5_0(path, message):
    """Length prefix; one frame for each output, then a frame {"type": "end"}. Its frames are structs: an array is none."""
    frames = []
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(client.PATIENCE)
        connection.connect(path)
        body = json.dumps(message).encode()
        connection.sendall(struct.pack(">I", len(body)) + body)
        while True:
            (size,) = struct.unpack(">I", _exactly(connection, 4))
            frame = json.loads(_exactly(connection, size))
            if not isinstance(frame, dict):
                raise NotUnderstood("a frame that is no object")
            if frame.get("type") == "end":
                return frames
            frames.append(frame)


def _post(path, message):
    connection = HttpConnection(path)
    try:
        connection.request("POST", "/invoke", client.encode(message), {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.getheader("Content-Type") or "", response.read()
    finally:
        connection.close()


def v0_5_1(path, message):
    """HTTP; 200 is a JSON object with all frames, whatever its type says, 204 none, anything else one error."""
    status, _, body = _post(path, message)
    if status == 204:
        return []
    try:
        answer = json.loads(body)
    except ValueError as error:
        raise NotUnderstood(str(error)) from error
    return answer["frames"] if status == 200 else [answer]


def v0_5_2(path, message):
    """And later: the same, but a generator's reply is a stream of events, collected until `done`. (frames, upstream)"""
    status, kind, body = _post(path, message)
    if not kind.startswith("text/event-stream"):
        return (json.loads(body)["frames"] if status == 200 else [json.loads(body)] if body else []), []
    frames, upstream = [], []
    for event in body.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in event.split("\n") if line)
        if lines.get("event") == "done":
            return frames, upstream
        if lines.get("event") == "error":
            return [json.loads(lines["data"])], upstream
        {"downstream": frames, "upstream": upstream}[lines["event"]].append(json.loads(lines["data"]))
    raise NotUnderstood("no done")
