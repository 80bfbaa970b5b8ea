"""A client that has not read its earlier replies yet is not gone: what follows them on its connection arrives, too."""
import contextlib
import os
import signal
import socket
import time

import pytest

from harness import client, processes, protocols

pytestmark = pytest.mark.supervised

HEAD = 200  # more than the head of a reply or the frame of an event


def filling():
    """So many bytes, sent at once, fit into a connection's send buffer, and not one byte behind them."""
    def fills(size):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            if ours.sendmsg([bytes(HEAD), bytes(size)]) < HEAD + size:
                return False
            try:
                return not ours.send(b"x")
            except BlockingIOError:
                return True

    sizes = [size for size in range(4096, 1 << 20, 4096) if fills(size)]
    return sizes[len(sizes) // 2]


def post(code, headers=b"", body=True):
    message = client.encode(protocols.hops(code))
    head = b"POST /invoke HTTP/1.1\r\nHost: a\r\n" + headers + b"Content-Length: %d\r\n\r\n" % len(message)
    return head + (message if body else b"")


class Reader:
    """The replies on a connection, read one after the other."""

    def __init__(self, server):
        self.connection = server.connect()
        self.file = self.connection.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.connection.close()

    def status(self):
        """The status of the next reply, or None."""
        line = self.file.readline()
        size, header = 0, line
        while header not in (b"", b"\r\n"):
            header = self.file.readline()
            if header.lower().startswith(b"content-length:"):
                size = int(header.split(b":")[1])
        self.body = self.file.read(size)
        return int(line.split()[1]) if line else None

    def fill(self, server, following):
        """Has the buffer filled by the reply to a first request, with another one right behind it."""
        self.connection.send(post("return 'x' * %d" % filling()) + following)


@pytest.mark.parametrize("following,statuses", [
    (b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" * 3, [200] * 3),
    (b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n", [404]),
    (b"DELETE /invoke HTTP/1.1\r\nHost: a\r\n\r\n" + post("return 1"), [405, 200]),
])
def test_a_short_reply_waits_behind_an_unread_one(runtime, following, statuses):
    with runtime("snippets:run") as server, Reader(server) as reader:
        reader.fill(server, following)
        assert server.result("return 2") == 2  # later than what follows was seen
        assert [reader.status() for _ in range(len(statuses) + 1)] == [200, *statuses]


def test_a_body_is_invited_behind_an_unread_reply(runtime):
    with runtime("snippets:run") as server, Reader(server) as reader:
        reader.fill(server, post("return 1", b"Expect: 100-continue\r\n", body=False))
        assert server.result("return 2") == 2
        assert [reader.status(), reader.status()] == [200, 100]
        reader.connection.send(client.encode(protocols.hops("return 1")))
        assert reader.status() == 200


@pytest.mark.parametrize("ending,type_", [
    ("import os\nos.kill(os.getpid(), 9)", b"WorkerCrashed"),
    ("import time\nwhile True:\n  try: time.sleep(60)\n  except BaseException: pass", b"HandlerTimeout"),
])
def test_the_error_for_a_death_arrives_behind_an_unread_reply(runtime, ending, type_):
    with runtime("snippets:run", env={"ASYA_HANDLER_TIMEOUT": "0.3"}, allow_log=["ERROR ", "WARNING "]) as server, Reader(server) as reader:
        [pid] = server.worker_pids()
        reader.fill(server, post(ending))
        assert processes.eventually(lambda: not processes.alive(pid))
        assert server.result("return 2") == 2
        assert [reader.status(), reader.status()] == [200, 500]
        assert type_ in reader.body


def test_a_stream_whose_worker_dies_ends_whole_although_its_client_has_read_nothing(runtime, tmp_path):
    gate = tmp_path / "sent"
    code = ("import time, pathlib\n"
            "yield 'x' * %d\n"
            "pathlib.Path(%r).touch()\n"
            "time.sleep(60)" % (filling() + 2 * HEAD, str(gate)))
    with runtime("snippets:run", allow_log=["ERROR ", "WARNING "]) as server:
        [pid] = server.worker_pids()
        connection = server.connect()
        connection.send(post(code))
        assert processes.eventually(gate.exists)
        os.kill(pid, signal.SIGKILL)
        assert processes.eventually(lambda: not processes.alive(pid))
        assert server.result("return 2") == 2
        stream = connection.receive_all()
        connection.close()
        assert b"event: error\n" in stream and stream.endswith(b"0\r\n\r\n")


def test_a_client_that_gives_way_is_told_so_behind_an_unread_reply(runtime):
    allowed = ["WARNING .*connection_error", "WARNING .*accepting pauses", "WARNING .*fdstore entries",
               "WARNING .*hard limit of descriptors"]
    with runtime("snippets:run", wrapper=("prlimit", "--nofile=80:80"), allow_log=allowed) as server:
        with Reader(server) as reader, contextlib.ExitStack() as stack:
            reader.fill(server, post("return 1", body=False))
            assert server.result("return 2") == 2
            time.sleep(2.1)  # from then on it gives way
            for _ in range(120):
                stack.enter_context(server.connect())
            assert server.wait_for_log("others need its place")
            assert [reader.status(), reader.status()] == [200, 408]
