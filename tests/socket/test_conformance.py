"""JSONTestSuite and the UTF-8 table through the socket: every category right, every accepted value exact."""
import json

import pytest

from harness.conformance import json_suite, utf8_cases


@pytest.mark.parametrize("half_close", [True, False], ids=["with half-close", "without half-close where complete"])
@pytest.mark.parametrize("label", ["y", "n", "i"])
def test_jsontestsuite(described, label, half_close):
    wrong = []
    for case in json_suite():
        if case.label != label or not half_close and not (label == "y" and case.data.strip()[-1:] in b'}]"el'):
            continue
        reply = described.call(case.data, half_close=half_close)
        answer = reply.get("error", "ok")
        if answer not in case.allowed:
            wrong.append((case.name, answer, case.allowed))
        elif answer == "ok":
            value = json.loads(case.data)
            if reply["result"] != [type(value).__name__, repr(value)]:
                wrong.append((case.name, reply["result"], repr(value)))
    assert not wrong


def expected_category(data):
    """What the contract answers to these bytes, followed by a half-close."""
    try:
        text = data.decode("utf-8", "strict")
    except UnicodeDecodeError:
        return "invalid_encoding"
    if not text.strip(" \t\r\n"):
        return "empty_message"
    try:
        json.loads(text)
        return "ok"
    except ValueError:
        return "invalid_json"


WRAPPINGS = {"alone": (b"", b""), "in a string": (b'"', b'"'), "in a key": (b'{"', b'":0}'),
             "deep in a document": (b'{"a":[1,"x', b'y"]}')}


@pytest.mark.parametrize("before, after", WRAPPINGS.values(), ids=WRAPPINGS)
def test_utf8_table(described, before, after):
    wrong = []
    for data, valid, what in utf8_cases():
        message = before + data + after
        expected = expected_category(message)
        assert (expected == "invalid_encoding") == (not valid)
        answer = described.call(message).get("error", "ok")
        if answer != expected:
            wrong.append((what, message, answer, expected))
    assert not wrong


def test_utf8_table_split_at_every_byte(described):
    wrong = []
    for data, _, what in utf8_cases():
        message = b'"' + data + b'"'
        answer = described.call(message, chunk=1).get("error", "ok")
        if answer != expected_category(message):
            wrong.append((what, message, answer))
    assert not wrong
