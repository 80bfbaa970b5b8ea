"""ASYA_CAPTURE_OUTPUT: what a worker prints becomes records of the log, each of its request, and holds up nobody."""
import concurrent.futures
import json
import os
import re
import signal
import time

import pytest

from harness import client, processes
from harness.protocols import Stream, actors, framed, hops, invoke

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
CAPTURE = {"ASYA_CAPTURE_OUTPUT": "true", "ASYA_LOG_FORMAT": "json", "PYTHONUNBUFFERED": None}


def printed(server):
    records = [json.loads(line.text) for line in server.logs() if '"event":"function_output"' in line.text]
    assert all(len(json.dumps(record)) < 17000 and record["level"] == "INFO" for record in records)
    return records


def texts(server, stream=None):
    return [record["message"] for record in printed(server) if stream in (None, record["stream"])]


def wait_for(server, text):
    """The records, once one has this text."""
    assert processes.eventually(lambda: text in texts(server)), "%r, but: %s" % (text, server.log_text()[-3000:])
    return printed(server)


C = "import ctypes\nlibc = ctypes.CDLL(None)\n"
WAYS = {
    "print": ("print('said')", "stdout"),
    "standard error": ("import sys\nprint('said', file=sys.stderr)", "stderr"),
    "without a newline": ("print('said', end='')", "stdout"),
    "a buffer": ("import sys\nsys.stdout.buffer.write(b'said')", "stdout"),
    "a descriptor": ("import os\nos.write(1, b'said\\n')", "stdout"),
    "printf": (C + "libc.printf(b'said\\n')", "stdout"),
    "C's standard error": (C + "libc.perror(None) if 0 else libc.dprintf(2, b'said\\n')", "stderr"),
    "a program": ("import subprocess\nsubprocess.run(['/bin/sh', '-c', 'echo said'])", "stdout"),
    "a program's errors": ("import subprocess\nsubprocess.run(['/bin/sh', '-c', 'echo said >&2'])", "stderr"),
    "a child": ("import os\npid = os.fork()\nif pid == 0:\n    print('said')\n    os._exit(0)\nos.waitpid(pid, 0)", "stdout"),
    "a warning": ("import warnings\nwarnings.showwarning = lambda *a: __import__('sys').stderr.write('said\\n')\n"
                  "warnings.warn('x')", "stderr"),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_of_printing_becomes_a_record_of_its_request(runtime, way):
    code, stream = WAYS[way]
    with runtime("snippets:run", env=CAPTURE) as server:
        worker = server.worker_pids()[0]
        assert invoke(server.path, hops(code + "\nreturn 1", id="m-7"), {"traceparent": TRACE})[0] == 200
        [record] = wait_for(server, "said")
        assert record["stream"] == stream and record["request_id"] == "m-7" and "continues" not in record
        assert record["trace_id"] == TRACE.split("-")[1] and record["span_id"] == TRACE.split("-")[2]
        assert (record["worker"], record["pid"]) == (0, worker)
        assert server.out_file.read_bytes() == b""


def test_in_text_the_stream_stands_before_it(runtime):
    with runtime("snippets:run", env={"ASYA_CAPTURE_OUTPUT": "true"}) as server:
        framed(server.path, actors("import os\nprint('h\\x1b[31m')\nos.write(2, b'\\xff\\xe2\\x82\\xac\\n')\nreturn 1", id="m-1"))
        [line] = server.wait_for_log("INFO .m-1. stdout: ")
        assert line.message == "[m-1] stdout: h\\x1b[31m"
        [line] = server.wait_for_log("INFO .m-1. stderr: ")
        assert line.message == "[m-1] stderr: \\xff\u20ac"


def test_without_the_setting_nothing_is_captured(runtime):
    with runtime("snippets:run", env={**CAPTURE, "ASYA_CAPTURE_OUTPUT": None}) as server:
        assert server.result("print('x'); return __import__('os').readlink('/proc/self/fd/1')") == str(server.out_file)
        server.stop()
        assert printed(server) == [] and server.out_file.read_bytes() == b"x\n"


@pytest.mark.parametrize("level", ["WARNING", "ERROR"])
def test_the_level_of_the_log_does_not_hide_it(runtime, level):
    with runtime("snippets:run", env={**CAPTURE, "ASYA_LOG_LEVEL": level}) as server:
        server.result("print('x'); return 1")
        wait_for(server, "x")


@pytest.mark.parametrize("env", [{"ASYA_WORKERS": 2}, {"ASYA_WORKERS": 2, "PYTHONUNBUFFERED": "1"}], ids=["", "unbuffered"])
def test_every_line_has_the_id_of_its_request(runtime, env):
    """One request after the other, as fast as they come: of each what it has printed, in its order, and nothing else."""
    with runtime("printing:process", env={**CAPTURE, **env}) as server:
        def ask(i):
            payload = {"name": "m-%d" % i, "times": i % 4, "child": i % 50 == 0}
            assert framed(server.path, actors(payload, id=payload["name"]))
            return payload

        with concurrent.futures.ThreadPoolExecutor(4) as clients:
            asked = list(clients.map(ask, range(400)))
        server.stop()
        records = printed(server)
    for payload in asked:
        own = [record["message"] for record in records if record.get("request_id") == payload["name"]]
        expected = ["%s %s" % (way, payload["name"]) for way in ["print", "descriptor"] * payload["times"]]
        child = ["child " + payload["name"]] if payload["child"] else []
        assert [m for m in own if m[0] in "pd"] == expected
        assert [m for m in own if m[0] in "wc"] == ["write " + payload["name"]] * payload["times"] + child * 2 or child
    assert {record["message"] for record in records if "request_id" not in record} == {"imported", "loaded", "at exit"}


@pytest.mark.parametrize("handler", ["printing:process", "printing:task"], ids=["threads", "tasks"])
def test_what_python_prints_side_by_side_has_its_id(runtime, handler):
    """What C code and programs print cannot be told apart then, and has none."""
    with runtime(handler, env={**CAPTURE, "ASYA_CONCURRENCY": 4}) as server:
        def ask(i):
            payload = {"name": "m-%d" % i, "times": 40, "child": i == 3}
            assert framed(server.path, actors(payload, id=payload["name"]))

        with concurrent.futures.ThreadPoolExecutor(8) as clients:
            list(clients.map(ask, range(40)))
        server.stop()
        records = printed(server)
    way = "print" if "process" in handler else "task"
    assert sum(record["message"].startswith(way) for record in records) == 1600
    for record in records:
        if re.match("(print|write|task) ", record["message"]):
            assert record["request_id"] == record["message"].split()[1], record
        else:
            assert "request_id" not in record, record


def test_a_stream_prints_between_its_events(runtime):
    with runtime("printing:stream", env=CAPTURE) as server:
        with Stream(server.path, hops("w", id="m-3")) as stream:
            assert len(list(stream)) >= 3
        records = wait_for(server, "step 2")
        assert [record["request_id"] for record in records if record["message"].startswith("step")] == ["m-3"] * 3


def test_what_is_printed_without_a_request_has_no_id(runtime):
    """At the import, by a health check, between requests; also of a worker that has its first request at once."""
    with runtime("printing:process", env=CAPTURE, allow_log=["ERROR"]) as server:
        wait_for(server, "imported")
        for i in range(20):
            worker = server.worker_pids()[0]
            os.kill(worker, signal.SIGKILL)
            for name in ("m-%d" % i, "m-%da" % i):  # a worker that has answered two is replaced at once
                framed(server.path, actors({"name": name}, id=name))
        server.stop()
        records = printed(server)
        names = [json.loads(line.text)["event"] for line in server.logs()]
    assert len([record for record in records if record["message"] == "imported"]) == 21
    for record in records:
        named = record["message"].rpartition(" ")[2]
        assert record.get("request_id") == (named if named.startswith("m-") else None), record
    assert names[-1] == "runtime_stopped" and "at exit" in [record["message"] for record in records]


def test_what_the_function_logs_is_not_logged_twice(runtime):
    code = "import logging\nlogging.warning('logged %s', 'x' * 30000)\nlogging.getLogger('a').error('b')\nreturn 1"
    with runtime("snippets:run", env=CAPTURE, allow_log=["WARNING", "ERROR"]) as server:
        framed(server.path, actors(code, id="m-1"))
        [line] = server.wait_for_log('"message":"b"')
        assert json.loads(line.text)["request_id"] == "m-1" and json.loads(line.text)["event"] == "function_log"
        server.stop()
        assert printed(server) == [] and "x" * 30000 in server.log_text()


def test_a_line_of_any_length_comes_in_pieces(runtime):
    line = "".join(chr(0x4E00 + i % 5000) for i in range(5000)) * 700  # 10 MiB
    code = "print(''.join(chr(0x4E00 + i %% 5000) for i in range(5000)) * 700%s)\nreturn 1"
    with runtime("snippets:run", env=CAPTURE) as server:
        framed(server.path, actors(code % "", id="m-1"))
        framed(server.path, actors(code % ", end=''", id="m-2"))
        framed(server.path, actors("print('end')\nreturn 1", id="m-3"))
        records = wait_for(server, "end")
    for name in ("m-1", "m-2"):
        pieces = [record for record in records if record["request_id"] == name]
        assert "".join(record["message"] for record in pieces) == line
        assert [record.get("continues", False) for record in pieces] == [True] * (len(pieces) - 1) + [False]


def test_anything_may_be_printed(runtime, dice):
    seed = dice.getrandbits(32)
    code = "import os, random\nfor i in range(300):\n    os.write(1 + i %% 2, random.Random(%d + i).randbytes(1500).replace(b'\\r', b''))\nreturn 1" % seed
    with runtime("snippets:run", env={**CAPTURE}) as server:
        assert server.result(code) == 1
        assert server.result("import sys\nprint('end', file=sys.stderr)\nprint('end')\nreturn 1") == 1
        assert processes.eventually(lambda: texts(server).count("end") == 2)
        records = printed(server)
        assert sum(len(record["message"]) for record in records) > 300_000  # of 450,000 bytes, some of which are parts of a character


def test_a_flood_holds_up_nobody_else(runtime):
    """50 MB from one worker: all of it arrives, and whoever asks for the runtime's health is told at once."""
    code = "import os\nline = b'x' * 999 + b'\\n'\nfor _ in range(500): os.write(1, line * 100)\nreturn 1"
    with runtime("snippets:run", env={**CAPTURE, "ASYA_LOG_FORMAT": "text"}) as server:
        with server.connect() as connection:
            connection.send(json.dumps(code).encode())
            assert processes.eventually(lambda: "xxx" in server.log_text()[-1000:])
            waits = []
            while not select_readable(connection):
                for path, ask in (("/healthz", server.path), ("/livez", server.control_path)):
                    begin = time.monotonic()
                    assert http_status(ask, path) == 200
                    waits.append(time.monotonic() - begin)
            assert connection.reply()["result"] == 1
        assert len(waits) > 10 and max(waits) < 2 and sorted(waits)[len(waits) // 2] < 0.2, waits
        server.stop()
        assert server.log_text().count("stdout: " + "x" * 999 + "\n") == 50_000


def select_readable(connection):
    import select

    return bool(select.select([connection.socket], [], [], 0.01)[0])


def http_status(path, target):
    from harness.protocols import HttpConnection

    connection = HttpConnection(path)
    try:
        connection.request("GET", target)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("gone", [True, False], ids=["gone", "stalled"])
def test_the_logs_own_reader_holds_up_nobody(runtime, gone):
    """Records are dropped and counted; what is printed is read all the same."""
    reader, end = os.pipe()
    with runtime("snippets:run", env=CAPTURE, stderr=end) as server:
        if gone:
            os.close(reader)
        for _ in range(3):
            assert server.result("print('y' * 79 + '\\n', end='') if 0 else [print('y' * 79) for _ in range(20000)]\nreturn 1") == 1
        os.close(end)
        if not gone:
            rest = b""
            server.kill(signal.SIGTERM)
            while True:
                got = os.read(reader, 1 << 16)
                if not got:
                    break
                rest += got
            os.close(reader)
            records = [json.loads(line) for line in rest.decode().splitlines()]
            lost = sum(int(record["message"].split()[0]) for record in records if record["event"] == "log_lost")
            kept = sum(record["event"] == "function_output" for record in records)
            assert 0 < kept < 60_000 and kept + lost >= 60_000, (kept, lost)


def test_a_worker_that_is_killed_in_the_middle_of_a_line(runtime):
    with runtime("snippets:run", env=CAPTURE, allow_log=["ERROR"]) as server:
        framed(server.path, actors("import os\nos.write(1, b'whole\\nhal')\nos.kill(os.getpid(), 9)", id="m-1"))
        server.wait_for_log("worker_died")
        records = [json.loads(line.text) for line in server.logs()]
        events = [(record["event"], record.get("request_id")) for record in records]
        at = events.index(("worker_died", "m-1"))
        assert [(record["message"], record.get("request_id")) for record in records[at - 2:at]] == [("whole", "m-1"), ("hal", "m-1")]


@pytest.mark.parametrize("end, words", [
    (C + "libc.dprintf(2, b'assertion failed\\n')\nlibc.abort()", "assertion failed"),
    ("import os\nos.write(2, b'no newline')\nos._exit(3)", "no newline"),
    (C + "libc.malloc.restype = ctypes.c_void_p\np = ctypes.c_void_p(libc.malloc(5000))\nfor _ in range(3): libc.free(p)", "double free"),
], ids=["abort", "exit", "glibc"])
def test_the_last_words_stand_before_the_line_of_the_death(runtime, end, words):
    if "free" in end and "musl" in os.popen("ldd --version 2>&1").read():
        pytest.skip("musl says nothing")
    with runtime("snippets:run", env=CAPTURE, allow_log=["ERROR"]) as server:
        framed(server.path, actors(end, id="m-1"))
        server.wait_for_log("worker_died")
        records = [json.loads(line.text) for line in server.logs()]
        [said] = [i for i, record in enumerate(records) if words in record["message"] and record["event"] == "function_output"]
        [died] = [i for i, record in enumerate(records) if record["event"] == "worker_died"]
        assert said < died and records[said]["request_id"] == "m-1"


def test_a_progress_bar_shows_its_last_state(runtime):
    code = "import sys, time\nfor i in range(101):\n    sys.stderr.write('\\r%d%%' % i)\n    sys.stderr.flush()\nprint(file=sys.stderr)\nreturn 1"
    with runtime("snippets:run", env=CAPTURE) as server:
        server.result(code)
        records = wait_for(server, "100%")
        assert len(records) < 20, "not one for each step"


def test_a_line_that_does_not_end_is_shown_after_a_second(runtime):
    with runtime("snippets:run", env=CAPTURE) as server:
        with server.connect() as connection:
            connection.send(json.dumps("import sys, time\nprint('waiting ', end='', flush=True)\nwhile not KEPT.get('go'):\n"
                                       "    time.sleep(0.01)\n    KEPT['go'] = __import__('os').path.exists(%r)\nprint('done')\nreturn 1"
                                       % str(server.folder / "go")).encode())
            [record] = wait_for(server, "waiting ")
            assert record["continues"] is True
            (server.folder / "go").touch()
            assert connection.reply()["result"] == 1
        wait_for(server, "done")
        (server.folder / "go").unlink()


@pytest.mark.parametrize("close", ["os.close(1)\nos.close(2)", "os.dup2(os.open('/dev/null', os.O_WRONLY), 1)"])
def test_a_function_that_closes_its_output_is_served_on(runtime, close):
    with runtime("snippets:run", env=CAPTURE, worker_descriptors=True, allow_log=["WARNING"]) as server:
        assert server.result("import os\n%s\nreturn 1" % close) == 1
        for _ in range(3):
            assert server.result("import sys\nprint('x')\nsys.stderr.write('y\\n')\nreturn 1") == 1
        server.call("raise ValueError('still logged')")
        server.wait_for_log('"event":"request_failed"')


OURS = """
import os, fcntl
streams = {os.fstat(1).st_ino, os.fstat(2).st_ino}
pipes = [fd for fd in map(int, os.listdir('/proc/self/fd')) if fd > 2 and os.path.exists('/proc/self/fd/%d' % fd)]
kept = [fd for fd in pipes if os.fstat(fd).st_ino in streams]
log = [fd for fd in pipes if os.readlink('/proc/self/fd/%d' % fd).endswith('/stderr')]
assert len(kept) == 2 and len(log) == 1, (kept, log)
"""


def test_nothing_of_the_runtimes_is_written_into_files_of_the_functions(runtime):
    """It has closed the pipes and the log's descriptor, and opened its own files at their numbers."""
    take = OURS + "for i, fd in enumerate(kept + log): os.dup2(os.open(payload_folder + '/own%d' % i, os.O_RDWR | os.O_CREAT), fd)\n"
    with runtime("snippets:run", env=CAPTURE, worker_descriptors=True, allow_log=["", "ERROR"]) as server:
        code = "payload_folder = %r\n" % str(server.folder.parent) + take + "print('z')\nraise ValueError('theirs')"
        server.call(code)
        for _ in range(3):
            server.call("print('more')\nraise ValueError('theirs')")
        wait_for(server, "more")
        for i in range(3):
            assert (server.folder.parent / ("own%d" % i)).read_bytes() == b""


def test_a_child_that_outlives_the_worker_is_forgotten_with_it(runtime):
    """It holds the pipe; nothing waits for it."""
    code = ("import os, signal, subprocess\nsubprocess.Popen(['/bin/sh', '-c', 'trap \"\" PIPE; echo from the child; "
            "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.1; echo more; done'], start_new_session=True)\n"
            "while not KEPT.get('x'): KEPT['x'] = 1\nreturn 1")
    with runtime("snippets:run", env=CAPTURE, allow_log=["ERROR"], worker_children=True) as server:
        assert server.result(code) == 1
        wait_for(server, "from the child")
        os.kill(server.worker_pids()[0], signal.SIGKILL)
        server.wait_for_log("worker_died")
        assert server.result("print('next'); return 1") == 1
        wait_for(server, "next")
        assert processes.eventually(lambda: len(processes.descendants(server.pid)) <= 2, 10)


def test_the_start_fails_with_what_was_printed_before(refuse, short_folder):
    (short_folder / "loud.py").write_text("print('reading the model')\nraise RuntimeError('no model')\n")
    refusal = refuse("loud:process", env={**CAPTURE, "PYTHONPATH": str(short_folder)})
    said = [json.loads(line.text)["message"] for line in refusal.lines]
    assert "reading the model" in said and any("no model" in text for text in said)
