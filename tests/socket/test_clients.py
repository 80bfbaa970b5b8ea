"""Clients that go away, stall, never read, send rubbish, or come all at once: nobody else notices (C1, C3, C4, C7)."""
import contextlib
import json
import os
import re
import select
import socket
import struct
import time

import pytest

from harness import client, logs, processes
from harness.conformance import ends_early, seems_to_end_early
from harness.crowd import all_at_once, many_descriptors

MACHINE = 1.0  # seconds that a machine others use too may stand still
CLIENT_GONE = "(WARNING|ERROR) .*(connection_error|server_error)"  # may be logged when a client leaves or stalls


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
        for _ in range(10_000):
            if dice.random() < 0.1:
                assert "result" in counting.call(message)
                whole += 1
            else:
                with counting.connect() as connection:
                    connection.send(message[:dice.randrange(len(message))] or b" ")
        assert counting.result("report") == start + whole


BODY = b'{"text": "' + b"x" * 5000 + b'"}'
WHOLE = {"bare json": BODY, "a length prefix": struct.pack(">I", len(BODY)) + BODY,
         "http": b"POST /invoke HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)}


@pytest.mark.parametrize("message", WHOLE.values(), ids=WHOLE)
def test_a_client_gone_after(runtime, message):
    """One line each, as far as they are logged, and the function is not called."""
    with runtime("answers:count", expect_log=["WARNING .*connection_error"], allow_log=[CLIENT_GONE]) as server:
        before = len(server.logs())
        sizes = (1, 3, 4, 5, len(message) // 2, len(message) - 1)
        for count in sizes:
            for _ in range(20):
                with server.connect() as connection:
                    connection.send(message[:count])
        assert processes.eventually(lambda: logs.tally(server.logs(), "connection_error") >= 20 * len(sizes))
        told = server.logs()[before:]
        assert all("connection_error" in line.message for line in told), told
        assert logs.tally(told, "connection_error") == 20 * len(sizes)
        assert server.result("report") == 0


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
def test_1000_silent_clients_do_not_delay_a_normal_one(echo, data):
    """p99 under twice its value alone; below the floor it is noise of the machine, not waiting."""
    alone = slowest_percent(echo)
    with crowd(echo, 1000, data):
        beside = slowest_percent(echo)
    assert beside < max(2 * alone, 0.05), "p99 alone %.4f s, beside 1000 clients %.4f s" % (alone, beside)


class Slow:
    """One that sends or reads a byte a second, or nothing at all, until the server has closed."""

    def __init__(self, connection, first, then=b"", reads=False):
        self.connection, self.first, self.then, self.reads = connection, first, then, reads
        self.started = time.monotonic()
        self.acted = 0
        connection.send(first)

    def act(self):
        """What is due at this second."""
        if time.monotonic() - self.started >= self.acted + 1:
            self.acted += 1
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                if self.then:
                    self.connection.send(self.then)
                if self.reads:
                    self.connection.receive(1)


REPLY_OF_600_KB = b'"return \'x\' * 600000"'
SLOW = [  # what is sent first, what each second, whether a byte is read each second
    (b"", b"", False), (b"{", b"", False), (b'"', b"x", False), (b"\0\0\0\x20", b"", False), (b"\0\0\0\x20", b" ", False),
    (b"POST /invoke HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", b"", False), (b"POST /", b"x", False),
    (REPLY_OF_600_KB, b"", False), (REPLY_OF_600_KB, b"", True),
]


TURN = 0.1  # seconds: a time limit begins with the turn of the loop that accepts, and 1,000 are accepted in one


def test_1000_slow_clients_of_every_kind_are_closed_in_time_and_delay_nobody(runtime):
    """Deadlines of two seconds; a normal client beside them."""
    env = {"ASYA_READ_TIMEOUT": "2", "ASYA_WRITE_TIMEOUT": "2"}
    with runtime("snippets:run", env=env, allow_log=[CLIENT_GONE]) as server:
        began = time.monotonic()
        with crowd(server, 1000) as connections:
            waiting, poll = {}, select.poll()
            for number, connection in enumerate(connections):
                waiting[connection.socket.fileno()] = Slow(connection, *SLOW[number % len(SLOW)])
                poll.register(connection.socket, select.POLLRDHUP)
            taken, untimely = [], []
            while waiting and time.monotonic() - began < 20:
                for fd, _ in poll.poll(0):
                    poll.unregister(fd)
                    slow, now = waiting.pop(fd), time.monotonic()
                    if now - began < 2 or now - slow.started > 2 + 1 + MACHINE:
                        untimely.append((slow.first, now - slow.started))
                for slow in waiting.values():
                    slow.act()
                started = time.perf_counter()
                assert server.result("return 1") == 1
                taken.append(time.perf_counter() - started)
                time.sleep(0.005)
        assert not waiting, "still open: %r" % {slow.first for slow in waiting.values()}
        assert not untimely
        assert sorted(taken)[int(len(taken) * 0.99)] < MACHINE


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


def test_1000_simultaneous_clients_are_all_answered(echo):
    requests = [b'{"id": %d}' % number for number in range(1000)]
    for number, reply in enumerate(all_at_once(echo.path, requests)):
        assert client.check_reply(reply)["result"] == {"id": number}


def test_1000_simultaneous_clients_of_a_function_that_takes_its_time(runtime):
    """One runs, the others wait, nobody is lost."""
    with runtime("answers:nap") as server:
        for reply in all_at_once(server.path, [b"0.001 "] * 1000):
            assert client.check_reply(reply)["result"] == 0.001


def test_who_waits_behind_a_function_is_served_in_the_order_of_arrival(runtime, tmp_path):
    """All have sent their request while it runs, so long that the supervisor accepts for the worker."""
    hold = b"import os, time\\nwhile not os.path.exists('%s'): time.sleep(0.01)\\ntime.sleep(0.3)\\nreturn 0"
    sent = tmp_path / "sent"
    code = b'"KEPT[1] = KEPT.get(1, 0) + 1\\nreturn KEPT[1]"'
    with runtime("snippets:run") as server, server.connect() as first:
        first.send(b'"' + hold % str(sent).encode() + b'"')
        replies = all_at_once(server.path, [code] * 1000, sent.touch)
        assert first.reply()["result"] == 0
        assert [client.check_reply(reply)["result"] for reply in replies] == list(range(1, 1001))


def highest(pid):
    """The most memory a process has had, in bytes."""
    with open("/proc/%d/status" % pid) as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))


def test_the_supervisor_holds_no_requests_of_those_who_wait(runtime):
    """1000 wait, so long that it accepts for the worker: less than a request and 8 KiB for each."""
    request = b'"return 1 #' + b"x" * 20_000 + b'"'
    with runtime("snippets:run") as server, server.connect() as first:
        before = highest(server.pid)
        first.send(b'"import time\\ntime.sleep(0.5)"')
        for reply in all_at_once(server.path, [request] * 1000):
            assert client.check_reply(reply)["result"] == 1
        assert highest(server.pid) - before < 1000 * (len(request) + 8192) // 20, "it holds them"
        assert first.reply()["status"] == "ok"


def test_10000_clients_one_crowd_after_the_other_are_all_answered(echo):
    for number in range(100):
        for reply in all_at_once(echo.path, [b"[%d]" % number] * 100):
            assert client.check_reply(reply)["result"] == [number]


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
    return mutated(dice, dice.choice(SEEDS))


def mutated(dice, message):
    """The message with a few changes."""
    message = bytearray(message)
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
    count = int(os.environ.get("ASYA_TEST_FUZZ", 5000)) // (1 if chunk is None else 4)
    told = ["WARNING .*(invalid_json|invalid_encoding)"]
    with runtime("answers:kind", env={"ASYA_PROTOCOL": "raw"}, allow_log=told) as server:
        workers = server.worker_pids()
        wrong = []
        for _ in range(count):
            message = random_message(dice)
            # cut into bytes, a message ends with its value: what is wrong behind it may not have arrived
            early = bool(chunk) and (ends_early(message) or seems_to_end_early(message))
            answer = server.call(message, chunk=chunk).get("error", "ok")
            expected = {oracle(message)}
            if early:
                expected |= {"invalid_json", "invalid_encoding"} | ({"ok"} if ends_early(message) else set())
            if answer not in expected:
                wrong.append((message, answer, expected))
        assert not wrong
        assert server.worker_pids() == workers


def whole_messages():
    """A valid request of each protocol around each seed."""
    for seed in SEEDS:
        yield seed
        yield struct.pack(">I", len(seed)) + seed
        yield b"POST /invoke HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
            len(seed), seed)
        yield b"POST /invoke HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (
            len(seed), seed)
    yield b"GET /healthz HTTP/1.0\r\n\r\n"


def whole_reply(data):
    """What is wrong with the bytes that answered, None if nothing is: one reply at least, whole, in one of the protocols."""
    try:
        if data.startswith(b"HTTP/1.1 "):
            while data:
                head, _, data = data.partition(b"\r\n\r\n")
                length = int(re.search(rb"(?i)content-length: (\d+)", head + b" content-length: 0").group(1))
                if not head.startswith((b"HTTP/1.1 100", b"HTTP/1.1 204")) and length and len(data) >= length:
                    client.strict_loads(data[:length])
                assert len(data) >= length and head.startswith(b"HTTP/1.1 "), "cut"
                data = data[length:]
        elif data.startswith(b"\0"):
            assert struct.unpack(">I", data[:4])[0] == len(data) - 4, "cut"
            assert isinstance(client.strict_loads(data[4:]), list)
        else:
            client.check_reply(data)
    except (AssertionError, ValueError) as error:
        return repr(error)
    return None


def test_mutated_messages_of_every_protocol_are_answered(runtime, dice):
    """A category, never silence: whatever the first byte makes of it, its reply is whole and in its own form."""
    count = int(os.environ.get("ASYA_TEST_FUZZ", 5000))
    with runtime("answers:kind", allow_log=["WARNING .*"]) as server:
        workers = server.worker_pids()
        seeds = list(whole_messages())
        wrong = []
        for _ in range(count):
            message = mutated(dice, dice.choice(seeds))
            with server.connect() as connection:
                with contextlib.suppress(OSError):
                    connection.send(message)
                    connection.half_close()
                fault = whole_reply(connection.receive_all())
            if fault:
                wrong.append((message, fault))
        assert not wrong
        assert server.worker_pids() == workers
