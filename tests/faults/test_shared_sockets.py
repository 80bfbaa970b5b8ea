"""The function changes sockets that it shares with the supervisor and the other workers: they are mended, or made anew."""
import time

import pytest

from harness import client, processes

pytestmark = pytest.mark.supervised

TOLD = ["(WARNING|ERROR) .*"]
MENDED = 1.5  # seconds; once a second everything is looked at

EACH_SOCKET = """
import os, socket
for number in os.listdir("/proc/self/fd"):
    try:
        copy = os.dup(int(number))
    except OSError:
        continue
    try:
        s = socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        continue
    with s:
        listens = s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        %s
return "done"
"""

DEEDS = {
    "the listener is shut down": "if listens: s.shutdown(socket.SHUT_RDWR)",
    "the listener is shut down for reading": "if listens: s.shutdown(socket.SHUT_RD)",
    "the listener blocks": "if listens: s.setblocking(True)",
    "the listener has no backlog": "if listens: s.listen(0)",
    "channels and queue are shut down": "if s.type == socket.SOCK_SEQPACKET: s.shutdown(socket.SHUT_RDWR)",
    "everything but connections is shut down":
        "if listens or s.type != socket.SOCK_STREAM: s.shutdown(socket.SHUT_RDWR)",
    "everything blocks": "s.setblocking(True)",
    "every message names its sender": "s.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)",
}


def answers(server):
    """Whether a client gets the right reply now."""
    try:
        return server.call("return 5", timeout=3).get("result") == 5
    except (OSError, client.ReplyError):
        return False


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS)
def test_others_are_served_although(runtime, deed, workers):
    with runtime("snippets:run", env={"ASYA_WORKERS": str(workers)}, allow_log=TOLD) as server:
        assert server.result(EACH_SOCKET % deed) == "done"
        started = time.monotonic()
        assert processes.eventually(lambda: answers(server))
        assert time.monotonic() - started < MENDED
        time.sleep(max(0, started + MENDED - time.monotonic()))
        # All workers are busy: the fallback acceptor takes who comes, answers health, and hands on.
        busy = [server.connect() for _ in range(workers)]
        for connection in busy:
            connection.send(b'"import time\\ntime.sleep(1)\\nreturn 1"')
        time.sleep(0.4)
        waiting = [server.connect() for _ in range(10)]
        for connection in waiting:
            connection.send(b'"return 2"')
        with server.connect() as prober:
            started = time.monotonic()
            prober.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert prober.receive_all().startswith(b"HTTP/1.1 200 ")
            assert time.monotonic() - started < 1
        for connection in busy + waiting:
            assert connection.reply()["result"] == (1 if connection in busy else 2)
            connection.close()


def test_who_is_queued_at_a_socket_that_is_shut_down_is_served(runtime):
    """They connected while the only worker was in the function, which then shuts the socket down."""
    code = "import time\ntime.sleep(0.05)\n" + EACH_SOCKET % DEEDS["the listener is shut down"]
    with runtime("snippets:run", allow_log=TOLD) as server, server.connect() as first:
        first.send(client.encode(code))
        waiting = [server.connect() for _ in range(20)]
        for connection in waiting:
            connection.send(b'"return 2"')
        assert first.reply()["result"] == "done"
        for connection in waiting:
            assert connection.reply()["result"] == 2
            connection.close()


def test_an_idle_worker_does_not_spin_until_it_is_mended(runtime):
    with runtime("snippets:run", allow_log=TOLD) as server:
        assert server.result(EACH_SOCKET % DEEDS["the listener is shut down"]) == "done"
        [worker] = server.worker_pids()
        before = processes.cpu_seconds(worker)
        time.sleep(1)
        assert processes.cpu_seconds(worker) - before < 0.3
