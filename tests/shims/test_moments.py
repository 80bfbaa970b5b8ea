"""A worker that is killed between a system call and its own next step, at each such moment of a connection's life: there
is one reply for each request, and none for nobody. What it was about to do does not count, but what the kernel has done."""
import contextlib
import fcntl
import json
import os
import signal
import sys
import termios
import time

import pytest

from harness import client, processes, protocols, shims
from harness.shims import (
    BEFORE_EVENTFD, BEFORE_READ, BEFORE_SEND, BEHIND_EMPTY_READ, BEHIND_PEEK, BEHIND_READ, BEHIND_SEND, BEHIND_TAKE,
    BEHIND_WAIT)

pytestmark = pytest.mark.supervised

DEATH = ["WARNING", "ERROR"]
THREADS = {"ASYA_CONCURRENCY": "2"}


class Doomed(shims.Moments):
    """A runtime whose worker can be made to stand still and be killed there."""

    server = None


@pytest.fixture
def doomed(runtime, tmp_path, request):
    doomed = Doomed(tmp_path / "moments")
    with runtime("snippets:run", env={**doomed.env, **getattr(request, "param", {})}, allow_log=DEATH) as doomed.server:
        yield doomed


def post(code, version="1.1", header=""):
    body = client.encode(protocols.hops(code))
    head = "POST /invoke HTTP/%s\r\nHost: a\r\nContent-Length: %d\r\n%s\r\n" % (version, len(body), header)
    return head.encode() + body


def read_response(connection):
    """(status, parsed body, whether the connection stays) of one response with a length."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.receive(1)
        assert part, "cut after %r" % data
        data += part
    head = data.decode().lower()
    size = int(head.split("content-length: ")[1].split("\r\n")[0])
    body = b""
    while len(body) < size:
        part = connection.receive(size - len(body))
        assert part, "cut after %r" % (data + body)
        body += part
    return int(head.split()[1]), json.loads(body), "connection: close" not in head


def payload(body):
    return body["frames"][0]["payload"]


def unread(connection):
    """Bytes sent that nobody has read yet."""
    return int.from_bytes(fcntl.ioctl(connection.socket, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


def is_silent(connection):
    """Nothing comes within the time in which a reply nobody asked for would have."""
    connection.socket.settimeout(0.3)
    try:
        return connection.receive(1) is None
    except OSError:
        return True
    finally:
        connection.socket.settimeout(client.PATIENCE)


@pytest.mark.parametrize("doomed", [{}, THREADS], indirect=True, ids=["on the spot", "in threads"])
def test_a_kept_connection_whose_reply_is_out_goes_on_to_the_next_worker(doomed):
    with doomed.server.connect() as connection:
        doomed.stop_at(BEHIND_SEND)
        connection.send(post("return 1"))
        assert payload(read_response(connection)[1]) == 1
        connection.send(post("return 2"))
        doomed.kill()
        status, body, kept = read_response(connection)
        assert (status, payload(body), kept) == (200, 2, True)
        connection.send(post("return 3"))
        assert payload(read_response(connection)[1]) == 3


def test_so_does_one_whose_client_has_not_sent_the_next_request_yet(doomed):
    with doomed.server.connect() as connection:
        doomed.stop_at(BEHIND_SEND)
        connection.send(post("return 1"))
        assert payload(read_response(connection)[1]) == 1
        doomed.kill()
        assert doomed.server.result("return 5") == 5
        assert is_silent(connection)
        connection.send(post("return 2"))
        assert payload(read_response(connection)[1]) == 2


def test_a_kept_connection_that_is_idle_at_the_stop_is_told_nothing(doomed):
    """Neither the next worker nor the supervisor takes it for a new client, who would be told that the runtime stops."""
    with doomed.server.connect() as connection:
        doomed.stop_at(BEHIND_SEND)
        connection.send(post("return 1"))
        assert payload(read_response(connection)[1]) == 1
        doomed.kill()
        assert doomed.server.result("return 5") == 5
        assert doomed.server.stop() == 0
        assert connection.receive_all() == b""


def test_nor_is_one_whose_next_worker_dies_as_it_takes_it(doomed):
    with doomed.server.connect() as connection:
        [first] = doomed.server.worker_pids()
        connection.send(post("return 1"))
        assert payload(read_response(connection)[1]) == 1
        doomed.stop_at(BEHIND_TAKE)
        os.kill(first, signal.SIGKILL)
        doomed.kill()
        assert doomed.server.result("return 5") == 5
        assert is_silent(connection)
        assert doomed.server.stop() == 0
        assert connection.receive_all() == b""


def test_one_whose_reply_is_not_out_is_answered_and_closed(doomed):
    with doomed.server.connect() as connection:
        doomed.stop_at(BEFORE_SEND)
        connection.send(post("return 1"))
        doomed.kill()
        status, body, kept = read_response(connection)
        assert (status, body["details"]["type"], kept) == (500, "WorkerCrashed", False)
        assert connection.receive_all() == b""


def test_of_requests_sent_ahead_the_one_that_was_read_already_is_answered(doomed):
    with doomed.server.connect() as connection:
        doomed.stop_at(BEHIND_SEND)
        connection.send(post("return 1") + post("return 2"))
        assert payload(read_response(connection)[1]) == 1
        doomed.kill()
        status, body, kept = read_response(connection)
        assert (status, kept) == (503, False) and "send it again" in body["details"]["message"]
        assert connection.receive_all() == b""


@pytest.mark.parametrize("doomed", [THREADS], indirect=True, ids=["in threads"])
@pytest.mark.parametrize("kind", [BEFORE_READ, BEHIND_EMPTY_READ], ids=["before it", "behind it"])
def test_a_read_that_takes_nothing_claims_nothing(doomed, kind):
    """In threads a connection is read once more behind a request: there a client got a 503 it had not asked for."""
    with doomed.server.connect() as connection:
        connection.send(post("return 1"))
        assert payload(read_response(connection)[1]) == 1
        doomed.stop_at(kind, 2 if kind == BEFORE_READ else 1)
        connection.send(post("return 2"))
        assert payload(read_response(connection)[1]) == 2
        doomed.kill()
        assert is_silent(connection)
        connection.send(post("return 3"))
        assert payload(read_response(connection)[1]) == 3


@pytest.mark.parametrize("kind, expected", [(BEFORE_READ, "ok"), (BEHIND_READ, "server_error")], ids=["before it", "behind it"])
def test_a_first_read(doomed, kind, expected):
    with doomed.server.connect() as connection:
        doomed.stop_at(kind)
        connection.send(b'"return 1"')
        doomed.kill()
        reply = connection.reply()
        assert reply.get("error", "ok") == expected
        if expected != "ok":
            assert "send it again" in reply["message"]


def test_a_byte_that_stands_for_none_counts_as_read(doomed):
    """0xFF says on the scoreboard that nothing was read, and is followed here by what would be a message without it."""
    with doomed.server.connect() as connection:
        connection.send(b"\xff")
        assert processes.eventually(lambda: unread(connection) == 0)
        time.sleep(0.1)  # for the worker to come from that read to its next instruction
        os.kill(doomed.server.worker_pids()[0], signal.SIGKILL)
        with contextlib.suppress(BrokenPipeError):  # answered already
            connection.send(b'"return 1"')
        assert "send it again" in connection.reply()["message"]


# ---- streams ------------------------------------------------------------------------------------------------------------

EVENTS = "yield 'a'\nyield 'b'"
WHOLE = [("downstream", "a"), ("downstream", "b")]


def parse_stream(data, chunked=True):
    """(events, whether the stream came to its end) of the body of a stream."""
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), data
    if chunked:
        text, whole = b"", False
        while body:
            size, _, rest = body.partition(b"\r\n")
            size = int(size, 16)
            assert not whole, "more behind the end: %r" % data
            whole = size == 0
            if len(rest) < size + 2:
                break
            text, body = text + rest[:size], rest[size + 2:]
    else:
        text, whole = body, body.endswith(b"\n\n")
    events = []
    for event in text.decode().split("\n\n")[:-1]:
        name, value = event.split("\n")
        events.append((name[len("event: "):], json.loads(value[len("data: "):])))
    return events, whole


def brief(events):
    """What each is about."""
    return [(name, payload({"frames": [value]}) if name == "downstream" else value["details"]["type"] if name == "error" else "")
            for name, value in events]


DIED = [("error", "WorkerCrashed"), ("done", "")]
# The moment by the sends before it: the head, two events, `done`, the end. What a client gets that way.
STREAMS = {
    "behind the head": (BEHIND_SEND, 1, DIED), "before the first event": (BEFORE_SEND, 2, DIED),
    "behind the first event": (BEHIND_SEND, 2, WHOLE[:1] + DIED), "before the second event": (BEFORE_SEND, 3, WHOLE[:1] + DIED),
    "behind the second event": (BEHIND_SEND, 3, WHOLE + DIED), "before it is done": (BEFORE_SEND, 4, WHOLE + DIED),
    "once it is done": (BEHIND_SEND, 4, WHOLE + [("done", "")]), "before its end": (BEFORE_SEND, 5, WHOLE + [("done", "")]),
    "behind its end": (BEHIND_SEND, 5, WHOLE + [("done", "")]),
}


@pytest.mark.parametrize("doomed", [{}, THREADS], indirect=True, ids=["on the spot", "in threads"])
@pytest.mark.parametrize("kind, count, expected", STREAMS.values(), ids=STREAMS)
def test_a_stream_ends_as_streams_do(doomed, kind, count, expected):
    with doomed.server.connect() as connection:
        doomed.stop_at(kind, count)
        connection.send(post(EVENTS))
        doomed.kill()
        events, whole = parse_stream(connection.receive_all())
        assert (brief(events), whole) == (expected, True)


@pytest.mark.parametrize("count, expected", [(2, WHOLE[:1] + DIED), (4, WHOLE + [("done", "")])], ids=["an event", "done"])
def test_so_does_one_without_chunks(doomed, count, expected):
    with doomed.server.connect() as connection:
        doomed.stop_at(BEHIND_SEND, count)
        connection.send(post(EVENTS, "1.0"))
        doomed.kill()
        assert brief(parse_stream(connection.receive_all(), chunked=False)[0]) == expected


def test_a_stream_that_has_told_its_error_is_not_told_another(doomed):
    with doomed.server.connect() as connection:
        doomed.stop_at(BEHIND_SEND, 3)
        connection.send(post("yield 'a'\nraise KeyError('own')"))
        doomed.kill()
        events, whole = parse_stream(connection.receive_all())
        assert (brief(events), whole) == (WHOLE[:1] + [("error", "KeyError"), ("done", "")], True)


@pytest.mark.parametrize("doomed", [{}, THREADS], indirect=True, ids=["on the spot", "in threads"])
def test_a_stream_of_which_nothing_is_out_has_the_usual_reply(doomed):
    with doomed.server.connect() as connection:
        doomed.stop_at(BEFORE_SEND)
        connection.send(post(EVENTS))
        doomed.kill()
        status, body, _ = read_response(connection)
        assert (status, body["details"]["type"]) == (500, "WorkerCrashed")


def test_a_stream_that_is_out_in_part_is_cut(doomed):
    """Its client has not read, and what it has of the event is no whole chunk: nothing may be added."""
    with doomed.server.connect() as connection:
        doomed.stop_at(BEHIND_SEND, 2)
        connection.send(post("yield 'x' * (1 << 22)"))
        doomed.kill()
        events, whole = parse_stream(connection.receive_all())
        assert events == [] and not whole


LIMIT = {"ASYA_HANDLER_TIMEOUT": "0.3"}
STUCK = "import collections, itertools\nyield 'a'\ncollections.deque(itertools.repeat(None), maxlen=0)"


@pytest.mark.parametrize("doomed", [LIMIT], indirect=True, ids=["0.3 s"])
def test_a_stream_over_its_time_limit_is_ended_from_outside(doomed):
    with doomed.server.connect() as connection:
        connection.send(post(STUCK))
        events, whole = parse_stream(connection.receive_all())
        assert (brief(events), whole) == (WHOLE[:1] + [("error", "HandlerTimeout"), ("done", "")], True)


@pytest.mark.parametrize("doomed", [LIMIT], indirect=True, ids=["0.3 s"])
def test_a_stream_that_stands_still_as_it_sends_is_ended_once_its_worker_is_killed(doomed):
    with doomed.server.connect() as connection:
        doomed.stop_at(BEFORE_SEND, 2)
        connection.send(post("yield 'a'"))
        events, whole = parse_stream(connection.receive_all())
        assert (brief(events), whole) == ([("error", "HandlerTimeout"), ("done", "")], True)


def test_a_stopped_worker_whose_reply_is_out_does_not_keep_the_connection(doomed):
    """It was stopped before it could say that it waits for the next request."""
    with doomed.server.connect() as connection:
        [stopped] = doomed.server.worker_pids()
        doomed.stop_at(BEHIND_SEND)
        connection.send(post("return 1"))
        assert payload(read_response(connection)[1]) == 1
        doomed.wait()
        os.kill(stopped, signal.SIGSTOP)
        connection.send(post("return 2"))
        status, body, _ = read_response(connection)
        assert (status, payload(body)) == (200, 2)
        doomed.go_on()
        os.kill(stopped, signal.SIGCONT)
        connection.send(post("return 3"))
        assert payload(read_response(connection)[1]) == 3


# Notices the time limit and goes on until the test says so.
STUBBORN = """
import os, time
open(%(begun)r, "w").close()
while not os.path.exists(%(go)r):
    try:
        time.sleep(0.01)
    except BaseException:
        pass
return 1
"""


def test_the_next_request_does_not_pay_for_one_that_was_late(runtime, tmp_path):
    """The supervisor is about to answer for a late request, when the worker does so itself and begins the next one."""
    moments = Doomed(tmp_path / "moments")
    begun, go = tmp_path / "begun", tmp_path / "go"
    env = {**moments.env, "ASYA_HANDLER_TIMEOUT": "0.3", "ASYA_HANDLER_GRACE": "20", "ASYA_CANCEL_ON_DISCONNECT": "false"}
    with runtime("snippets:run", env=env, allow_log=DEATH) as server, server.connect() as connection:
        moments.stop_at(BEHIND_PEEK)
        connection.send(post(STUBBORN % {"begun": str(begun), "go": str(go)}))
        moments.wait()
        go.touch()
        status, body, kept = read_response(connection)
        assert (status, body["details"]["type"], kept) == (500, "HandlerTimeout", True)
        again = tmp_path / "again"
        connection.send(post("open(%r, 'w').close()\nimport time\ntime.sleep(0.1)\nreturn 2" % str(again)))
        assert processes.eventually(again.exists)
        moments.go_on()
        status, body, kept = read_response(connection)
        assert (status, payload(body), kept) == (200, 2, True)


LOADS_LONG = """
import os, time
time.sleep(8 if os.path.exists(%r) else 0)
def process(payload):
    return os.getpid()
"""


def test_a_connection_whose_worker_dies_as_it_wakes_is_taken_by_another(runtime, tmp_path):
    """Each connection wakes one worker. The dead one's successor loads, the other has slept through it."""
    moments = Doomed(tmp_path / "moments")
    (tmp_path / "long.py").write_text(LOADS_LONG % str(tmp_path / "loaded"))
    env = {**moments.env, "ASYA_WORKERS": "2", "PYTHONPATH": str(tmp_path)}
    with runtime("long", env=env, allow_log=DEATH, code=None) as server:
        (tmp_path / "loaded").touch()
        workers = set(server.worker_pids())
        moments.stop_at(BEHIND_WAIT)
        with server.connect() as connection:
            connection.send(b"1 ")
            moments.wait()
            started = time.monotonic()
            moments.kill()
            assert connection.reply()["result"] in workers
            assert time.monotonic() - started < 6


def test_an_interrupt_before_the_handlers_are_in_place_is_obeyed(runtime, tmp_path):
    """The interpreter notes it and acts on it at its next instruction, which would not have come."""
    moments = shims.Moments(tmp_path / "moments")
    moments.stop_at(BEFORE_EVENTFD)
    with runtime("snippets:run", env=moments.env, ready=False) as server:
        moments.wait()
        server.kill(signal.SIGINT)
        moments.go_on()
        assert server.wait() == 0
