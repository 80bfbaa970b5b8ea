"""A system that gives as little as it may: one byte a call, or every second call interrupted. The answers are the same
as without (E13)."""
import contextlib
import fcntl
import os
import re
import signal
import struct
import sys
import termios

import pytest

from harness import processes, protocols, shims
from harness.client import encode
from harness.conformance import json_suite

pytestmark = pytest.mark.supervised

TOLD = ["(WARNING|ERROR) .*"]
MODES = ["short", "interrupted"]
POST = b"POST /invoke HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
CLOSE = b"Connection: close\r\n"


def http(code, more=CLOSE):
    body = encode(protocols.hops(code))
    return POST + more + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(code):
    body = encode(protocols.hops(code))
    return POST + CLOSE + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(
        b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:5], body[5:50], body[50:], b""))


def framed(data):
    return struct.pack(">I", len(data)) + data


EXCHANGES = {
    "a success": b'"return [1, 2.5, \'x\']"', "a reply of 100 kB": b'"return \'x\' * 100000"',
    "a message of 100 kB": b'"return 1 #' + b"x" * 100_000 + b'"', "validation_error": b'"raise ValueError(1)"',
    "processing_error": b'"return object()"', "an empty message": b"", "bad UTF-8": b'"\xff"', "no JSON": b"[1,",
    "too large": b'"' + b"x" * 200_000, "a frame": framed(encode(protocols.actors("return [1, 2]"))),
    "a frame that is no message": framed(b"hello"), "a frame cut off": framed(b"[1]")[:5],
    "HTTP": http("return [1, 2]"), "two requests of HTTP": http("return 1", b"") + http("return 2"),
    "HTTP in chunks": chunked("return 1"), "a stream": http("for n in range(20): yield n"), "no HTTP": b"GET\r\n\r\n",
    "health": b"GET /healthz HTTP/1.0\r\n\r\n", "a time limit": b'"while True: pass"',
}
# What the supervisor answers.
ENDS = {
    "SIGKILL": b'"import os\\nos.kill(os.getpid(), 9)"', "an exit": b'"import os\\nos._exit(3)"',
    "a time limit": b'"import collections, itertools\\ncollections.deque(itertools.repeat(None), maxlen=0)"',
}
ENV = {"ASYA_HANDLER_TIMEOUT": "0.5", "ASYA_MAX_MESSAGE_SIZE": "150000"}


def replies(server, exchanges):
    """name -> all bytes of the reply."""
    found = {}
    for name, data in exchanges.items():
        with server.connect() as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.send(data)
                connection.half_close()
            found[name] = connection.receive_all()
    return found


def told(server):
    """What is logged above INFO, without numbers and stacks, in the order of the alphabet: two processes write it, and the
    supervisor its line on the time limit behind the reply."""
    server.wait_for_log("is asked to stop")
    return sorted(re.sub("[0-9]+", "N", line.message.split("; ")[0]) for line in server.logs()
                  if not line.quiet and "ASYA_TEST_SOCKETS is no setting" not in line.message)


@pytest.fixture(scope="module")
def usual(runtime):
    """Replies and log of a system that gives what is asked for."""
    with runtime("snippets:run", env=ENV, allow_log=TOLD) as server:
        return replies(server, EXCHANGES), told(server)


@pytest.mark.parametrize("mode", MODES)
def test_each_exchange_has_the_reply_and_the_line_it_has_elsewhere(runtime, usual, mode):
    env = {**ENV, **shims.preloaded("sockets", SHIM_SOCKETS=mode)}
    with runtime("snippets:run", env=env, allow_log=TOLD) as server:
        found = replies(server, EXCHANGES)
        assert {name: reply for name, reply in found.items() if reply != usual[0][name]} == {}
        assert told(server) == usual[1]


@pytest.mark.parametrize("mode", MODES)
def test_what_the_supervisor_answers_is_what_it_answers_elsewhere(runtime, mode):
    with runtime("snippets:run", env=ENV, allow_log=TOLD) as server:
        usual = replies(server, ENDS)
    with runtime("snippets:run", env={**ENV, **shims.preloaded("sockets", SHIM_SOCKETS=mode)}, allow_log=TOLD) as server:
        assert replies(server, ENDS) == usual


@pytest.mark.parametrize("mode", MODES)
def test_the_conformance_files_have_their_categories(runtime, mode):
    env = {"ASYA_PROTOCOL": "raw", **shims.preloaded("sockets", SHIM_SOCKETS=mode)}
    with runtime("answers:kind", env=env, allow_log=TOLD) as server:
        wrong = []
        for case in json_suite():
            answer = server.call(case.data).get("error", "ok")
            if answer not in case.allowed and not (answer == "ok" and case.complete_before_its_end):
                wrong.append((case.name, answer, case.allowed))
        assert not wrong


@pytest.mark.parametrize("mode", MODES)
def test_who_waits_behind_a_dead_worker_is_served(runtime, mode):
    env = shims.preloaded("sockets", SHIM_SOCKETS=mode)
    with runtime("snippets:run", env=env, allow_log=TOLD) as server:
        [worker] = server.worker_pids()
        with contextlib.ExitStack() as stack:
            dying, *waiting = [stack.enter_context(server.connect()) for _ in range(20)]
            dying.send(b'"import os, time\\ntime.sleep(0.3)\\nos._exit(1)"')
            for number, connection in enumerate(waiting):
                connection.send(b'"return %d"' % number)
            dying.receive_all()
            for number, connection in enumerate(waiting):
                assert connection.reply() == {"status": "ok", "result": number}
        assert server.worker_pids() != [worker]


# Another program of the same user has so many descriptors in messages that the kernel lets no further one pass.
CROWDED = shims.preloaded("sockets", SHIM_SOCKETS="crowded")


def test_no_flood_of_lines_where_no_connection_can_be_stored(runtime):
    with runtime("snippets:run", env=CROWDED, allow_log=TOLD) as server:
        assert all(server.result("return %d" % number) == number for number in range(300))
        assert 0 < server.log_text().count("could not be stored") < 100


def unread(connection):
    """Bytes sent that nobody has read yet."""
    return int.from_bytes(fcntl.ioctl(connection.socket, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


@pytest.mark.parametrize("wrap", [encode, http], ids=["bare JSON", "HTTP"])
def test_the_fdholder_answers_what_it_cannot_give(runtime, tmp_path, wrap):
    begun = tmp_path / "begun"
    with runtime("snippets:run", env={**CROWDED, "ASYA_CONCURRENCY": "2"}, allow_log=TOLD) as server:
        [worker] = server.worker_pids()
        with server.connect() as running, server.connect() as partial:
            running.send(wrap("import time\nopen(%r, 'w').close()\ntime.sleep(30)" % str(begun)))
            partial.send(wrap("return 1")[:-3])
            assert processes.eventually(begun.exists)
            assert processes.eventually(lambda: unread(partial) == 0)
            os.kill(worker, signal.SIGKILL)
            assert b"WorkerCrashed" in running.receive_all()
            assert b"send it again" in partial.receive_all()
        server.wait_for_log("worker 0 is ready", count=2)  # whom the supervisor took before, it could not hand on
        assert server.result("return 1") == 1
