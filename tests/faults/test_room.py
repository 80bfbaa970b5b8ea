"""When a worker's places or descriptors run out: who waits for nothing gives way, and a function that holds them all does
not keep the service from anybody."""
import contextlib
import time

import pytest

from harness import client, processes
from harness.crowd import many_descriptors

pytestmark = pytest.mark.supervised

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
HALF = b'{"a'
HALF_HTTP = b"POST /invoke HTTP/1.1\r\nHost: x\r\n"
MACHINE = 3.0  # seconds: one is promised, and the machine is shared; ASYA_READ_TIMEOUT is 30
GAVE_WAY = ["WARNING .*connection_error.*(gives way|went away|left out)", "WARNING .*accepting pauses",
            "WARNING .*fdstore entries", "WARNING .*hard limit of descriptors"]


def health(server):
    """The status of a request for health, and the seconds it took."""
    started = time.monotonic()
    with server.connect() as connection:
        connection.send(HEALTH)
        return connection.receive_all().partition(b"\r\n")[0], time.monotonic() - started


def call(server, number):
    """The reply to an honest message, and the seconds it took."""
    started = time.monotonic()
    return server.call(number), time.monotonic() - started


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("count, data", [(1030, b""), (1030, HALF_HTTP), (2100, b""), (2100, HALF)],
                         ids=["1030 silent", "1030 with half a head", "2100 silent", "2100 with half a message"])
def test_more_silent_clients_than_places_keep_nobody_out(runtime, workers, count, data):
    with runtime("answers:echo", env={"ASYA_WORKERS": str(workers)}, allow_log=GAVE_WAY) as server:
        with many_descriptors(3000), contextlib.ExitStack() as stack:
            for _ in range(count):
                connection = stack.enter_context(server.connect())
                if data:
                    connection.send(data)
            for number in range(3):
                line, taken = health(server)
                assert line == b"HTTP/1.1 200 OK" and taken < MACHINE
                reply, taken = call(server, number)
                assert reply == {"status": "ok", "result": number} and taken < MACHINE


def test_who_gives_way_is_told_why(runtime):
    """Bare JSON and HTTP, a silent one and one that has begun; each has one whole reply."""
    with runtime("answers:nap", wrapper=("prlimit", "--nofile=80:80"), allow_log=GAVE_WAY) as server:
        with contextlib.ExitStack() as stack:
            first = [stack.enter_context(server.connect()) for _ in range(3)]
            first[1].send(HALF)
            first[2].send(HALF_HTTP)
            time.sleep(0.1)
            for _ in range(120):
                stack.enter_context(server.connect()).send(b'{"b')
            silent, begun = first[0].reply(), first[1].reply()
            head, _, body = first[2].receive_all().partition(b"\r\n\r\n")
            for reply in (silent, begun):
                assert reply["error"] == "connection_error" and "gives way" in reply["message"]
            assert head.startswith(b"HTTP/1.1 408 ") and b"gives way" in body


def test_idle_connections_give_way_when_descriptors_run_out(runtime):
    """A client that finds its kept connection closed may connect again."""
    with runtime("answers:echo", wrapper=("prlimit", "--nofile=80:80"), allow_log=GAVE_WAY) as server:
        with contextlib.ExitStack() as stack:
            idle = [stack.enter_context(server.connect()) for _ in range(60)]
            for connection in idle:
                connection.send(HEALTH.replace(b"close", b"keep-alive"))
                assert connection.receive(4096).startswith(b"HTTP/1.1 200 ")
            reply, taken = call(server, 1)
            assert reply == {"status": "ok", "result": 1} and taken < MACHINE
            assert idle[0].receive(1) == b""


LEAK = """
import os
KEPT['fds'] = []
try:
    while True:
        KEPT['fds'].append(os.dup(0))
except OSError:
    return 1
"""
LEAK_ALWAYS = """
import os, threading, time
def take():
    kept = []
    while True:
        try:
            kept.append(os.dup(0))
        except OSError:
            time.sleep(0.0005)
threading.Thread(target=take, daemon=True).start()
time.sleep(0.3)
return 1
"""
LIMIT = "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (%d, %d))\nreturn 1"
STARVED = "ERROR .*worker 0, pid .*no more connections: its function holds all descriptors.*RLIMIT_NOFILE.*/fd$"


def answered_all(server, count=30):
    """Requests that come together, each with its own reply."""
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(server.connect()) for _ in range(count)]
        for number, connection in enumerate(connections):
            connection.send(b'"return %d"' % number)
        for number, connection in enumerate(connections):
            assert connection.reply() == {"status": "ok", "result": number}


def test_a_worker_whose_function_holds_all_descriptors_is_replaced(runtime):
    with runtime("snippets:run", wrapper=("prlimit", "--nofile=256:256"), expect_log=[STARVED],
                 allow_log=GAVE_WAY) as server, server.connect() as kept:
        kept.send(HEALTH.replace(b"close", b"keep-alive"))
        assert kept.receive(4096).startswith(b"HTTP/1.1 200 ")
        first = server.worker_pids()
        assert server.result(LIMIT % (0, 0)) == 1
        answered_all(server)
        assert health(server)[0] == b"HTTP/1.1 200 OK"
        assert processes.eventually(lambda: not set(first) & set(server.worker_pids()), client.PATIENCE)


def test_health_says_no_while_the_only_worker_can_take_nobody(runtime, tmp_path):
    """Its successor loads for two seconds; who asks for something waits for that."""
    (tmp_path / "slow_again.py").write_text(
        "import os, resource, time\nif os.path.exists('mark'): time.sleep(2)\nopen('mark', 'w').close()\n"
        "def process(payload):\n    if payload == 0: resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))\n"
        "    return payload\n")
    with runtime("slow_again", cwd=tmp_path, wrapper=("prlimit", "--nofile=256:256"), expect_log=[STARVED],
                 allow_log=GAVE_WAY) as server, server.connect() as waiting:
        assert server.result(0) == 0
        waiting.send(b"1 ")
        assert processes.eventually(lambda: health(server)[0].startswith(b"HTTP/1.1 503 "), client.PATIENCE)
        assert waiting.reply() == {"status": "ok", "result": 1}
        assert processes.eventually(lambda: health(server)[0] == b"HTTP/1.1 200 OK", client.PATIENCE)


@pytest.mark.parametrize("workers", [1, 2])
def test_no_reply_is_lost_to_a_thread_that_takes_each_free_descriptor(runtime, workers):
    """Also of those that the supervisor hands on: a message is taken from the queue though no number is left for it.
    Where none comes while all are taken, the worker stays, with what its function holds."""
    with runtime("snippets:run", wrapper=("prlimit", "--nofile=256:256"), env={"ASYA_WORKERS": str(workers)},
                 allow_log=[STARVED, *GAVE_WAY], worker_descriptors=True) as server:
        assert server.result(LEAK_ALWAYS) == 1
        for _ in range(5):
            answered_all(server)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("code", [LEAK, LIMIT % (20, 20)], ids=["leaked", "a limit of 20"])
def test_a_function_that_takes_descriptors_once_keeps_nobody_out(runtime, workers, code):
    with runtime("snippets:run", wrapper=("prlimit", "--nofile=256:256"), env={"ASYA_WORKERS": str(workers)},
                 allow_log=[STARVED, *GAVE_WAY], worker_descriptors=True) as server:
        assert server.result(code) == 1
        for number in range(10):
            reply, taken = call(server, "return %d" % number)
            assert reply == {"status": "ok", "result": number} and taken < MACHINE
        assert health(server)[0] == b"HTTP/1.1 200 OK"


BLOCKING = """
import os
for number in os.listdir("/proc/self/fd"):
    try:
        os.set_blocking(int(number), True)
    except OSError:
        pass
return 1
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_descriptors_that_the_function_makes_blocking_hold_nobody_up(runtime, workers):
    """The listening socket among them: an idle client beside it must not wait for the next one."""
    with runtime("snippets:run", env={"ASYA_WORKERS": str(workers)}) as server, server.connect() as kept:
        assert server.result(BLOCKING) == 1
        for number in range(20):
            started = time.monotonic()
            kept.send(HEALTH.replace(b"close", b"keep-alive"))
            assert kept.receive(4096).startswith(b"HTTP/1.1 200 ")
            assert server.result("return %d" % number) == number
            assert time.monotonic() - started < MACHINE
