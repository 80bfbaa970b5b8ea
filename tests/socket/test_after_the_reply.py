"""What arrives after the reply has been made is discarded, and never turns the reply into a reset (docs/protocol.md):
the client here sends more while the function runs, reads its reply, and then finds the end of the connection."""
import json
import struct

import pytest

from harness import client, processes, protocols


def framed(code):
    message = client.encode(protocols.actors(code))
    return struct.pack(">I", len(message)) + message


def http(code, version="1.1", header="Connection: close"):
    body = client.encode(protocols.hops(code))
    return ("POST /invoke HTTP/%s\r\nHost: a\r\nContent-Length: %d\r\n%s\r\n\r\n" % (version, len(body), header)).encode() + body


FORMS = {
    "bare JSON": lambda code: json.dumps(code).encode(), "a length prefix": framed, "HTTP": http,
    "HTTP/1.0": lambda code: http(code, "1.0", "X-Kept: no"),
}
WAIT = "import pathlib, time\npathlib.Path('runs').touch()\nwhile not pathlib.Path('go').exists(): time.sleep(0.001)\n"
DEEDS = {
    "a result": "return 'made'", "an exception": "raise ValueError('made')", "a death": "import os; print('made'); os._exit(3)",
    "a stream": "yield 'made'", "a child that holds a copy": "import os\nif os.fork() == 0: time.sleep(0.5); os._exit(0)\nreturn 'made'",
}
MORE = {"a newline": b"\n", "another request": b'{"more": 1}\n', "more than a socket holds": b"x" * (1 << 20)}


def rest_of(connection, folder, more):
    """All that comes once the function runs, `more` was sent as far as the socket took it, and the function may go on."""
    assert processes.eventually((folder / "runs").exists)
    connection.socket.setblocking(False)
    try:
        while more:
            more = more[connection.socket.send(more):]
    except BlockingIOError:
        pass
    (folder / "go").touch()
    connection.socket.settimeout(client.PATIENCE)
    data = connection.receive_all()
    (folder / "go").unlink()
    (folder / "runs").unlink()
    return data


def is_whole(form, deed, data):
    """Whether it is all of what the deed's one reply must be."""
    if form.startswith("HTTP"):
        head, _, body = data.partition(b"\r\n\r\n")
        if b"chunked" in head:
            return body.endswith(b"event: done\ndata: {}\n\n\r\n0\r\n\r\n")
        return deed == "a stream" or int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]) == len(body)
    if form == "a length prefix":
        return struct.unpack(">I", data[:4])[0] == len(data) - 4
    return client.check_reply(data)


@pytest.fixture(scope="module")
def serving(runtime, tmp_path_factory):
    folder = tmp_path_factory.mktemp("go")
    allow = ["WARNING", "ERROR", ""]
    with runtime("snippets:run", allow_log=allow, cwd=folder, worker_children=True) as server:
        yield server, folder


@pytest.mark.parametrize("more", MORE.values(), ids=MORE)
@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("form", FORMS)
def test_no_reset_follows(serving, form, deed, more):
    server, folder = serving
    with server.connect() as connection:
        connection.send(FORMS[form](WAIT + DEEDS[deed]))
        data = rest_of(connection, folder, more)
    assert is_whole(form, deed, data), data


@pytest.mark.parametrize("form", FORMS)
def test_no_reset_follows_what_the_supervisor_says_of_a_time_limit(runtime, form, tmp_path):
    blind = "import pathlib\npathlib.Path('runs').touch()\nimport collections, itertools\ncollections.deque(itertools.repeat(None), maxlen=0)"
    with runtime("snippets:run", env={"ASYA_HANDLER_TIMEOUT": "0.2"}, allow_log=["WARNING", "ERROR", ""], cwd=tmp_path) as server:
        with server.connect() as connection:
            connection.send(FORMS[form](blind))
            data = rest_of(connection, tmp_path, b"\n")
        assert is_whole(form, "a time limit", data) and b"HandlerTimeout" in data, data
