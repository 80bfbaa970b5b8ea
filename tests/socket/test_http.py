"""HTTP as a transport (docs/protocol.md): what is refused, what keeps a connection, what comes of trouble."""
import json
import pathlib
import random
import signal
import sys
import threading
import time

import pytest

from harness.client import Connection
from harness.processes import eventually
from harness.protocols import HttpConnection, hops, invoke

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "data"))
import http_malformed  # noqa: E402


def read_response(stream):
    """The next response of a connection: (status, lower-case header fields, body), None at its end."""
    status = stream.readline()
    if not status:
        return None
    assert status.startswith(b"HTTP/1.1 ") and status.endswith(b"\r\n"), status
    fields = {}
    while True:
        line = stream.readline()
        assert line.endswith(b"\r\n"), line
        if line == b"\r\n":
            break
        name, _, value = line.decode("latin-1").partition(":")
        fields[name.lower()] = value.strip()
    body = stream.read(int(fields.get("content-length", 0)))
    return int(status[9:12]), fields, body


def post(body, *fields):
    """The bytes of one request."""
    head = ["POST /invoke HTTP/1.1", "Host: a", "Content-Length: %d" % len(body), *fields, "", ""]
    return "\r\n".join(head).encode() + body


def message(payload):
    return json.dumps(hops(payload)).encode()


def payload_of(response):
    """The payload of the one frame of a response."""
    status, fields, body = response
    assert status == 200 and fields["content-type"] == "application/json", response
    [frame] = json.loads(body)["frames"]
    return frame["payload"]


# -- what is refused ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def counting(runtime):
    """A function that counts its calls, and the limit the malformed requests are written for."""
    env = {"ASYA_MAX_MESSAGE_SIZE": str(http_malformed.LIMIT), "ASYA_PROTOCOL": "http"}
    with runtime("answers:count", env=env, allow_log=["WARNING .*(malformed HTTP|message_too_large|Content-Encoding|like this)"]) as server:
        yield server
        status, body = invoke(server.path, hops("report"))
        assert status == 200 and body["frames"][0]["payload"] == 0, "a malformed request reached the function"


def test_there_are_enough_malformed_requests():
    assert len({name for name, _, _ in http_malformed.ROWS}) >= 60


@pytest.mark.parametrize("status, data", [row[1:] for row in http_malformed.ROWS],
                         ids=[row[0] for row in http_malformed.ROWS])
def test_malformed(counting, status, data):
    with Connection(counting.path) as connection:
        try:
            connection.send(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before its end
        with connection.socket.makefile("rb") as stream:
            got, fields, body = read_response(stream)
            assert got == status and fields["connection"] == "close"
            error = json.loads(body)
            assert error["error"] == "msg_parsing_error"
            assert set(error["details"]) == {"message", "type", "mro", "traceback"}
            assert stream.read() == b"", "the connection must be closed"


# -- connections that are kept --------------------------------------------------------------------------------------------


def test_one_connection_takes_many_requests(echo):
    connection = HttpConnection(echo.path)
    for number in range(200):
        connection.request("POST", "/invoke", message({"n": number}), {"Content-Type": "application/json"})
        response = connection.getresponse()
        assert response.status == 200 and not response.will_close
        assert json.loads(response.read())["frames"][0]["payload"] == {"n": number}
    connection.close()


def test_requests_sent_ahead_are_answered_in_order(echo):
    count = 3000
    data = b"".join(post(message(number)) for number in range(count))
    with Connection(echo.path) as connection:
        writer = threading.Thread(target=connection.send, args=(data,))
        writer.start()
        with connection.socket.makefile("rb") as stream:
            assert [payload_of(read_response(stream)) for _ in range(count)] == list(range(count))
        writer.join()


def test_a_connection_closes_where_the_client_wants_it(echo):
    with Connection(echo.path) as connection, connection.socket.makefile("rb") as stream:
        connection.send(post(message(1)) + post(message(2), "Connection: close") + post(message(3)))
        assert [payload_of(read_response(stream)) for _ in range(2)] == [1, 2]
        assert read_response(stream) is None


def test_http_1_0(echo):
    body = message(1)
    with Connection(echo.path) as connection, connection.socket.makefile("rb") as stream:
        connection.send(b"POST /invoke HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert payload_of(read_response(stream)) == 1
        assert read_response(stream) is None


@pytest.mark.parametrize("size", [1, 7, 1000, 65536, 1 << 20])
def test_a_body_in_chunks(echo, size):
    text = "x" * 300_000
    data = message(text)
    chunks = [data[at:at + size] for at in range(0, min(len(data), 2000 * size), size)]
    chunks.append(data[len(b"".join(chunks)):])
    connection = HttpConnection(echo.path)
    connection.request("POST", "/invoke", iter(chunk for chunk in chunks if chunk), encode_chunked=True,
                       headers={"Transfer-Encoding": "chunked"})
    response = connection.getresponse()
    assert json.loads(response.read())["frames"][0]["payload"] == text
    connection.close()


def test_bytes_may_arrive_in_any_pieces(echo, dice):
    data = b"".join(post(message("x" * dice.randrange(200))) for _ in range(50))
    with Connection(echo.path) as connection, connection.socket.makefile("rb") as stream:
        sent = 0
        while sent < len(data):
            size = dice.choice([1, 2, 3, 50, 500])
            connection.send(data[sent:sent + size])
            sent += size
        for _ in range(50):
            assert set(payload_of(read_response(stream))) <= {"x"}


def test_who_waits_for_100_continue_is_told_to_go_on(echo):
    body = message(1)
    with Connection(echo.path) as connection, connection.socket.makefile("rb") as stream:
        for _ in range(3):
            connection.send(post(body, "Expect: 100-continue")[:-len(body)])
            assert read_response(stream) == (100, {}, b"")
            connection.send(body)
            assert payload_of(read_response(stream)) == 1


# -- health, and other paths ----------------------------------------------------------------------------------------------


def get(path, target, method="GET"):
    connection = HttpConnection(path)
    connection.request(method, target)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, response.getheader("Allow"), json.loads(body) if body else None


NOT_FOUND = {"error": "not_found", "message": "there are POST /invoke and GET /healthz"}
PATHS = {
    "health": ("GET", "/healthz", 200, None, {"status": "ready"}),
    "the head of health": ("HEAD", "/healthz", 200, None, None),
    "health by POST": ("POST", "/healthz", 405, "GET, HEAD", {"error": "method_not_allowed"}),
    "the function by GET": ("GET", "/invoke", 405, "POST", {"error": "method_not_allowed"}),
    "the function by DELETE": ("DELETE", "/invoke", 405, "POST", {"error": "method_not_allowed"}),
    "another path": ("POST", "/other", 404, None, NOT_FOUND),
    "the root": ("GET", "/", 404, None, NOT_FOUND),
}


@pytest.mark.parametrize("method, target, status, allow, body", PATHS.values(), ids=PATHS)
def test_path(echo, method, target, status, allow, body):
    assert get(echo.path, target, method) == (status, allow, body)


@pytest.mark.parametrize("coding, status", [("gzip", 415), ("br, gzip", 415), ("identity", 200), ("IDENTITY", 200)])
def test_a_body_that_is_packed_is_415(echoing, coding, status):
    with echoing.watched(expect_log=["WARNING .*Content-Encoding"] if status == 415 else []):
        got, reply = invoke(echoing.path, hops({"a": 1}), {"Content-Encoding": coding})
    assert got == status
    if status == 415:
        assert reply["error"] == "msg_parsing_error" and "'%s'" % coding in reply["details"]["message"]


# -- trouble --------------------------------------------------------------------------------------------------------------


def check_failure(answer, status, code, kind):
    got, body = answer
    assert (got, body["error"], body["details"]["type"]) == (status, code, kind), answer
    assert set(body["details"]) == {"message", "type", "mro", "traceback"}


@pytest.fixture(scope="module")
def troubled(runtime):
    with runtime("snippets:run", env={"ASYA_HANDLER_TIMEOUT": "0.4", "ASYA_MAX_MESSAGE_SIZE": "100000"}) as server:
        yield server


DEATHS = {
    "SIGSEGV": ("import os\nos.kill(os.getpid(), 11)", "WorkerCrashed"),
    "SIGKILL": ("import os\nos.kill(os.getpid(), 9)", "WorkerCrashed"),
    "an exit": ("import os\nos._exit(3)", "WorkerExited"),
}


@pytest.mark.parametrize("code, kind", DEATHS.values(), ids=DEATHS)
def test_a_worker_that_dies_is_500(troubled, code, kind):
    with troubled.watched(expect_log=["ERROR .*worker"], allow_log=["WARNING", "ERROR"]):
        check_failure(invoke(troubled.path, hops(code)), 500, "processing_error", kind)
        assert invoke(troubled.path, hops("return 1"))[0] == 200


def test_a_function_that_takes_too_long_is_500(troubled):
    with troubled.watched(expect_log=["ERROR .*is asked to stop"], allow_log=["WARNING", "ERROR", "Traceback", "  "]):
        answer = invoke(troubled.path, hops("import time\ntime.sleep(30)"))
        check_failure(answer, 500, "processing_error", "HandlerTimeout")
        assert invoke(troubled.path, hops("return 1"))[0] == 200


def test_a_result_that_cannot_be_written_is_500(troubled):
    with troubled.watched(expect_log=["ERROR .*processing_error"], allow_log=["Traceback", "  "]):
        status, body = invoke(troubled.path, hops("return object()"))
        assert (status, body["error"]) == (500, "processing_error")


@pytest.mark.parametrize("size", [100_001, 50_000_000])
def test_a_body_over_the_limit_is_413_also_to_who_still_writes(troubled, size):
    with troubled.watched(expect_log=["WARNING .*message_too_large"]):
        with Connection(troubled.path) as connection, connection.socket.makefile("rb") as stream:
            try:
                connection.send(post(b"1" * size))
            except (BrokenPipeError, ConnectionResetError):
                pass
            status, fields, body = read_response(stream)
            assert (status, fields["connection"]) == (413, "close")
            assert json.loads(body)["error"] == "msg_parsing_error"
            assert stream.read() == b""


def test_an_announced_body_over_the_limit_is_413_before_the_first_byte_of_it(troubled):
    with troubled.watched(expect_log=["WARNING .*message_too_large"]):
        with Connection(troubled.path) as connection, connection.socket.makefile("rb") as stream:
            connection.send(post(b"1" * 100_001, "Expect: 100-continue")[:-100_001])
            assert read_response(stream)[0] == 413


def test_an_idle_connection_is_closed_in_silence_and_a_slow_request_is_told(runtime):
    env = {"ASYA_READ_TIMEOUT": "0.3", "ASYA_KEEPALIVE_TIMEOUT": "0.3"}
    with runtime("answers:echo", env=env, expect_log=["WARNING .*connection_error"]) as server:
        with Connection(server.path) as idle, idle.socket.makefile("rb") as stream:
            idle.send(post(message(1)))
            assert payload_of(read_response(stream)) == 1
            assert read_response(stream) is None
        with Connection(server.path) as slow, slow.socket.makefile("rb") as stream:
            slow.send(post(message(1))[:-1])
            status, fields, body = read_response(stream)
            assert (status, fields["connection"]) == (408, "close")
            assert json.loads(body)["error"] == "connection_error"
            assert read_response(stream) is None


@pytest.mark.parametrize("env, least, most", [({"ASYA_READ_TIMEOUT": "0.2"}, 0.8, 8), ({"ASYA_READ_TIMEOUT": "30",
                         "ASYA_KEEPALIVE_TIMEOUT": "0.5"}, 0.5, 15)], ids=["four times the read timeout", "its own"])
def test_how_long_a_connection_may_be_idle(runtime, env, least, most):
    with runtime("answers:echo", env=env) as server:
        with Connection(server.path) as idle, idle.socket.makefile("rb") as stream:
            idle.send(post(message(1)))
            assert payload_of(read_response(stream)) == 1
            answered = time.monotonic()
            assert read_response(stream) is None
            assert least - 0.05 < time.monotonic() - answered < most


def test_idleness_is_no_part_of_the_time_of_a_request(runtime):
    """A sidecar whose queue was empty for longer than ASYA_READ_TIMEOUT goes on with its connection, and a request that has
    begun must be complete in time whatever the idle limit is."""
    env = {"ASYA_READ_TIMEOUT": "0.3", "ASYA_KEEPALIVE_TIMEOUT": "60"}
    with runtime("answers:echo", env=env, expect_log=["WARNING .*connection_error"]) as server:
        with Connection(server.path) as kept, kept.socket.makefile("rb") as stream:
            for number in range(2):
                kept.send(post(message(number)))
                assert payload_of(read_response(stream)) == number
                time.sleep(0.6)
            kept.send(post(message(2))[:-1])
            assert read_response(stream)[0] == 408


def test_a_request_at_the_moment_when_the_idle_time_ends_is_answered_or_was_told_before(runtime):
    """A sidecar keeps its connection, and the next message may come at any time around the end of the idle time."""
    limit, answered, told = 0.4, 0, 0
    with runtime("answers:echo", env={"ASYA_KEEPALIVE_TIMEOUT": str(limit)}) as server:
        for _ in range(4):
            kept = []
            for number in range(12):
                connection = Connection(server.path)
                stream = connection.socket.makefile("rb")
                connection.send(post(message(number)))
                assert payload_of(read_response(stream)) == number
                kept.append((time.monotonic() + limit + (number - 5) * 0.0003, connection, stream))
            for due, connection, stream in kept:
                while time.monotonic() < due:
                    pass
                try:
                    connection.send(post(message("late")))
                except BrokenPipeError:  # it was told, and nothing of the request was taken
                    told += 1
                else:
                    assert payload_of(read_response(stream)) == "late"
                    answered += 1
                stream.close()
                connection.close()
    assert answered + told == 48


def test_a_stop_answers_who_runs_and_closes_who_is_idle(runtime):
    with runtime("answers:nap") as server:
        with Connection(server.path) as idle, Connection(server.path) as running:
            with idle.socket.makefile("rb") as silent, running.socket.makefile("rb") as stream:
                idle.send(post(message(0)))
                assert payload_of(read_response(silent)) == 0
                running.send(post(message(0.5)))
                time.sleep(0.1)
                server.kill(signal.SIGTERM)
                response = read_response(stream)
                assert payload_of(response) == 0.5
                assert response[1]["connection"] == "close"
                assert read_response(stream) is None
                assert read_response(silent) is None
        assert server.wait() == 0


# -- the three protocols on one socket ------------------------------------------------------------------------------------


def raw_call(path, number):
    with Connection(path) as connection:
        connection.send(json.dumps({"n": number}).encode())
        assert connection.reply() == {"status": "ok", "result": {"n": number}}


def framed_call(path, number):
    data = json.dumps({"payload": {"n": number}, "route": {"actors": ["a", "b"], "current": 0}}).encode()
    with Connection(path) as connection:
        connection.send(len(data).to_bytes(4, "big") + data)
        reply = connection.receive_all()
    assert int.from_bytes(reply[:4], "big") == len(reply) - 4
    assert json.loads(reply[4:]) == [{"payload": {"n": number}, "route": {"actors": ["a", "b"], "current": 1}}]


def http_call(path, number):
    status, body = invoke(path, hops({"n": number}))
    assert status == 200 and body["frames"][0]["payload"] == {"n": number}


def test_one_socket_speaks_three_protocols_at_once(echo):
    failures = []

    def talk(seed):
        chance = random.Random(seed)
        try:
            for number in range(100):
                chance.choice([raw_call, framed_call, http_call])(echo.path, seed * 1000 + number)
        except BaseException as error:  # the thread's failure is the test's
            failures.append(error)

    threads = [threading.Thread(target=talk, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


def test_bytes_that_come_late_do_not_change_the_protocol(echo):
    """The first byte tells; what follows it may come whenever it likes."""
    framed = b'{"payload":[],"route":{"actors":["a"]}}'
    requests = [post(message("h"), "Connection: close"), b'{"raw": 1}', len(framed).to_bytes(4, "big") + framed]
    connections = [Connection(echo.path) for _ in requests]
    for place in range(max(map(len, requests))):
        for connection, data in zip(connections, requests):
            if place < len(data):
                connection.send(data[place:place + 1])
    replies = [connection.receive_all() for connection in connections]
    assert replies[0].startswith(b"HTTP/1.1 200 OK\r\n")
    assert json.loads(replies[1]) == {"status": "ok", "result": {"raw": 1}}
    assert replies[2] == (2).to_bytes(4, "big") + b"[]"
    for connection in connections:
        connection.close()


@pytest.mark.parametrize("protocol, data, begins", [
    ("raw", b"POST /invoke HTTP/1.1\r\n\r\n", b'{"error":"invalid_json"'),
    ("framed", b"GET ", b"\0\0"), ("http", b'{"a":1}\r\n\r\n', b"HTTP/1.1 400 ")])
def test_a_fixed_protocol_is_spoken_to_everybody(runtime, protocol, data, begins):
    with runtime("answers:echo", env={"ASYA_PROTOCOL": protocol}, allow_log=["WARNING"]) as server:
        with Connection(server.path) as connection:
            connection.send(data)
            connection.half_close()
            assert connection.receive_all().startswith(begins)


