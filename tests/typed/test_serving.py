"""The same through a runtime: what the sender gets, and what the log has."""
import json

from harness.protocols import actors, framed
from harness.runtime import skip_unless_importable

skip_unless_importable("pydantic", "msgspec", allow_module_level=True)


def test_a_payload_that_does_not_fit_leaves_no_value_in_the_log(runtime):
    secret = "4111-1111-1111-1111"
    with runtime("typed:pydantic2", allow_log=["WARNING .*validation_error"]) as server:
        reply = server.call({"id": secret, "items": [{"name": {"number": secret}, "price": secret}]})
        assert reply["error"] == "validation_error" and "items.0.price" in reply["message"] and secret not in json.dumps(reply)
        [item] = framed(server.path, actors({"id": secret, "items": []}))
        assert item["error"] == "msg_parsing_error" and secret not in json.dumps(item)
        assert secret not in server.log_text() and "validation_error" in server.log_text()


def test_a_tree_as_deep_as_messages_may_be(runtime):
    deep = b'{"points": [], "inner":' * 490 + b'{"points": []}' + b"}" * 490
    with runtime("typed:depth") as server:
        assert server.result(deep, half_close=True) == 490
