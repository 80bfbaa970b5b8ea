"""Clients that go away, stall, never read, send rubbish, or come all at once: nobody else notices."""
import contextlib
import json
import os
import resource
import selectors
import socket
import time

import pytest

from harness import client, processes
from harness.conformance import ends_early, seems_to_end_early

CLIENT_GONE = "(WARNING|ERROR) .*(connection_error|server_error)"  # may be logged when a client leaves or stalls
FULL = bool(os.environ.get("ASYA_TEST_FULL"))


@contextlib.contextmanager
def many_descriptors(count=8192):
    """Room for that many descriptors in this process; runtimes started before keep their own limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(count, hard)), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def crowd(server, count, data=b""):
    """That many open connections, each having sent `data`, all closed at the end."""
    with contextlib.ExitStack() as stack, many_descriptors():
        connections = [stack.enter_context(server.connect()) for _ in range(count)]
        for connection in connections:
            if data:
                connection.send(data)
        yield connections


def slowest_percent(server, calls=300):
    """The 99th percentile of the seconds one exchange takes, one after the other."""
    taken = []
    for number in range(calls):
        started = time.perf_counter()
        assert server.result([number]) == [number]
        taken.append(time.perf_counter() - started)
    return sorted(taken)[int(calls * 0.99)]


@pytest.fixture(scope="module")
def counting(runtime):
    with runtime("answers:count", allow_log=[CLIENT_GONE]) as server:
        yield server


@pytest.fixture(scope="module")
def echoing(runtime):
    with runtime("answers:echo", allow_log=[CLIENT_GONE]) as server:
        yield server


@pytest.fixture
def echo(echoing):
    with echoing.watched(allow_log=[CLIENT_GONE]):
        yield echoing


# -- gone ---------------------------------------------------------------------------------------------------------------


def test_connecting_and_closing_without_a_byte_is_no_event(echoing):
    """How a sidecar checks readiness: nothing above DEBUG is logged."""
    with echoing.watched():
        before = len(echoing.logs())
        for _ in range(50):
            echoing.connect().close()
        assert echoing.result([1]) == [1]
        assert len(echoing.logs()) == before


def test_a_message_cut_at_random_never_reaches_the_function(counting, dice):
    """And every whole one does exactly once."""
    whole = 0
    message = json.dumps({"text": "x" * 50, "number": [1, 2.5, None]}).encode()
    with counting.watched(allow_log=[CLIENT_GONE]):
        start = counting.result("report")
        for _ in range(10_000 if FULL else 500):
            if dice.random() < 0.1:
                assert "result" in counting.call(message)
                whole += 1
            else:
                with counting.connect() as connection:
                    connection.send(message[:dice.randrange(len(message))] or b" ")
        assert counting.result("report") == start + whole


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, "half", "all but one"])
def test_a_client_gone_after(counting, size):
    message = b'{"text": "' + b"x" * 5000 + b'"}'
    count = {"half": len(message) // 2, "all but one": len(message) - 1}.get(size, size)
    with counting.watched(allow_log=[CLIENT_GONE]):
        calls = counting.result("report")
        for _ in range(20):
            with counting.connect() as connection:
                if count:
                    connection.send(message[:count])
        assert counting.result("report") == calls


def test_a_client_gone_while_the_function_runs_does_not_end_the_runtime(runtime):
    with runtime("answers:nap", allow_log=[CLIENT_GONE]) as server:
        workers = server.worker_pids()
        for _ in range(30):
            with server.connect() as connection:
                connection.send(b"0.01 ")
        assert server.result(0) == 0
        assert server.worker_pids() == workers


def test_a_client_gone_during_the_reply_does_not_end_the_runtime(echo):
    message = json.dumps("x" * 2_000_000).encode()
    for _ in range(30):
        with echo.connect() as connection:
            connection.send(message)
            assert connection.receive(1000).startswith(b'{"status"')
    assert echo.result([1]) == [1]


def test_a_half_closed_client_gets_its_reply(runtime):
    with runtime("answers:nap") as server:
        for _ in range(10):
            with server.connect() as connection:
                connection.send(b"0.02")
                connection.half_close()
                assert connection.reply()["result"] == 0.02


# -- slow ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def impatient(runtime):
    env = {"ASYA_READ_TIMEOUT": "1", "ASYA_WRITE_TIMEOUT": "1"}
    with runtime("answers:echo", env=env, allow_log=[CLIENT_GONE]) as server:
        yield server


@pytest.fixture
def hasty(impatient):
    with impatient.watched(allow_log=[CLIENT_GONE]):
        yield impatient


@pytest.mark.parametrize("data", [b"", b"{", b'{"a": "', b" ", b"12"], ids=["none", "{", "half", "space", "digits"])
def test_a_silent_client_is_answered_and_closed_at_the_deadline(hasty, data):
    started = time.monotonic()
    with hasty.connect() as connection:
        if data:
            connection.send(data)
        assert connection.reply()["error"] == "connection_error"
    assert 0.9 < time.monotonic() - started < 3


def test_the_deadline_is_for_the_whole_request_not_for_each_read(hasty):
    started = time.monotonic()
    with hasty.connect() as connection:
        connection.socket.settimeout(0.1)
        connection.send(b'"')
        part = b""
        while not part and time.monotonic() - started < 6:
            connection.send(b"x")
            with contextlib.suppress(socket.timeout):
                part = connection.receive(1000)
        assert client.check_reply(part)["error"] == "connection_error"
    assert 0.9 < time.monotonic() - started < 3


def test_a_client_that_never_reads_is_given_up_at_the_write_deadline(hasty):
    message = json.dumps("x" * 8_000_000).encode()
    with hasty.connect() as deaf:
        deaf.send(message)
        assert hasty.result([1]) == [1], "others are not disturbed"
        time.sleep(2.5)
        got = 0
        with contextlib.suppress(ConnectionResetError):
            while True:
                part = deaf.receive(1 << 20)
                if not part:
                    break
                got += len(part)
        assert got < len(message), "the reply was kept beyond its deadline"


def test_a_client_that_reads_slowly_within_the_deadline_gets_everything(echo):
    message = json.dumps("x" * 3_000_000).encode()
    with echo.connect() as connection:
        connection.send(message)
        connection.half_close()
        parts = []
        while True:
            part = connection.receive(100_000)
            if not part:
                break
            parts.append(part)
            time.sleep(0.005)
        assert client.check_reply(b"".join(parts))["result"] == "x" * 3_000_000


@pytest.mark.parametrize("data", [b"", b"{"], ids=["silent", "stuck after one byte"])
def test_500_silent_clients_do_not_delay_a_normal_one(echo, data):
    """p99 under twice its value alone; below the floor it is noise of the machine, not waiting."""
    alone = slowest_percent(echo)
    with crowd(echo, 500, data):
        beside = slowest_percent(echo)
    assert beside < max(2 * alone, 0.05), "p99 alone %.4f s, beside 500 clients %.4f s" % (alone, beside)


def test_500_clients_that_send_a_byte_now_and_then_do_not_delay_a_normal_one(echo):
    alone = slowest_percent(echo)
    taken = []
    with crowd(echo, 500, b'"') as connections:
        for round_number in range(10):
            for connection in connections[round_number::10]:
                connection.send(b"x")
            taken.append(slowest_percent(echo, 30))
    assert sorted(taken)[len(taken) // 2] < max(2 * alone, 0.05)


def test_a_hundred_deaf_clients_do_not_delay_a_normal_one(echo):
    message = json.dumps("x" * 600_000).encode()
    with crowd(echo, 100) as connections:
        for connection in connections:
            connection.send(message)
        assert slowest_percent(echo, 100) < 1.0


# -- many ---------------------------------------------------------------------------------------------------------------


def all_at_once(path, requests):
    """Send every request on a connection of its own, all open at the same time; the raw replies in order.

    Connecting does not wait: a backlog that is too short shows as EAGAIN."""
    replies = [b""] * len(requests)
    with contextlib.ExitStack() as stack, many_descriptors(), selectors.DefaultSelector() as selector:
        sockets = []
        for _ in requests:
            peer = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
            peer.connect(path)
            sockets.append(peer)
        for number, (peer, request) in enumerate(zip(sockets, requests)):
            peer.sendall(request)
            selector.register(peer, selectors.EVENT_READ, number)
        deadline = time.monotonic() + 60
        waiting = len(requests)
        while waiting and time.monotonic() < deadline:
            for key, _ in selector.select(1):
                part = key.fileobj.recv(1 << 16)
                replies[key.data] += part
                if not part:
                    selector.unregister(key.fileobj)
                    waiting -= 1
        assert not waiting, "%d of %d connections were never closed" % (waiting, len(requests))
    return replies


def test_1000_simultaneous_clients_are_all_answered(echo):
    requests = [b'{"id": %d}' % number for number in range(1000)]
    for number, reply in enumerate(all_at_once(echo.path, requests)):
        assert client.check_reply(reply)["result"] == {"id": number}


def test_1000_simultaneous_clients_of_a_function_that_takes_its_time(runtime):
    """One runs, the others wait, nobody is lost."""
    with runtime("answers:nap") as server:
        for reply in all_at_once(server.path, [b"0.001 "] * 1000):
            assert client.check_reply(reply)["result"] == 0.001


def test_memory_does_not_grow_with_the_number_of_clients(echo):
    all_at_once(echo.path, [b"[1]"] * 500)
    before = processes.resident(echo.pid)
    for _ in range(4):
        all_at_once(echo.path, [b"[1]"] * 500)
    assert processes.resident(echo.pid) - before < 1 << 20


def test_few_descriptors_are_enough(runtime):
    """With 64 of them, 300 clients at once wait for their turn; nobody is refused and nothing spins."""
    with runtime("answers:echo", wrapper=["prlimit", "--nofile=64:64"], allow_log=["WARNING"]) as server:
        for reply in all_at_once(server.path, [b"[7]"] * 300):
            assert client.check_reply(reply)["result"] == [7]


# -- rubbish ------------------------------------------------------------------------------------------------------------

SEEDS = [
    b'{"id": 17, "items": [{"sku": "a\\u00e9b", "price": 12.50}, null, true], "note": "caf\xc3\xa9 \xf0\x9f\x98\x80"}',
    b'[1, -2.5e10, 0.1, 123456789012345678901234567890, "\\ud83d\\ude00", {"": []}]',
    b'"text with \\"quotes\\" and \\\\ and \\n"', b"  [[], {}, [{}], [[[[]]]]]  ", b"-12.75e-3", b"false", b'{"a":{"b":{"c":1}}}',
]
TOKENS = [b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u12", b"\\ud800", b"null", b"true", b"-", b"0", b"e9", b".",
          b" ", b"\n", b"\x00", b"\xff", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98\x80", b"\xef\xbb\xbf", b"NaN", b"Infinity"]


def random_message(dice):
    """Random bytes, random tokens, or a valid message with a few changes."""
    way = dice.random()
    if way < 0.2:
        return bytes(dice.randrange(256) for _ in range(dice.randrange(1, 60)))
    if way < 0.4:
        return b"".join(dice.choice(TOKENS) for _ in range(dice.randrange(1, 20)))
    message = bytearray(dice.choice(SEEDS))
    for _ in range(dice.randrange(1, 4)):
        place = dice.randrange(len(message) + 1)
        change = dice.random()
        if change < 0.3:
            message[place:place + 1] = bytes([dice.randrange(256)])
        elif change < 0.6:
            message[place:place] = dice.choice(TOKENS)
        elif change < 0.8:
            del message[place:place + dice.randrange(1, 5)]
        else:
            del message[place:]
    return bytes(message)


def oracle(data):
    """The category CPython's strict decoders imply."""
    try:
        text = data.decode("utf-8", "strict")
        if not text.strip(" \t\r\n"):
            return "empty_message"
        json.loads(text, parse_constant=lambda name: int("not JSON"))
        return "ok"
    except UnicodeDecodeError:
        return "invalid_encoding"
    except ValueError:
        return "invalid_json"


@pytest.mark.parametrize("chunk", [None, 1], ids=["in one write", "byte by byte"])
def test_random_and_mutated_messages_get_the_category_python_implies(runtime, dice, chunk):
    count = int(os.environ.get("ASYA_TEST_FUZZ", 1000)) // (1 if chunk is None else 4)
    told = ["WARNING .*(invalid_json|invalid_encoding)"]
    with runtime("answers:kind", env={"ASYA_PROTOCOL": "raw"}, allow_log=told) as server:
        workers = server.worker_pids()
        wrong = []
        for _ in range(count):
            message = random_message(dice)
            # cut into bytes, a message ends with its value: what is wrong behind it may not have arrived
            early = bool(chunk) and (ends_early(message) or seems_to_end_early(message))
            answer = server.call(message, chunk=chunk, may_reset=early).get("error", "ok")
            expected = {oracle(message)}
            if early:
                expected |= {"invalid_json", "invalid_encoding"} | ({"ok"} if ends_early(message) else set())
            if answer not in expected:
                wrong.append((message, answer, expected))
        assert not wrong
        assert server.worker_pids() == workers
