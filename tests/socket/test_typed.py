"""Payloads validated into what the first parameter is annotated with; failures name the field."""
import pytest

from harness.protocols import actors, framed, hops, invoke
from harness.runtime import skip_unless_importable

skip_unless_importable("pydantic", "msgspec", allow_module_level=True)

ORDER = {"id": 7, "items": [{"name": "a", "price": 1.5}]}
SHAPE = {"points": [{"x": 1}, {"x": 2, "y": 3}], "colour": "blue", "label": "l", "data": {"k": 1}}


@pytest.fixture(scope="module")
def typed(runtime):
    """typed(name): a runtime on a function of typed.py, one for all tests of it."""
    running, blocks = {}, []

    def start(name):
        if name not in running:
            blocks.append(runtime("typed:" + name, worker_descriptors=True, allow_log=["WARNING .*validation_error"]))
            running[name] = blocks[-1].__enter__()
        return running[name]

    yield start
    for block in blocks:
        block.__exit__(None, None, None)


VALID = {
    "a pydantic model": ("pydantic2", ORDER, {"kind": "Order", "order": ORDER}),
    "a pydantic model converts": ("pydantic2", {"id": "7", "items": []}, {"kind": "Order", "order": {"id": 7, "items": []}}),
    "a model of pydantic 1": ("pydantic1", {"id": 7}, {"id": 7, "note": ""}),
    "a msgspec Struct": ("struct", {"id": 7, "tags": ["a"]}, {"id": 7, "tags": ["a"]}),
    "a dataclass": ("dataclass", SHAPE,
                    {"points": [{"x": 1, "y": 0.5}, {"x": 2, "y": 3.0}], "colour": "blue", "label": "l", "inner": None, "data": {"k": 1}}),
    "a dataclass within itself": ("dataclass", {"points": [], "inner": {"points": [{"x": 1}]}},
                                  {"points": [], "colour": "red", "label": None, "data": {},
                                   "inner": {"points": [{"x": 1, "y": 0.5}], "colour": "red", "label": None, "inner": None, "data": {}}}),
    "a dataclass drops what it does not know": ("dataclass", {"points": [], "x": 1},
                                                {"points": [], "colour": "red", "label": None, "inner": None, "data": {}}),
    "a TypedDict": ("typed_dict", {"key": "k", "count": 1}, {"key": "k", "count": 1}),
    "a TypedDict keeps what it does not know": ("typed_dict", {"key": "k", "count": 1, "x": 2}, {"key": "k", "count": 1, "x": 2}),
    "a TypedDict without required keys": ("loose", {}, {}),
    "an optional model that is there": ("optional", ORDER, 7),
    "an optional model that is null": ("optional", None, "none"),
    "a list of models": ("many", [ORDER, ORDER], [7, 7]),
    "the first of two": ("either", {"x": 1}, "Point"),
    "the second of two": ("either", {"id": 1}, "Packed"),
    "a coroutine function": ("task", ORDER, 7),
    "a generator": ("generator", ORDER, ["a"]),
    "a method": ("Handler.method", ORDER, 7),
    "an instance": ("instance", ORDER, 7),
    "a partial": ("bound", ORDER, 7),
    "dict asks for nothing": ("plain_dict", 5, ["int", 5]),
    "Any asks for nothing": ("anything", [1], ["list", [1]]),
    "a builtin type asks for nothing": ("text", 5, ["int", 5]),
}


@pytest.mark.parametrize("name, payload, result", VALID.values(), ids=VALID)
def test_valid(typed, name, payload, result):
    assert typed(name).result(payload, half_close=True) == result


INVALID = {
    "pydantic: a missing field": ("pydantic2", {"items": []}, "id"),
    "pydantic: a field within": ("pydantic2", {"id": 1, "items": [{"name": "a", "price": "x"}]}, "items.0.price"),
    "pydantic: no object": ("pydantic2", [1], "Order"),
    "pydantic 1: a wrong field": ("pydantic1", {"id": "x"}, "id"),
    "msgspec: a missing field": ("struct", {}, "`id`"),
    "msgspec: a wrong member": ("struct", {"id": 1, "tags": ["a", 2]}, "$.tags[1]"),
    "dataclass: a missing field": ("dataclass", {}, "points: required, but missing"),
    "dataclass: a missing field within": ("dataclass", {"points": [{"x": 1}, {}]}, "points[1].x: required, but missing"),
    "dataclass: a wrong type within": ("dataclass", {"points": [{"x": "1"}]}, "points[0].x: int expected, not str"),
    "dataclass: true is no integer": ("dataclass", {"points": [{"x": True}]}, "points[0].x: int expected, not bool"),
    "dataclass: a float is no integer": ("dataclass", {"points": [{"x": 1.5}]}, "points[0].x: int expected, not float"),
    "dataclass: no list": ("dataclass", {"points": 5}, "points: list expected, not int"),
    "dataclass: no such choice": ("dataclass", {"points": [], "colour": "green"}, "colour: one of 'red', 'blue' expected"),
    "dataclass: an optional field": ("dataclass", {"points": [], "label": 5}, "label: str expected, not int"),
    "dataclass: deep within": ("dataclass", {"points": [], "inner": {"points": [{}]}}, "inner.points[0].x: required, but missing"),
    "dataclass: a member of a dict": ("dataclass", {"points": [], "data": {"k": "v"}}, "data.k: int expected, not str"),
    "dataclass: no object": ("dataclass", [], "payload: Shape expected, not list"),
    "dataclass: null": ("dataclass", None, "payload: Shape expected, not null"),
    "TypedDict: a missing key": ("typed_dict", {"key": "k"}, "count: required, but missing"),
    "TypedDict: a wrong key": ("typed_dict", {"key": 5, "count": 1}, "key: str expected, not int"),
    "TypedDict: within": ("loose", {"entry": {"key": "k"}}, "entry.count: required, but missing"),
    "a list: one of them": ("many", [ORDER, {"id": 1}], "[1]"),
    "a list: none": ("many", {}, "payload: list expected, not dict"),
    "neither of two": ("either", {}, "payload: Point or Packed expected, not dict"),
    "a coroutine function": ("task", {}, "id"),
}


@pytest.mark.parametrize("name, payload, text", INVALID.values(), ids=INVALID)
def test_invalid(typed, name, payload, text):
    reply = typed(name).call(payload)
    assert reply["error"] == "validation_error" and text in reply["message"], reply


def test_in_the_other_protocols_it_is_the_messages_fault(typed):
    server = typed("pydantic2")
    [item] = framed(server.path, actors({"items": []}))
    assert (item["error"], item["details"]["type"]) == ("msg_parsing_error", "ValidationError")
    status, body = invoke(server.path, hops({"items": []}))
    assert (status, body["error"]) == (400, "msg_parsing_error")
    assert "id" in body["details"]["message"]


@pytest.mark.parametrize("error, category, code, status", [
    ("ValueError", "validation_error", "msg_parsing_error", 400), ("TypeError", "processing_error", "processing_error", 500),
    ("MemoryError", "out_of_memory", "processing_error", 500)])
def test_what_the_class_itself_raises_is_the_messages_fault_only_as_a_value_error(runtime, error, category, code, status):
    with runtime("typed:strict", expect_log=["%s .*by the class" % ("WARNING" if status == 400 else "ERROR")]) as server:
        assert server.call({"error": error})["error"] == category
        found, body = invoke(server.path, hops({"error": error}))
        assert (found, body["error"], body["details"]["type"]) == (status, code, error if error != "ValueError" else "ValidationError")
        [item] = framed(server.path, actors({"error": error}))
        assert item["error"] == code


def test_a_payload_that_does_not_fit_has_no_traceback_and_is_said_once(typed):
    server = typed("pydantic2")
    _, body = invoke(server.path, hops({"items": []}, id="not-twice"))
    assert body["details"]["traceback"] == "ValidationError: %s\n" % body["details"]["message"]
    [line] = server.wait_for_log("WARNING .*not-twice.*validation_error")
    assert line.text.count(body["details"]["message"]) == 1 and "Traceback" not in line.text


def test_with_an_annotation_that_cannot_be_resolved_payloads_are_passed_as_they_are(runtime):
    told = "WARNING the annotation of 'payload' cannot be resolved .*NoSuchClass"
    with runtime("typed:unknown", expect_log=[told]) as server:
        assert server.result({"a": 1}) == {"a": 1}


def test_an_echo_function_is_not_inspected(runtime):
    """Without annotations nothing is imported for them."""
    with runtime("snippets:run") as server:
        assert server.result("import sys\nreturn [m for m in ('typing', 'inspect') if m in sys.modules]") == []


def test_nor_is_one_that_is_annotated_with_jsons_own_types(runtime):
    with runtime("plainly:loaded") as server:
        assert server.result({"of": ["typing", "inspect"]}) == []
