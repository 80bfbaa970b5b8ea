"""What wraps a payload under the length prefix: validation, routes, headers, whole messages, errors (docs/protocol.md)."""
import json

import pytest

from harness import protocols
from harness.protocols import actors, framed, steps

WARNED = ["WARNING .*validation_error"]


@pytest.fixture(scope="module")
def serving(runtime):
    with runtime("snippets:run") as server:
        yield server


@pytest.fixture(scope="module")
def whole(runtime):
    """A function that gets and returns whole messages; the code to run is the payload."""
    with runtime("snippets:run_whole", env={"ASYA_HANDLER_MODE": "envelope"}) as server:
        yield server


def check_error(reply, code, message, kind):
    assert [set(item) for item in reply] == [{"error", "details"}]
    details = reply[0]["details"]
    assert set(details) == {"message", "type", "traceback"}
    assert (reply[0]["error"], details["message"], details["type"]) == (code, message, kind)
    assert kind in details["traceback"]


# -- validation -----------------------------------------------------------------------------------------------------------

INVALID = {
    "no payload": ({"route": {"actors": ["a"]}}, "Missing required field 'payload' in envelope"),
    "no route": ({"payload": 1}, "Missing required field 'route' in envelope"),
    "neither": ({}, "Missing required field 'payload' in envelope"),
    "a list as message": ([], "Missing required field 'payload' in envelope"),
    "a string as message": ("x", "Missing required field 'payload' in envelope"),
    "a number as message": (b"5 ", "Missing required field 'payload' in envelope"),
    "null as message": (None, "Missing required field 'payload' in envelope"),
    "a route that is a list": ({"payload": 1, "route": ["a"]}, "Field 'route' must be a dict"),
    "a route that is null": ({"payload": 1, "route": None}, "Field 'route' must be a dict"),
    "a route without actors": ({"payload": 1, "route": {}}, "Missing required field 'actors' in route"),
    "actors that are a string": ({"payload": 1, "route": {"actors": "a"}}, "Field 'route.actors' must be a list"),
    "no actor": ({"payload": 1, "route": {"actors": []}}, "Field 'route.actors' cannot be empty"),
    "no actor and a bad position":
        ({"payload": 1, "route": {"actors": [], "current": "x"}}, "Field 'route.actors' cannot be empty"),
    "a position that is a string":
        ({"payload": 1, "route": {"actors": ["a"], "current": "0"}}, "Field 'route.current' must be an integer"),
    "a position that is a float":
        ({"payload": 1, "route": {"actors": ["a"], "current": 0.0}}, "Field 'route.current' must be an integer"),
    "a position that is null":
        ({"payload": 1, "route": {"actors": ["a"], "current": None}}, "Field 'route.current' must be an integer"),
    "a position below the first":
        ({"payload": 1, "route": {"actors": ["a"], "current": -1}},
         "Invalid route.current=-1: out of bounds for actors of length 1"),
    "a position beyond the end":
        ({"payload": 1, "route": {"actors": ["a", "b"], "current": 3}},
         "Invalid route.current=3: out of bounds for actors of length 2"),
    "a position beyond all numbers":
        ({"payload": 1, "route": {"actors": ["a"], "current": 10**30}},
         "Invalid route.current=%d: out of bounds for actors of length 1" % 10**30),
    "headers that are a list": (actors(1, headers=[]), "Field 'headers' must be a dict"),
    "headers that are null": (actors(1, headers=None), "Field 'headers' must be a dict"),
    "an id that is a number": (actors(1, id=5), "Field 'id' must be a string"),
    "bad headers and a bad id": (actors(1, id=5, headers=[]), "Field 'headers' must be a dict"),
    "steps without payload": ({"route": {"steps": ["a"], "current": 0}}, "Missing required field 'payload' in message"),
    "steps that are a string":
        ({"payload": 1, "route": {"steps": "a", "current": 0}}, "Field 'route.steps' must be a list"),
    "no step": ({"payload": 1, "route": {"steps": [], "current": 0}}, "Field 'route.steps' cannot be empty"),
    "steps without a position": ({"payload": 1, "route": {"steps": ["a"]}}, "Missing required field 'current' in route"),
    "a step's position that is a string":
        ({"payload": 1, "route": {"steps": ["a"], "current": "0"}}, "Field 'route.current' must be an integer"),
    "a step's position at the end":
        ({"payload": 1, "route": {"steps": ["a"], "current": 1}},
         "Invalid route.current=1: out of bounds for steps of length 1"),
}


@pytest.mark.parametrize("message, text", INVALID.values(), ids=INVALID)
def test_validation(serving, message, text):
    with serving.watched(expect_log=WARNED):
        check_error(framed(serving.path, message), "msg_parsing_error", text, "ValueError")


def test_without_validation_the_payload_alone_counts(runtime):
    with runtime("answers:echo", env={"ASYA_ENABLE_VALIDATION": "false"}, expect_log=["ERROR .*KeyError"]) as server:
        message = {"payload": 1, "route": {"actors": "none", "current": "x"}, "id": 5}
        assert framed(server.path, message) == [{"payload": 1, "route": {"actors": "none", "current": 1}}]
        assert framed(server.path, {"payload": 1, "route": [1]}) == [{"payload": 1, "route": [1]}]
        check_error(framed(server.path, {"route": {}}), "processing_error", "KeyError: 'payload'", "KeyError")
        check_error(framed(server.path, {"payload": 1}), "processing_error", "KeyError: 'route'", "KeyError")
        check_error(framed(server.path, b"7 "), "processing_error", "KeyError: 'payload'", "KeyError")


UNREADABLE = {
    "no JSON": (b"{", "JSONDecodeError"), "two values": (b"{} {}", "JSONDecodeError"),
    "bad UTF-8": (b'"\xff"', "UnicodeDecodeError"), "white space": (b"  ", "JSONDecodeError"),
    "too deep": (b"[" * 1001 + b"]" * 1001, "JSONDecodeError"),
}


@pytest.mark.parametrize("data, kind", UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read(serving, data, kind):
    with serving.watched(expect_log=["WARNING .*(invalid|empty)_"]):
        [item] = framed(serving.path, data)
        assert (item["error"], item["details"]["type"]) == ("msg_parsing_error", kind)
        assert item["details"]["message"]


# -- routes and frames ----------------------------------------------------------------------------------------------------

ROUTES = {
    "the position advances": ({"actors": ["a", "b"], "current": 0}, {"actors": ["a", "b"], "current": 1}),
    "an absent position is the first": ({"actors": ["a", "b"]}, {"actors": ["a", "b"], "current": 1}),
    "the last actor leads to the end": ({"actors": ["a"], "current": 0}, {"actors": ["a"], "current": 1}),
    "beyond the end it goes on": ({"actors": ["a"], "current": 1}, {"actors": ["a"], "current": 2}),
    "what else stands in it stays": ({"actors": ["a"], "x": [1]}, {"actors": ["a"], "x": [1], "current": 1}),
    "steps come back as they were": ({"steps": ["a", "b"], "current": 1, "x": 2},
                                     {"steps": ["a", "b"], "current": 1, "x": 2}),
}


@pytest.mark.parametrize("route, advanced", ROUTES.values(), ids=ROUTES)
def test_route(serving, route, advanced):
    assert framed(serving.path, {"payload": "return 1", "route": route}) == [{"payload": 1, "route": advanced}]


def test_headers_go_along_with_actors_and_not_with_steps(serving):
    headers = {"trace": "t", "empty": {}}
    [item] = framed(serving.path, actors("return 1", headers=headers))
    assert item["headers"] == headers
    [item] = framed(serving.path, actors("return 1", headers={}))
    assert item["headers"] == {}
    [item] = framed(serving.path, steps("return 1", headers=headers))
    assert "headers" not in item


FAN_OUT = {
    "None is nothing": ("return None", []), "an empty list is nothing": ("return []", []),
    "a list is an item each": ("return [1, {'a': 2}]", [1, {"a": 2}]), "a tuple as well": ("return (1, 2)", [1, 2]),
    "a list within is one item": ("return [[1, 2]]", [[1, 2]]), "a dict is one item": ("return {}", [{}]),
    "false is one item": ("return False", [False]), "a string is one item": ("return 'ab'", ["ab"]),
    "None in a list is an item": ("return [None]", [None]),
}


@pytest.mark.parametrize("code, payloads", FAN_OUT.values(), ids=FAN_OUT)
def test_fan_out(serving, code, payloads):
    items = framed(serving.path, actors(code, headers={"h": 1}))
    route = {"actors": ["a", "b"], "current": 1}
    assert items == [{"payload": payload, "route": route, "headers": {"h": 1}} for payload in payloads]


def test_a_generator_changes_headers_and_what_comes_next_for_the_frames_that_follow(serving):
    code = ("def g():\n"
            "    yield 1\n"
            "    yield 'SET', '.headers.seen', True\n"
            "    yield 'SET', '.route.next', ['c', 'd']\n"
            "    yield (yield 'GET', '.route.next')\n"
            "return g()")
    first, second = framed(serving.path, actors(code, headers={"h": 1}))
    assert first == {"payload": 1, "route": {"actors": ["a", "b"], "current": 1}, "headers": {"h": 1}}
    assert second == {"payload": ["c", "d"], "route": {"actors": ["a", "c", "d"], "current": 1},
                      "headers": {"h": 1, "seen": True}}


# -- errors ---------------------------------------------------------------------------------------------------------------

RAISED = {
    "ValueError is a processing error here": ("raise ValueError('no')", "no", "ValueError"),
    "KeyError": ("{}['k']", "KeyError: 'k'", "KeyError"),
    "SystemExit": ("raise SystemExit(3)", "3", "SystemExit"),
    "a class of the user's": ("class Mine(Exception): pass\nraise Mine('m')", "m", "Mine"),
    "MemoryError": ("raise MemoryError('full')", "full", "MemoryError"),
    "an object that cannot be written": ("return object()", "result: a object cannot be written as JSON", "TypeError"),
}


@pytest.mark.parametrize("code, text, kind", RAISED.values(), ids=RAISED)
def test_an_error_is_an_array_with_details(serving, code, text, kind):
    with serving.watched(expect_log=["(ERROR|WARNING) .*_"]):
        [item] = framed(serving.path, actors(code))
        details = item["details"]
        assert (item["error"], details["type"]) == ("processing_error", kind)
        assert kind in details["traceback"]
        if "object" not in code:
            assert details["message"] == text


def test_the_traceback_shows_the_line(serving):
    with serving.watched(expect_log=["ERROR .*ZeroDivisionError"]):
        [item] = framed(serving.path, actors("def deep(): return 1/0\ndeep()"))
        assert "deep" in item["details"]["traceback"] and item["details"]["message"] == "division by zero"


def test_a_frame_that_cannot_be_written_spoils_the_whole_list(serving):
    with serving.watched(expect_log=["ERROR .*processing_error"]):
        [item] = framed(serving.path, actors("return [1, {'x': [object()]}]"))
        assert item["error"] == "processing_error"
        assert "result[1].x[0]" in item["details"]["message"]


# -- whole messages -------------------------------------------------------------------------------------------------------

ROUTE = {"actors": ["a", "b", "c"], "current": 1}


def test_the_function_gets_and_gives_the_message(whole):
    code = "message['route']['current'] += 1\nmessage['payload'] = 5\nmessage['extra'] = 1\nreturn message"
    [item] = framed(whole.path, {"payload": code, "route": ROUTE, "id": "i", "headers": {"h": 1}})
    assert item == {"payload": 5, "route": {**ROUTE, "current": 2}, "id": "i", "headers": {"h": 1}}


KEPT = {
    "actors may be added": ["a", "b", "x", "y"], "actors to come may go": ["a", "b"], "they may stay": ["a", "b", "c"]}


@pytest.mark.parametrize("names", KEPT.values(), ids=KEPT)
def test_what_comes_next_may_change(whole, names):
    code = "return {'payload': 1, 'route': {'actors': %r, 'current': 1}}" % (names,)
    assert framed(whole.path, {"payload": code, "route": ROUTE}) == [
        {"payload": 1, "route": {"actors": names, "current": 1}}]


ERASED = {"the first": ["b", "c"], "the current one": ["a", "c"], "all": ["z"], "replaced": ["a", "z", "c"]}


@pytest.mark.parametrize("names", ERASED.values(), ids=ERASED)
def test_actors_already_passed_must_stay(whole, names):
    code = "message['route']['actors'][:] = %r\nreturn message" % (names,)  # in place: it is compared with a copy
    with whole.watched(expect_log=["(ERROR|WARNING) .*Route modification"]):
        reply = framed(whole.path, {"payload": code, "route": ROUTE})
        text = ("Invalid output envelope[0/1]: Route modification error: already-processed actors cannot be erased. "
                "Input route had ['a', 'b'] (actors 0-1), but output route starts with %s. Runtimes can add future "
                "actors but must preserve all actors up to current." % names[:2])
        check_error(reply, "processing_error", text, "ValueError")


BAD_OUTPUTS = {
    "no payload": ("return {'route': message['route']}", "envelope[0/1]: Missing required field 'payload' in envelope"),
    "no message": ("return 5", "envelope[0/1]: Missing required field 'payload' in envelope"),
    "the second of two": ("return [message, {'payload': 1}]", "envelope[1/2]: Missing required field 'route' in envelope"),
    "bad headers": ("return {**message, 'headers': 1}", "envelope[0/1]: Field 'headers' must be a dict"),
    "a bad position": ("message['route']['current'] = 9\nreturn message",
                       "envelope[0/1]: Invalid route.current=9: out of bounds for actors of length 3"),
}


@pytest.mark.parametrize("code, text", BAD_OUTPUTS.values(), ids=BAD_OUTPUTS)
def test_a_returned_message_is_validated_too(whole, code, text):
    with whole.watched(expect_log=["(ERROR|WARNING) .*Invalid output"]):
        check_error(framed(whole.path, {"payload": code, "route": ROUTE}), "processing_error",
                    "Invalid output " + text, "ValueError")


def test_messages_of_the_older_form_are_named_so(runtime):
    with runtime("snippets:run_whole", env={"ASYA_HANDLER_ARG_TYPE": "message"},
                 expect_log=["(ERROR|WARNING) .*Invalid output message"]) as server:
        assert framed(server.path, steps("return message")) == [steps("return message")]
        [item] = framed(server.path, steps("message['route']['steps'] = ['z']\nreturn message"))
        assert item["details"]["message"].startswith(
            "Invalid output message[0/1]: Route modification error: already-processed steps cannot be erased. Input "
            "route had ['a'] (steps 0-0), but output route starts with ['z'].")


def test_none_and_lists_of_messages(whole):
    assert framed(whole.path, {"payload": "return None", "route": ROUTE}) == []
    items = framed(whole.path, {"payload": "return [message, message]", "route": ROUTE})
    assert len(items) == 2 and items[0] == items[1]


def test_without_validation_a_message_goes_out_as_it_is(runtime):
    with runtime("snippets:run_whole",
                 env={"ASYA_HANDLER_MODE": "envelope", "ASYA_ENABLE_VALIDATION": "false"}) as server:
        assert framed(server.path, {"payload": "return {'any': 1}", "route": ROUTE}) == [{"any": 1}]
        assert framed(server.path, {"payload": "return {}", "route": ROUTE}) == [{}]


def test_a_message_of_ten_thousand_items(serving):
    data = protocols.framed_bytes(serving.path, json.dumps(actors("return list(range(10_000))")).encode())
    assert [item["payload"] for item in json.loads(data)] == list(range(10_000))
