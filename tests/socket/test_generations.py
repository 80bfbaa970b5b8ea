"""The sidecars of Asya v0.5.0 to v0.5.3, which lived for days and speak alike only in part (docs/protocol.md)."""
import pytest

from harness import sidecars
from harness.protocols import framed, hops, invoke
from harness.runtime import EXIT_USAGE

ROUTE = {"prev": ["z"], "curr": "a", "next": ["b", "c"]}
ON = {"prev": ["z", "a"], "curr": "b", "next": ["c"]}


def message(code, route=None, **members):
    return {"id": "m-1", "route": route or dict(ROUTE), "payload": code, **members}


@pytest.fixture(scope="module")
def short(runtime):
    with runtime("snippets:run", env={"ASYA_GENERATION": "0.5.1"}) as server:
        yield server


@pytest.fixture(scope="module")
def whole(runtime):
    with runtime("snippets:run_whole", env={"ASYA_GENERATION": "v0.5.1", "ASYA_HANDLER_MODE": "envelope"}) as server:
        yield server


FRAMES = {
    "a value": ("return {'n': 1}", [{"n": 1}]),
    "a list, which is one payload": ("return [1, 2]", [[1, 2]]),
    "None": ("return None", []),
    "a generator": ("def two():\n    yield 1\n    yield {'n': 2}\nreturn two()", [1, {"n": 2}]),
    "a generator that yields nothing": ("return iter_ if 0 else (one for one in ())", []),
    "a generator that skips": ("def one():\n    yield None\n    yield 3\nreturn one()", [3]),
    "a generator with commands": ("def one():\n    yield 'SET', '.headers.x', 'y'\n    yield 'FLY', 1\n    yield 4\nreturn one()", [4]),
}


@pytest.mark.parametrize("code, payloads", FRAMES.values(), ids=FRAMES)
def test_v0_5_1_gets_all_frames_in_one_reply(short, code, payloads):
    with short.watched(allow_log=["WARNING .*the function returned None"]):
        frames = sidecars.v0_5_1(short.path, message(code, headers={"trace": "t"}))
    assert [frame["payload"] for frame in frames] == payloads
    assert all(frame["route"] == ON and frame["headers"]["trace"] == "t" for frame in frames)


def test_v0_5_1_gets_the_frames_of_an_async_generator(runtime):
    with runtime("snippets:run", env={"ASYA_GENERATION": "0.5.1"}, worker_descriptors=True) as server:  # an event loop's
        frames = sidecars.v0_5_1(server.path, message("async def two():\n    yield 1\n    yield 2\nreturn two()"))
    assert [frame["payload"] for frame in frames] == [1, 2]


def test_v0_5_1_gets_the_error_of_a_generator_and_no_frames(short):
    with short.watched(expect_log=["ERROR .*processing_error"]):
        [error] = sidecars.v0_5_1(short.path, message("def two():\n    yield 1\n    raise KeyError('late')\nreturn two()"))
    assert error["error"] == "processing_error" and error["details"]["type"] == "KeyError"


def test_without_the_setting_v0_5_1_reports_a_stream_it_cannot_read(runtime):
    with runtime("snippets:run") as server:
        with pytest.raises(sidecars.NotUnderstood):
            sidecars.v0_5_1(server.path, message("def two():\n    yield 1\n    yield 2\nreturn two()"))
        assert [frame["payload"] for frame in sidecars.v0_5_1(server.path, message("return 1"))] == [1]


def test_with_the_setting_the_other_protocols_are_as_ever(short):
    two = "def two():\n    yield 1\n    yield 2\nreturn two()"
    assert short.result(two) == [1, 2]
    items = framed(short.path, {"route": {"actors": ["a"], "current": 0}, "payload": two})
    assert [item["payload"] for item in items] == [1, 2]


WHOLE = {  # what the function does with `message`: what the frames are
    "as it came": ("return message", [dict(route=ON)]),
    "another next": ("message['route']['next'] = ['x', 'y']\nreturn message", [dict(route={"prev": ["z", "a"], "curr": "x", "next": ["y"]})]),
    "an end": ("return {'payload': 1, 'route': {**message['route'], 'next': []}}", [dict(payload=1, route={"prev": ["z", "a"], "curr": "", "next": []})]),
    "a route of its own": ("return {'payload': 1, 'route': {'prev': ['z', 'a'], 'curr': 'q', 'next': []}}",
                           [dict(payload=1, route={"prev": ["z", "a"], "curr": "q", "next": []})]),
    "headers and status": ("return {**message, 'headers': {'h': 1}, 'status': {'phase': 'x'}, 'other': 1}", [dict(headers={"h": 1}, status={"phase": "x"}, route=ON)]),
    "None": ("return None", []),
    "several": ("def two():\n    for n in 1, 2:\n        yield {**message, 'payload': n}\nreturn two()", [dict(payload=1, route=ON), dict(payload=2, route=ON)]),
}


@pytest.mark.parametrize("code, frames", WHOLE.values(), ids=WHOLE)
def test_v0_5_1_has_whole_messages_over_http(whole, code, frames):
    with whole.watched(allow_log=["WARNING .*the function returned None"]):
        got = sidecars.v0_5_1(whole.path, message(code))
    assert len(got) == len(frames)
    for frame, wanted in zip(got, frames):
        assert "other" not in frame
        assert {key: frame[key] for key in wanted} == wanted


WRONG = {
    "no payload": ("del message['payload']\nreturn message", "Missing required field 'payload' in envelope"),
    "no dict": ("return [message]", "Missing required field 'payload' in envelope"),
    "prev that is gone": ("message['route'] = {'prev': [], 'curr': 'a', 'next': []}\nreturn message",
                          "Route modification error: already-processed actors cannot be erased. Input route had ['z'] (actors 0-a), but output route starts with []. "
                          "Runtimes can add future actors but must preserve all actors up to current."),
}


@pytest.mark.parametrize("code, text", WRONG.values(), ids=WRONG)
def test_v0_5_1_hears_of_a_wrong_whole_message(whole, code, text):
    with whole.watched(expect_log=["(ERROR|WARNING) .*_error"]):
        [error] = sidecars.v0_5_1(whole.path, message(code))
    assert error["error"] == "processing_error" and error["details"]["message"].endswith(text)


def test_without_validation_the_route_moves_all_the_same(runtime):
    env = {"ASYA_GENERATION": "0.5.1", "ASYA_HANDLER_MODE": "envelope", "ASYA_ENABLE_VALIDATION": "false"}
    with runtime("snippets:run_whole", env=env) as server:
        [frame] = sidecars.v0_5_1(server.path, message("return {**message, 'other': 1}"))
    assert frame["route"] == ON and frame["other"] == 1


def test_v0_5_0_reports_that_it_cannot_read_the_reply(runtime):
    """Its frames end with a marker: it is not served, and no message of it is taken for answered."""
    with runtime("snippets:run") as server:
        for code in ("return 1", "return None", "def two():\n    yield 1\n    yield 2\nreturn two()"):
            with pytest.raises(sidecars.NotUnderstood):
                sidecars.v0_5_0(server.path, {"id": "1", "route": {"actors": ["a"], "current": 0}, "payload": code})


@pytest.mark.parametrize("generation", ["0.5.0", "0.5.2", "0.5.3", "1"])
def test_a_generation_that_is_not_served_is_refused_at_the_start(refuse, generation):
    refusal = refuse("snippets:run", env={"ASYA_GENERATION": generation})
    assert refusal.code == EXIT_USAGE
    assert refusal.cause == "ASYA_GENERATION is '%s', should be current or 0.5.1" % generation


@pytest.fixture(scope="module")
def serving(runtime):
    with runtime("snippets:run") as server:
        yield server


def test_v0_5_2_reads_values_and_streams(serving):
    with serving.watched() as server:
        frames, upstream = sidecars.v0_5_2(server.path, message("def two():\n    yield 1\n    yield 'FLY', {'t': 1}\n    yield 2\nreturn two()"))
        assert [frame["payload"] for frame in frames] == [1, 2] and upstream == [{"payload": {"t": 1}}]
        assert [frame["payload"] for frame in sidecars.v0_5_2(server.path, message("return 7"))[0]] == [7]


def test_a_function_that_reads_the_message_as_files_fails(serving):
    """As Asya v0.5.2 and v0.5.3 let functions do: an error, not an empty value."""
    with serving.watched(expect_log=["ERROR .*processing_error"] * 2) as server:
        for path, mode in (("id", "r"), ("route/next", "w")):
            [error], _ = sidecars.v0_5_2(server.path, message("open('/proc/asya/msg/%s', %r)" % (path, mode)))
            assert error["details"]["type"] == "FileNotFoundError" and "/proc/asya/msg/" + path in error["details"]["message"]


def test_a_partial_marker_is_said_once(runtime):
    logged = [r'WARNING \[m-1\] a yielded dict has "partial": true: it goes to the next actor; yield "FLY", x goes upstream']
    with runtime("snippets:run", expect_log=logged) as server:
        for _ in range(2):
            frames, upstream = sidecars.v0_5_2(server.path, message("def two():\n    yield {'partial': True, 't': 1}\n    yield {'partial': False}\nreturn two()"))
            assert [frame["payload"] for frame in frames] == [{"partial": True, "t": 1}, {"partial": False}] and not upstream


# -- settings that collide, or that turn something off ---------------------------------------------------------------------

ACTORS = {"MODE": "flow.mode", "TIMEOUT": "flow.steps.timeout", "GRACE": "flow.grace", "ARG_TYPE": "flow.arg_type"}


@pytest.mark.parametrize("actor", ACTORS)
def test_an_actor_may_be_called_like_a_setting(runtime, actor):
    """Flows name the function of each actor ASYA_HANDLER_<ACTOR>."""
    with runtime("answers:echo", env={"ASYA_HANDLER_" + actor: ACTORS[actor]}) as server:
        assert server.result(1) == 1
        assert invoke(server.path, hops(1))[0] == 200
        assert "ASYA_HANDLER_%s names an actor's function, and is not read as a setting" % actor in server.log_text()


@pytest.mark.parametrize("name, value", [("ASYA_HANDLER_MODE", "whole"), ("ASYA_HANDLER_TIMEOUT", "1.5s"), ("ASYA_HANDLER_TIMEOUT", "soon")])
def test_a_value_that_is_no_dotted_name_is_the_setting(refuse, name, value):
    assert refuse("answers:echo", env={name: value}).cause.startswith("%s is '%s'" % (name, value))


TYPED = """
import dataclasses
from typing import Dict, Any

@dataclasses.dataclass
class Order:
    id: int

def process(order: Order):
    return [type(order).__name__, order if isinstance(order, dict) else order.id]
"""


@pytest.mark.parametrize("env, payload, result", [({}, {"id": 1}, ["Order", 1]), ({"ASYA_TYPED_PAYLOADS": "true"}, {"id": 1}, ["Order", 1]),
                                                  ({"ASYA_TYPED_PAYLOADS": "false"}, {"id": "x"}, ["dict", {"id": "x"}])])
def test_annotations_are_obeyed_unless_that_is_turned_off(runtime, tmp_path, env, payload, result):
    """As in Asya's runtime, which does not look at them."""
    (tmp_path / "typed_or_not.py").write_text(TYPED)
    with runtime("typed_or_not", env={"PYTHONPATH": str(tmp_path), **env}) as server:
        assert server.result(payload) == result
        assert invoke(server.path, hops(payload))[1]["frames"][0]["payload"] == result


def test_annotations_that_are_turned_off_are_not_even_looked_at(runtime, refuse, tmp_path):
    (tmp_path / "odd.py").write_text("class Odd:\n    pass\ndef process(payload: Odd):\n    return payload\n")
    assert "Odd" in refuse("odd", env={"PYTHONPATH": str(tmp_path)}).cause
    with runtime("odd", env={"PYTHONPATH": str(tmp_path), "ASYA_TYPED_PAYLOADS": "no"}) as server:
        assert server.result({"a": 1}) == {"a": 1}


def test_a_request_over_the_limit_names_it_and_its_variable(runtime):
    with runtime("answers:echo", env={"ASYA_MAX_MESSAGE_SIZE": "1000"}, expect_log=["WARNING .*message_too_large"]) as server:
        status, answer = invoke(server.path, hops("x" * 2000))
    assert status == 413 and answer["error"] == "msg_parsing_error"
    assert answer["details"]["message"] == "the body is larger than 1000 bytes (ASYA_MAX_MESSAGE_SIZE)"
