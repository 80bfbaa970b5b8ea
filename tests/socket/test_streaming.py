"""Generators over HTTP: events to the byte, the yield protocol, who waits for whom, and streams that are cut (docs/protocol.md)."""
import contextlib
import json
import pathlib
import shutil
import subprocess
import threading
import time

import pytest

from harness import processes, protocols
from harness.protocols import Stream, hops

SORTS = {"a generator": ("run", 1), "an asynchronous generator": ("run_async", 1), "a generator in a thread": ("run", 3)}


@pytest.fixture(scope="module", params=SORTS.values(), ids=SORTS)
def serving(runtime, request):
    name, concurrency = request.param
    with runtime("yields:" + name, env={"ASYA_CONCURRENCY": concurrency}, worker_descriptors=True) as server:
        try:
            list(Stream(server.path, hops("yield 1")))  # the event loop has its descriptors now
        except BaseException:
            server.stop()
            raise
        yield server


def events(server, code, **members):
    with Stream(server.path, hops(code, **members)) as stream:
        return list(stream)


def payloads(server, code, **members):
    """What came downstream; the stream must be whole and without an error."""
    got = events(server, code, **members)
    assert got[-1] == ("done", {}), got
    assert all(name == "downstream" for name, _ in got[:-1]), got
    return [frame["payload"] for _, frame in got[:-1]]


# -- bytes ----------------------------------------------------------------------------------------------------------------


def test_the_bytes_of_a_stream(serving):
    data = protocols.raw_invoke(serving.path, hops("yield {'n': 1}\nyield 'FLY', 'up'"))
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 200 OK"
    assert {"Content-Type: text/event-stream", "Cache-Control: no-cache", "Connection: close",
            "Transfer-Encoding: chunked"} <= set(lines[1:])
    parts = [b'event: downstream\ndata: {"payload":{"n":1},"route":{"prev":["x","a"],"curr":"b","next":["c"]}}\n\n',
             b'event: upstream\ndata: {"payload":"up"}\n\n', b"event: done\ndata: {}\n\n"]
    assert body == b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def test_http_1_0_knows_no_chunks(serving):
    body = protocols.raw_invoke(serving.path, hops("yield 1"), version="1.0").partition(b"\r\n\r\n")[2]
    assert body == (b'event: downstream\ndata: {"payload":1,"route":{"prev":["x","a"],"curr":"b","next":["c"]}}\n\n'
                    b"event: done\ndata: {}\n\n")


def test_a_newline_in_a_payload_stays_on_its_line(serving):
    assert payloads(serving, "yield 'a\\n\\nevent: forged\\ndata: {}\\n\\n\\r\\u2028'") == [
        "a\n\nevent: forged\ndata: {}\n\n\r\u2028"]


# -- the yield protocol ---------------------------------------------------------------------------------------------------

MEMBERS = {"headers": {"h": 1, "a key": {"x": [1, 2, 3]}}, "status": {"s": "on"}, "parent_id": "p-1"}
READ = {
    ".id": "m-1", ".parent_id": "p-1", ".route.prev": ["x"], ".route.curr": "a", ".route.next": ["b", "c"],
    ".headers": MEMBERS["headers"], ".headers.h": 1, ".status.s": "on", '.headers["a key"].x[1]': 2,
    '.headers["a key"].x[-1]': 3, ".route.next[0]": "b", ".route": {"prev": ["x"], "curr": "a", "next": ["b", "c"]},
}


@pytest.mark.parametrize("path, value", READ.items(), ids=READ)
def test_get(serving, path, value):
    assert payloads(serving, "yield [(yield 'GET', %r)]" % path, **MEMBERS) == [[value]]


def test_what_get_gives_is_a_copy(serving):
    code = "h = yield 'GET', '.headers'\nh['h'] = 2\nh['a key']['x'].clear()\nyield (yield 'GET', '.headers')"
    assert payloads(serving, code, **MEMBERS) == [MEMBERS["headers"]]


def test_what_set_takes_is_a_copy(serving):
    code = "v = {'l': []}\nyield 'SET', '.headers.v', v\nv['l'].append(1)\nyield (yield 'GET', '.headers.v')"
    assert payloads(serving, code) == [{"l": []}]


def test_without_members_headers_and_status_are_empty(serving):
    code = "yield [(yield 'GET', '.headers'), (yield 'GET', '.status'), (yield 'GET', '.parent_id')]"
    assert payloads(serving, code) == [[{}, {}, ""]]


WRITES = {
    "a header": ("yield 'SET', '.headers.h', 2", "headers", {"h": 2}),
    "a header that is a tuple": ("yield 'SET', '.headers.h', (1, 2)", "headers", {"h": [1, 2]}),
    "a header that is an empty tuple": ("yield 'SET', '.headers.h', ()", "headers", {"h": []}),
    "a header of any name": ("yield 'SET', '.headers[\"a b\"]', 2", "headers", {"h": 1, "a b": 2}),
    "a header within what is not there yet": ("yield 'SET', '.headers.a.b.c', 2", "headers", {"h": 1, "a": {"b": {"c": 2}}}),
    "all headers": ("yield 'SET', '.headers', {'n': 1}", "headers", {"n": 1}),
    "no headers": ("yield 'SET', '.headers', {}", "headers", None),
    "a header away": ("yield 'DEL', '.headers.h'", "headers", None),
    "the status": ("yield 'SET', '.status.phase', 'late'", "status", {"s": 1, "phase": "late"}),
    "what comes next": ("yield 'SET', '.route.next', ['z', 'y']", "route", {"prev": ["x", "a"], "curr": "z", "next": ["y"]}),
    "what comes next, as a tuple": ("yield 'SET', '.route.next', ('z', 'y')", "route",
                                    {"prev": ["x", "a"], "curr": "z", "next": ["y"]}),
    "next away": ("yield 'DEL', '.route.next'", "route", {"prev": ["x", "a"], "curr": "", "next": []}),
    "next away and one there again": ("yield 'DEL', '.route.next'\nyield 'SET', '.route.next[:0]', ['z']", "route",
                                      {"prev": ["x", "a"], "curr": "z", "next": []}),
    "all headers away": ("yield 'DEL', '.headers'", "headers", None),
    "all headers away and one there again": ("yield 'DEL', '.headers'\nyield 'SET', '.headers.n', 1", "headers", {"n": 1}),
    "the status away": ("yield 'SET', '.status', None", "status", None),
    "nothing next": ("yield 'SET', '.route.next', []", "route", {"prev": ["x", "a"], "curr": "", "next": []}),
    "one more first": ("yield 'SET', '.route.next[:0]', ['z']", "route",
                       {"prev": ["x", "a"], "curr": "z", "next": ["b", "c"]}),
    "the first of next": ("yield 'SET', '.route.next[0]', 'z'", "route", {"prev": ["x", "a"], "curr": "z", "next": ["c"]}),
    "the last of next away": ("yield 'DEL', '.route.next[-1]'", "route", {"prev": ["x", "a"], "curr": "b", "next": []}),
}


@pytest.mark.parametrize("code, member, value", WRITES.values(), ids=WRITES)
def test_set_and_del_show_in_the_frames_that_follow(serving, code, member, value):
    before, after, _ = events(serving, "yield 1\n%s\nyield 2" % code, headers={"h": 1}, status={"s": 1})
    assert before == ("downstream", {"payload": 1, "route": {"prev": ["x", "a"], "curr": "b", "next": ["c"]},
                                     "headers": {"h": 1}, "status": {"s": 1}})
    expected = {**before[1], "payload": 2, member: value}
    assert after == ("downstream", {key: one for key, one in expected.items() if one is not None})


def test_fly_goes_upstream_at_its_place(serving):
    got = events(serving, "yield 1\nyield 'FLY', {'token': 'a'}\nyield 2\nyield 'FLY', None")
    assert [(name, data.get("payload")) for name, data in got] == [
        ("downstream", 1), ("upstream", {"token": "a"}), ("downstream", 2), ("upstream", None), ("done", None)]


def test_fly_helpers_write_what_the_gateway_understands(serving):
    got = events(serving, "from asya_runtime import fly_status, fly_text\nyield 'FLY', fly_text('a')\n"
                          "yield 'FLY', fly_text('b', artifact_id='x', last=True)\nyield 'FLY', fly_status(message='half')")

    def piece(text, artifact, last):
        return {"artifact_update": {"artifact": {"artifact_id": artifact, "parts": [{"text": text}]}, "append": True,
                                    "last_chunk": last}}

    assert [data["payload"] for _, data in got[:-1]] == [
        piece("a", "stream-0", False), piece("b", "x", True),
        {"status_update": {"status": {"state": "WORKING", "message": {"role": "agent", "parts": [{"text": "half"}]}}}}]


def test_none_is_skipped_and_sends_none(serving):
    assert payloads(serving, "x = yield None\nyield [x]\ny = yield\nyield [y, (yield 'SET', '.headers.a', 1)]") == [
        [None], [None, None]]


REFUSED = {
    "an unknown header": ("'GET', '.headers.none'", "KeyError", "'none'"),
    "an unknown root": ("'GET', '.payload'", "KeyError", "'payload'"),
    "an index beyond": ("'GET', '.route.next[9]'", "IndexError", "list index out of range"),
    "SET of the id": ("'SET', '.id', 'x'", "PermissionError", "Cannot SET .id"),
    "SET of the current actor": ("'SET', '.route.curr', 'x'", "PermissionError", "Cannot SET .route.curr"),
    "SET of the route": ("'SET', '.route', {}", "PermissionError", "Cannot SET .route"),
    "DEL of what was passed": ("'DEL', '.route.prev'", "PermissionError", "Cannot DEL .route.prev"),
    "DEL of what is not there": ("'DEL', '.headers.none'", "KeyError", "'none'"),
    "a next that is a number": ("'SET', '.route.next', 5", "TypeError", ".route.next must be a list of str, not <class 'int'>"),
    "a next that is text": ("'SET', '.route.next', 'abc'", "TypeError", ".route.next must be a list of str, not <class 'str'>"),
    "a next that is None": ("'SET', '.route.next', None", "TypeError",
                            ".route.next must be a list of str, not <class 'NoneType'>"),
    "a next that is a dict": ("'SET', '.route.next', {'a': 1}", "TypeError",
                              ".route.next must be a list of str, not <class 'dict'>"),
    "a next with None in it": ("'SET', '.route.next', ['a', None]", "TypeError",
                               ".route.next must be a list of str, but entry 1 is <class 'NoneType'>"),
    "a part of next that is text": ("'SET', '.route.next[:0]', 'abc'", "TypeError",
                                    ".route.next must be a list of str, not <class 'str'>"),
    "an entry of next that is a number": ("'SET', '.route.next[0]', 5", "TypeError",
                                          "an entry of .route.next must be a str, not <class 'int'>"),
    "headers that are a list": ("'SET', '.headers', [1]", "TypeError", "headers and status must be a dict, not <class 'list'>"),
    "an unknown verb": ("'PUT', '.headers'", "RuntimeError", "ABI protocol error: unknown verb 'PUT'"),
    "a verb that is no string": ("1, 2", "RuntimeError", "ABI protocol error: unknown verb 1"),
    "SET without a value": ("'SET', '.headers'", "RuntimeError", "ABI protocol error: unknown verb 'SET'"),
    "a path without its dot": ("'GET', 'headers'", "ValueError", "Path must start with '.': headers"),
    "an empty path": ("'GET', ''", "ValueError", "Path must start with '.': "),
    "a path that is no string": ("'GET', 5", "TypeError", "Path must be a string: 5"),
}


@pytest.mark.parametrize("command, kind, text", REFUSED.values(), ids=REFUSED)
def test_an_error_is_thrown_into_the_generator_which_may_go_on(serving, command, kind, text):
    code = "try:\n    yield %s\nexcept Exception as error:\n    yield [type(error).__name__, str(error)]\nyield 'on'"
    assert payloads(serving, code % command) == [[kind, text], "on"]


def test_an_error_that_is_not_caught_ends_the_stream(serving):
    with serving.watched(expect_log=["ERROR .*PermissionError"]):
        got = events(serving, "yield 1\nyield 'SET', '.id', 2\nyield 3")
        assert [name for name, _ in got] == ["downstream", "error", "done"]
        error = got[1][1]
        assert (error["error"], error["details"]["type"]) == ("processing_error", "PermissionError")


# -- errors ---------------------------------------------------------------------------------------------------------------


def test_an_exception_is_an_event_and_then_done(serving):
    with serving.watched(expect_log=["ERROR .*ZeroDivisionError"]):
        names, data = zip(*events(serving, "yield 1\n1/0"))
        assert names == ("downstream", "error", "done")
        assert data[1]["error"] == "processing_error"
        details = data[1]["details"]
        assert set(details) == {"message", "type", "mro", "traceback"}
        assert (details["message"], details["type"]) == ("division by zero", "ZeroDivisionError")
        assert details["mro"] == ["ArithmeticError", "Exception"]


def test_an_exception_before_the_first_frame_is_an_event_as_well(serving):
    with serving.watched(expect_log=["(ERROR|WARNING) .*early"]):
        assert [name for name, _ in events(serving, "raise ValueError('early')\nyield")] == ["error", "done"]


def test_a_frame_that_cannot_be_written_closes_the_generator(serving):
    with serving.watched(expect_log=["ERROR .*processing_error"]):
        code = "try:\n    yield 1\n    yield {'a': object()}\n    yield 2\nfinally:\n    KEPT['closed'] = True"
        names, data = zip(*events(serving, code))
        assert names == ("downstream", "error", "done")
        assert "frame[1].a" in data[1]["details"]["message"]
    assert processes.eventually(lambda: payloads(serving, "yield KEPT.pop('closed', None)") == [True])


def test_the_worker_serves_on(serving):
    workers = serving.worker_pids()
    with serving.watched(allow_log=["ERROR .*"]):
        for _ in range(20):
            events(serving, "yield 1\nraise KeyError")
            assert payloads(serving, "yield 1") == [1]
        assert serving.worker_pids() == workers


# -- who waits for whom ---------------------------------------------------------------------------------------------------


def test_each_event_arrives_before_the_next_is_computed(serving, tmp_path):
    """The generator goes on only after the client says that it has the event."""
    code = "for i in range(5):\n    yield i\n    WAIT_FOR(%r, i)"
    flag = tmp_path / "seen"
    with Stream(serving.path, hops((code % str(flag)))) as stream:
        for number in range(5):
            assert next(stream)[1]["payload"] == number
            flag.write_text(str(number))
        assert next(stream) == ("done", {})


def test_a_client_that_does_not_read_holds_up_the_generator_and_not_the_memory(serving):
    [worker] = serving.worker_pids()
    code = "for i in range(100):\n    KEPT['at'] = i\n    NOTE(i)\n    yield 'x' * (1 << 20)"
    with Stream(serving.path, hops(code)) as stream:
        assert len(next(stream)[1]["payload"]) == 1 << 20
        before = processes.resident(worker)
        time.sleep(0.3)
        assert processes.resident(worker) - before < 20 << 20
        assert noted(serving) < 20
        count = sum(1 for name, _ in stream if name == "downstream")
        assert count == 99


def noted(server):
    """How far the generator of this server has come."""
    path = pathlib.Path(server.env["TMPDIR"], "noted")
    return int(path.read_text()) if path.exists() else -1


# -- clients that leave ---------------------------------------------------------------------------------------------------

LEFT = "try:\n    for i in range(10_000):\n        NOTE(i)\n        yield 'x' * 1000\n        %s\nfinally:\n    NOTE(-5)"
PACES = {"at the next event": "", "while it sleeps": "SLEEP(0.02)"}


@pytest.mark.parametrize("pace", PACES.values(), ids=PACES)
def test_a_client_that_leaves_closes_the_generator(serving, pace):
    with serving.watched(allow_log=["(ERROR|WARNING) .*"]):
        workers = serving.worker_pids()
        stream = Stream(serving.path, hops(with_pause(serving, LEFT % pace)))
        next(stream)
        stream.close()
        assert processes.eventually(lambda: noted(serving) == -5, 10), "its finally did not run: %d" % noted(serving)
        assert payloads(serving, "yield 'on'") == ["on"]
        assert serving.worker_pids() == workers


def with_pause(server, code):
    """SLEEP as the handler's kind of function has to write it."""
    return code.replace("SLEEP", "await asleep" if "run_async" in server.env["ASYA_PROCESS_MODULE"] else "sleep")


@pytest.mark.parametrize("name, concurrency", [("run_async", 1), ("run", 3)], ids=["a task", "a thread"])
def test_a_client_that_leaves_between_two_events_is_noticed(runtime, name, concurrency):
    with runtime("yields:" + name, env={"ASYA_CONCURRENCY": concurrency}, worker_descriptors=True,
                 allow_log=["(ERROR|WARNING) .*"]) as server:
        code = "try:\n    yield 1\n    for _ in range(1000): SLEEP(0.01)\nfinally:\n    NOTE(-7)"
        stream = Stream(server.path, hops(with_pause(server, code)))
        next(stream)
        started = time.monotonic()
        stream.close()
        assert processes.eventually(lambda: noted(server) == -7, 9)
        assert time.monotonic() - started < 8, "it slept to its end"
        assert payloads(server, "yield 'on'") == ["on"]


def test_a_client_that_reads_now_and_then_does_not_hold_its_place_for_ever(runtime):
    """It is within the limit each time, and its waits are added up."""
    with runtime("yields:run", env={"ASYA_WRITE_TIMEOUT": "1"}, worker_descriptors=True,
                 allow_log=["WARNING .*ASYA_WRITE_TIMEOUT", "(ERROR|WARNING) .*"]) as server:
        body = json.dumps(hops("for n in range(100000): yield 'x' * 60000")).encode()
        with server.connect() as connection:
            connection.send(b"POST /invoke HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            over = threading.Event()

            def read_now_and_then():
                with contextlib.suppress(OSError):
                    while not over.wait(0.2) and connection.receive(250000):
                        pass

            reader = threading.Thread(target=read_now_and_then)
            reader.start()
            try:
                assert payloads(server, "yield 'served'") == ["served"]
            finally:
                over.set()
                reader.join()


# -- streams that somebody else ends --------------------------------------------------------------------------------------


def test_a_stream_whose_worker_dies_ends_with_an_error_event(serving):
    with serving.intact(worker_descriptors=True):
        names, data = zip(*events(serving, "yield 1\nimport os, signal\nos.kill(os.getpid(), signal.SIGKILL)\nyield 2"))
        assert names == ("downstream", "error", "done")
        assert (data[1]["error"], data[1]["details"]["type"]) == ("processing_error", "WorkerCrashed")
        assert processes.eventually(lambda: len(serving.worker_pids()) == 1)
        assert payloads(serving, "yield 'on'") == ["on"]
    serving.judge_log(allow=["(ERROR|WARNING) .*"])


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_reads_a_stream(serving):
    def curl(code):
        return subprocess.run(
            ["curl", "-sSN", "--unix-socket", serving.path, "-d", json.dumps(hops(code)), "http://localhost/invoke"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20)

    whole = curl("yield 1\nyield 2")
    assert whole.returncode == 0 and whole.stdout.count(b"event: downstream\n") == 2
    assert whole.stdout.endswith(b"event: done\ndata: {}\n\n")


@pytest.fixture(params=SORTS.values(), ids=SORTS)
def limited(runtime, request):
    name, concurrency = request.param
    with runtime("yields:" + name, env={"ASYA_CONCURRENCY": concurrency, "ASYA_HANDLER_TIMEOUT": "0.5"},
                 worker_descriptors=True, expect_log=["ERROR .*ASYA_HANDLER_TIMEOUT"], allow_log=["(ERROR|WARNING) .*"]) as server:
        yield server


def test_a_stream_beyond_the_time_limit_ends_with_an_error_event(limited):
    names, data = zip(*events(limited, with_pause(limited, "yield 1\nfor _ in range(1000): SLEEP(0.01)")))
    assert names == ("downstream", "error", "done")
    assert (data[1]["error"], data[1]["details"]["type"]) == ("processing_error", "HandlerTimeout")
    assert payloads(limited, "yield 'on'") == ["on"]


def test_so_does_one_that_does_not_obey(limited):
    code = "yield 1\nwhile True:\n    try:\n        for _ in range(1000): SLEEP(0.01)\n    except BaseException:\n        pass"
    workers = limited.worker_pids()
    names, data = zip(*events(limited, with_pause(limited, code)))
    assert names == ("downstream", "error", "done") and data[1]["details"]["type"] == "HandlerTimeout"
    assert processes.eventually(lambda: len(limited.worker_pids()) == 1 and limited.worker_pids() != workers)
    assert payloads(limited, "yield 'on'") == ["on"]


def test_streams_side_by_side(runtime):
    """Ten asynchronous generators take turns on one loop."""
    with runtime("yields:run_async", env={"ASYA_CONCURRENCY": 10}, worker_descriptors=True) as server:
        results = []

        def read():
            results.append(payloads(server, "for i in range(20):\n    await asleep(0.005)\n    yield i"))

        threads = [threading.Thread(target=read) for _ in range(10)]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [list(range(20))] * 10
        assert time.monotonic() - started < 10 * 20 * 0.005, "they ran one after the other"
