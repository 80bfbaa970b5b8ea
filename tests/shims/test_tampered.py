"""A function that closes descriptors of the runtime in a thread, while the loop beside it has accepted a connection that
the supervisor holds no copy of yet: the fdholder's channel is closed too, so the worker itself answers before it ends."""
import os

import pytest

from harness import client, processes, shims
from harness.shims import BEHIND_ACCEPT

pytestmark = pytest.mark.supervised

# Closes all there is but standard ones and connections, which have no listening socket's state and a name of ours.
CLOSE = """
import os, socket, time
open(%(begun)r, "w").close()
while not os.path.exists(%(go)r):
    time.sleep(0.001)
for number in sorted(map(int, os.listdir("/proc/self/fd"))):
    try:
        name = socket.socket(fileno=os.dup(number))
        ours = name.getsockname().startswith(%(folder)r) and not name.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        name.close()
    except (OSError, AttributeError):
        ours = False
    if number > 2 and not ours:
        try:
            os.close(number)
        except OSError:
            pass
open(%(closed)r, "w").close()
time.sleep(20)
"""


def post(body):
    return b"POST /invoke HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize("wrap", [lambda body: body, post], ids=["bare JSON", "HTTP"])
def test_a_connection_that_was_just_accepted_is_answered(runtime, tmp_path, wrap):
    moments = shims.Moments(tmp_path / "moments")
    begun, go, closed = tmp_path / "begun", tmp_path / "go", tmp_path / "closed"
    with runtime("snippets:run", env={**moments.env, "ASYA_CONCURRENCY": "4"},
                 allow_log=["WARNING", "ERROR"]) as server:
        code = CLOSE % {"go": str(go), "folder": os.path.dirname(server.path), "begun": str(begun), "closed": str(closed)}
        with server.connect() as running:
            running.send(client.encode(code))
            assert processes.eventually(begun.exists)
            moments.stop_at(BEHIND_ACCEPT)
            with server.connect() as fresh:
                fresh.send(wrap(client.encode("return 1")))
                moments.wait()
                go.touch()
                assert processes.eventually(closed.exists)
                moments.go_on()
                reply = fresh.receive_all()
                assert b"send it again" in reply
                assert reply.startswith(b"HTTP/1.1 503" if wrap is post else b"{")
            assert running.reply()["type"] == "WorkerCrashed"
        assert server.result("return 1") == 1
