"""The n-th allocation of the runtime fails, for n = 1, 2, 3, ... until none does: once, and from then on until memory is
back. Start, a request of each category, a crash and its successor, the stop (E11).

tests/unit/test_malloc_failure.c does the same for the server without Python. ASYA_TEST_ALLOCATIONS says how many n are tried
of those there are, spread evenly (`make faults`: all)."""
import contextlib
import os
import struct

import pytest

from harness import client, processes, protocols, shims
from harness import runtime as harness

pytestmark = pytest.mark.supervised

FAIL_AT, FOR_EVER, REQUESTED, FAILED = range(4)

ENV = {"ASYA_MAX_MESSAGE_SIZE": "200000", "ASYA_READ_TIMEOUT": "0.2", "ASYA_HANDLER_TIMEOUT": "0.2"}
POST = b"POST /invoke HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nConnection: close\r\n"

# what is sent, and whether the client half-closes behind it
REQUESTS = {
    "a success": (b'"return 1"', True), "a large reply": (b'"return \'x\' * 300000"', True),
    "a large message": (b'"return 1 #' + b"x" * 150000 + b'"', True),
    "validation_error": (b'"raise ValueError(1)"', True), "processing_error": (b'"return object()"', True),
    "message_too_large": (b'"' + b"x" * 200001, True), "empty_message": (b"", True),
    "invalid_encoding": (b'"\xff"', True), "invalid_json": (b"{", True), "connection_error": (b"{", False),
    "out_of_memory": (b'"raise MemoryError"', True), "HandlerTimeout": (b'"while True: pass"', True),
    "a length prefix": (struct.pack(">I", 24) + b'{"payload":"return [2]"}', True),
    "HTTP": (POST + b'Content-Length: 24\r\n\r\n{"payload":"return [2]"}', True),
    "WorkerExited": (b'"import os\\nos._exit(3)"', True), "its successor": (b'"return 3"', True),
}


def exchange(path, data, half_close):
    """All bytes of the reply; none where the connection ended without."""
    got = b""
    try:
        with client.Connection(path) as connection:
            with contextlib.suppress(OSError):
                connection.send(data)
                if half_close:
                    connection.half_close()
            while True:
                part = connection.receive(1 << 18)
                if not part:
                    return got
                got += part
    except (ConnectionError, FileNotFoundError):
        return got


def check(name, reply):
    """A category or a clean close; of what was cut by a failure, a beginning."""
    if not reply or name == "a large reply":
        return
    if name == "HTTP":
        assert reply.startswith(b"HTTP/1.1 "), reply[:200]
        reply = reply.partition(b"\r\n\r\n")[2]
    elif name == "a length prefix" and reply[:1] == b"\0":
        assert struct.unpack(">I", reply[:4])[0] == len(reply) - 4, reply[:200]
        reply = reply[4:]
    else:
        client.check_reply(reply)
    client.strict_loads(reply)


def run(tmp_path, fail_at, for_ever):
    """One life of a runtime. Returns (allocations asked for while any may fail, allocations that failed)."""
    orders = shims.Shared(tmp_path / "memory", 4)
    orders[FAIL_AT], orders[FOR_EVER] = fail_at, for_ever
    server = harness.Runtime("snippets:run", env={**ENV, **shims.preloaded("memory", SHIM_MEMORY=orders.path)})
    try:
        if not server.launches():
            assert [line for line in server.logs() if line.level == "ERROR"] or "MemoryError" in server.log_text()
            server.check_gone(())
            return orders[REQUESTED], orders[FAILED]
        for name, (data, half_close) in REQUESTS.items():
            check(name, exchange(server.path, data, half_close))
        requested = orders[REQUESTED]
        orders[FAIL_AT] = fail_at if not for_ever else 0  # there is memory again
        assert processes.eventually(lambda: exchange(server.path, b'"return 4"', True) == b'{"status":"ok","result":4}')
        assert server.stop() == 0
        server.check_gone(())
        return requested if for_ever else orders[REQUESTED], orders[FAILED]
    except BaseException:
        print("allocation %d, %s" % (fail_at, "and all behind it" if for_ever else "once"))
        print(server.log_text()[-3000:])
        raise
    finally:
        server.discard()


@pytest.mark.parametrize("for_ever", [0, 1], ids=["once", "until there is memory again"])
def test_allocations_that_fail(tmp_path, for_ever):
    requested, failed = run(tmp_path, 0, for_ever)
    assert requested > 20 and not failed, "the shim does not see what the runtime asks for"
    tried = min(requested, int(os.environ.get("ASYA_TEST_ALLOCATIONS", 6)))
    total = 0
    for number in sorted({1 + requested * i // tried for i in range(tried)}):
        asked, failed = run(tmp_path, number, for_ever)
        assert failed >= 1 or asked < number, "it was asked for, and did not fail"
        total += failed
    assert total >= tried / 2  # how many are asked for differs a little from run to run
