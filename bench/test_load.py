"""Does the load client notice what it is there to notice? Each row is a server that misbehaves in one way.

Run: python3 -m pytest bench/test_load.py (ASYA_LOAD names the program if it is not build/bench/bench/asya-load).
"""

import json
import os
import pathlib
import re
import socket
import subprocess
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
LOAD = pathlib.Path(os.environ.get("ASYA_LOAD", ROOT / "build/bench/bench/asya-load")).resolve()

pytestmark = pytest.mark.skipif(not LOAD.exists(), reason=f"{LOAD} is not built")


def good(number):
    return b'{"status":"ok","result":{"load_number":%d,"body":{"text":"hello"}}}' % number


# name: (what the server sends for request `number`, arguments, the outcome that must be counted)
BEHAVIOURS = {
    "a good reply": (good, ["--numbered"], "ok"),
    "a good reply with spaces": (
        lambda n: b'{"status": "ok", "result": {"load_number": %d}}\n' % n,
        ["--numbered", "--expect", '{"status": "ok"'],
        "ok",
    ),
    "brackets, quotes and the key inside strings": (
        lambda n: b'{"status":"ok","result":{"load_number":%d,"s":"}{\\"]\\\\"}}' % n,
        ["--numbered"],
        "ok",
    ),
    "the number of another request": (lambda n: good(n + 1), ["--numbered"], "mispaired"),
    "a number that only begins like the right one": (lambda n: good(n * 10 + 7), ["--numbered"], "mispaired"),
    "no number at all": (lambda n: b'{"status":"ok","result":null}', ["--numbered"], "mispaired"),
    "two replies": (lambda n: good(n) + good(n), ["--numbered"], "duplicated"),
    "two different replies": (lambda n: good(n) + b'{"error":"server_error"}', ["--numbered"], "duplicated"),
    "an error after the beginning of a reply": (
        lambda n: good(n)[:30] + b'{"error":"processing_error"}',
        ["--numbered"],
        "truncated",
    ),
    "an error reply": (lambda n: b'{"error":"server_error","message":""}', ["--numbered"], "error_reply"),
    "something after the reply": (lambda n: good(n) + b"x", ["--numbered"], "unexpected"),
    "half a reply": (lambda n: good(n)[:-1], ["--numbered"], "truncated"),
    "half a reply, not numbered": (lambda n: good(0)[:-4], [], "truncated"),
    "another status": (lambda n: b'{"status":"fine"}', [], "unexpected"),
    "an error reply, not numbered": (lambda n: b'{"error":"invalid_json"}', [], "error_reply"),
    "the expected error": (lambda n: b'{"error":"x"}', ["--expect", '{"error":"x"'], "ok"),
    "no reply": (lambda n: b"", [], "lost"),
    "silence": (lambda n: None, ["--timeout", "0.2"], "timeout"),
}


class Server:
    """Sends what `behave` gives for the number in each request, in pieces of `piece` bytes."""

    def __init__(self, path, behave, piece):
        self.behave, self.piece = behave, piece
        self.silenced = []
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(path)
        self.socket.listen(64)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            request = b""
            while chunk := connection.recv(65536):
                request += chunk
            number = re.search(rb'"load_number":(\d+)', request)
            reply = self.behave(int(number[1]) if number else 0)
            if reply is None:
                self.silenced.append(connection)
                continue
            try:
                for at in range(0, len(reply), self.piece):
                    connection.sendall(reply[at : at + self.piece])
                    if self.piece < len(reply):
                        time.sleep(0.0002)
            except BrokenPipeError:
                pass  # the trial connection at the client's start
            connection.close()

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for connection in self.silenced:
            connection.close()


def load(path, *arguments):
    command = [LOAD, "--socket", path, "--warm-up", "0", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return done, json.loads(done.stdout) if done.stdout else None


@pytest.mark.parametrize("piece", [1 << 20, 7], ids=["whole", "in pieces"])
@pytest.mark.parametrize("name", BEHAVIOURS)
def test_outcome(tmp_path, name, piece):
    behave, arguments, outcome = BEHAVIOURS[name]
    server = Server(str(tmp_path / "s"), behave, piece)
    try:
        done, line = load(str(tmp_path / "s"), "--requests", "6", "--clients", "2", *arguments)
    finally:
        server.close()
    assert line["requests"] == 6
    assert {key: value for key, value in line["outcomes"].items() if value} == {outcome: 6}
    assert done.returncode == (0 if outcome == "ok" else 1)
    assert line["errors"] == (0 if outcome == "ok" else 6)


def framed(data):
    return len(data).to_bytes(4, "big") + data


def http(data, status=b"200 OK", name=b"Content-Length"):
    return b"HTTP/1.1 " + status + b"\r\nServer: x\r\n" + name + b": %d\r\n\r\n" % len(data) + data


# mode, what the server sends, whether it closes then, the outcome that must be counted
SIZED = {
    "framed, good": ("framed", framed(b"[{}]"), False, "ok"),
    "framed, an error": ("framed", framed(b'[{"error":"x"}]'), False, "error_reply"),
    "framed, something else": ("framed", framed(b"null"), False, "unexpected"),
    "framed, cut in the prefix": ("framed", framed(b"[{}]")[:3], True, "truncated"),
    "framed, cut in the message": ("framed", framed(b"[{}]")[:-1], True, "truncated"),
    "framed, more than it says": ("framed", framed(b"[{}]") + b"x", False, "duplicated"),
    "framed, nothing": ("framed", b"", True, "lost"),
    "http, good": ("http", http(b"[{}]"), False, "ok"),
    "http, good in small letters": ("http", http(b"[{}]", name=b"content-length"), False, "ok"),
    "http, another status": ("http", http(b"[{}]", b"500 X"), True, "truncated"),
    "http, something else": ("http", http(b"null"), False, "unexpected"),
    "http, cut": ("http", http(b"[{}]")[:-1], True, "truncated"),
    "http, no length": ("http", b"HTTP/1.1 200 OK\r\n\r\n[{}]", True, "truncated"),
    "http on one connection, good": ("http-kept", http(b"[{}]"), False, "ok"),
    "http on one connection, which the server closes": ("http-kept", http(b"[{}]"), True, "ok"),
}


class SizedServer:
    """Sends one reply to each request, whose end it knows by its last byte; `connections` counts what it accepted."""

    def __init__(self, path, reply, closes):
        self.reply, self.closes, self.connections = reply, closes, 0
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(path)
        self.socket.listen(64)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.talk, args=(connection,), daemon=True).start()

    def talk(self, connection):
        with connection:
            received = b""
            while chunk := connection.recv(65536):
                received += chunk
                if received.endswith(b"}"):
                    connection.sendall(self.reply)
                    received = b""
                    if self.closes:
                        return

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


@pytest.mark.parametrize("mode, reply, closes, outcome", SIZED.values(), ids=SIZED)
def test_outcome_of_a_reply_with_a_length(tmp_path, mode, reply, closes, outcome):
    server = SizedServer(str(tmp_path / "s"), reply, closes)
    try:
        done, line = load(str(tmp_path / "s"), "--mode", mode, "--requests", "6", "--clients", "2", "--expect", "[{}]")
    finally:
        server.close()
    counted = {key: value for key, value in line["outcomes"].items() if value}
    if mode == "http-kept" and closes:  # the request sent into the closing connection is lost, and counted as such
        assert set(counted) <= {"ok", "lost"} and counted["ok"] >= 2 and sum(counted.values()) == 6
    else:
        assert counted == {outcome: 6} and done.returncode == (0 if outcome == "ok" else 1)


def test_one_connection_for_each_client_where_they_are_kept(tmp_path):
    server = SizedServer(str(tmp_path / "s"), http(b"[{}]"), False)
    try:
        arguments = ["--mode", "http-kept", "--requests", "100", "--clients", "4", "--expect", "[{}]"]
        done, line = load(str(tmp_path / "s"), *arguments)
    finally:
        server.close()
    assert done.returncode == 0 and line["outcomes"]["ok"] == 100
    assert server.connections == 5  # and the trial connection


def test_no_server_is_one_line_and_exit_1(tmp_path):
    done, _ = load(str(tmp_path / "nothing"))
    assert done.returncode == 1 and done.stdout == "" and done.stderr.count("\n") == 1


def test_a_server_that_goes_away_is_counted_as_connect(tmp_path):
    path = str(tmp_path / "s")
    server = Server(path, good, 1 << 20)
    threading.Timer(0.3, server.close).start()
    _, line = load(path, "--seconds", "0.8", "--numbered")
    assert line["outcomes"]["connect"] > 0
    assert line["outcomes"]["ok"] > 0


def test_a_reply_while_the_request_is_still_being_sent(tmp_path):
    """As with a message over the limit: the server answers and stops reading."""
    body = tmp_path / "body"
    body.write_bytes(b'"' + b"x" * (4 << 20) + b'"')
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen(8)

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.recv(1000)
            try:
                connection.sendall(b'{"error":"message_too_large"}')
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the trial connection
            time.sleep(0.02)
            connection.close()

    threading.Thread(target=serve, daemon=True).start()
    arguments = ["--body", str(body), "--requests", "4", "--expect", '{"error":"message_too_large"']
    done, line = load(str(tmp_path / "s"), *arguments)
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    assert line["outcomes"]["ok"] == 4, done.stderr


def test_latencies_are_those_of_the_server(tmp_path):
    """The server takes 20 ms for a reply and serves one at a time: two clients wait 40 ms."""

    def behave(number):
        time.sleep(0.02)
        return good(number)

    server = Server(str(tmp_path / "s"), behave, 1 << 20)
    _, line = load(str(tmp_path / "s"), "--requests", "10", "--clients", "2")
    server.close()
    assert 38_000 < line["p50_us"] < 80_000
    assert line["p50_us"] <= line["p99_us"] <= line["p999_us"] <= line["max_us"]


def stalls_once(seconds):
    """Behaviour of a server that makes its first client wait, and with it all others."""
    waits = [seconds]

    def behave(number):
        time.sleep(waits.pop() if waits else 0)
        return good(number)

    return behave


def test_an_open_loop_counts_what_a_stall_would_have_made_others_wait(tmp_path):
    """The first of 60 requests takes two thirds of the run. In a closed loop only that one would be slow."""
    server = Server(str(tmp_path / "s"), stalls_once(0.4), 1 << 20)
    _, line = load(str(tmp_path / "s"), "--seconds", "0.6", "--rate", "100", "--uniform")
    server.close()
    assert line["requests"] == 60 and line["errors"] == 0 and line["arrivals"] == "uniform"
    assert line["p50_us"] > 50_000 and line["max_us"] > 390_000


def test_an_open_loop_says_that_the_server_did_not_keep_up(tmp_path):
    """20 ms a request, one at a time, and 100 a second."""
    server = Server(str(tmp_path / "s"), lambda number: time.sleep(0.02) or good(number), 1 << 20)
    done, line = load(str(tmp_path / "s"), "--seconds", "0.5", "--rate", "100", "--uniform")
    server.close()
    assert line["requests"] == 50 and line["kept_up"] is False and line["late_us"] > 300_000
    assert "could not keep up" in done.stderr


def test_an_open_loop_gives_up_what_is_later_than_the_timeout(tmp_path):
    server = Server(str(tmp_path / "s"), lambda number: time.sleep(0.05) or good(number), 1 << 20)
    _, line = load(str(tmp_path / "s"), "--seconds", "0.5", "--rate", "200", "--uniform", "--timeout", "0.2")
    server.close()
    assert line["unsent"] > 0 and line["requests"] + line["unsent"] == 100 and line["kept_up"] is False


def test_random_moments_follow_from_the_seed(tmp_path):
    server = Server(str(tmp_path / "s"), good, 1 << 20)
    counts = []
    for seed in ("7", "7", "8", "9", "10"):
        _, line = load(str(tmp_path / "s"), "--seconds", "0.3", "--rate", "500", "--clients", "4", "--seed", seed)
        assert (line["arrivals"], line["seed"], line["errors"]) == ("poisson", int(seed), 0)
        counts.append(line["requests"])
    server.close()
    assert counts[0] == counts[1] and len(set(counts)) > 1
    assert all(90 < count < 220 for count in counts)


def test_an_open_loop_uses_all_its_connections_and_keeps_them_after_the_warm_up(tmp_path):
    server = SizedServer(str(tmp_path / "s"), http(b"[{}]"), False)
    arguments = ["--mode", "http-kept", "--rate", "200", "--clients", "4", "--seconds", "0.2", "--expect", "[{}]"]
    try:
        done, line = load(str(tmp_path / "s"), *arguments, "--uniform", "--warm-up", "0.1")
    finally:
        server.close()
    assert done.returncode == 0 and line["outcomes"]["ok"] == 40 and line["kept_up"] is True
    assert server.connections == 5  # and the trial connection


@pytest.mark.parametrize(
    "arguments",
    [[], ["--socket", "x" * 200], ["--socket", "x", "--clients", "0"], ["--socket", "x", "--seconds", "soon"],
     ["--socket", "x", "--mode", "smoke"], ["--socket", "x", "--rate", "0"],
     ["--socket", "x", "--mode", "http", "--numbered"], ["--socket", "x", "--body", "/nonexistent"], ["--socket", "x", "more"]],
)  # fmt: skip
def test_wrong_use_is_exit_2(tmp_path, arguments):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "x"))
    listener.listen(1)
    done = subprocess.run([LOAD, *arguments], capture_output=True, text=True, timeout=10, cwd=tmp_path, check=False)
    listener.close()
    assert done.returncode == 2 and done.stderr
