"""traceparent and tracestate of W3C Trace Context: what is valid reaches the function and the log, what is not is ignored."""
import json

import pytest

from harness.protocols import actors, framed, hops, invoke

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OTHER = "00-11111111111111111111111111111111-2222222222222222-00"
STATE = "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"
INVALID = ["00-00000000000000000000000000000000-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
           "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", TRACE + "-1", TRACE.upper(), TRACE[:-1], "", "x", 7, None]
READS = "import asya_runtime\nhere = asya_runtime.context()\nreturn {'seen': [here.traceparent, here.tracestate]}"


@pytest.fixture(scope="module", params=[1, 4], ids=["the main thread", "threads"])
def serving(runtime, request):
    with runtime("snippets:run", env={"ASYA_CONCURRENCY": request.param}) as server:
        yield server


def over_http(server, headers):
    status, body = invoke(server.path, hops(READS), headers)
    assert status == 200, body
    return body["frames"][0]["payload"]["seen"]


def test_in_the_headers_of_http_and_of_the_message(serving):
    assert over_http(serving, {"traceparent": TRACE, "tracestate": STATE}) == [TRACE, STATE]
    status, body = invoke(serving.path, hops(READS, headers={"traceparent": TRACE, "tracestate": STATE}))
    assert (status, body["frames"][0]["payload"]["seen"]) == (200, [TRACE, STATE])
    assert over_http(serving, {"TraceParent": TRACE}) == [TRACE, ""]
    [item] = framed(serving.path, actors(READS, headers={"traceparent": TRACE, "tracestate": STATE}))
    assert item["payload"]["seen"] == [TRACE, STATE]


def test_the_messages_own_comes_first_and_the_two_are_not_mixed(serving):
    http = {"traceparent": OTHER, "tracestate": STATE}
    assert over_http(serving, http) == [OTHER, STATE]
    status, body = invoke(serving.path, hops(READS, headers={"traceparent": TRACE}), http)
    assert (status, body["frames"][0]["payload"]["seen"]) == (200, [TRACE, ""])
    status, body = invoke(serving.path, hops(READS, headers={"traceparent": "x", "tracestate": "a=b"}), http)
    assert (status, body["frames"][0]["payload"]["seen"]) == (200, [OTHER, STATE])


@pytest.mark.parametrize("bad", INVALID)
def test_what_is_not_valid_is_ignored_and_no_error(serving, bad):
    [item] = framed(serving.path, actors(READS, headers={"traceparent": bad, "tracestate": STATE}))
    assert item["payload"]["seen"] == ["", ""]
    if isinstance(bad, str) and bad:
        assert over_http(serving, {"traceparent": bad, "tracestate": STATE}) == ["", ""]


def test_a_later_version_is_read_as_far_as_it_is_known(serving):
    later = "cc" + TRACE[2:] + "-more"
    assert over_http(serving, {"traceparent": later}) == [later, ""]


def test_in_the_log_a_bad_one_is_no_name(runtime):
    with runtime("snippets:run", env={"ASYA_LOG_FORMAT": "json"}, allow_log=["ERROR"]) as server:
        for trace in (TRACE, INVALID[0]):
            invoke(server.path, hops("raise KeyError('marked')"), {"traceparent": trace})
        records = [json.loads(line.text) for line in server.wait_for_log("marked", count=2)]
        assert [record.get("trace_id") for record in records] == [TRACE.split("-")[1], None]
