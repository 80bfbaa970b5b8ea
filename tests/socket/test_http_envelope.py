"""What wraps a payload over HTTP: validation, frames, statuses, errors (docs/protocol.md)."""
import os
import signal

import pytest

from harness.protocols import HttpConnection, hops, invoke


ENDS = r"WARNING (\[.*\] )?the function returned None: the message's route ends here \(204\)"


@pytest.fixture(scope="module")
def serving(runtime):
    with runtime("snippets:run") as server:
        yield server


def check_error(answer, status, code, kind, mro, text=None):
    got, body = answer
    assert (got, set(body), body["error"]) == (status, {"error", "details"}, code)
    details = body["details"]
    assert set(details) == {"message", "type", "mro", "traceback"}
    assert (details["type"], details["mro"]) == (kind, mro)
    assert text is None or details["message"] == text
    assert kind.rpartition(".")[2] in details["traceback"]


# -- validation -----------------------------------------------------------------------------------------------------------

ROUTE = {"prev": [], "curr": "a", "next": []}
INVALID = {
    "no payload": ({"route": ROUTE}, "Missing required field 'payload' in envelope"),
    "no route": ({"payload": 1}, "Missing required field 'route' in envelope"),
    "neither": ({}, "Missing required field 'payload' in envelope"),
    "a list": ([1], "Missing required field 'payload' in envelope"),
    "a number": (b"1", "Missing required field 'payload' in envelope"),
    "a route that is a string": ({"payload": 1, "route": "a"}, "Field 'route' must be a dict"),
    "no prev": ({"payload": 1, "route": {"curr": "a", "next": []}}, "Missing required field 'prev' in route"),
    "prev that is a string": ({"payload": 1, "route": {**ROUTE, "prev": "x"}}, "Field 'route.prev' must be a list"),
    "no curr": ({"payload": 1, "route": {"prev": [], "next": []}}, "Missing required field 'curr' in route"),
    "curr that is null": ({"payload": 1, "route": {**ROUTE, "curr": None}}, "Field 'route.curr' must be a string"),
    "no next": ({"payload": 1, "route": {"prev": [], "curr": "a"}}, "Missing required field 'next' in route"),
    "next that is an object": ({"payload": 1, "route": {**ROUTE, "next": {}}}, "Field 'route.next' must be a list"),
    "a bad prev and a bad next":
        ({"payload": 1, "route": {"prev": 1, "curr": "a", "next": 1}}, "Field 'route.prev' must be a list"),
    "a route of the older form": ({"payload": 1, "route": {"actors": ["a"]}}, "Missing required field 'prev' in route"),
    "headers that are a string": (hops(1, headers="x"), "Field 'headers' must be a dict"),
    "headers that are null": (hops(1, headers=None), "Field 'headers' must be a dict"),
    "an id that is a number": (hops(1, id=1), "Field 'id' must be a string"),
    "an id that is null": (hops(1, id=None), "Field 'id' must be a string"),
}


@pytest.mark.parametrize("message, text", INVALID.values(), ids=INVALID)
def test_validation(serving, message, text):
    with serving.watched(expect_log=["WARNING .*validation_error"]):
        check_error(invoke(serving.path, message), 400, "msg_parsing_error", "ValueError", ["Exception"], text)


UNREADABLE = {
    "white space": (b" \n", "json.decoder.JSONDecodeError", ["ValueError", "Exception"]),
    "a truncated object": (b'{"payload":', "json.decoder.JSONDecodeError", ["ValueError", "Exception"]),
    "something behind it": (b"{} x", "json.decoder.JSONDecodeError", ["ValueError", "Exception"]),
    "bad UTF-8": (b'"\xff"', "UnicodeDecodeError", ["UnicodeError", "ValueError", "Exception"]),
}


@pytest.mark.parametrize("body, kind, mro", UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read(serving, body, kind, mro):
    with serving.watched(expect_log=["WARNING .*(invalid|empty)_"]):
        check_error(invoke(serving.path, body), 400, "msg_parsing_error", kind, mro)


def test_the_connection_goes_on_after_an_error(serving):
    connection = HttpConnection(serving.path)
    with serving.watched(expect_log=["WARNING .*validation_error", "ERROR .*processing_error"], allow_log=[ENDS]):
        for body, status in ((b"{}", 400), (b'{"payload":"1/0","route":{"prev":[],"curr":"a","next":[]}}', 500),
                             (b'{"payload":"pass","route":{"prev":[],"curr":"a","next":[]}}', 204)):
            connection.request("POST", "/invoke", body)
            response = connection.getresponse()
            response.read()
            assert response.status == status
        connection.close()


# -- frames ---------------------------------------------------------------------------------------------------------------

ADVANCES = {
    "the next becomes the current": ({"prev": ["x"], "curr": "a", "next": ["b", "c"]},
                                     {"prev": ["x", "a"], "curr": "b", "next": ["c"]}),
    "the last one leads to none": ({"prev": [], "curr": "a", "next": []}, {"prev": ["a"], "curr": "", "next": []}),
    "one is left": ({"prev": [], "curr": "a", "next": ["b"]}, {"prev": ["a"], "curr": "b", "next": []}),
    "what else stands in it is dropped": ({"prev": [], "curr": "a", "next": [], "x": 1},
                                          {"prev": ["a"], "curr": "", "next": []}),
}


@pytest.mark.parametrize("route, advanced", ADVANCES.values(), ids=ADVANCES)
def test_route(serving, route, advanced):
    status, body = invoke(serving.path, {"payload": "return 1", "route": route})
    assert (status, body) == (200, {"frames": [{"payload": 1, "route": advanced}]})


MEMBERS = {
    "headers and status go along": ({"headers": {"h": 1}, "status": {"s": 2}}, {"headers": {"h": 1}, "status": {"s": 2}}),
    "empty ones do not": ({"headers": {}, "status": {}}, {}),
    "a status of null does not": ({"status": None}, {}),
    "ids are not returned": ({"id": "i", "parent_id": "p"}, {}),
    "unknown members are dropped": ({"x": 1, "frames": []}, {}),
}


@pytest.mark.parametrize("sent, returned", MEMBERS.values(), ids=MEMBERS)
def test_members(serving, sent, returned):
    status, body = invoke(serving.path, hops("return 1", **sent))
    assert status == 200
    [frame] = body["frames"]
    assert frame == {"payload": 1, "route": {"prev": ["x", "a"], "curr": "b", "next": ["c"]}, **returned}


PAYLOADS = {
    "a list is one payload": ("return [1, 2]", [1, 2]), "an empty list is one as well": ("return []", []),
    "a tuple is a list": ("return (1, 2)", [1, 2]), "an object": ("return {'a': 1}", {"a": 1}),
    "false": ("return False", False), "zero": ("return 0", 0), "an empty string": ("return ''", ""),
}


@pytest.mark.parametrize("code, payload", PAYLOADS.values(), ids=PAYLOADS)
def test_payload(serving, code, payload):
    status, body = invoke(serving.path, hops(code))
    assert status == 200 and [frame["payload"] for frame in body["frames"]] == [payload]


def test_none_is_204_without_a_body(serving):
    with serving.watched(allow_log=[ENDS]):  # the first one of this worker is warned of
        assert invoke(serving.path, hops("return None")) == (204, None)


@pytest.mark.parametrize("name, extra", [("run", {}), ("run", {"ASYA_CONCURRENCY": 2}), ("run_async", {})])
def test_each_worker_warns_of_its_first_none(runtime, name, extra):
    """Once in the life of a worker, and not over another protocol, where no route ends."""
    with runtime("snippets:" + name, env=extra, worker_descriptors=True,
                 allow_log=[ENDS, "ERROR .*worker 0.*SIGKILL"]) as server:
        def warnings():
            return sum("WARNING" in line.text and "returned None" in line.text for line in server.logs())
        assert server.call("return None") == {"status": "ok", "result": None}
        assert warnings() == 0
        for _ in range(3):
            assert invoke(server.path, hops("return None", id="first")) == (204, None)
        server.wait_for_log(ENDS)
        assert warnings() == 1
        [worker] = server.worker_pids()
        os.kill(worker, signal.SIGKILL)
        assert invoke(server.path, hops("return None")) == (204, None)
        server.wait_for_log(ENDS, count=2)


# -- errors ---------------------------------------------------------------------------------------------------------------

RAISED = {
    "ValueError": ("raise ValueError('no')", "ValueError", ["Exception"], "no"),
    "a subclass": ("raise UnicodeError('u')", "UnicodeError", ["ValueError", "Exception"], "u"),
    "json's own": ("import json\njson.loads('[')", "json.decoder.JSONDecodeError", ["ValueError", "Exception"],
                   "Expecting value: line 1 column 2 (char 1)"),
    "a nested class": ("class Mine(KeyError): pass\nraise Mine('m')", "snippets.run.<locals>.Mine", None, "Mine: 'm'"),
    "OSError": ("open('/no/such/file')", "FileNotFoundError", ["OSError", "Exception"],
                "[Errno 2] No such file or directory: '/no/such/file'"),
    "SystemExit": ("raise SystemExit(3)", "SystemExit", [], "3"),
    "MemoryError": ("raise MemoryError('full')", "MemoryError", ["Exception"], "full"),
}


@pytest.mark.parametrize("code, kind, mro, text", RAISED.values(), ids=RAISED)
def test_raised(serving, code, kind, mro, text):
    with serving.watched(expect_log=["(ERROR|WARNING) .*_"]):
        answer = invoke(serving.path, hops(code))
        if mro is None:  # where exec() puts a class
            kind, mro = answer[1]["details"]["type"], ["KeyError", "LookupError", "Exception"]
            assert kind.endswith("Mine")
        check_error(answer, 500, "processing_error", kind, mro, text)


def test_a_result_that_cannot_be_written_is_500(serving):
    with serving.watched(expect_log=["ERROR .*processing_error"]):
        status, body = invoke(serving.path, hops("return {'a': [object()]}"))
        assert (status, body["error"], body["details"]["type"]) == (500, "processing_error", "TypeError")
        assert "result.a[0]" in body["details"]["message"]


def test_without_validation_the_payload_alone_counts(runtime):
    with runtime("answers:echo", env={"ASYA_ENABLE_VALIDATION": "false"}, expect_log=["ERROR .*KeyError"]) as server:
        assert invoke(server.path, {"payload": 1, "route": {}, "id": 5}) == (
            200, {"frames": [{"payload": 1, "route": {"prev": [], "curr": "", "next": []}}]})
        check_error(invoke(server.path, {"payload": 1}), 500, "processing_error", "KeyError",
                    ["LookupError", "Exception"], "KeyError: 'route'")
