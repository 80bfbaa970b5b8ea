"""The length prefix as a transport (docs/protocol.md): every exchange ends with an array, whatever happens."""
import itertools
import json
import struct

import pytest

from harness import client
from harness.client import Connection
from harness.protocols import actors, framed, framed_bytes, steps


def prefixed(data):
    return struct.pack(">I", len(data)) + data


def read_reply(connection):
    """The parsed array of one reply, whose prefix says its length, and the end of the connection."""
    reply = connection.receive_all()
    assert len(reply) >= 4 and struct.unpack(">I", reply[:4])[0] == len(reply) - 4, reply[:300]
    parsed = client.strict_loads(reply[4:])
    assert isinstance(parsed, list)
    return parsed


def test_an_exchange_as_the_sidecar_of_v0_1_makes_it(echo):
    """Four bytes, the message, read four bytes, read as many as they say."""
    data = json.dumps({"route": {"actors": ["a", "b"], "current": 0}, "headers": {"trace_id": "t"},
                       "payload": {"text": "h\u00e9llo"}}).encode()
    with Connection(echo.path) as connection:
        connection.send(struct.pack(">I", len(data)))
        connection.send(data)
        with connection.socket.makefile("rb") as stream:
            (size,) = struct.unpack(">I", stream.read(4))
            reply = json.loads(stream.read(size))
            assert stream.read() == b""
    assert reply == [{"payload": {"text": "h\u00e9llo"}, "route": {"actors": ["a", "b"], "current": 1},
                      "headers": {"trace_id": "t"}}]


def test_an_exchange_as_older_sidecars_make_it(echo):
    assert framed(echo.path, steps([1, 2])) == [
        {"payload": 1, "route": {"steps": ["a", "b"], "current": 0}},
        {"payload": 2, "route": {"steps": ["a", "b"], "current": 0}}]


# the prefix and the message fill the server's first read exactly at 65,532, its buffer at powers of two
SIZES = [100, 65531, 65532, 65533, 131068, 131072, 262140, 1 << 20, 5_000_000]
PIECES = ["at once", "prefix first", "in pieces of 4096"]


@pytest.mark.parametrize("size, pieces", [(100, "byte by byte"), *itertools.product(SIZES, PIECES)])
def test_a_message_of_any_size_in_any_pieces(echo, size, pieces):
    data = json.dumps(actors("")).encode()
    data = data.replace(b'""', b'"' + b"x" * (size - len(data)) + b'"')
    assert len(data) == size
    with Connection(echo.path) as connection:
        if pieces == "at once":
            connection.send(prefixed(data))
        elif pieces == "prefix first":
            connection.send(prefixed(data)[:4])
            connection.send(data)
        else:
            connection.send_chunks(prefixed(data), 1 if pieces == "byte by byte" else 4096)
        [item] = read_reply(connection)
    assert item["payload"] == json.loads(data)["payload"]


def test_a_half_close_behind_the_message_does_not_cost_the_reply(echo):
    with Connection(echo.path) as connection:
        connection.send(prefixed(json.dumps(actors(1)).encode()))
        connection.half_close()
        assert read_reply(connection)[0]["payload"] == 1


def test_bytes_behind_the_message_are_ignored(echo):
    with Connection(echo.path) as connection:
        connection.send(prefixed(json.dumps(actors(1)).encode()) + b"more")
        assert read_reply(connection)[0]["payload"] == 1


def test_a_prober_that_sends_nothing_is_not_worth_a_line(echo):
    for _ in range(20):
        echo.connect().close()
    assert framed(echo.path, actors(1))[0]["payload"] == 1


# -- errors ---------------------------------------------------------------------------------------------------------------


def check_error(reply, code, kind):
    [item] = reply
    assert set(item) == {"error", "details"} and set(item["details"]) == {"message", "type", "traceback"}, item
    assert (item["error"], item["details"]["type"]) == (code, kind), item
    assert item["details"]["message"]


@pytest.fixture(scope="module")
def troubled(runtime):
    env = {"ASYA_HANDLER_TIMEOUT": "0.4", "ASYA_READ_TIMEOUT": "1", "ASYA_MAX_MESSAGE_SIZE": "100000"}
    with runtime("snippets:run", env=env) as server:
        yield server


@pytest.mark.parametrize("size", [100_001, 20_000_000, 0x08FFFFFF])
def test_too_large_is_told_from_the_prefix_alone(troubled, size):
    with troubled.watched(expect_log=["WARNING .*message_too_large"]):
        with Connection(troubled.path) as connection:
            connection.send(struct.pack(">I", size))
            check_error(read_reply(connection), "msg_parsing_error", "ValueError")


@pytest.mark.parametrize("size", [100_001, 20_000_000])
def test_too_large_is_told_also_to_who_still_writes(troubled, size):
    with troubled.watched(expect_log=["WARNING .*message_too_large"]):
        with Connection(troubled.path) as connection:
            try:
                connection.send(prefixed(b"1" * size))
            except (BrokenPipeError, ConnectionResetError):
                pass
            check_error(read_reply(connection), "msg_parsing_error", "ValueError")


UNREADABLE = {
    "no byte": (b"", "JSONDecodeError"), "a bare word": (b"hello", "JSONDecodeError"),
    "a truncated object": (b'{"payload":', "JSONDecodeError"),
    "two values": (b"{} {}", "JSONDecodeError"), "NaN": (b"[NaN]", "JSONDecodeError"),
    "1001 arrays": (b"[" * 1001 + b"]" * 1001, "JSONDecodeError"),
    "bad UTF-8": (b'"\xff"', "UnicodeDecodeError"),
    "a string at the top level": (b'"text"', "ValueError"), "a number at the top level": (b"1", "ValueError"),
    "null at the top level": (b"null", "ValueError"), "an array at the top level": (b"[1]", "ValueError"),
}


@pytest.mark.parametrize("data, kind", UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_no_message(troubled, data, kind):
    with troubled.watched(expect_log=["WARNING .*(invalid|empty|validation)_"]):
        [item] = reply = json.loads(framed_bytes(troubled.path, data))
        if not data:
            kind = item["details"]["type"]  # how an empty message is called is nobody's contract
        check_error(reply, "msg_parsing_error", kind)


CUT = {"in the prefix": b"\0\0", "behind the prefix": b"\0\0\0\x09", "in the message": b'\0\0\0\x09{"pay'}


@pytest.mark.parametrize("data", CUT.values(), ids=CUT)
def test_a_message_cut_by_a_half_close(troubled, data):
    with troubled.watched(expect_log=["WARNING .*connection_error"]):
        with Connection(troubled.path) as connection:
            connection.send(data)
            connection.half_close()
            check_error(read_reply(connection), "connection_error", "ConnectionError")


@pytest.mark.parametrize("data", CUT.values(), ids=CUT)
def test_a_message_that_is_late(troubled, data):
    with troubled.watched(expect_log=["WARNING .*connection_error"]):
        with Connection(troubled.path) as connection:
            connection.send(data)
            check_error(read_reply(connection), "connection_error", "ConnectionError")


DEATHS = {
    "SIGSEGV": ("import os\nos.kill(os.getpid(), 11)", "WorkerCrashed"),
    "SIGKILL": ("import os\nos.kill(os.getpid(), 9)", "WorkerCrashed"),
    "an exit": ("import os\nos._exit(0)", "WorkerExited"),
}


@pytest.mark.parametrize("code, kind", DEATHS.values(), ids=DEATHS)
def test_a_worker_that_dies(troubled, code, kind):
    with troubled.watched(expect_log=["ERROR .*worker"], allow_log=["WARNING", "ERROR"]):
        check_error(framed(troubled.path, actors(code)), "processing_error", kind)
        assert framed(troubled.path, actors("return 1"))[0]["payload"] == 1


def test_a_function_that_takes_too_long(troubled):
    with troubled.watched(expect_log=["ERROR .*is asked to stop"], allow_log=["WARNING", "ERROR", "Traceback", "  "]):
        reply = framed(troubled.path, actors("import time\ntime.sleep(30)"))
        check_error(reply, "processing_error", "HandlerTimeout")
        assert framed(troubled.path, actors("return 1"))[0]["payload"] == 1


def test_a_result_that_cannot_be_written(troubled):
    with troubled.watched(expect_log=["ERROR .*processing_error"], allow_log=["Traceback", "  "]):
        [item] = framed(troubled.path, actors("return object()"))
        assert item["error"] == "processing_error" and "object" in item["details"]["message"]
