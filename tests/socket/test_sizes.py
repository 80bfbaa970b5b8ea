"""The size limit: answered right at, below and above it, even to a client that is still writing (C5)."""
import os
import struct
import time

import pytest

from harness import client, processes, protocols
from harness.runtime import EXIT_USAGE

LIMIT = 1000
MIB = 1 << 20
TOO_LARGE = "message_too_large"


def text_of(size):
    """A JSON string of exactly `size` bytes."""
    return b'"' + b"x" * (size - 2) + b'"'


@pytest.fixture(scope="module")
def limited(runtime):
    with runtime("answers:kind", env={"ASYA_MAX_MESSAGE_SIZE": str(LIMIT)}) as server:
        yield server


@pytest.fixture
def server(limited):
    with limited.watched(allow_log=["WARNING .*(message_too_large|invalid_json)"]):
        yield limited


@pytest.fixture(scope="module")
def default_limit(runtime):
    with runtime("answers:kind") as server:
        yield server


@pytest.fixture
def roomy(default_limit):
    with default_limit.watched(allow_log=["WARNING .*(message_too_large|invalid_json)"]):
        yield default_limit


SIZES = {
    "0 bytes": (b"", "empty_message"), "1 byte": (b"1", "ok"), "2 bytes": (text_of(2), "ok"),
    "one below the limit": (text_of(LIMIT - 1), "ok"), "the limit": (text_of(LIMIT), "ok"),
    "one above the limit": (text_of(LIMIT + 1), TOO_LARGE), "twice the limit": (text_of(2 * LIMIT), TOO_LARGE),
    "a hundred times the limit": (text_of(100 * LIMIT), TOO_LARGE),
    "white space up to the limit": (b" " * LIMIT, "empty_message"),
    "white space above the limit": (b" " * (LIMIT + 1), TOO_LARGE),
    "an unfinished value up to the limit": (b'"' + b"x" * (LIMIT - 1), "invalid_json"),
    "an unfinished value above the limit": (b'"' + b"x" * LIMIT, TOO_LARGE),
}


@pytest.mark.parametrize("chunk", [None, 7, LIMIT])
@pytest.mark.parametrize("message, expected", SIZES.values(), ids=SIZES)
def test_size(server, message, expected, chunk):
    assert server.call(message, chunk=chunk).get("error", "ok") == expected


@pytest.mark.parametrize("size, expected", [
    (10 * MIB - 1, "ok"), (10 * MIB, "ok"), (10 * MIB + 1, TOO_LARGE), (11 * MIB, TOO_LARGE)])
def test_the_default_limit_is_ten_mebibytes(roomy, size, expected):
    assert roomy.call(text_of(size)).get("error", "ok") == expected


HUGE = {"2^31 - 1": 2**31 - 1, "2^31": 2**31, "2^32 - 1": 2**32 - 1}


@pytest.fixture(scope="module")
def framing(runtime):
    with runtime("answers:kind", env={"ASYA_PROTOCOL": "framed"}) as server:
        yield server


@pytest.mark.parametrize("size", HUGE.values(), ids=HUGE)
def test_a_huge_length_prefix_is_refused_at_once_and_costs_no_memory(framing, size):
    with framing.watched(expect_log=["WARNING .*message_too_large"]):
        before = sum(processes.resident(pid) for pid in framing.worker_pids())
        with framing.connect() as connection:
            connection.send(struct.pack(">I", size) + b"{")
            [item] = client.strict_loads(connection.receive_all()[4:])
            assert item["error"] == "msg_parsing_error" and "larger than" in item["details"]["message"]
        assert sum(processes.resident(pid) for pid in framing.worker_pids()) - before < MIB


@pytest.mark.parametrize("size", [*HUGE.values(), 2**63, 2**64 - 1], ids=[*HUGE, "2^63", "2^64 - 1"])
def test_a_huge_content_length_is_refused_at_once(roomy, size):
    with roomy.connect() as connection:
        connection.send(b"POST /invoke HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        assert connection.receive_all().startswith(b"HTTP/1.1 413 ")


def test_too_large_is_answered_before_the_rest_is_sent(server):
    with server.connect() as connection:
        connection.send(b'"' + b"x" * LIMIT)
        assert connection.receive(1000).startswith(b'{"error":')


def test_a_client_that_writes_everything_first_gets_the_reply_every_time(server):
    """A closed connection with unread input would give it EPIPE, and it would never read the reply."""
    message = text_of(MIB)
    for _ in range(int(os.environ.get("ASYA_TEST_REPEAT", 1000))):
        with server.connect() as connection:
            connection.send(message)
            connection.half_close()
            assert connection.reply()["error"] == TOO_LARGE


def test_a_client_that_writes_slowly_past_the_limit_gets_the_reply(server):
    with server.connect() as connection:
        for _ in range(8):
            connection.send(b'"' + b"x" * LIMIT)
            time.sleep(0.01)
        assert connection.reply()["error"] == TOO_LARGE


def test_a_client_that_never_stops_writing_is_cut_off(server):
    """The drain is bounded, in bytes or in time."""
    started = time.monotonic()
    with server.connect() as connection:
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while time.monotonic() - started < 60:
                connection.send(b"x" * 65536)
    assert server.result(1) == "int"


def test_memory_follows_what_arrived_not_what_may_come(roomy):
    """100 clients that each may send 10 MiB but have sent 10 bytes."""
    before = sum(processes.resident(pid) for pid in roomy.worker_pids())
    connections = [roomy.connect() for _ in range(100)]
    try:
        for connection in connections:
            connection.send(b'["xxxxxxxx')
        assert roomy.result(1) == "int"
        after = sum(processes.resident(pid) for pid in roomy.worker_pids())
        assert after - before < 100 * 64 * 1024 + MIB
    finally:
        for connection in connections:
            connection.half_close()
            connection.reply()
            connection.close()


def test_a_large_message_and_a_large_reply_pass(runtime):
    with runtime("answers:echo", env={"ASYA_MAX_MESSAGE_SIZE": str(40 * MIB)}) as server:
        text = "x" * (39 * MIB)
        assert server.result([text]) == [text]


BAD_LIMITS = ["", "-1", "0", "1e9", "99999999999999999999", " 10", "10 ", "+10", "0x10", "1_000", "ten", "1.5", "10M"]


@pytest.mark.parametrize("value", BAD_LIMITS)
def test_a_bad_limit_is_refused_with_one_line(refuse, value):
    refusal = refuse("answers:echo", env={"ASYA_MAX_MESSAGE_SIZE": value})
    assert refusal.code == EXIT_USAGE
    assert "ASYA_MAX_MESSAGE_SIZE" in refusal.cause
    assert len(refusal.lines) == 1


@pytest.mark.parametrize("value, size", [("1", 1), ("2", 2), ("007", 7), ("10485760", 1000)])
def test_a_good_limit_is_kept(runtime, value, size):
    with runtime("answers:kind", env={"ASYA_MAX_MESSAGE_SIZE": value}, allow_log=["message_too_large"]) as server:
        message = b"1" if size == 1 else text_of(size)
        assert server.call(message)["status"] == "ok"
        if int(value) < 100:
            assert server.call(message[:1] + b"1" * size)["error"] == TOO_LARGE


OVER = {
    "bare JSON": lambda server, text: server.call(text),
    "length prefix": lambda server, text: protocols.framed(server.path, protocols.actors(text)),
    "HTTP": lambda server, text: protocols.invoke(server.path, protocols.hops(text)),
}


@pytest.mark.parametrize("protocol", OVER)
def test_the_memory_of_large_messages_is_kept_while_they_come_and_given_back_then(runtime, protocol):
    """Where it is not kept, a message of 5 MB and its reply cost some 3,500 page faults."""
    text = "x" * (5 * MIB)
    with runtime("answers:echo") as server:
        worker = server.worker_pids()[0]
        server.result(1)
        idle = processes.resident(worker)
        for _ in range(5):
            OVER[protocol](server, text)
        before = processes.page_faults(worker)
        for _ in range(10):
            OVER[protocol](server, text)
        assert (processes.page_faults(worker) - before) / 10 < 500
        assert processes.eventually(lambda: processes.resident(worker) < idle + 3 * MIB), "its memory was not given back"
