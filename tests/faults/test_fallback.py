"""While workers are busy, stopped or dead: health is answered at once, and nobody is left behind one of them."""
import array
import concurrent.futures
import contextlib
import os
import signal
import socket
import time

import pytest

from harness import client, processes
from harness.crowd import many_descriptors

pytestmark = pytest.mark.supervised

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
PATIENCE = 1.0  # the contract says 0.15 s on a quiet machine; this one is shared
DEATH = ["(ERROR|WARNING) .*"]


def ask(server, request=HEALTH, pieces=1):
    """The reply to a request for health, and the seconds it took."""
    started = time.monotonic()
    with server.connect() as connection:
        size = -(-len(request) // pieces)
        for first in range(0, len(request), size):
            connection.send(request[first:first + size])
            if pieces > 1:
                time.sleep(0.02)
        data = b""
        while b"\r\n\r\n" not in data or (b'"}' not in data and not request.startswith(b"HEAD")):
            part = connection.receive(4096)
            if not part:
                break
            data += part
        return data, time.monotonic() - started


@contextlib.contextmanager
def busy(server, count, seconds=3):
    """`count` requests that keep their workers for `seconds`; they are answered in the end."""
    connections = [server.connect() for _ in range(count)]
    for connection in connections:
        connection.send(b"%d " % seconds)
    time.sleep(0.4)  # they run, and have for longer than a tick
    yield
    for connection in connections:
        assert connection.reply() == {"status": "ok", "result": seconds}
        connection.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_health_is_answered_while_all_workers_are_busy(runtime, workers):
    with runtime("answers:nap", env={"ASYA_WORKERS": str(workers)}) as server:
        with busy(server, workers):
            for _ in range(5):
                data, taken = ask(server)
                assert data.startswith(b"HTTP/1.1 200 ") and data.endswith(b'{"status":"ready"}')
                assert taken < PATIENCE


def test_health_is_about_workers_and_not_about_how_many_wait(runtime):
    """More than the queue to the workers has room for."""
    with runtime("answers:nap") as server:
        with busy(server, 1):
            waiting = [server.connect() for _ in range(400)]
            for connection in waiting:
                connection.send(b"0 ")
            for _ in range(5):
                data, taken = ask(server)
                assert data.startswith(b"HTTP/1.1 200 ")
                assert taken < PATIENCE
        for connection in waiting:
            assert connection.reply() == {"status": "ok", "result": 0}
            connection.close()


def test_health_in_pieces_and_by_head_is_answered_too(runtime):
    with runtime("answers:nap") as server:
        with busy(server, 1):
            assert ask(server, pieces=4)[0].endswith(b'{"status":"ready"}')
            assert ask(server, HEALTH.replace(b"GET", b"HEAD"))[0].endswith(b"\r\n\r\n")


def test_a_connection_kept_alive_is_not_left_behind_a_busy_worker(runtime):
    """It is idle when its worker becomes busy with another request."""
    with runtime("answers:nap") as server, server.connect() as kept:
        kept.send(HEALTH)
        assert kept.receive(4096).endswith(b'{"status":"ready"}')
        with busy(server, 1):
            started = time.monotonic()
            kept.send(HEALTH)
            assert kept.receive(4096).endswith(b'{"status":"ready"}')
            assert time.monotonic() - started < PATIENCE


def test_a_silent_connection_of_a_busy_worker_is_served_by_the_other(runtime):
    """Both workers have silent clients; one gets busy; all clients speak."""
    with runtime("answers:nap", env={"ASYA_WORKERS": "2"}) as server:
        silent = [server.connect() for _ in range(20)]
        time.sleep(0.2)
        with busy(server, 1, 4):
            started = time.monotonic()
            for connection in silent:
                connection.send(b"0 ")
            for connection in silent:
                assert connection.reply() == {"status": "ok", "result": 0}
                connection.close()
            assert time.monotonic() - started < 2.5


def test_what_the_desk_took_is_served_when_a_worker_is_free(runtime):
    """In the order it came, and each once."""
    with runtime("snippets:run") as server:
        server.result("KEPT['seen'] = []")
        with server.connect() as first:
            first.send(b'"import time\\ntime.sleep(1)\\nreturn 0"')
            time.sleep(0.3)
            waiting = [server.connect() for _ in range(100)]
            for number, connection in enumerate(waiting):
                connection.send(b'"KEPT[\'seen\'].append(%d)\\nreturn %d"' % (number, number))
            for number, connection in enumerate(waiting):
                assert connection.reply() == {"status": "ok", "result": number}
                connection.close()
            assert first.reply() == {"status": "ok", "result": 0}
        assert sorted(server.result("return KEPT['seen']")) == list(range(100))


def test_who_waits_at_the_desk_survives_all_workers(runtime):
    """Handed on, not yet taken, and every worker killed: the next ones serve them."""
    with runtime("answers:nap", env={"ASYA_WORKERS": "2"}, allow_log=DEATH) as server:
        held = [server.connect() for _ in range(2)]
        for connection in held:
            connection.send(b"20 ")
        time.sleep(0.4)
        waiting = [server.connect() for _ in range(50)]
        for connection in waiting:
            connection.send(b"0 ")
        time.sleep(0.3)
        for worker in server.worker_pids():
            os.kill(worker, signal.SIGKILL)
        for connection in held:
            assert connection.reply()["type"] == "WorkerCrashed"
        for connection in waiting:
            assert connection.reply() == {"status": "ok", "result": 0}
        for connection in held + waiting:
            connection.close()


def test_health_says_no_while_no_worker_is_up(runtime, tmp_path):
    module = tmp_path / "slow_again.py"
    module.write_text("import os, time\nif os.path.exists('%s'): time.sleep(3)\nopen('%s', 'w').close()\n"
                      "def process(payload):\n    return payload\n" % (tmp_path / "mark", tmp_path / "mark"))
    with runtime("slow_again", cwd=tmp_path, allow_log=DEATH) as server:
        os.kill(server.worker_pids()[0], signal.SIGKILL)
        time.sleep(0.3)
        data, taken = ask(server)
        assert data.startswith(b"HTTP/1.1 503 ")
        assert taken < PATIENCE
        assert server.result(5) == 5


def test_a_stopped_worker_keeps_nobody(runtime):
    """Connections it has accepted and not read, or will never accept."""
    with runtime("answers:echo", env={"ASYA_WORKERS": "2"}) as server:
        silent = [server.connect() for _ in range(10)]
        time.sleep(0.2)
        stopped = server.worker_pids()[0]
        os.kill(stopped, signal.SIGSTOP)
        try:
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                assert list(pool.map(server.result, range(100))) == list(range(100))
            for number, connection in enumerate(silent):
                connection.send(b"%d " % number)
                assert connection.reply() == {"status": "ok", "result": number}
                connection.close()
        finally:
            os.kill(stopped, signal.SIGCONT)
        assert server.result(1) == 1


def test_a_stopped_worker_that_is_alone_still_gets_health_answered(runtime):
    with runtime("answers:echo") as server:
        worker = server.worker_pids()[0]
        os.kill(worker, signal.SIGSTOP)
        try:
            assert ask(server)[0].startswith(b"HTTP/1.1 200 ")
        finally:
            os.kill(worker, signal.SIGCONT)
        assert server.result(1) == 1


def test_an_idle_supervisor_sleeps(runtime):
    """No tick runs when nothing does."""
    with runtime("answers:echo") as server:
        server.result(1)
        time.sleep(0.5)
        before = processes.switches(server.pid)
        time.sleep(2)
        assert processes.switches(server.pid) - before <= 6  # one look a second at the socket's file


@pytest.mark.parametrize("data", [b"", b'{"half', b"GET /heal", b"POST /invoke HTTP/1.1\r\nContent-Length: 5\r\n"])
def test_who_sends_no_whole_request_has_no_more_time_while_all_are_busy(runtime, data):
    env = {"ASYA_READ_TIMEOUT": "1"}
    with runtime("answers:nap", env=env, allow_log=["WARNING .*connection_error"]) as server:
        with busy(server, 1, 4):
            started = time.monotonic()
            with server.connect() as connection:
                if data:
                    connection.send(data)
                reply = connection.receive_all()
            assert 0.9 < time.monotonic() - started < 2.5
            assert (reply.startswith(b"HTTP/1.1 408 ") if data[:1].isalpha() else
                    client.check_reply(reply)["error"] == "connection_error")


@pytest.mark.parametrize("count", [1023, 1100])
def test_many_silent_clients_do_not_take_health_away_from_a_busy_runtime(runtime, count):
    with runtime("answers:nap") as server, many_descriptors(), contextlib.ExitStack() as stack:
        with busy(server, 1, 5):
            for _ in range(count):
                stack.enter_context(server.connect())
            for _ in range(3):
                data, taken = ask(server)
                assert data.startswith(b"HTTP/1.1 200 ")
                assert taken < PATIENCE


def test_with_few_descriptors_the_oldest_silent_client_gives_way(runtime):
    few = ["prlimit", "--nofile=200:200"]
    with runtime("answers:nap", wrapper=few, allow_log=["WARNING .*(connection_error|RLIMIT_NOFILE)"]) as server:
        with busy(server, 1, 5), contextlib.ExitStack() as stack:
            silent = [stack.enter_context(server.connect()) for _ in range(400)]
            for _ in range(3):
                data, taken = ask(server)
                assert data.startswith(b"HTTP/1.1 200 ")
                assert taken < PATIENCE
            assert silent[0].reply()["error"] == "connection_error"


@contextlib.contextmanager
def descriptors_in_flight(count):
    """So many, of this user's, in messages that nobody reads."""
    pair = socket.socketpair()
    with contextlib.ExitStack() as stack:
        for end in pair:
            stack.callback(end.close)
        for _ in range(count // 100):
            pair[0].sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [pair[0].fileno()] * 100))])
        yield


def test_who_cannot_be_handed_on_gets_a_reply_in_time(runtime):
    """The kernel refuses to pass descriptors while too many of the same user's are in flight, wherever that may be."""
    limited = ["prlimit", "--nofile=400:400", "setpriv", "--bounding-set=-sys_admin,-sys_resource"]
    env = {"ASYA_READ_TIMEOUT": "3"}
    with runtime("answers:nap", wrapper=limited, env=env, allow_log=["WARNING"]) as server:
        with descriptors_in_flight(600):
            with server.connect() as first:
                first.send(b"1.5 ")
                time.sleep(0.5)
                waiting = [server.connect() for _ in range(10)]
                for connection in waiting:
                    connection.send(b"0 ")
                assert first.reply() == {"status": "ok", "result": 1.5}
            started = time.monotonic()
            assert server.result(0) == 0, "who comes now is accepted by the worker"
            assert time.monotonic() - started < PATIENCE
            replies = []
            for connection in waiting:
                replies.append(connection.reply())
                connection.close()
            assert [reply for reply in replies if reply.get("result") != 0 and reply.get("error") != "server_error"] == []
        assert server.result(0) == 0
