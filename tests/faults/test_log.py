"""A log that nobody reads, or that cannot be written, holds nobody up; what is missing in it is counted (O5)."""
import contextlib
import fcntl
import os
import re
import signal
import threading
import time

import pytest

from harness import client, logs, processes

pytestmark = pytest.mark.supervised

FAILS = "raise RuntimeError('x' * 100)"
FAILS_LONG = "raise RuntimeError('x' * 3000)"
LONG = 300


def _fill(pipe):
    """Until not one byte more goes into it, for whoever else writes to it as well."""
    own = os.open("/proc/self/fd/%d" % pipe, os.O_WRONLY | os.O_NONBLOCK)
    for size in (4096, 1):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(own, b"-" * (size - 1) + b"\n")
    os.close(own)


@contextlib.contextmanager
def _standard_error(kind):
    """What is no use as a log: (for the runtime, the other end or None)."""
    if kind == "a full disk":
        end, reader = os.open("/dev/full", os.O_WRONLY), None
    else:
        reader, end = os.pipe()
        _fill(end)
        if kind == "a full pipe that does not block":
            fcntl.fcntl(end, fcntl.F_SETFL, os.O_NONBLOCK)
        if kind == "a pipe without a reader":
            os.close(reader)
            reader = None
    try:
        yield end, reader
    finally:
        os.close(end)
        if reader is not None:
            os.close(reader)


KINDS = ["a full pipe", "a full pipe that does not block", "a pipe without a reader", "a full disk"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_log_that_takes_nothing_holds_nobody_up(runtime, kind):
    with _standard_error(kind) as (end, _), runtime("snippets:run", env={"ASYA_WORKERS": 2}, stderr=end) as server:
        for _ in range(LONG):
            assert server.call(FAILS_LONG)["error"] == "processing_error"
        for _ in range(LONG):
            assert server.call(b'{"\x01')["error"] == "invalid_json"
        assert server.result("return 1") == 1
        for pid in server.worker_pids():
            os.kill(pid, signal.SIGKILL)
        assert server.result("return 2") == 2
        assert b" 200 " in client_bytes(server, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")


def client_bytes(server, data):
    with server.connect() as connection:
        connection.send(data)
        return connection.receive_all()


def test_closed_standard_error_holds_nobody_up(runtime):
    with runtime("snippets:run", wrapper=("sh", "-c", 'exec "$0" "$@" 2>&-')) as server:
        for _ in range(10):
            assert server.call(FAILS)["error"] == "processing_error"
        assert server.result("return 1") == 1


def test_a_function_that_writes_to_a_full_log_has_a_time_limit_and_the_next_one_runs(runtime):
    with _standard_error("a full pipe") as (end, _):
        with runtime("snippets:run", env={"ASYA_HANDLER_TIMEOUT": "0.3"}, stderr=end) as server:
            assert server.call("import os\nos.write(2, b'x' * 100000)")["type"] == "HandlerTimeout"
            assert server.result("return 1") == 1


def test_a_request_that_runs_is_answered_before_the_stop_though_nobody_reads(runtime):
    with _standard_error("a full pipe") as (end, _), runtime("snippets:run", stderr=end) as server:
        got = []
        caller = threading.Thread(target=lambda: got.append(server.result("import time\ntime.sleep(0.5)\nreturn 1")))
        caller.start()
        time.sleep(0.2)
        server.kill(signal.SIGTERM)
        caller.join()
        assert got == [1]
        assert server.wait(5) == 0


def test_a_load_that_fails_is_tried_again_though_nobody_reads(runtime, tmp_path):
    module = tmp_path / "fickle.py"
    good = "def run(code):\n    import os\n    return os._exit(3) if code == 'die' else code\n"
    module.write_text(good)
    env = {"PYTHONPATH": str(tmp_path), "ASYA_READ_TIMEOUT": "60"}
    with _standard_error("a full pipe") as (end, _), runtime("fickle:run", env=env, stderr=end) as server:
        assert server.result(1) == 1
        module.write_text("raise RuntimeError('x' * 100000)\n")
        assert server.call("die")["type"] == "WorkerExited"
        time.sleep(0.3)
        module.write_text(good + "# and another size\n")
        assert server.result(2) == 2


class _Reader(threading.Thread):
    """Reads so much at a time, and no faster than that."""

    def __init__(self, pipe, size, pause):
        super().__init__(daemon=True)
        self._pipe, self._size, self._pause = pipe, size, pause
        self.data = b""
        self.start()

    def run(self):
        while True:
            part = os.read(self._pipe, self._size)
            if not part:
                return
            self.data += part
            time.sleep(self._pause)


def _errors(data):
    """(lines with the function's error, lines said to be lost), after a look at each."""
    lines = [line for line in logs.split(data) if set(line.text) != {"-"}]
    strange = [line for line in lines if line.level is None]
    assert not strange, strange
    lost = [int(match.group(1)) for match in (re.search(r"ERROR (\d+) lines? of this log", line.text) for line in lines) if match]
    return sum("RuntimeError" in line.message for line in lines), sum(lost)


def test_a_slow_reader_gets_every_line(runtime):
    reader, end = os.pipe()
    _fill(end)
    with runtime("snippets:run", stderr=end) as server:
        slow = _Reader(reader, 16384, 0.01)
        for _ in range(LONG):
            assert server.call(FAILS)["error"] == "processing_error"
    os.close(end)
    slow.join(client.PATIENCE)
    os.close(reader)
    assert _errors(slow.data) == (LONG, 0)


def test_a_reader_that_comes_back_is_told_what_it_missed(runtime):
    reader, end = os.pipe()
    _fill(end)
    with runtime("snippets:run", stderr=end) as server:
        for _ in range(LONG):
            assert server.call(FAILS_LONG)["error"] == "processing_error"
        back = _Reader(reader, 1 << 20, 0)
        assert processes.eventually(lambda: b"lines of this log were lost here" in back.data)
        assert server.call(FAILS_LONG)["error"] == "processing_error"
    os.close(end)
    back.join(client.PATIENCE)
    os.close(reader)
    seen, lost = _errors(back.data)
    assert seen + lost == LONG + 1 and seen > 10 and lost > 10


def test_a_client_does_not_fill_the_log(runtime):
    with runtime("snippets:run", allow_log=["WARNING invalid_json: "]) as server:
        before = len(server.logs())
        began = time.monotonic()
        for _ in range(1000):
            assert server.call(b"{]")["error"] == "invalid_json"
        server.wait_for_log("WARNING invalid_json: .* more lines? like this w.* left out")
        seconds = time.monotonic() - began
        count = len(server.logs()) - before
        assert 20 <= count <= 20 + 2 * (seconds + 1)
        # and whatever the function says is there
        for i in range(100):
            server.call("raise ValueError('number %d')" % i)
        server.judge_log(expect=["WARNING .*number %d'?\n" % i for i in (0, 50, 99)], allow=["WARNING "])


def test_nothing_a_client_sends_turns_the_text_of_a_line_around(runtime):
    message = '{"a": \u202e}'.encode()
    with runtime("snippets:run", expect_log=["WARNING invalid_json"], allow_log=["WARNING "]) as server:
        assert server.call(message)["error"] == "invalid_json"
        assert server.call("raise ValueError('\u202e \u2066 \U000e0041')")["error"] == "validation_error"
        text = server.wait_for_log("ValueError")[0].text
        assert "\\xe2\\x80\\xae \\xe2\\x81\\xa6 \\xf3\\xa0\\x81\\x81" in text
