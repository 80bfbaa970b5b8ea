"""`bench`: what the load loop counts is what the runtime has answered, and its latencies are those that clients have."""
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

from harness import processes
from harness.runtime import PYTHON, RUNTIME

HANDLERS = '''
import time

def echo(payload):
    return payload

def slow(payload):
    time.sleep(0.05)
    return payload

def raises(payload):
    raise KeyError("as told")

stalled = []

def stalls_once(payload):
    """Every request is answered at once, but for one."""
    if payload == 1:
        stalled.append(1)
        if len(stalled) == 100:
            time.sleep(0.5)
    return payload
'''


@pytest.fixture
def folder(short_folder):
    (short_folder / "mine.py").write_text(HANDLERS)
    return short_folder


def bench(folder, *arguments, code=0):
    env = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(folder)}
    ended = subprocess.run([PYTHON, str(RUNTIME), "bench", *arguments], cwd=folder, env=env, capture_output=True, text=True,
                           stdin=subprocess.DEVNULL, timeout=90, check=False)
    assert ended.returncode == code, ended
    assert not list(folder.glob("asya-*")), "nothing is left behind"
    return ended.stdout if code in (0, 2) else ended.stderr


def figures(folder, *arguments, code=0):
    return json.loads(bench(folder, *arguments, "--json", code=code))


@pytest.mark.parametrize("how", [["--protocol", "raw"], ["--protocol", "framed"], ["--protocol", "http"],
                                 ["--protocol", "http", "--keep"]], ids=" ".join)
def test_each_request_is_counted_once(folder, how):
    found = figures(folder, "mine:echo", '{"text": "h\u00e9llo"}', *how, "--requests", "500", "--clients", "4", "--workers", "2")
    assert found["outcomes"] == {"ok": 500, "errors": 0, "lost": 0, "late": 0}
    assert sum(count for _, count in found["histogram"]) == 500
    latency = found["latency_seconds"]
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["p99.9"] <= latency["max"]
    assert found["requests_per_second"] == pytest.approx(500 / found["seconds"])


def test_a_running_runtime_has_answered_what_was_counted(runtime, folder):
    with runtime("answers:echo") as server:
        found = figures(folder, "--socket", server.path, "[1]", "--seconds", "0.3")
        text = server.control("/metrics").text
        served = int(re.search(r'requests_total\{protocol="raw",outcome="ok",error_type=""\} (\d+)', text).group(1))
        assert found["outcomes"]["ok"] <= served, "the warm-up is not counted"
        assert found["latency_seconds"]["p50"] > 0.00001


def test_the_closed_loop_measures_the_function(folder):
    found = figures(folder, "mine:slow", "1", "--clients", "2", "--workers", "2", "--requests", "20")
    assert 0.05 <= found["latency_seconds"]["p50"] and found["requests_per_second"] <= 41


def test_the_open_loop_keeps_its_rate_and_omits_nothing(folder):
    """While the runtime stalls for half a second, 100 requests are due: each of them waits, and is counted so. A closed loop
    would have one slow request among hundreds."""
    found = figures(folder, "mine:stalls_once", "1", "--rate", "200", "--seconds", "2")
    assert found["outcomes"]["ok"] == 400 and found["rate"] == 200
    waited = sum(count for end, count in found["histogram"] if end > 0.1)
    assert 60 <= waited <= 400, found["histogram"]
    assert found["latency_seconds"]["p90"] > 0.1 and found["latency_seconds"]["max"] >= 0.45


def test_a_rate_that_is_too_high_is_told_of(folder):
    text = bench(folder, "mine:slow", "1", "--rate", "100", "--seconds", "1")
    assert "the rate was not reached" in text and "open loop, 100/s" in text


def test_errors_are_counted_apart(folder):
    assert "no request got a good reply: {\"error\":\"processing_error\"" in bench(folder, "mine:raises", "1", code=1)
    for protocol in ("framed", "http"):
        assert "no request got a good reply" in bench(folder, "mine:raises", "1", "--protocol", protocol, code=1)
    found = figures(folder, "mine:slow", "1", "--clients", "8", "--timeout", "0.12", "--seconds", "1", code=2)
    assert found["outcomes"]["late"] > 0 and found["outcomes"]["ok"] > 0


def test_a_server_that_goes_away_loses_requests_and_holds_nobody(folder):
    path = str(folder / "s")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)

    def serve():
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            with contextlib.suppress(OSError), listener.accept()[0] as connection:
                connection.recv(100)
                connection.sendall(b'{"status":"ok","result":1}')
        listener.close()
    listener.settimeout(0.1)
    thread = threading.Thread(target=serve)
    thread.start()
    found = figures(folder, "--socket", path, "1", "--clients", "1", "--seconds", "3", code=2)
    thread.join()
    assert found["outcomes"]["lost"] > 0 and found["outcomes"]["ok"] > 0 and found["outcomes"]["late"] == 0


def test_a_report_and_a_comparison(folder):
    (folder / "before.json").write_text(bench(folder, "mine:echo", "1", "--requests", "100", "--json"))
    text = bench(folder, "mine:echo", "1", "--requests", "100", "--compare", "before.json")
    assert re.search(r"^raw, 8 clients, closed loop, ", text) and "100 ok, 0 errors, 0 lost, 0 late" in text
    assert re.search(r"^p99\.9 ms +[\d.]+ +[\d.]+ before +[\d.]+ times$", text, re.MULTILINE)
    assert re.search(r"^ +[\d.]+ ms +[\d.]+ %  #+$", text, re.MULTILINE) and max(map(len, text.splitlines())) <= 80


def test_ctrl_c_ends_it_at_once(folder):
    process = subprocess.Popen([PYTHON, str(RUNTIME), "bench", "mine:slow", "1", "--seconds", "60"], cwd=folder, stderr=subprocess.PIPE,
                               stdout=subprocess.PIPE, env={"PATH": os.environ["PATH"], "TMPDIR": str(folder)})
    assert processes.eventually(lambda: list(folder.glob("asya-*/s")))
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, b"") and b"Traceback" not in err
    assert not list(folder.glob("asya-*"))


@pytest.mark.parametrize("arguments, code, words", [
    (["--socket", "no", "1"], 1, "no runtime answers at no (No such file or directory)"),
    (["mine:nothing", "1"], 67, "has no attribute 'nothing'"), (["mine:echo", "1", "--clients", "0"], 64, "1 to 4096"),
    (["mine:echo", "1", "--keep"], 64, "--protocol http"), (["mine:echo", "1", "--compare", "no.json"], 1, "No such file"),
    (["mine:echo", "1", "--compare", "mine.py"], 1, "not an output of `bench --json`"), (["mine:echo", "1", "--rat", "5"], 64, "did you mean --rate?"),
    (["mine:echo", "1", "--rate", "fast"], 64, "help bench"), (["mine:echo", "{"], 1, "invalid_json")])
def test_a_mistake_is_told_in_a_line(folder, arguments, code, words):
    said = bench(folder, *arguments, code=code)
    assert said.count("\n") == 1 and words in said
