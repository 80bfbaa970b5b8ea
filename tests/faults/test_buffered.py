"""The memory that requests may take while they arrive or wait (ASYA_MAX_BUFFERED): a client with many large ones takes no
more, and keeps neither small messages nor a large one of others out."""
import contextlib
import struct
import time

import pytest

from harness import client, processes

pytestmark = pytest.mark.supervised

MIB = 1 << 20
MESSAGE = MIB  # ASYA_MAX_MESSAGE_SIZE
BUFFERED = 4 * MIB
FLOOD = 60  # connections, each of which may hold 16 KiB whatever the others do, in a buffer of twice that
EACH = FLOOD * 2 * 16384
MACHINE = 3.0  # seconds that others' large requests may keep one waiting: a second is promised
CLIENT_FAULT = ["WARNING .*connection_error", "WARNING ASYA_CGROUP_ROOT"]
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
BODY = b"x" * (MESSAGE - 200)
BEGINNINGS = {
    "bare JSON": b'"',
    "length prefix": struct.pack(">I", MESSAGE - 10),
    "HTTP": b"POST /invoke HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (MESSAGE - 10),
}


@pytest.fixture
def budget(tmp_path):
    """Settings that all come to BUFFERED: bytes, a share of the container, and what stands there by default."""
    (tmp_path / "memory.max").write_text("%d\n" % (4 * BUFFERED))
    root = {"ASYA_CGROUP_ROOT": str(tmp_path)}
    return {"bytes": {"ASYA_MAX_BUFFERED": str(BUFFERED)}, "a share": {**root, "ASYA_MAX_BUFFERED": "25%"}, "default": root}


def flood(server, stack, beginning):
    """Clients that send all of a large request but its end, as far as it is taken, and then nothing."""
    for _ in range(FLOOD):
        connection = stack.enter_context(server.connect())
        connection.send(beginning)
        connection.socket.setblocking(False)
        rest = BODY
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            while rest:
                rest = rest[connection.socket.send(rest):]


@pytest.mark.parametrize("protocol, setting", [("bare JSON", "bytes"), ("length prefix", "a share"), ("HTTP", "default")])
def test_many_large_requests_take_no_more_than_the_setting_says(runtime, budget, protocol, setting):
    env = {"ASYA_MAX_MESSAGE_SIZE": MESSAGE, **budget[setting]}
    with runtime("answers:kind", env=env, allow_log=CLIENT_FAULT) as server, contextlib.ExitStack() as stack:
        server.result("x" * (MESSAGE - 100))  # what reading and answering such a message takes besides
        worker = server.worker_pids()[0]
        before = processes.resident(worker)
        flood(server, stack, BEGINNINGS[protocol])
        started = time.monotonic()
        assert server.result(1) == "int"
        with server.connect() as connection:
            connection.send(HEALTH)
            assert connection.receive_all().startswith(b"HTTP/1.1 200 ")
        assert time.monotonic() - started < MACHINE
        assert processes.resident(worker) - before < BUFFERED + MESSAGE + EACH + MIB
        started = time.monotonic()
        assert server.result("x" * (MESSAGE - 100)) == "str"  # large ones that stand still give way to it
        assert time.monotonic() - started < 2 * MACHINE
        assert processes.resident(worker) - before < BUFFERED + 2 * MESSAGE + EACH + MIB


def test_large_requests_that_wait_for_the_function_are_all_answered(runtime):
    """More than the budget holds, all sent at once: none of the clients sees that reading pauses."""
    env = {"ASYA_MAX_MESSAGE_SIZE": MESSAGE, "ASYA_MAX_BUFFERED": BUFFERED}
    code = '"import time\\ntime.sleep(0.02)\\nreturn %d #'
    with runtime("snippets:run", env=env) as server, contextlib.ExitStack() as stack:
        connections = [stack.enter_context(server.connect()) for _ in range(20)]
        unsent = {number: (code % number).encode() + BODY[:MESSAGE - 400] + b'"' for number in range(len(connections))}
        for connection in connections:
            connection.socket.setblocking(False)
        deadline = time.monotonic() + client.PATIENCE
        while unsent and time.monotonic() < deadline:
            for number in list(unsent):
                with contextlib.suppress(BlockingIOError):
                    unsent[number] = unsent[number][connections[number].socket.send(unsent[number]):]
                if not unsent[number]:
                    del unsent[number]
            time.sleep(0.001)
        for number, connection in enumerate(connections):
            connection.socket.settimeout(client.PATIENCE)
            assert connection.reply() == {"status": "ok", "result": number}


def test_a_setting_below_two_messages_is_raised_to_that(runtime):
    with runtime("answers:kind", env={"ASYA_MAX_BUFFERED": "1000"}, expect_log=["WARNING .*ASYA_MAX_BUFFERED"]) as server:
        assert server.result("x" * (10 * MIB - 100)) == "str"
